"""The words of opsbot: frozen data, no behaviour beyond derived facts.

Everybody imports them from here; the modules of this package import each other, never this face.

- `json_values`: what JSON can say
- `people`: people, the places where they talk, moments
- `hosts`: hosts as the inventory describes them, and what can be done there
- `facts`: what was read of hosts
- `samples`: what was measured of hosts and kept
- `conversations`: messages, calls and results, and how a turn ends
- `actions`: what is to be done, what policy says to it, what it would hit, how it ended
- `approvals`: approvals, from the request to the last host, and what people say meanwhile
- `events`: what comes in
- `contents`: what goes out to people
- `leases`: who is at work on what
- `audit`: what the audit log holds
"""

from opsbot.domain.actions import Action, Decision, HostOutcome, Impact, Reach, Result, Risk, Rollout, Tier, Verdict
from opsbot.domain.approvals import (
    Approval,
    ApprovalState,
    Closing,
    Narrowing,
    Operation,
    Order,
    OrderVerb,
    Review,
    StandingApproval,
)
from opsbot.domain.audit import AuditEntry, AuditRecord
from opsbot.domain.contents import (
    Card,
    Chart,
    Content,
    IncidentCard,
    OutboxItem,
    OutboxState,
    Report,
    Series,
    Step,
    Table,
    Text,
    TextFile,
)
from opsbot.domain.conversations import (
    Answered,
    AssistantMessage,
    Compaction,
    Conversation,
    GaveUp,
    Message,
    NeedsApproval,
    Outcome,
    Picture,
    Stopped,
    ToolCall,
    ToolResult,
    Usage,
    UserMessage,
)
from opsbot.domain.events import (
    Attachment,
    InboxItem,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    IncomingReportClick,
    IncomingReportEdit,
    IncomingStop,
)
from opsbot.domain.facts import (
    Certificate,
    CertificateReport,
    CheckResult,
    CommandResult,
    Disk,
    LogLine,
    ServerFacts,
    UnitFacts,
    Vitals,
)
from opsbot.domain.hosts import USUAL_ACTIONS, Connection, HealthCheck, Host, HostVerb, ServiceManager, UnitVerb
from opsbot.domain.json_values import Json
from opsbot.domain.leases import Beats, Lease, event_lease, message_lease, run_lease, turn_lease
from opsbot.domain.people import Actor, Membership, MessageRef, Moment, Place
from opsbot.domain.samples import History, Metric, Sample

__all__ = [
    "USUAL_ACTIONS",
    "Action",
    "Actor",
    "Answered",
    "Approval",
    "ApprovalState",
    "AssistantMessage",
    "Attachment",
    "AuditEntry",
    "AuditRecord",
    "Beats",
    "Card",
    "Certificate",
    "CertificateReport",
    "Chart",
    "CheckResult",
    "Closing",
    "CommandResult",
    "Compaction",
    "Connection",
    "Content",
    "Conversation",
    "Decision",
    "Disk",
    "GaveUp",
    "HealthCheck",
    "History",
    "Host",
    "HostOutcome",
    "HostVerb",
    "Impact",
    "InboxItem",
    "IncidentCard",
    "Incoming",
    "IncomingCommand",
    "IncomingDecision",
    "IncomingMessage",
    "IncomingReportClick",
    "IncomingReportEdit",
    "IncomingStop",
    "Json",
    "Lease",
    "LogLine",
    "Membership",
    "Message",
    "MessageRef",
    "Metric",
    "Moment",
    "Narrowing",
    "NeedsApproval",
    "Operation",
    "Order",
    "OrderVerb",
    "OutboxItem",
    "OutboxState",
    "Outcome",
    "Picture",
    "Place",
    "Reach",
    "Report",
    "Result",
    "Review",
    "Risk",
    "Rollout",
    "Sample",
    "Series",
    "ServerFacts",
    "ServiceManager",
    "StandingApproval",
    "Step",
    "Stopped",
    "Table",
    "Text",
    "TextFile",
    "Tier",
    "ToolCall",
    "ToolResult",
    "UnitFacts",
    "UnitVerb",
    "Usage",
    "UserMessage",
    "Verdict",
    "Vitals",
    "event_lease",
    "message_lease",
    "run_lease",
    "turn_lease",
]
