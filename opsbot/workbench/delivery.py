"""Deliveries to the app over either transport: acknowledgements, retries of events, and their faults."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from opsbot.workbench.clock import Clock
from opsbot.workbench.faults import Faults
from opsbot.workbench.feed import Feed
from opsbot.workbench.limits import Limits
from opsbot.workbench.wire import Json


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is delivered. `kind` is the envelope type: events_api, slash_commands or interactive."""

    kind: str
    name: str
    payload: Json
    accepts_response: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which delivery of a parcel this is, 0 being the first, and why the one before failed."""

    number: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: an acknowledgement with its payload, or `failure` in Slack's retry-reason words."""

    failure: str = ""
    payload: Any = None
    wants_no_retry: bool = False


class Transport(Protocol):
    """A way to the app."""

    @property
    def is_online(self) -> bool:
        """Whether somebody listens."""

    async def deliver(self, parcel: Parcel, attempt: Attempt) -> Answer:
        """Deliver once and wait for the answer, at most the acknowledgement time."""


class Courier:
    """Carries parcels to the app. Events are tried four times, everything else once."""

    def __init__(self, *, transport: Transport, clock: Clock, feed: Feed, faults: Faults, limits: Limits) -> None:
        self._transport, self._clock, self._feed = transport, clock, feed
        self._faults, self._limits = faults, limits
        self._running: set[asyncio.Task[None]] = set()
        self._held: list[Parcel] = []

    def send_event(self, parcel: Parcel) -> None:
        """Deliver an event in the background, with retries."""
        out_of_order = self._faults.peek("out_of_order")
        if out_of_order is None:
            self._start(self._deliver_event(parcel))
            return
        self._held.append(parcel)
        if len(self._held) >= int(out_of_order.options.get("batch", 2)):
            self._faults.take("out_of_order")
            for held in reversed(self._held):
                self._start(self._deliver_event(held))
            self._held.clear()

    async def send_interaction(self, parcel: Parcel) -> Answer:
        """Deliver a command or interaction once and return what came back."""
        return await self._deliver(parcel, Attempt())

    async def stop(self) -> None:
        """End all deliveries."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _deliver_event(self, parcel: Parcel) -> None:
        if self._faults.take("duplicate"):
            self._start(self._attempts(parcel))
        await self._attempts(parcel)

    async def _attempts(self, parcel: Parcel) -> None:
        attempt = Attempt()
        for delay_s in (*self._limits.retry_delays_s, None):
            started_at = self._clock.now()
            answer = await self._deliver(parcel, attempt)
            if not answer.failure or answer.wants_no_retry or delay_s is None:
                return
            await self._clock.sleep(max(0.0, delay_s - (self._clock.now() - started_at)))
            attempt = Attempt(attempt.number + 1, answer.failure)

    async def _deliver(self, parcel: Parcel, attempt: Attempt) -> Answer:
        started_at = self._clock.now()
        summary = parcel.name if not attempt.number else f"{parcel.name} (retry {attempt.number}, {attempt.reason})"
        direction: Json = {"direction": "out", "kind": parcel.kind, "name": parcel.name}
        self._feed.record(**direction, summary=summary, body=parcel.payload)
        answer = await self._transport.deliver(parcel, attempt)
        if not answer.failure and self._faults.take("dropped_ack"):
            await self._clock.sleep(max(0.0, self._limits.ack_timeout_s - (self._clock.now() - started_at)))
            answer = Answer("http_timeout")
        outcome = answer.failure or "acknowledged"
        elapsed_ms = round((self._clock.now() - started_at) * 1000, 1)
        self._feed.record(
            direction="in", kind="ack", name=parcel.name, summary=outcome, response=answer.payload, ms=elapsed_ms
        )
        return answer
