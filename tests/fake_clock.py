"""Clocks for tests: one that moves only when told, and one that hurries."""

import asyncio
from datetime import UTC, datetime, timedelta

from opsbot.adapters.clock import SystemClock
from opsbot.domain import Moment


class FakeClock:
    """Wall and monotonic time move together by `advance`; `jump` moves the wall clock alone, `reboot` the boot."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 3, 0, tzinfo=UTC), *, machine: str = "bot-1") -> None:
        self._machine = machine
        self._boots = 1
        self._now = start
        self._monotonic = 1000.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def moment(self) -> Moment:
        return Moment(self._now, self._machine, f"{self._machine} boot {self._boots}", self._monotonic)

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self._sleepers.append((self._monotonic + seconds, event))
        await event.wait()

    def advance(self, seconds: float) -> None:
        """Let time pass and wake who slept until then."""
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds
        due = [event for at, event in self._sleepers if at <= self._monotonic]
        self._sleepers = [(at, event) for at, event in self._sleepers if at > self._monotonic]
        for event in due:
            event.set()

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP would."""
        self._now += timedelta(seconds=seconds)

    def reboot(self) -> None:
        """Count monotonic time from the start of another boot."""
        self._boots += 1
        self._monotonic = 10.0


class HastyClock(SystemClock):
    """Real time, but waiting for Slack's pace takes a twentieth of it, and it believes that it waited all of it."""

    def monotonic(self) -> float:
        return super().monotonic() * 20

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 20)
