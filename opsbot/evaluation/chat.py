"""Chat and directory of an evaluation: what is shown is kept, and everybody named is a member."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from opsbot.domain import Actor, Card, Chart, Content, IncidentCard, Membership, MessageRef, Place, TextFile
from opsbot.errors import ChatError
from opsbot.threads import Thread


@dataclass(slots=True)
class Shown:
    """A message as it stands now."""

    place: Place
    ref: MessageRef
    key: str
    content: Content


@dataclass(slots=True)
class KeptText:
    """Implements `ports.LiveText`: only the end of it is kept."""

    chat: "KeptChat"
    place: Place
    key: str

    async def show(self, markdown: str) -> None:
        """Nobody watches."""

    async def finish(self, content: Content) -> MessageRef:
        """Keep the final content."""
        return await self.chat.post(self.place, content, key=self.key)


@dataclass(slots=True)
class KeptChat:
    """Implements `ports.Chat` in memory."""

    messages: list[Shown] = field(default_factory=list)
    whispers: list[Content] = field(default_factory=list)

    async def post(self, place: Place, content: Content, *, key: str) -> MessageRef:
        """Keep a message."""
        ref = MessageRef(place.channel_id, str(len(self.messages) + 1))
        self.messages.append(Shown(place, ref, key, content))
        return ref

    async def edit(self, place: Place, ref: MessageRef, content: Content) -> None:
        """Replace a message's content."""
        self.messages[int(ref.message_id) - 1].content = content

    async def whisper(self, place: Place, actor: Actor, content: Content, *, reply_to: str = "") -> None:
        """Keep a private answer."""
        self.whispers.append(content)

    async def status(self, place: Place, text: str) -> None:
        """Nobody watches."""

    async def live(self, place: Place, *, key: str, asker: Actor) -> KeptText:
        """Begin an answer."""
        return KeptText(self, place, key)

    async def pictures(self, place: Place, charts: Sequence[Chart], *, to: Actor | None = None) -> None:
        """Nobody watches."""

    async def files(self, place: Place, files: Sequence[TextFile], *, look: bool = False) -> None:
        """Nobody reads them."""

    async def form(self, trigger: str, place: Place, card: IncidentCard) -> None:
        """Refuse: nobody is there to fill it in."""
        raise ChatError("Nobody fills in forms in an evaluation.")

    async def find(self, place: Place, key: str) -> MessageRef | None:
        """Return where the message with this key stands."""
        return next((each.ref for each in self.messages if each.key == key), None)

    async def earlier(self, place: Place, *, before: str) -> Thread:
        return Thread()

    def card_of(self, approval_id: str) -> tuple[Card, Shown] | None:
        """Return a request's card and the message it is in."""
        for shown in self.messages:
            if isinstance(shown.content, Card) and shown.content.approval.id == approval_id:
                return shown.content, shown
        return None


class OpenDirectory:
    """Implements `ports.Directory`: the people of an evaluation are members and in no group."""

    async def membership_of(self, actor: Actor) -> Membership:
        """Return that they are members."""
        return Membership.MEMBER

    async def groups_of(self, actor: Actor) -> frozenset[str]:
        """Return no groups."""
        return frozenset()
