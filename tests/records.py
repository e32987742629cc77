"""Plain domain values for tests of the store and the audit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opsbot.caps import Caps
from opsbot.domain import (
    Action,
    Actor,
    Approval,
    ApprovalState,
    AuditEntry,
    Closing,
    Impact,
    IncomingMessage,
    Json,
    Moment,
    Operation,
    Place,
    Result,
    UserMessage,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEY = bytes(range(32))
ANNA = Actor("T1", "U1")
PLACE = Place("T1", "C1", "1700000000.000100")


def later(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def moment(seconds: float = 0, *, start: datetime = NOON) -> Moment:
    """Both clocks so long after `start`, in one boot of one machine."""
    return Moment(start + timedelta(seconds=seconds), "bot-1", "boot 1", 1000.0 + seconds)


def entry(kind: str = "test.happened", approval_id: str = "", **facts: Json) -> AuditEntry:
    return AuditEntry(kind, NOON, ANNA.key, PLACE.key, approval_id, facts)


def said(text: str) -> UserMessage:
    return UserMessage(text, ANNA, NOON)


def event(text: str = "hello") -> IncomingMessage:
    return IncomingMessage(PLACE, ANNA, text, "1700000000.000200")


def approval(approval_id: str = "7KQ2M4", *, call_id: str = "", **changes: object) -> Approval:
    made = Approval(
        id=approval_id,
        conversation_id=PLACE.key,
        place=PLACE,
        call_id=call_id,
        requester=ANNA,
        action=Action("restart_service", {"unit": "web.service", "count": 1, "grace_s": 2.5}, ("web-1", "web-2")),
        tool_sha256="ab" * 32,
        reason="it leaks",
        rule="changes need one",
        needed=1,
        approver_users=frozenset({"T1/U2", "T1/U3"}),
        approver_groups=frozenset({"S1"}),
        impacts={"web-1": Impact((("state", "active"),), {"invocation_id": "1f"}), "web-2": Impact(())},
        created_at=NOON,
        expires_at=later(300),
        digest="cd" * 32,
        opened=moment(),
        shown_at=NOON,
    )
    return replace(made, **changes)


def executing(approval_id: str = "7KQ2M4") -> Approval:
    return approval(approval_id, state=ApprovalState.EXECUTING)


def operation(made: Approval, host: str = "web-1", *targets: str, at: datetime = NOON, boot: str = "b1") -> Operation:
    """An effect of this approval, so many seconds after the boot as `at` is after noon, and 1,000 more."""
    moment = Moment(at, "m1", boot, 1000 + (at - NOON).total_seconds())
    return Operation(made, host, targets or ("web.service",), moment, made.requester.key)


def closing(host: str = "web-1", result: Result = Result.DONE) -> Closing:
    return Closing(host, result, entry("execution.host", host=host, result=str(result)))


CAPS = Caps(an_hour=1000, an_hour_per_person=1000)
