"""The clock behind every timer of the workbench: real time plus whatever a person or test advanced it by."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(order=True, slots=True)
class Timer:
    """A callback waiting for its moment; `cancel` forgets it."""

    due_at: float
    number: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Forget the callback."""
        self.cancelled = True


class Clock:
    """Virtual seconds since the epoch. Passes like real time and can be advanced, never set back."""

    def __init__(self) -> None:
        self._offset_s = 0.0
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """Return virtual seconds since the epoch."""
        return time.time() + self._offset_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Run `callback` on the event loop `delay_s` virtual seconds from now."""
        timer = Timer(self.now() + delay_s, next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        self._arm()
        return timer

    async def sleep(self, delay_s: float) -> None:
        """Wait `delay_s` virtual seconds."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_later(delay_s, lambda: _finish(done))
        try:
            await done
        finally:
            timer.cancel()

    async def advance(self, seconds: float) -> None:
        """Move the clock forward, firing timers in order, each at its own moment."""
        target = self.now() + seconds
        while self._timers and self._timers[0].due_at <= target:
            timer = heapq.heappop(self._timers)
            self._offset_s += max(0.0, timer.due_at - self.now())
            await self._fire(timer)
        self._offset_s += max(0.0, target - self.now())
        self._arm()

    def stop(self) -> None:
        """Forget every timer."""
        self._timers.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    async def _fire(self, timer: Timer) -> None:
        if timer.cancelled:
            return
        timer.callback()
        # What waited for this timer must be able to set its next one before time moves on.
        for _ in range(10):
            await asyncio.sleep(0)

    def _arm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._timers:
            wait_s = max(0.0, self._timers[0].due_at - self.now())
            self._alarm = asyncio.get_running_loop().call_later(wait_s, self._ring)

    def _ring(self) -> None:
        while self._timers and self._timers[0].due_at <= self.now():
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.callback()
        self._arm()


def _finish(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)
