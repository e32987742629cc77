"""What comes in: what people write, click and send."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from opsbot.domain.people import Actor, Place
from opsbot.incident_report import Words


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file on a message, as the chat service tells of it; nothing in it is checked. `url` "": it has to be asked."""

    file_id: str
    name: str = ""
    mimetype: str = ""
    size_bytes: int = 0
    url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A person wrote to the bot (mention, thread reply, DM); `text` is plain, without the bot's mention.

    `files_told`: `files` are all there are; where not, the chat service has to be asked. `pointed_at`: the words of a
    message that is to be looked into, whoever wrote it.
    """

    place: Place
    actor: Actor
    text: str
    message_id: str
    addressed: bool = True
    files: tuple[Attachment, ...] = ()
    files_told: bool = field(default=True, compare=False)
    pointed_at: str = ""


@dataclass(frozen=True, slots=True)
class IncomingCommand:
    """A slash command, or `!words` in a thread (then `place.thread_id` is set and `reply_to` is "")."""

    place: Place
    actor: Actor
    text: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class IncomingDecision:
    """A click on an approval card. `verb`: approve, approve_while, deny, withdraw, narrow, plan, or an OrderVerb.

    `seal`: what came with the button (see `seals`). `chosen`: numbers of the hosts to leave out, as on the card.
    """

    place: Place
    actor: Actor
    approval_id: str
    verb: str
    message_id: str
    reply_to: str = ""
    seal: str = ""
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class IncomingStop:
    """Somebody pressed Stop on a running turn."""

    place: Place
    actor: Actor


@dataclass(frozen=True, slots=True)
class IncomingReportClick:
    """A click on a report's draft. `verb`: edit, publish or discard. `trigger` opens a form, once and soon."""

    place: Place
    actor: Actor
    report_id: str
    verb: str
    message_id: str
    seal: str = ""
    reply_to: str = ""
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class IncomingReportEdit:
    """A report's form was sent. `version`: which the person had before them, proved by `seal`."""

    place: Place
    actor: Actor
    report_id: str
    version: int
    seal: str
    words: Words


Incoming: TypeAlias = (
    IncomingMessage | IncomingCommand | IncomingDecision | IncomingStop | IncomingReportClick | IncomingReportEdit
)


@dataclass(frozen=True, slots=True)
class InboxItem:
    """An accepted event, not yet handled."""

    id: str
    event: Incoming
    received_at: datetime
