"""What a replica that is gone was at work on is gone on with; what belongs to a living one is handed to it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from opsbot.background import Background
from opsbot.delivery import Delivery
from opsbot.desk import ApprovalDesk
from opsbot.dialogue import Dialogue
from opsbot.domain import (
    AuditEntry,
    InboxItem,
    IncomingDecision,
    IncomingMessage,
    IncomingStop,
    Json,
    OrderVerb,
    Text,
    event_lease,
    run_lease,
    turn_lease,
)
from opsbot.ports import Clock, Store
from opsbot.replica import ABANDONED, MAX_ATTEMPTS, Replica

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Takeover:
    """Sorts leases to whoever knows the work. `handle` handles an event."""

    store: Store
    replica: Replica
    delivery: Delivery
    desk: ApprovalDesk
    dialogue: Dialogue
    clock: Clock
    background: Background
    handle: Callable[[InboxItem], Awaitable[None]]

    async def adopt(self, names: Sequence[str]) -> None:
        """Go on with the work of these leases, unless another replica was faster. Raises StoreError."""
        turns = set()
        for name in names:
            kind, _, subject = name.partition(":")
            log.info("lease.adopted", lease=name)
            match kind:
                case "event":
                    await self._adopt_event(name, subject)
                case "run":
                    self.background.begin_guarded("takeover", self.desk.adopt(subject))
                case "send":
                    self.background.begin_guarded("takeover", self.delivery.adopt(subject))
                case "turn":
                    turns.add(name)
                case _:
                    await self._clear(name)
        if turns:
            await self._adopt_turns(turns)

    async def _adopt_event(self, name: str, item_id: str) -> None:
        lease = await self.replica.take(name)
        if lease is None:
            return
        item = await self.store.inbox.get(item_id)
        if item is None:
            await self.replica.drop(name)
        elif lease.attempts > MAX_ATTEMPTS:
            self.background.begin_guarded("takeover", self._abandon(item))
        else:
            self.background.begin(self.handle(item))

    async def _abandon(self, item: InboxItem) -> None:
        """End an event that ended opsbot each time it was tried, and say so where it came from."""
        event = item.event
        log.error("event.abandoned", event_id=item.id, kind=type(event).__name__, attempts=MAX_ATTEMPTS)
        facts: dict[str, Json] = {"event": item.id, "kind": type(event).__name__, "attempts": MAX_ATTEMPTS}
        entry = AuditEntry("event.abandoned", self.clock.now(), event.actor.key, event.place.key, facts=facts)
        await self.store.audit.append(entry)
        conversation = await self.store.conversations.load(event.place)
        if isinstance(event, IncomingMessage) and conversation.messages:
            await self.dialogue.abandon(event.place)
        else:
            await self.delivery.send(f"abandoned:{item.id}", event.place, Text(ABANDONED, trusted=True))
        await self.store.inbox.finish(item.id)

    async def _adopt_turns(self, names: set[str]) -> None:
        for place in await self.store.conversations.needing_turn():
            if turn_lease(place.key) in names:
                names.discard(turn_lease(place.key))
                self.background.begin_guarded("takeover", self.dialogue.wake(place, recovering=True))
        for name in names:
            await self._clear(name)

    async def _clear(self, name: str) -> None:
        if await self.replica.take(name) is not None:
            await self.replica.drop(name)

    async def hand_over(self, item: InboxItem) -> bool:
        """Give an order or a stop to the other replica that runs what it is about; False: it is for this one."""
        match item.event:
            case IncomingDecision(approval_id=approval_id, verb=verb) if verb in tuple(OrderVerb):
                here, what = self.desk.runs(approval_id), run_lease(approval_id)
            case IncomingStop(place=place):
                here, what = self.dialogue.runs(place), turn_lease(place.key)
            case _:
                return False
        return not here and await self.replica.hand_over(event_lease(item.id), to_holder_of=what)
