"""What goes out to people."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from opsbot.domain.approvals import Approval, Order
from opsbot.domain.people import MessageRef, Place
from opsbot.incident_report import IncidentReport


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people; every cell is plain text."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart; points are (aware UTC, finite value), oldest first."""

    name: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of figures over time. `unit`: percent, bytes, seconds or "" (a plain number).

    `threshold` (finite) is a line across it: what must not be passed.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Markdown of the model's, or plain words of opsbot's own (then `trusted`). Never a card's facts.

    `to`: who is notified of it, as `user:ID` and `group:ID`; only code says that, no words in the text can.
    """

    markdown: str
    trusted: bool = False
    footer: str = ""
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a command, by code: a sentence, tables, preformatted blocks, errors per host, and charts."""

    text: str
    tables: tuple[Table, ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One line of progress. `state`: waiting, paused, running, done, failed or untouched."""

    title: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """The approval card: everything on it comes from the record and the clock. `order` is what people last ordered.

    `seal` goes with its buttons (see `seals`). `while_minutes`: for how long it can be approved; 0: only once.
    `held`: what holds it back now, in code's words.
    """

    approval: Approval
    steps: tuple[Step, ...] = ()
    order: Order | None = None
    seal: str = ""
    while_minutes: int = 0
    held: str = ""


@dataclass(frozen=True, slots=True)
class IncidentCard:
    """An incident's report: with `seal` its draft, which can be edited and published; `final` its published form."""

    report: IncidentReport
    seal: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file for people. `name` is unique in its thread."""

    name: str
    title: str
    text: str = field(repr=False)


Content: TypeAlias = Text | Report | Card | IncidentCard


class OutboxState(StrEnum):
    """Whether people see an outgoing message as it is stored (sent), or it has to be looked at again (waiting)."""

    WAITING = "waiting"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A message to deliver once. `key` is unique and travels with it, so a re-send can be recognised."""

    key: str
    place: Place
    content: Content
    state: OutboxState = OutboxState.WAITING
    ref: MessageRef | None = None
    # Counts the contents under this key.
    version: int = 1
    # False: another replica is sending it, and brings this content too.
    ours: bool = True
    # Another replica was sending it and is gone: it may stand there although nobody wrote down where.
    doubtful: bool = False
