"""Many calls that mostly wait, in threads: a few at a time compete for the processor, and the slow ones step aside."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

# A call that takes longer waits for a host, not for the processor, so the next may begin beside it.
SLOW_AFTER_S = 1.0
# Threads there can be; each that waits costs a few tens of KiB.
MOST = 512

T = TypeVar("T")


class Lanes:
    """Runs blocking calls: `width` at once, besides those that have been running for `slow_after_s` seconds.

    Without the second lane, as many hung hosts as there are threads would keep every other host waiting until their
    deadline. At most `most` calls run in all; further ones wait for their turn.
    """

    def __init__(self, width: int, name: str, *, slow_after_s: float = SLOW_AFTER_S, most: int = MOST) -> None:
        self._slow_after_s = slow_after_s
        self._fast = asyncio.Semaphore(width)
        self._all = asyncio.Semaphore(max(width, most))
        self._threads = ThreadPoolExecutor(max(width, most), name)

    async def run(self, call: Callable[[], T], timeout_s: float) -> T:
        """Run the call in a thread; `timeout_s` counts from its beginning.

        Raises:
            TimeoutError: it has not ended; its thread is left to itself and keeps its place in the slow lane.
            Exception: whatever the call raises.
        """
        await self._all.acquire()
        try:
            await self._fast.acquire()
        except BaseException:
            self._all.release()
            raise
        try:
            answer = self._begin(call)
            await self._first(answer, timeout_s)
        finally:
            self._fast.release()
        return await asyncio.wait_for(answer, max(0.0, timeout_s - self._slow_after_s))

    async def _first(self, answer: "asyncio.Future[T]", timeout_s: float) -> None:
        """Wait until the call has ended or is slow."""
        try:
            await asyncio.wait({answer}, timeout=min(self._slow_after_s, timeout_s))
        except asyncio.CancelledError:
            answer.cancel()  # nobody will look at what it brings
            raise

    def _begin(self, call: Callable[[], T]) -> "asyncio.Future[T]":
        loop = asyncio.get_running_loop()

        def ended(_: "Future[T]") -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits for a turn any more
                loop.call_soon_threadsafe(self._all.release)

        try:
            running = self._threads.submit(call)
        except BaseException:
            self._all.release()
            raise
        running.add_done_callback(ended)
        return asyncio.wrap_future(running)

    def close(self) -> None:
        """Take no more calls; those under way end by their own deadlines."""
        self._threads.shutdown(wait=False, cancel_futures=True)
