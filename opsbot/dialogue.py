"""Conversations: one turn at a time per thread, shown while it runs, stopped on demand, resumed after a crash."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import structlog

from opsbot.charting import MAX_CHARTS
from opsbot.delivery import Delivery
from opsbot.domain import (
    Actor,
    AssistantMessage,
    AuditEntry,
    Chart,
    Conversation,
    Message,
    Outcome,
    Place,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    UserMessage,
    turn_lease,
)
from opsbot.errors import ChatError
from opsbot.holds import told
from opsbot.ports import Chat, Clock, LiveText, Store
from opsbot.replica import ABANDONED, MAX_ATTEMPTS, Replica
from opsbot.throttle import TurnPlaces
from opsbot.turn import TurnLoop, last_asker, wants_reply
from opsbot.verdicts import CHANGED_NOTHING, verdict

log = structlog.get_logger(__name__)

# The asker sees a sign of life this often, and is told what works meanwhile after the second figure (llm.md, settled
# deadlines: within 5 s without a token, within 30 s at the latest).
_SIGN_OF_LIFE_S = 5.0
# An answer complete within this time is posted whole; only a longer one is shown while it grows.
_DRAFT_AFTER_S = 1.0
_PATIENCE_S = 25.0


@dataclass(slots=True)
class Dialogue:
    """Runs turns. `places` bounds how many work at the same time, and how many wait."""

    loop: TurnLoop
    store: Store
    chat: Chat
    delivery: Delivery
    clock: Clock
    places: TurnPlaces
    replica: Replica
    _running: dict[str, asyncio.Task[tuple[Conversation, Outcome]]] = field(default_factory=dict)
    _stopped_by: dict[str, Actor] = field(default_factory=dict)

    async def hear(
        self,
        place: Place,
        message: UserMessage,
        *,
        before: Sequence[ToolResult] = (),
        beside: Sequence[ToolResult] = (),
    ) -> None:
        """Append what a person wrote (once, also when repeated after a crash) and answer it.

        `before`: notes that a conversation begins with; `beside`: notes that this message comes with.

        Raises:
            TooManyMessages: too many wait already; nothing was written.
        """
        with self.places.hearing():
            await self._hear(place, message, before, beside)

    async def _hear(
        self, place: Place, message: UserMessage, before: Sequence[ToolResult], beside: Sequence[ToolResult]
    ) -> None:
        async with self.replica.hold(turn_lease(place.key)):
            conversation = await self.store.conversations.load(place)
            earlier = (said for said in conversation.messages if isinstance(said, UserMessage))
            repeated = any(message.repeats(said) for said in earlier)
            if not repeated:
                messages: list[Message] = [*(before if conversation.version == 0 else ()), *beside, message]
                entries = self.loop.minutes.of(conversation, messages, self.clock.now())
                conversation = await self.store.conversations.append(
                    conversation, messages, needs_turn=True, entries=entries
                )
            await self._advance(conversation, recovering=repeated)

    async def wake(self, place: Place, *, recovering: bool = False) -> None:
        """Go on where the history stands, if there is something to do. `recovering`: an earlier process began it."""
        async with self.replica.hold(turn_lease(place.key)) as lease:
            conversation = await self.store.conversations.load(place)
            if not await self._is_due(conversation):
                return
            if lease.attempts > MAX_ATTEMPTS:
                await self._abandon(conversation)
            else:
                await self._advance(conversation, recovering=recovering)

    async def abandon(self, place: Place) -> None:
        """Close a turn that ended opsbot each time it was tried, and say so."""
        async with self.replica.hold(turn_lease(place.key)):
            conversation = await self.store.conversations.load(place)
            if await self._is_due(conversation):
                await self._abandon(conversation)

    async def _is_due(self, conversation: Conversation) -> bool:
        """Whether there is something to do besides waiting for people."""
        if wants_reply(conversation):
            return True
        approvals = {a.call_id: a for a in await self.store.approvals.of_conversation(conversation.id) if a.call_id}
        waiting = {call_id for call_id, approval in approvals.items() if not approval.state.final}
        return any(call.call_id not in waiting for call in conversation.open_calls)

    async def _abandon(self, conversation: Conversation) -> None:
        log.error("turn.abandoned", thread_id=conversation.id, attempts=MAX_ATTEMPTS)
        last = AssistantMessage(ABANDONED, by_code=True)
        view = TurnView(self, conversation.place, last_asker(conversation), recovering=True)
        await view.ending(conversation, last)
        await self.loop.stop(conversation, last)
        await view.deliver()

    async def reset(self, place: Place, actor: Actor) -> None:
        """Forget the thread's history, as this person asked."""
        record = AuditEntry("conversation.reset", self.clock.now(), actor.key, place.key)
        async with self.replica.hold(turn_lease(place.key)):
            await self.store.conversations.reset(await self.store.conversations.load(place), entries=[record])

    def stop(self, place: Place, actor: Actor) -> bool:
        """End the running turn of this thread; False if none runs."""
        task = self._running.get(place.key)
        if task is None:
            return False
        self._stopped_by[place.key] = actor
        task.cancel()
        return True

    def runs(self, place: Place) -> bool:
        """Whether a turn of this thread runs in this process."""
        return place.key in self._running

    async def _advance(self, conversation: Conversation, *, recovering: bool = False) -> None:
        asker = last_asker(conversation)
        view = TurnView(self, conversation.place, asker, recovering=recovering)
        async with AsyncExitStack() as place:
            taken = place.enter_async_context(self.places.take(asker.key))
            await view.watch(asyncio.create_task(taken), "waiting for its turn")
            began = self.clock.monotonic()
            task = asyncio.create_task(self.loop.advance(conversation, view))
            self._running[conversation.place.key] = task
            try:
                await view.watch(task, "thinking")
                self._note_end(type(task.result()[1]).__name__, began)
                await view.deliver()
            except asyncio.CancelledError:
                await self._cancelled(conversation.place, view, task)
                self._note_end("Stopped", began)
                return
            finally:
                self._running.pop(conversation.place.key, None)
                await self.chat.status(conversation.place, "")
        await view.pictures()

    def _note_end(self, outcome: str, began: float) -> None:
        took_s = round(self.clock.monotonic() - began, 3)
        log.info("turn.finished", outcome=outcome, duration_s=took_s)

    async def _cancelled(
        self, place: Place, view: "TurnView", task: asyncio.Task[tuple[Conversation, Outcome]]
    ) -> None:
        """Close a turn somebody stopped; a shutdown leaves it as it is, to be resumed at the next start."""
        actor = self._stopped_by.pop(place.key, None)
        if actor is None:
            task.cancel()
            raise asyncio.CancelledError
        last = AssistantMessage(f"Stopped by <@{actor.user_id}>.", by_code=True)
        conversation = await self.store.conversations.load(place)
        await view.ending(conversation, last)
        await self.loop.stop(conversation, last)
        await view.deliver()


class TurnView:
    """Shows one turn to people: status, growing text, and the words that end it."""

    def __init__(self, dialogue: Dialogue, place: Place, asker: Actor, *, recovering: bool) -> None:
        self._dialogue = dialogue
        self._place = place
        self._asker = asker
        self._recovering = recovering
        self._live: LiveText | None = None
        self._said = ""
        self._first_words_at = 0.0
        self._what = ""
        self._told = False
        self._ending: tuple[str, Text] | None = None
        self._charts: list[Chart] = []

    async def text(self, so_far: str) -> None:
        """Show the reply while it is written."""
        if not so_far.strip() or self._recovering:
            return  # after a crash the draft may stand already; the final words find it by its key
        self._said = so_far
        now = self._dialogue.clock.monotonic()
        self._first_words_at = self._first_words_at or now
        if now - self._first_words_at < _DRAFT_AFTER_S:
            return
        with suppress(ChatError):
            if self._live is None:
                conversation = await self._dialogue.store.conversations.load(self._place)
                key = answer_key(conversation)
                self._live = await self._dialogue.chat.live(self._place, key=key, asker=self._asker)
            await self._live.show(so_far)

    async def working(self, what: str) -> None:
        """Show what is being done."""
        self._what = what
        await self._dialogue.chat.status(self._place, f"is {what}…")

    async def proposing(self, call: ToolCall) -> None:
        """Post what was said before the card, so that it reads in order; several cards share one such message."""
        said, live = self._said, self._live
        self._said, self._live = "", None
        if not said.strip():
            return
        key = f"words:{self._place.key}:{call.call_id}"
        if live is not None:
            await self._dialogue.delivery.finish(key, self._place, Text(said), live)
        else:
            await self._dialogue.delivery.send(key, self._place, Text(said))

    async def charts(self, charts: Sequence[Chart]) -> int:
        """Keep charts for the end of the turn, the first ones of all that come."""
        shown = charts[: MAX_CHARTS - len(self._charts)]
        self._charts += shown
        return len(shown)

    async def blind(self, conversation: Conversation, why: str) -> None:
        """Say once for each message with pictures that they are not looked at."""
        asked = [m for m in conversation.messages if isinstance(m, UserMessage) and m.shown]
        key = f"blind:{conversation.id}:{asked[-1].at.isoformat() if asked else ''}"
        if await self._dialogue.store.outbox.get(key) is None:
            text = f"I answer without the pictures: {why}. Write what they say, or paste it as text."
            await self._dialogue.delivery.send(key, self._place, Text(text, trusted=True))

    async def ending(self, conversation: Conversation, last: AssistantMessage) -> None:
        """Write the last words to the outbox before the history says they were said."""
        key = answer_key(conversation)
        messages = (*conversation.messages, last)
        footer = "" if last.by_code else self._dialogue.loop.meter.footer(_newest_turn(messages))
        content = Text(last.text, trusted=last.by_code, footer=await self._noted(footer, conversation, last))
        self._ending = (key, content)
        await self._dialogue.store.outbox.put(key, self._place, content)

    async def _noted(self, footer: str, conversation: Conversation, last: AssistantMessage) -> str:
        """Add what code knows: how requests ended that the words are about, and whether actions are stopped."""
        approvals = await self._dialogue.store.approvals.of_conversation(conversation.id)
        stop = await self._dialogue.loop.executor.checkpoint.stopped()
        checked = "" if last.by_code else verdict(conversation.messages, approvals)
        below = f"{footer} · {CHANGED_NOTHING}" if footer and not checked else footer
        said = [checked, told(stop) if stop else "", below]
        return "\n".join(filter(None, said))

    async def watch(self, task: asyncio.Task[object], what: str) -> None:
        """Wait for this part of the turn, giving signs of life. Raises what it raised."""
        self._what = what
        waited_s = 0.0
        while not task.done():
            try:
                done, _ = await asyncio.wait({task}, timeout=_SIGN_OF_LIFE_S)
            except asyncio.CancelledError:
                task.cancel()
                raise
            if done:
                break
            waited_s += _SIGN_OF_LIFE_S
            await self._dialogue.chat.status(self._place, f"is {self._what}… {waited_s:.0f} s")
            if waited_s >= _PATIENCE_S and not self._told and not self._said:
                self._told = True
                text = f"Still {self._what} after {waited_s:.0f} s. Commands work meanwhile: `/ops help`."
                await self._dialogue.delivery.whisper(self._place, self._asker, Text(text, trusted=True))
        task.result()

    async def deliver(self) -> None:
        """Send what `ending` announced."""
        if self._ending is None:
            return
        key, content = self._ending
        if self._live is not None:
            await self._dialogue.delivery.finish(key, self._place, content, self._live)
        else:
            await self._dialogue.delivery.send(key, self._place, content, recovering=self._recovering)

    async def pictures(self) -> None:
        """Show the turn's charts below its words."""
        await self._dialogue.delivery.pictures(self._place, self._asker, self._charts)


def answer_key(conversation: Conversation) -> str:
    """Name the next words of a conversation: the same when asked again after a crash, another one after each reply."""
    return f"answer:{conversation.id}:{conversation.version}"


def _newest_turn(messages: Sequence[Message]) -> list[Usage]:
    """Return what the replies since the newest question took."""
    usages: list[Usage] = []
    for message in messages:
        if isinstance(message, UserMessage):
            usages = []
        elif isinstance(message, AssistantMessage):
            usages.append(message.usage)
    return usages
