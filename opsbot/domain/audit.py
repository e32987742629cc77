"""What the audit log holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from opsbot.domain.json_values import Json


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A fact to record, before it is chained. `kind` is a stable dotted name: `approval.decided`."""

    kind: str
    at: datetime
    actor: str = ""
    conversation_id: str = ""
    approval_id: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A chained fact: `hash` covers `seq`, `prev` and the entry."""

    seq: int
    prev: str
    entry: AuditEntry
    hash: str
