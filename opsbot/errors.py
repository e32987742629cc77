"""Every error opsbot raises on purpose, sorted by who must act.

OpsbotError                  text is safe to show to the person named below
├── ConfigError              the operator: the process does not start; all faults at once
│   └── ToolDefinitionError  the author of a tool file
├── ToolError                the model, or whoever typed the command
│   ├── BadArguments         arguments do not fit the tool, its schema or the host's allow-list
│   ├── TooManyRequests      people are asked for too many approvals; the text says when it is possible again
│   ├── TooManyMessages      a flood is kept out; the text says when there is room
│   ├── UnknownHost          not in the inventory; carries near misses
│   ├── CommandFailed        the command ran and ended with a non-zero status
│   ├── CommandTimedOut      the total deadline passed; whether it ran to the end is not known
│   ├── HostUnreachable      no connection could be made, so nothing ran
│   │   └── HostBusy         it is there, but our own commands take all the sessions it gives us
│   ├── TooBusy              every thread for reading waits for a host that does not answer
│   ├── OutcomeUnknown       a connection was lost after the command was sent
│   └── HeldBack             nothing was sent, since it may not be now
│       ├── Held             a stop or a freeze covers it
│       ├── CapReached       enough was done lately; carries when there is room again
│       └── TargetTaken      another action is under way there
├── ApprovalError            the clicker, privately
│   ├── NotAllowed           not this person
│   ├── WrongCard            not the card as it stands now: a copy, an edited button, an earlier content
│   ├── TooEarly             the card is not there long enough to have been read
│   ├── AlreadyDecided       somebody was faster, or it is over
│   ├── Expired              its time is up
│   └── Stale                what was approved is no longer what would run
├── ModelError               the asker
│   ├── ModelUnavailable     down, slow, rate limited, refused the key
│   ├── ModelMisbehaved      unfinished or unreadable answer
│   ├── ContextTooLong       the conversation does not fit the model; trim it and ask again
│   └── BudgetSpent          a limit of the turn, conversation, person or day is used up; says what to do next
├── StoreError               the operator: the database cannot be used
│   ├── Conflict             the row moved on since it was read; read again, or stop
│   └── Fenced               the other replicas gave this one up; begin anew
└── ChatError                the chat service refused or cannot be reached
    └── MessageGone          the message to edit is not there any more; post it anew

Anything else is a bug: caught once at the service boundary, logged with its
traceback and an id; the person sees only the id.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar


class OpsbotError(Exception):
    """Base of all errors whose text is safe to show. `audited`: the audit log has a record of it already."""

    audited = False


E = TypeVar("E", bound=OpsbotError)


def audited(error: E) -> E:
    """Note that the audit log tells of this error, so that it is not told twice."""
    error.audited = True
    return error


class ConfigError(OpsbotError):
    """The configuration cannot be used; `faults` lists every problem found, one per line."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults: tuple[str, ...] = faults


class ToolDefinitionError(ConfigError):
    """A tool file is broken; each fault names file, line and remedy."""


class ToolError(OpsbotError):
    """A tool call failed in a way the model can read and react to."""


class BadArguments(ToolError):
    """The arguments do not fit; nothing was run."""


class TooManyRequests(ToolError):
    """Somebody has too many open requests, or asked too often; nothing was proposed."""


class TooManyMessages(ToolError):
    """More messages than are taken in, of one person or of all; this one was not read."""


class UnknownHost(BadArguments):
    """No host or group of that name is in the inventory."""

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        hint = f" Did you mean {' or '.join(near)}?" if near else " `hosts` lists the names."
        super().__init__(f"No host or group named {name!r} in the inventory.{hint}")
        self.name = name
        self.near: tuple[str, ...] = tuple(near)


class CommandFailed(ToolError):
    """The command ran to its end with a non-zero exit status."""


class CommandTimedOut(ToolError):
    """The total deadline passed before the command ended."""


class Stage(StrEnum):
    """How far a connection came."""

    ADDRESS = "address"
    CONNECT = "connect"
    GREETING = "greeting"
    HANDSHAKE = "handshake"
    HOST_KEY = "host key"
    LOG_IN = "log-in"
    KEY_ACCEPTED = "key accepted"
    SESSION = "session"


class HostUnreachable(ToolError):
    """No usable connection to the host; the command was never sent. `failed_at`: the stage, where one was tried."""

    def __init__(self, text: str, *, failed_at: Stage | None = None) -> None:
        super().__init__(text)
        self.failed_at = failed_at


class HostBusy(HostUnreachable):
    """The host is connected, but our other commands take all the sessions it gives us; this one was never sent."""


class TooBusy(ToolError):
    """Every thread for reading waits for a host that does not answer; this call was not begun."""


class OutcomeUnknown(ToolError):
    """The command was sent and no exit status came back: it may or may not have run."""


class HeldBack(ToolError):
    """An action that may not be done now; nothing was sent. `rule` names what holds it back."""

    def __init__(self, text: str, *, rule: str) -> None:
        super().__init__(text)
        self.rule = rule


class Held(HeldBack):
    """A stop or a freeze covers the action."""


class CapReached(HeldBack):
    """So many effects may be had in an hour, or hosts in one action; `free_at` (aware UTC) if waiting helps."""

    def __init__(self, text: str, *, rule: str, free_at: datetime | None = None) -> None:
        super().__init__(text, rule=rule)
        self.free_at = free_at


class TargetTaken(HeldBack):
    """Another action is under way on the same target of the same host."""


class ApprovalError(OpsbotError):
    """A click that does not count, with the reason."""


class NotAllowed(ApprovalError):
    """This person may not decide this approval."""


class WrongCard(ApprovalError):
    """The button is not one of the request's card as it stands now."""


class TooEarly(ApprovalError):
    """The card has not been there long enough to have been read."""


class AlreadyDecided(ApprovalError):
    """Somebody decided before."""


class Expired(ApprovalError):
    """The approval is past its expiry."""


class Stale(ApprovalError):
    """What was approved is no longer what would run."""


class ModelError(OpsbotError):
    """The model could not answer."""


class ModelUnavailable(ModelError):
    """The model's service is down, slow, rate limited or refuses us; `retry_after_s` if it said when."""

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class ModelMisbehaved(ModelError):
    """The model's answer is unfinished or unreadable; nothing in it is used."""


class ContextTooLong(ModelError):
    """The conversation is longer than the model can read; a shorter request may succeed."""


class BudgetSpent(ModelError):
    """A limit on rounds, calls, tokens, money or time is used up; `next_step` says what the asker can do."""

    def __init__(self, text: str, *, next_step: str) -> None:
        super().__init__(text)
        self.next_step = next_step


class StoreError(OpsbotError):
    """The database cannot be read or written."""


class Conflict(StoreError):
    """Somebody else changed the row since it was read."""


class Fenced(StoreError):
    """The other replicas took this one for dead; whatever it was at work on is theirs by now."""


class ChatError(OpsbotError):
    """The chat service refused a call or cannot be reached."""


class MessageGone(ChatError):
    """The message to edit was deleted, or belongs to a workspace that is no more."""
