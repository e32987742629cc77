"""What the core asks of the store about incident reports."""

from collections.abc import Sequence
from typing import Protocol

from opsbot.domain import AuditEntry
from opsbot.incident_report import IncidentReport
from opsbot.passages import Incident


class IncidentReports(Protocol):
    """Reports while people work on them, and as they were published; changed only by compare-and-swap."""

    async def add(self, report: IncidentReport, entry: AuditEntry) -> IncidentReport:
        """Insert with its audit record in one transaction; for a known call the stored report is returned instead.

        Raises:
            Conflict: the id is taken.
        """
        ...

    async def get(self, report_id: str) -> IncidentReport | None:
        """Return the record."""
        ...

    async def of_call(self, conversation_id: str, call_id: str) -> IncidentReport | None:
        """Return the report that this call asked for."""
        ...

    async def change(
        self, report: IncidentReport, *, entries: Sequence[AuditEntry] = (), incident: Incident | None = None
    ) -> IncidentReport:
        """Write `report` if the stored version is the same, and bump it; with its audit records, in one transaction.

        `incident`: what from now on is found of it.

        Raises:
            Conflict: it is not; nothing is written.
        """
        ...
