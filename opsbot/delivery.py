"""Messages out, each once: written to the outbox first, recognised by their key after a crash, edited from then on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

import structlog

from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Card,
    Chart,
    Content,
    MessageRef,
    Order,
    OutboxItem,
    Place,
    Step,
    Text,
)
from opsbot.errors import ChatError, Fenced, MessageGone
from opsbot.ports import Chat, LiveText, Store

# An unknown outcome may still be settled, so its card is not.
_ENDS = frozenset(state for state in ApprovalState if state.final) - {ApprovalState.UNKNOWN}

# Pictures that are not there by then are given up: the figures stand in the answer above.
_PICTURES_S = 45.0

log = structlog.get_logger(__name__)


Dress = Callable[[Card], Card]


class Delivery:
    """Posts through the outbox; one at a time per key, so that two updates never become two messages."""

    def __init__(self, chat: Chat, store: Store, dress: Dress) -> None:
        """`dress` completes a card by what goes with its buttons."""
        self._chat = chat
        self._store = store
        self._dress = dress
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stale: dict[str, tuple[Place, Content]] = {}

    async def send(self, key: str, place: Place, content: Content, *, recovering: bool = False) -> MessageRef | None:
        """Post `content` once under `key`, or bring the message already posted under it up to date.

        Returns None when the chat service did not take it now; the sweep tries again.
        """
        async with self._lock(key):
            item = await self._store.outbox.put(key, place, content)
            if not item.ours:
                return item.ref
            try:
                return await self._bring_newest(item, recovering=recovering)
            except (ChatError, Fenced) as error:
                log.warning("outbox.delayed", key=key, error=str(error))
                self._stale[key] = (place, content)
                return None

    async def _bring_newest(self, item: OutboxItem, *, recovering: bool) -> MessageRef:
        """Bring people the content, and again while somebody puts a newer one meanwhile. Raises ChatError."""
        while True:
            content = await self._current(item.content)
            look = recovering or item.doubtful
            known = item.ref or (await self._chat.find(item.place, item.key) if look else None)
            ref = await self._bring(item.place, known, content, item.key)
            self._stale.pop(item.key, None)
            settled = _settled(content)
            newer = await self._store.outbox.sent(item.key, ref, version=item.version, settled=settled)
            if newer is None:
                return ref
            item = newer

    async def _bring(self, place: Place, ref: MessageRef | None, content: Content, key: str) -> MessageRef:
        """Edit the message, or post it if there is none (any more). Raises ChatError."""
        if ref is not None:
            try:
                await self._chat.edit(place, ref, content)
                return ref
            except MessageGone:
                log.info("outbox.gone", key=key)
        return await self._chat.post(place, content, key=key)

    async def finish(self, key: str, place: Place, content: Content, live: LiveText) -> None:
        """Bring a live draft to its end; if that fails, the message goes the ordinary way."""
        async with self._lock(key):
            item = await self._store.outbox.put(key, place, content)
            try:
                ref = await live.finish(content)
                if await self._store.outbox.sent(key, ref, version=item.version) is None:
                    return
            except (ChatError, Fenced) as error:
                log.warning("live.failed", key=key, error=str(error))
        await self.send(key, place, content, recovering=True)

    async def card(
        self, approval: Approval, steps: tuple[Step, ...] = (), order: Order | None = None
    ) -> MessageRef | None:
        """Post or refresh an approval's card."""
        return await self.send(card_key(approval.id), approval.place, self._dress(Card(approval, steps, order)))

    async def card_ref(self, approval_id: str) -> MessageRef | None:
        """Where the approval's card stands."""
        item = await self._store.outbox.get(card_key(approval_id))
        return item.ref if item else None

    async def find_card(self, approval: Approval) -> MessageRef | None:
        """Look for a card that was posted, but of which nobody wrote down where: whoever did it may be gone."""
        try:
            return await self._chat.find(approval.place, card_key(approval.id))
        except ChatError:
            return None

    async def whisper(self, place: Place, actor: Actor, content: Content, *, reply_to: str = "") -> None:
        """Answer one person privately; a failure is only logged, since there is nobody else to tell."""
        try:
            await self._chat.whisper(place, actor, content, reply_to=reply_to)
        except ChatError as error:
            log.warning("whisper.failed", error=str(error))

    async def pictures(
        self, place: Place, actor: Actor, charts: Sequence[Chart], *, private: bool = False, reply_to: str = ""
    ) -> None:
        """Show charts below an answer that went out before; `private`: to the actor alone.

        Not through the outbox: a picture may be lost in a crash, and is never shown twice. What fails is told once.
        """
        if not charts:
            return
        try:
            async with asyncio.timeout(_PICTURES_S):
                await self._chat.pictures(place, charts, to=actor if private else None)
            return
        except TimeoutError:
            why = f"it was not there within {_PICTURES_S:.0f} s."
        except ChatError as error:
            why = str(error)
        log.warning("pictures.failed", why=why)
        await self.whisper(place, actor, Text(f"No picture: {why}", trusted=True), reply_to=reply_to)

    async def recover(self) -> None:
        """At start: bring every message up to date that the last process may have left behind its content.

        Looks first whether a message arrived after all, so that none is posted twice.
        """
        for item in await self._store.outbox.waiting():
            await self.send(item.key, item.place, item.content, recovering=True)

    async def adopt(self, key: str) -> None:
        """Finish what a replica that is gone had begun to send."""
        item = await self._store.outbox.get(key)
        if item is not None:
            await self.send(key, item.place, item.content, recovering=True)

    async def resend(self) -> None:
        """Repeat what the chat service did not take."""
        for key, (place, content) in list(self._stale.items()):
            await self.send(key, place, content, recovering=True)

    async def _current(self, content: Content) -> Content:
        """A card is drawn from its record as it is now: of two replicas' cards the newer one must win."""
        if not isinstance(content, Card):
            return content
        stored = await self._store.approvals.get(content.approval.id) or content.approval
        same = stored.version <= content.approval.version
        return self._dress(content if same else replace(content, approval=stored, steps=()))

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())


def _settled(content: Content) -> bool:
    """A card is settled once nothing more can happen to its approval; everything else is when it stands there."""
    return not isinstance(content, Card) or content.approval.state in _ENDS


def card_key(approval_id: str) -> str:
    """The outbox key of an approval's card."""
    return f"card:{approval_id}"
