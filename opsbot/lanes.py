"""Many calls that mostly wait, in threads: a few at a time compete for the processor, in turn; the slow step aside."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from opsbot.errors import TooBusy

# A call that takes longer waits for a host, not for the processor, so the next may begin beside it.
SLOW_AFTER_S = 0.5
# Threads there can be; each that waits costs a few tens of KiB.
MOST = 512
# So long a call waits for a thread when every one of them is held by a slow call.
PATIENCE_S = 5.0

T = TypeVar("T")


class Turns:
    """Lets `width` in at once. Who waits is let in by turns of the askers, however many calls one of them has."""

    def __init__(self, width: int) -> None:
        self._free = width
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, asker: Hashable) -> None:
        """Wait for a place."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asker, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give()  # it was our turn already
            raise

    def give(self) -> None:
        """Leave the place to the next asker in turn."""
        while self._waiting:
            asker, turns = next(iter(self._waiting.items()))
            turn = turns.popleft()
            if turns:
                self._waiting.move_to_end(asker)
            else:
                del self._waiting[asker]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Lanes:
    """Runs blocking calls: `width` at once, besides those that have been running for `slow_after_s` seconds.

    Askers take turns, so that one who asks for hundreds of hosts does not keep the next one waiting.
    Without the second lane, as many hung hosts as there are threads would keep every other host waiting until their
    deadline; and calls to a target that has slow ones under way queue apart, since they will most likely be slow, too.
    At most `most` calls run in all; when slow ones hold every thread, others are refused.
    """

    def __init__(self, width: int, name: str, *, slow_after_s: float = SLOW_AFTER_S, most: int = MOST) -> None:
        self._slow_after_s = slow_after_s
        self._most = max(width, most)
        self._fast = Turns(width)
        self._suspect = Turns(width)
        self._slow: Counter[Hashable] = Counter()
        self._all = asyncio.Semaphore(self._most)
        # Calls to slow targets leave some threads to the others.
        self._most_slow = max(1, self._most - width)
        self._threads = ThreadPoolExecutor(self._most, name)

    async def run(
        self, call: Callable[[], T], timeout_s: float, *, asker: Hashable = None, target: Hashable = None
    ) -> T:
        """Run the call in a thread; `timeout_s` counts from its beginning. `asker`: whose call; `target`: its host.

        Raises:
            TimeoutError: it has not ended; its thread is left to itself and keeps its place in the slow lane.
            TooBusy: slow calls hold every thread, and none ended within PATIENCE_S; or all but the `width` that are
                left to other targets, and this target is slow itself. It was not begun.
            Exception: whatever the call raises.
        """
        turns = await self._turn(asker, target)
        suspect = turns is self._suspect
        try:
            await self._room(suspect=suspect)
            running = self._begin(call)
            if suspect:
                self._note_slow(running, target)
            answer = asyncio.wrap_future(running)
            await self._first(answer, timeout_s)
            if not (suspect or target is None or answer.done()):
                self._note_slow(running, target)
        finally:
            turns.give()
        return await asyncio.wait_for(answer, max(0.0, timeout_s - self._slow_after_s))

    async def _turn(self, asker: Hashable, target: Hashable) -> Turns:
        """Wait for a place; a target that became slow meanwhile goes to the other queue."""
        if not self._slow[target]:
            await self._fast.take(asker)
            if not self._slow[target]:
                return self._fast
            self._fast.give()
        await self._suspect.take(asker)
        return self._suspect

    async def _room(self, *, suspect: bool) -> None:
        if suspect and self._slow.total() >= self._most_slow:
            raise self._full(self._most_slow)
        try:
            await asyncio.wait_for(self._all.acquire(), PATIENCE_S)
        except TimeoutError as error:
            raise self._full(self._most) from error

    @staticmethod
    def _full(threads: int) -> TooBusy:
        return TooBusy(
            f"Not asked: {threads} calls wait for hosts that do not answer, as many as may. Try again in half a "
            "minute, or ask for fewer hosts."
        )

    async def _first(self, answer: "asyncio.Future[T]", timeout_s: float) -> None:
        """Wait until the call has ended or is slow."""
        try:
            await asyncio.wait({answer}, timeout=min(self._slow_after_s, timeout_s))
        except asyncio.CancelledError:
            answer.cancel()  # nobody will look at what it brings
            raise

    def _note_slow(self, running: "Future[T]", target: Hashable) -> None:
        self._slow[target] += 1
        self._when_ended(running, partial(self._no_longer_slow, target))

    def _no_longer_slow(self, target: Hashable) -> None:
        self._slow[target] -= 1
        if not self._slow[target]:
            del self._slow[target]

    def _begin(self, call: Callable[[], T]) -> "Future[T]":
        try:
            running = self._threads.submit(call)
        except BaseException:
            self._all.release()
            raise
        self._when_ended(running, self._all.release)
        return running

    def _when_ended(self, running: "Future[T]", do: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def ended(_: "Future[T]") -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits for a turn any more
                loop.call_soon_threadsafe(do)

        running.add_done_callback(ended)

    @property
    def slow_targets(self) -> frozenset[Hashable]:
        """Targets with calls under way that are slow."""
        return frozenset(self._slow)

    def close(self) -> None:
        """Take no more calls; those under way end by their own deadlines."""
        self._threads.shutdown(wait=False, cancel_futures=True)
