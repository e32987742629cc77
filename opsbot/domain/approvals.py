"""Approvals: from the request to the last host, with everything people say about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from opsbot.domain.actions import Action, HostOutcome, Impact, Reach, Result
from opsbot.domain.audit import AuditEntry
from opsbot.domain.people import Actor, Moment, Place


class ApprovalState(StrEnum):
    """pending → approved | denied | withdrawn | expired | stale; approved → executing | withdrawn | expired | stale;
    executing → done | failed | unknown | stale | expired; unknown → done | failed (reconciled)."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    STALE = "stale"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        return self not in (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING)


@dataclass(frozen=True, slots=True)
class Review:
    """One person's counted click. `for_a_while`: it is to count for the same thing again, as long as policy allows."""

    actor: Actor
    approve: bool
    at: datetime
    for_a_while: bool = False


class OrderVerb(StrEnum):
    """What people can tell an action on many hosts while it is under way."""

    PAUSE = "pause"
    RESUME = "resume"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Order:
    """A person's word to an action under way. It counts before the next host is started, never in the middle of one."""

    verb: OrderVerb
    actor: Actor
    at: datetime


@dataclass(frozen=True, slots=True)
class Narrowing:
    """An approver left these hosts out before anybody approved."""

    actor: Actor
    at: datetime
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StandingApproval:
    """An approval that counts again until a time, for the same requester and exactly what was approved.

    `pattern`: digest of all bindings but those of one request and its time. `ended`: why it ended before its time.
    """

    begun: Moment
    until: datetime
    pattern: str
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """The durable record of one proposed action, from proposal to outcome.

    `call_id` is the model's call, or `command:<inbox id>` when a command proposed it. `digest` is the hex SHA-256
    over the canonical JSON of `bindings`: everything an approver agrees to, by name (see `bindings.bind`).
    `version` is bumped by every change. `halted`: who stopped it before its last host. `opened`: what the clocks said
    when it was asked. `shown_at`: since when its card stands as it is; None: it does not yet. `narrowed`: who left
    hosts out before it was decided. `standing`: that it counts again for a while; `stands_on`: the id of the approval
    whose standing approved this one. `tainted_by`: the untrusted text the model had read when it proposed this (see
    `taint.sources`). `reach`: what it can break. `escalated`: how many steps of the escalation were taken.
    """

    id: str
    conversation_id: str
    place: Place
    call_id: str
    requester: Actor
    action: Action
    tool_sha256: str
    reason: str
    rule: str
    needed: int
    approver_users: frozenset[str]
    approver_groups: frozenset[str]
    impacts: Mapping[str, Impact]
    created_at: datetime
    expires_at: datetime
    digest: str
    state: ApprovalState = ApprovalState.PENDING
    reviews: tuple[Review, ...] = ()
    outcomes: tuple[HostOutcome, ...] = ()
    note: str = ""
    decided_at: datetime | None = None
    version: int = 1
    bindings: Mapping[str, str] = field(default_factory=dict)
    halted: Order | None = None
    tainted_by: tuple[str, ...] = ()
    opened: Moment | None = None
    shown_at: datetime | None = None
    narrowed: tuple[Narrowing, ...] = ()
    standing: StandingApproval | None = None
    stands_on: str = ""
    reach: Reach | None = None
    escalated: int = 0

    @property
    def untouched(self) -> tuple[str, ...]:
        """Hosts without an outcome, in order."""
        ended = {outcome.host for outcome in self.outcomes}
        return tuple(name for name in self.action.hosts if name not in ended)


@dataclass(frozen=True, slots=True)
class Operation:
    """An effect about to be sent to one host. `targets`: what it touches there, `()` is the whole host.

    `requester`: whose request it counts as, whichever account asked.
    """

    approval: Approval
    host: str
    targets: tuple[str, ...]
    moment: Moment
    requester: str


@dataclass(frozen=True, slots=True)
class Closing:
    """The one end of an operation, with its audit record."""

    host: str
    result: Result
    entry: AuditEntry
