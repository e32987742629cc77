"""In-memory Chat and Directory: what was posted, edited and whispered, readable as a transcript."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from opsbot.domain import (
    Actor,
    Card,
    Chart,
    Content,
    IncidentCard,
    Membership,
    MessageRef,
    Place,
    Report,
    Text,
    TextFile,
)
from opsbot.errors import ChatError, MessageGone
from opsbot.threads import Thread


@dataclass(slots=True)
class Posted:
    """One message as it stands now; `history` holds every content it ever had, oldest first."""

    place: Place
    ref: MessageRef
    key: str
    history: list[Content]

    @property
    def content(self) -> Content:
        return self.history[-1]


@dataclass(frozen=True, slots=True)
class Whispered:
    """A private answer."""

    place: Place
    actor: Actor
    content: Content
    reply_to: str


def lines(content: Content) -> list[str]:
    """Say a content in plain lines, for transcripts."""
    match content:
        case Text():
            to = [f"to {', '.join(content.to)}:"] if content.to else []
            return to + content.markdown.splitlines() + ([f"({content.footer})"] if content.footer else [])
        case Report():
            return _report_lines(content)
        case Card():
            return _card_lines(content)
        case IncidentCard():
            return _incident_lines(content)


def _report_lines(report: Report) -> list[str]:
    said = report.text.splitlines()
    for table in report.tables:
        said += [table.title] if table.title else []
        said += [" | ".join(row) for row in (table.headers, *table.rows)]
    for title, text in report.blocks:
        said += [f"{title}:", *(f"    {line}" for line in text.splitlines())]
    return said + [f"{host}: {error}" for host, error in report.errors]


def _card_lines(card: Card) -> list[str]:
    approval = card.approval
    arguments = " ".join(f"{name}={value}" for name, value in sorted(approval.action.arguments.items()))
    said = [f"[card {approval.state}] {approval.action.tool} {arguments} on {', '.join(approval.action.hosts)}"]
    said += [f"  {step.title}: {step.state}" for step in card.steps]
    return said + [f"  {outcome.host}: {outcome.result}: {outcome.summary}" for outcome in approval.outcomes]


def _incident_lines(card: IncidentCard) -> list[str]:
    report = card.report
    said = [f"[{'final' if card.final else 'draft'} report, {report.state}] {report.words.title}"]
    return said + [f"  {line}" for line in (report.words.summary, report.note) if line]


@dataclass(frozen=True, slots=True)
class Pictured:
    """Charts shown at once; `below` is the newest message or whisper at that time, `to` None for everybody."""

    place: Place
    charts: tuple[Chart, ...]
    to: Actor | None
    below: Content | None


class FakeLiveText:
    """ports.LiveText in memory: every draft is kept in the chat's `drafts`."""

    def __init__(self, chat: "FakeChat", place: Place, key: str) -> None:
        self._chat = chat
        self._place = place
        self._key = key

    async def show(self, markdown: str) -> None:
        self._chat.drafts.append((self._place, markdown))

    async def finish(self, content: Content) -> MessageRef:
        return await self._chat.post(self._place, content, key=self._key)


@dataclass
class FakeChat:
    """ports.Chat in memory. Put an error into `failures` to make the next post, edit or whisper raise it."""

    messages: list[Posted] = field(default_factory=list)
    whispers: list[Whispered] = field(default_factory=list)
    statuses: list[tuple[Place, str]] = field(default_factory=list)
    drafts: list[tuple[Place, str]] = field(default_factory=list)
    pictured: list[Pictured] = field(default_factory=list)
    threads: dict[str, Thread | ChatError] = field(default_factory=dict)
    picture_failures: list[ChatError] = field(default_factory=list)
    failures: list[ChatError] = field(default_factory=list)
    uploads: list[tuple[Place, TextFile]] = field(default_factory=list)
    file_failures: list[ChatError] = field(default_factory=list)
    forms: list[tuple[str, IncidentCard]] = field(default_factory=list)
    _ids: "count[int]" = field(default_factory=lambda: count(1))

    async def post(self, place: Place, content: Content, *, key: str) -> MessageRef:
        self._fail_if_asked()
        ref = MessageRef(place.channel_id, f"1700000000.{next(self._ids):06d}")
        self.messages.append(Posted(place, ref, key, [content]))
        return ref

    async def edit(self, place: Place, ref: MessageRef, content: Content) -> None:
        self._fail_if_asked()
        for message in self.messages:
            if message.ref == ref:
                message.history.append(content)
                return
        raise MessageGone(f"There is no message {ref.message_id} in {ref.channel_id}.")

    async def whisper(self, place: Place, actor: Actor, content: Content, *, reply_to: str = "") -> None:
        self._fail_if_asked()
        self.whispers.append(Whispered(place, actor, content, reply_to))

    async def status(self, place: Place, text: str) -> None:
        self.statuses.append((place, text))

    async def live(self, place: Place, *, key: str, asker: Actor) -> FakeLiveText:
        return FakeLiveText(self, place, key)

    async def pictures(self, place: Place, charts: Sequence[Chart], *, to: Actor | None = None) -> None:
        if self.picture_failures:
            raise self.picture_failures.pop(0)
        newest = self.whispers[-1:] if to else self.messages[-1:]
        self.pictured.append(Pictured(place, tuple(charts), to, newest[0].content if newest else None))

    async def files(self, place: Place, files: Sequence[TextFile], *, look: bool = False) -> None:
        if self.file_failures:
            raise self.file_failures.pop(0)
        known = {file.name for where, file in self.uploads if where == place} if look else set()
        self.uploads += [(place, file) for file in files if file.name not in known]

    async def form(self, trigger: str, place: Place, card: IncidentCard) -> None:
        self._fail_if_asked()
        self.forms.append((trigger, card))

    async def find(self, place: Place, key: str) -> MessageRef | None:
        return next((m.ref for m in self.messages if m.key == key and m.place.channel_id == place.channel_id), None)

    async def earlier(self, place: Place, *, before: str) -> Thread:
        found = self.threads.get(place.key, Thread())
        if isinstance(found, ChatError):
            raise found
        return found

    def cards(self) -> list[Card]:
        """Every card as it stands now, oldest first."""
        return [message.content for message in self.messages if isinstance(message.content, Card)]

    def last_card(self) -> Card:
        """The newest card as it stands now."""
        return self.cards()[-1]

    def last_text(self) -> str:
        """The newest message as it stands now, as plain lines."""
        return "\n".join(lines(self.messages[-1].content))

    def transcript(self, place: Place | None = None) -> list[str]:
        """Everything shown, in order: messages as they stand now, then whispers as `(to U1) …`."""
        shown = [m for m in self.messages if place in (None, m.place)]
        said = [line for message in shown for line in lines(message.content)]
        private = [w for w in self.whispers if place in (None, w.place)]
        return said + [f"(to {w.actor.user_id}) {line}" for w in private for line in lines(w.content)]

    def _fail_if_asked(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class FakeDirectory:
    """ports.Directory in memory: `groups` maps a group id to the keys (`team/user`) of its people.

    `memberships`: what accounts are, by key, if not members. `down`: groups cannot be read; `blind`: nobody can be.
    """

    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    down: bool = False
    memberships: dict[str, Membership] = field(default_factory=dict)
    blind: bool = False

    async def membership_of(self, actor: Actor) -> Membership:
        if self.blind:
            raise ChatError("Nobody can be looked up now.")
        return self.memberships.get(actor.key, Membership.MEMBER)

    async def groups_of(self, actor: Actor) -> frozenset[str]:
        if self.down:
            raise ChatError("The user groups cannot be read now.")
        return frozenset(group for group, people in self.groups.items() if actor.key in people)
