"""The outbound queue: one lane per channel, paced, cards first, pending edits of one message merged, order per thread.

Slack takes about one message per second and channel (https://docs.slack.dev/apis/web-api/rate-limits, 2026).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import structlog

from opsbot.errors import ChatError
from opsbot.ports import Clock

_log = structlog.get_logger()

_PER_S = 1.0
_BURST = 3.0


class Urgency(IntEnum):
    """What goes first when a channel has more than one message to send."""

    CARD = 0
    MESSAGE = 1
    DRAFT = 2


@dataclass(slots=True, eq=False)
class Job:
    """One message or edit to send. Waiting jobs with the same non-empty `merge_key` become one: the latest."""

    thread_id: str
    urgency: Urgency
    send: Callable[[], Awaitable[Any]]
    done: "asyncio.Future[Any]"
    merge_key: str = ""


class Outbound:
    """All lanes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}

    def submit(self, channel_id: str, job: Job) -> "asyncio.Future[Any]":
        """Queue a job; the future ends when it, or the later edit it was merged into, was sent."""
        lane = self._lanes.get(channel_id)
        if lane is None:
            lane = self._lanes[channel_id] = _Lane(self._clock)
        return lane.submit(job)

    async def drain(self) -> None:
        """Wait until nothing is left to send."""
        while workers := [lane.worker for lane in self._lanes.values() if lane.worker and not lane.worker.done()]:
            await asyncio.wait(workers)

    async def close(self) -> None:
        """Drop what is left."""
        workers = [lane.worker for lane in self._lanes.values() if lane.worker and not lane.worker.done()]
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


class _Lane:
    """The jobs of one channel and the task that sends them, one at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[Job] = []
        self._tokens = _BURST
        self._counted_at = clock.monotonic()
        self.worker: asyncio.Task[None] | None = None

    def submit(self, job: Job) -> "asyncio.Future[Any]":
        pending = self._mergeable(job)
        if pending is not None:
            pending.send = job.send
            pending.urgency = min(pending.urgency, job.urgency)
            return pending.done
        self._waiting.append(job)
        if self.worker is None or self.worker.done():
            self.worker = asyncio.get_running_loop().create_task(self._work())
        return job.done

    def _mergeable(self, job: Job) -> Job | None:
        same = (waiting for waiting in self._waiting if job.merge_key and waiting.merge_key == job.merge_key)
        return next(same, None)

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._take_token()
                await _send(self._take_next())
        finally:
            for job in self._waiting:
                _drop(job)
            self._waiting.clear()

    async def _take_token(self) -> None:
        while True:
            now = self._clock.monotonic()
            self._tokens = min(_BURST, self._tokens + (now - self._counted_at) * _PER_S)
            self._counted_at = now
            if self._tokens >= 1.0 - 1e-6:
                self._tokens -= 1.0
                return
            await self._clock.sleep((1.0 - self._tokens) / _PER_S)

    def _take_next(self) -> Job:
        """The most urgent job among the oldest of each thread, so that a thread's order is kept."""
        heads: dict[str, Job] = {}
        for job in self._waiting:
            heads.setdefault(job.thread_id, job)
        chosen = min(heads.values(), key=lambda job: job.urgency)
        self._waiting.remove(chosen)
        return chosen


async def _send(job: Job) -> None:
    try:
        result = await job.send()
    except asyncio.CancelledError:
        _drop(job)
        raise
    except Exception as error:  # noqa: BLE001 - handed to whoever waits for this message; the lane must go on
        if not job.done.done():
            job.done.set_exception(error)
            # Marks it as seen: a draft's failure is nobody's to await.
            job.done.exception()
            _log.info("slack.send_failed", error=type(error).__name__)
        return
    if not job.done.done():
        job.done.set_result(result)


def _drop(job: Job) -> None:
    """Tell whoever waits that the message was not sent; the core keeps it and sends it after the next start."""
    if not job.done.done():
        job.done.set_exception(ChatError("The connection to Slack is closing; the message was not sent."))
        job.done.exception()
