"""One opsbot process among others on the same database: shows that it lives, and takes over what dead ones left."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import structlog

from opsbot.domain import Beats, Lease
from opsbot.errors import Fenced, StoreError
from opsbot.ports import Clock, Leases, Replicas

# Each replica shows life this often; one that does not for so long is taken for dead by whoever watched it meanwhile.
BEAT_S = 1.0
SILENT_S = 6.0
# Watching that was interrupted for longer than this (the database or the watcher was away) begins anew.
_GAP_S = 2.5 * BEAT_S
# After its last beat a replica trusts itself this long: well before anybody else may take its work over.
_SURE_S = 4.0
# How long one waits before asking again for what another replica holds.
_AGAIN_S = 0.5

# Work that ended this many processes in a row is not begun again: it most likely is what ends them.
MAX_ATTEMPTS = 5
ABANDONED = (
    f"I gave this up: I was restarted in the middle of it {MAX_ATTEMPTS} times in a row, so it may be what ends me. "
    "The cards show what became of requests; ask again if you still need it. My log has the rest."
)

log = structlog.get_logger(__name__)

Adopt = Callable[[Sequence[str]], Awaitable[None]]


class Replica:
    """Holds leases: *one at a time, and never left lying*. Correctness rests on the store's versions, not on time.

    Death is judged by a beat that does not move while somebody watches, on the watcher's own clock: neither wrong
    clocks nor an outage of the database makes the living look dead.
    """

    def __init__(self, replicas: Replicas, leases: Leases, clock: Clock) -> None:
        self._replicas = replicas
        self._leases = leases
        self._clock = clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._seen: dict[str, tuple[int, float]] = {}
        self._watched_at_s = clock.monotonic()
        self._sure_until_s = math.inf
        self._adopting: asyncio.Task[None] | None = None
        self._leads = True

    # --- living ------------------------------------------------------------------------------------------------------

    async def start(self) -> tuple[str, ...]:
        """Become one of the living; return the names of leases that wait for somebody. Raises StoreError."""
        await self._replicas.join()
        return (await self._beat()).lapsed

    async def run(self, adopt: Adopt) -> None:
        """Show life, watch the others, and have leases adopted that lapsed or were handed over, until cancelled.

        Raises:
            Fenced: the others gave this replica up; it must not go on.
        """
        handed: set[str] = set()
        while True:
            await self._clock.sleep(BEAT_S)
            try:
                beats = await self._beat()
                await self._bury(beats)
            except Fenced:
                raise
            except StoreError as error:
                log.warning("replica.no_beat", error=str(error))
                continue
            handed |= {*beats.handed}
            # Beside the beats, which must never wait for work.
            if (handed or beats.lapsed) and (self._adopting is None or self._adopting.done()):
                self._adopting = asyncio.create_task(_run(adopt, (*sorted(handed), *beats.lapsed)))
                handed.clear()

    async def leave(self) -> None:
        """End in good order. Raises StoreError."""
        await self._replicas.leave()

    @property
    def shared(self) -> bool:
        """Whether there can be other replicas."""
        return self._replicas.shared

    def check_sure(self) -> None:
        """Check, right before something that cannot be taken back, that nobody can have taken this replica's work over.

        Raises:
            Fenced: it was held up for too long to know.
        """
        if self.shared and self._clock.monotonic() > self._sure_until_s:
            raise Fenced("opsbot was held up, so another replica may be at work on this; nothing was sent.")

    def leads(self) -> bool:
        """Whether it is for this replica to do what one of them has to do for all."""
        return self._leads

    async def _beat(self) -> Beats:
        began_s = self._clock.monotonic()
        beats = await self._replicas.beat()
        self._sure_until_s = began_s + _SURE_S
        self._leads = all(beats.me < other for other in beats.others)
        return beats

    async def _bury(self, beats: Beats) -> None:
        """Give up whoever did not show life for too long."""
        now_s = self._clock.monotonic()
        if now_s - self._watched_at_s > _GAP_S:
            self._seen.clear()
        self._watched_at_s = now_s
        seen = {}
        for other, beat in beats.others.items():
            known, since_s = self._seen.get(other, (beat, now_s))
            seen[other] = (beat, since_s if known == beat else now_s)
            if now_s - seen[other][1] >= SILENT_S and await self._replicas.give_up(other, beat):
                log.warning("replica.given_up", replica=other, silent_s=round(now_s - seen[other][1], 1))
        self._seen = seen

    # --- leases ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[Lease]:
        """Wait for a lease and hold it meanwhile, one task at a time.

        Whoever is cancelled is about to end, and keeps it: so it lapses with the replica, and others take it over.

        Raises:
            Fenced: this replica was given up.
        """
        async with self._locks.setdefault(name, asyncio.Lock()):
            while (lease := await self._leases.take(name)) is None:
                await self._clock.sleep(_AGAIN_S)
            try:
                yield lease
            except asyncio.CancelledError:
                raise
            except BaseException:
                await self._drop(name)
                raise
            await self._drop(name)

    async def take(self, name: str) -> Lease | None:
        """Take a lease, if nobody else who lives has it. Raises Fenced."""
        return await self._leases.take(name)

    async def drop(self, name: str) -> None:
        """End a lease."""
        await self._drop(name)

    async def hand_over(self, name: str, *, to_holder_of: str) -> bool:
        """Give a lease to the other living replica that holds that one; False if there is none."""
        return self.shared and await self._leases.hand_over(name, to_holder_of=to_holder_of)

    async def _drop(self, name: str) -> None:
        try:
            await self._leases.drop(name)
        except StoreError as error:
            # It stays this replica's, who may take it again; the next start finds it otherwise.
            log.warning("lease.not_dropped", name=name, error=str(error))


async def _run(adopt: Adopt, names: Sequence[str]) -> None:
    try:
        await adopt(names)
    except StoreError as error:
        log.warning("replica.not_adopted", error=str(error))  # lapsed leases are told of again at the next beat
