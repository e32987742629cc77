"""One database with all that is kept."""

from typing import Protocol

from opsbot.outputs import Outputs
from opsbot.passage_ports import Incidents, Passages
from opsbot.picture_ports import Pictures
from opsbot.ports.approvals import Approvals, Operations
from opsbot.ports.audit import AuditLog
from opsbot.ports.conversations import Conversations
from opsbot.ports.holds import Holds
from opsbot.ports.mail import Inbox, Outbox
from opsbot.ports.replicas import Leases, Replicas
from opsbot.ports.samples import Samples
from opsbot.ports.usage import UsageLog
from opsbot.report_ports import IncidentReports


class Store(Protocol):
    """One database."""

    @property
    def replicas(self) -> Replicas: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def conversations(self) -> Conversations: ...
    @property
    def approvals(self) -> Approvals: ...
    @property
    def operations(self) -> Operations: ...
    @property
    def holds(self) -> Holds: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def samples(self) -> Samples: ...
    @property
    def usage(self) -> UsageLog: ...
    @property
    def outputs(self) -> Outputs: ...
    @property
    def passages(self) -> Passages: ...
    @property
    def incidents(self) -> Incidents: ...
    @property
    def reports(self) -> IncidentReports: ...
    @property
    def pictures(self) -> Pictures: ...

    async def close(self) -> None:
        """Close the database."""
        ...
