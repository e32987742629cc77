"""Floods: messages by person and in all within a minute, refusals told now and then, and fair places for turns."""

import asyncio
from contextlib import ExitStack

import pytest

from opsbot.errors import TooManyMessages
from opsbot.throttle import Rates, Throttle, TurnPlaces
from tests.fake_clock import FakeClock

RATES = Rates(messages=5, messages_per_person=3, turns=2, turns_per_person=1, waiting=3)


def take(throttle: Throttle, person: str, count: int) -> int:
    """Send so many messages; return how many were taken in."""
    taken = 0
    for _ in range(count):
        try:
            throttle.take(person)
            taken += 1
        except TooManyMessages:
            pass
    return taken


def test_one_person_and_all_together_are_limited_for_a_minute() -> None:
    clock = FakeClock()
    throttle = Throttle(clock, RATES)
    assert (take(throttle, "a", 100), take(throttle, "b", 100), take(throttle, "c", 1)) == (3, 2, 0)
    clock.advance(60)
    assert take(throttle, "c", 1) == 1


def test_a_refusal_says_when_there_is_room_and_does_not_count_itself() -> None:
    clock = FakeClock()
    throttle = Throttle(clock, RATES)
    take(throttle, "a", 3)
    clock.advance(40)
    take(throttle, "a", 50)
    with pytest.raises(TooManyMessages, match="room again in 20 s"):
        throttle.take("a")
    clock.advance(20)
    assert take(throttle, "a", 9) == 3


def test_somebody_is_told_once_in_a_while() -> None:
    clock = FakeClock()
    throttle = Throttle(clock, RATES)
    assert [throttle.tells("a"), throttle.tells("a"), throttle.tells("b")] == [True, False, True]
    clock.advance(15)
    assert throttle.tells("a")


def test_memory_is_bounded_by_what_counts() -> None:
    clock = FakeClock()
    throttle = Throttle(clock, Rates(messages=10_000, messages_per_person=3))
    for n in range(5000):
        throttle.take(f"p{n}")
        throttle.tells(f"p{n}")
        clock.advance(0.1)
    assert len(throttle._by_person) <= 601
    assert len(throttle._told_at) <= 151


async def test_one_person_waits_for_themselves_and_not_in_front_of_others() -> None:
    places, order, gate = TurnPlaces(RATES), [], asyncio.Event()

    async def turn(person: str) -> None:
        async with places.take(person):
            order.append(person)
            await gate.wait()

    tasks = [asyncio.create_task(turn(person)) for person in ("a", "a", "a", "b")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["a", "b"]
    gate.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "a", "a"]


def test_only_so_many_are_heard_and_who_is_answered_makes_room() -> None:
    places = TurnPlaces(RATES)
    with ExitStack() as held:
        for _ in range(RATES.turns + RATES.waiting):
            held.enter_context(places.hearing())
        with pytest.raises(TooManyMessages, match="3 questions wait"), places.hearing():
            pass
    with places.hearing():
        pass
