"""From the start of a process to its orderly end: recovery, showing life to other replicas, sweeps, draining."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from opsbot import outputs, pictures
from opsbot.background import Background, guarded
from opsbot.delivery import Delivery
from opsbot.desk import ApprovalDesk
from opsbot.dialogue import Dialogue
from opsbot.domain import InboxItem, turn_lease
from opsbot.errors import Fenced
from opsbot.escalation import Escalation
from opsbot.executor import Executor
from opsbot.metering import Meter
from opsbot.ports import Clock, Store
from opsbot.recorder import Recorder
from opsbot.replica import Replica
from opsbot.sampling import Sampling
from opsbot.shelving import Shelving
from opsbot.spending import KEPT_FOR
from opsbot.stopping import Stopping

log = structlog.get_logger(__name__)

_SWEEP_S = 5.0
# The end takes 20 s at most: 2 to accept and 2 to post what was begun (Slack adapter), these, the last writes
# once for figures and once to leave, 2 for the last anchor.
_DRAIN_S = 10.0
_LAST_WRITE_S = 2.0
_POSTPONE_MAX_S = 300.0
_UPKEEP_EVERY = timedelta(seconds=30)
# A repeated event is recognised so long. Slack repeats within about an hour, and a signature is good for five minutes.
_EVENTS_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Organs:
    """What lives."""

    store: Store
    replica: Replica
    executor: Executor
    clock: Clock
    delivery: Delivery
    desk: ApprovalDesk
    dialogue: Dialogue
    escalation: Escalation
    recorder: Recorder
    sampling: Sampling
    shelving: Shelving
    stopping: Stopping
    meter: Meter


@dataclass(slots=True)
class Life:
    """One process. `adopt` goes on with leases that lapsed, `handle` with an event that was postponed."""

    organs: Organs
    background: Background
    adopt: Callable[[Sequence[str]], Awaitable[None]]
    handle: Callable[[InboxItem], Awaitable[None]]
    given_up: asyncio.Event = field(default_factory=asyncio.Event)
    _postponed: list[tuple[float, InboxItem]] = field(default_factory=list)
    _failed: dict[str, int] = field(default_factory=dict)
    _sweeper: asyncio.Task[None] | None = None
    _living: asyncio.Task[None] | None = None
    _sweeping: bool = False
    _swept: asyncio.Event = field(default_factory=asyncio.Event)
    _last_upkeep_at: datetime | None = None

    async def start(self) -> None:
        """Take up whatever was left by others, then begin to sweep. Call once the chat service is reachable."""
        lapsed = await self.organs.replica.start()
        if self.organs.replica.shared:
            self._living = asyncio.create_task(self._live())
        self.background.begin_guarded("recover", self.organs.delivery.recover())
        await self.organs.desk.recover()
        await self.adopt(lapsed)
        await self._wake_waiting()
        self._last_upkeep_at = self.organs.clock.now()
        self._sweeper = asyncio.create_task(self._sweep())
        self.organs.sampling.start()
        self.organs.shelving.start()

    def postpone(self, item: InboxItem) -> bool:
        """Handle an event again later, ever more rarely: the database could not be used. True for the first time."""
        failed = self._failed[item.id] = self._failed.get(item.id, 0) + 1
        wait_s = min(_SWEEP_S * 2 ** (failed - 1), _POSTPONE_MAX_S)
        self._postponed.append((self.organs.clock.monotonic() + wait_s, item))
        return failed == 1

    def _try_again(self) -> None:
        now_s = self.organs.clock.monotonic()
        due = [item for at_s, item in self._postponed if at_s <= now_s]
        self._postponed = [(at_s, item) for at_s, item in self._postponed if at_s > now_s]
        for item in due:
            self.background.begin(self.handle(item))

    async def idle(self) -> None:
        """Wait until no event, turn, action or sweep is under way."""
        while work := {*self.background.tasks, *self.organs.desk.running}:
            await asyncio.wait(work)
        if self._sweeping:
            await self._swept.wait()

    async def stop(self) -> None:
        """End within 20 s in all: running actions are waited for, turns left to other replicas or the next start."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.organs.sampling.stop()
        await self.organs.shelving.stop()
        await self.organs.desk.drain(_DRAIN_S)
        self.background.cancel()
        await self.background.ended()
        self.organs.executor.close()
        if self._living is not None:
            self._living.cancel()
        await guarded("end", _if_quick(self._last_figures(), "figures"))
        # Else the others, and the next start, would wait until this one has been silent for long.
        await guarded("end", _if_quick(self.organs.replica.leave(), "leave"))

    async def _last_figures(self) -> None:
        await self.organs.meter.flush()
        await self.organs.recorder.write(everything=True)

    async def _live(self) -> None:
        """Show life. Once the others have given this replica up, it drops everything: that is theirs now."""
        try:
            await self.organs.replica.run(self.adopt)
        except Fenced as error:
            log.error("replica.fenced", error=str(error))
            self.given_up.set()
            self.background.cancel()
            for task in self.organs.desk.running:
                task.cancel()

    async def _sweep(self) -> None:
        while True:
            await self.organs.clock.sleep(_SWEEP_S)
            self._sweeping = True
            self._swept.clear()
            self._try_again()
            await guarded("brakes", self.organs.stopping.notice())
            await guarded("sweep", self.organs.desk.sweep())
            if self.organs.replica.leads():
                await guarded("escalation", self.organs.escalation.look())
            await guarded("sweep", self.organs.delivery.resend())
            await guarded("sweep", self._upkeep())
            # Last, so that what people wait for never waits for it.
            await guarded("usage", self.organs.meter.flush())
            await guarded("samples", self.organs.recorder.write())
            await guarded("samples", self.organs.recorder.thin())
            self._sweeping = False
            self._swept.set()

    async def _upkeep(self) -> None:
        """Now and then: repair lost wake-ups, and forget handled events that cannot come again, and old figures."""
        now = self.organs.clock.now()
        if self._last_upkeep_at is not None and now - self._last_upkeep_at < _UPKEEP_EVERY:
            return
        self._last_upkeep_at = now
        await self._wake_waiting()
        if self.organs.replica.leads():
            await self.organs.store.inbox.prune(now - _EVENTS_KEPT)
            await self.organs.store.usage.prune(now - KEPT_FOR)
            await self.organs.store.outputs.prune(now - outputs.KEPT_FOR)
            await self.organs.store.pictures.prune(now - pictures.KEPT_FOR, max_bytes=pictures.KEPT_BYTES)

    async def _wake_waiting(self) -> None:
        """Repair lost wake-ups: go on with every conversation that needs it and has nobody at work on it."""
        for place in await self.organs.store.conversations.needing_turn():
            idle = not self.organs.dialogue.runs(place)
            if idle and await self.organs.replica.take(turn_lease(place.key)) is not None:
                self.background.begin_guarded("wake", self.organs.dialogue.wake(place, recovering=True))


async def _if_quick(write: Awaitable[None], what: str) -> None:
    """Write something last, unless that takes long."""
    try:
        async with asyncio.timeout(_LAST_WRITE_S):
            await write
    except TimeoutError:
        log.warning("end.unwritten", what=what)
