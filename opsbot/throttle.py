"""Floods are kept out before anything is written or asked: messages by person and in all, and places for turns."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from opsbot.errors import TooManyMessages
from opsbot.ports import Clock

_WINDOW_S = 60.0
# Somebody who goes on is told again only after this: answers to a flood must not become one.
_TELL_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages in a minute, turns at once, and turns that may wait; of one person and in all."""

    messages: int = 120
    messages_per_person: int = 20
    turns: int = 16
    turns_per_person: int = 4
    waiting: int = 50


class Throttle:
    """Counts messages in memory, by monotonic time: of this process, and forgotten when it ends."""

    def __init__(self, clock: Clock, rates: Rates) -> None:
        self._clock = clock
        self._rates = rates
        self._taken: deque[tuple[float, str]] = deque()
        self._by_person: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}

    def take(self, person: str) -> None:
        """Count one message.

        Raises:
            TooManyMessages: it is one too many, and does not count; the text says when there is room.
        """
        now_s = self._clock.monotonic()
        self._forget(now_s)
        rates = self._rates
        if self._by_person[person] >= rates.messages_per_person:
            first_s = next(at_s for at_s, who in self._taken if who == person)
            raise self._too_many(f"{rates.messages_per_person} messages of yours in a minute", first_s, now_s)
        if len(self._taken) >= rates.messages:
            raise self._too_many(f"{rates.messages} messages of all people in a minute", self._taken[0][0], now_s)
        self._taken.append((now_s, person))
        self._by_person[person] += 1

    def tells(self, person: str) -> bool:
        """Whether this person is told of a refusal now, or was a moment ago."""
        now_s = self._clock.monotonic()
        if now_s - self._told_at.get(person, -_TELL_EVERY_S) < _TELL_EVERY_S:
            return False
        self._told_at = {who: at_s for who, at_s in self._told_at.items() if now_s - at_s < _TELL_EVERY_S}
        self._told_at[person] = now_s
        return True

    def _forget(self, now_s: float) -> None:
        while self._taken and self._taken[0][0] <= now_s - _WINDOW_S:
            _, person = self._taken.popleft()
            self._by_person[person] -= 1
            if not self._by_person[person]:
                del self._by_person[person]

    def _too_many(self, what: str, first_s: float, now_s: float) -> TooManyMessages:
        wait_s = max(1.0, first_s + _WINDOW_S - now_s)
        return TooManyMessages(
            f"Not read: more than {what} are not taken in. There is room again in {wait_s:.0f} s. Stops, freezes and "
            "approvals are taken in always."
        )


class TurnPlaces:
    """Places in which turns work: so many at once of all people and of each; only so many wait for one."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._all = asyncio.Semaphore(rates.turns)
        self._persons: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._heard = 0

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Hold a place, or one to wait in, for a question from when it is heard until it is answered.

        Raises:
            TooManyMessages: all are held.
        """
        if self._heard >= self._rates.turns + self._rates.waiting:
            raise TooManyMessages(
                f"Not read: {self._rates.waiting} questions wait for an answer already. Ask again in a minute; "
                "commands that only look are answered meanwhile."
            )
        self._heard += 1
        try:
            yield
        finally:
            self._heard -= 1

    @asynccontextmanager
    async def take(self, person: str) -> AsyncIterator[None]:
        """Wait for a place of this person's and one of all, in this order, so that nobody keeps others waiting."""
        own = self._persons.setdefault(person, asyncio.Semaphore(self._rates.turns_per_person))
        async with own, self._all:
            yield
