"""The commands of `/ops` and `!words`, as they are understood: one type each."""

from dataclasses import dataclass
from typing import TypeAlias

from opsbot.spending import Split


@dataclass(frozen=True, slots=True)
class Read:
    """A command answered by one reading tool."""

    tool: str
    hosts: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask for an approval of a writing tool's call, or do a reading tool's at once: `tool` says which."""

    tool: str
    hosts: tuple[str, ...]
    arguments: tuple[tuple[str, str | int], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """The model path."""

    text: str


@dataclass(frozen=True, slots=True)
class ListTools:
    """Show the tools."""


@dataclass(frozen=True, slots=True)
class ListApprovals:
    """Show open and recent approvals."""


@dataclass(frozen=True, slots=True)
class Explain:
    """Show everything recorded about one approval."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back a request, or end an approval that counts again."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Leave hosts out of a request."""

    approval_id: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget this thread's conversation."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show the commands."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Hold back what a scope names. `period`: `for …`, `until …` or nothing (see `periods`)."""

    scope: str
    period: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unfreeze:
    """End a freeze, by its id or its scope."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListFreezes:
    """Show what holds actions back."""


@dataclass(frozen=True, slots=True)
class StopAll:
    """Stop every action. A reason is welcome, and never waited for."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResumeAll:
    """Say that actions may go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class ShowUsage:
    """Show what the model took in the last days."""

    by: Split = Split.DAY
    days: int = 7


@dataclass(frozen=True, slots=True)
class TakeAlert:
    """Read this as an alert, and look into it."""

    text: str


@dataclass(frozen=True, slots=True)
class MakeReport:
    """Write a report of this thread's incident."""


Brake: TypeAlias = Freeze | Unfreeze | ListFreezes | StopAll | ResumeAll
Command: TypeAlias = (
    Read
    | Propose
    | Ask
    | ListTools
    | ListApprovals
    | Explain
    | Withdraw
    | LeaveOut
    | Reset
    | Help
    | ShowUsage
    | MakeReport
    | TakeAlert
    | Brake
)
