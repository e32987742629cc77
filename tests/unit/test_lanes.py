"""Blocking calls side by side: slow ones delay nobody, and no turn is ever lost."""

import asyncio
import threading
import time

import pytest

from opsbot.errors import TooBusy
from opsbot.lanes import Lanes, Turns


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def lanes():
    made = []

    def make(*args, **kwargs) -> Lanes:
        made.append(Lanes(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def test_as_many_hung_calls_as_the_lane_is_wide_delay_nobody(lanes, gate):
    lane = lanes(2, "t", slow_after_s=0.05)
    hung = [asyncio.create_task(lane.run(gate.wait, 30)) for _ in range(40)]
    started_at = time.monotonic()
    assert await asyncio.wait_for(lane.run(lambda: "answer", 5), 20) == "answer"
    assert time.monotonic() - started_at < 15
    assert not any(task.done() for task in hung)
    gate.set()
    assert await asyncio.gather(*hung) == [True] * 40


async def test_quick_calls_never_run_more_than_so_many_at_once(lanes):
    lane = lanes(3, "t", slow_after_s=30)
    running, most, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    await asyncio.gather(*(lane.run(call, 30) for _ in range(60)))
    assert most == 3


async def test_the_deadline_counts_from_the_beginning_not_from_the_queue(lanes):
    lane = lanes(1, "t", slow_after_s=30)
    calls = [lane.run(lambda: time.sleep(0.1), 0.3) for _ in range(8)]
    assert await asyncio.gather(*calls) == [None] * 8


async def test_a_call_past_its_deadline_is_given_up_and_its_thread_still_counts(lanes, gate):
    lane = lanes(1, "t", slow_after_s=0.05, most=2)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await lane.run(gate.wait, 0.1)
    waiting = asyncio.create_task(lane.run(lambda: "turn", 5))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    gate.set()
    assert await asyncio.wait_for(waiting, 10) == "turn"


async def test_errors_and_cancelled_waits_give_their_turn_back(lanes, gate):
    lane = lanes(1, "t", slow_after_s=0.01, most=1)

    def fail() -> None:
        raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await lane.run(fail, 5)
    holder = asyncio.create_task(lane.run(gate.wait, 30))
    await asyncio.sleep(0.05)
    queued = asyncio.create_task(lane.run(lambda: None, 30))
    await asyncio.sleep(0.05)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    gate.set()
    await holder
    assert await asyncio.wait_for(lane.run(lambda: "free", 5), 10) == "free"


async def test_after_close_nothing_begins_and_no_turn_is_lost(lanes):
    lane = lanes(1, "t", most=1)
    lane.close()
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(lane.run(lambda: None, 5), 5)


async def test_when_slow_calls_hold_every_thread_others_are_refused_in_words_and_served_again_later(
    lanes, gate, monkeypatch
):
    monkeypatch.setattr("opsbot.lanes.PATIENCE_S", 0.05)
    lane = lanes(2, "t", slow_after_s=0.01, most=4)
    hung = [asyncio.create_task(lane.run(gate.wait, 30)) for _ in range(4)]
    await asyncio.sleep(0.1)
    with pytest.raises(TooBusy, match="4 calls wait for hosts"):
        await lane.run(lambda: "answer", 5)
    gate.set()
    await asyncio.gather(*hung)
    assert await lane.run(lambda: "answer", 5) == "answer"


async def test_who_asks_for_one_thing_is_not_kept_waiting_by_who_asks_for_hundreds(lanes, gate):
    lane = lanes(2, "t", slow_after_s=0.2)
    hung = [asyncio.create_task(lane.run(gate.wait, 30, asker="many")) for _ in range(100)]
    await asyncio.sleep(0.01)
    started_at = time.monotonic()
    assert await lane.run(lambda: "answer", 5, asker="one") == "answer"
    assert time.monotonic() - started_at < 2  # without turns: 98 calls, two at a time, 0.2 s each
    gate.set()
    await asyncio.gather(*hung)


async def test_more_calls_to_a_hung_host_keep_nobody_else_waiting_however_many_people_ask(lanes, gate):
    lane = lanes(1, "t", slow_after_s=0.3)
    first = asyncio.create_task(lane.run(gate.wait, 30, asker="first", target="hung"))
    waiting = [asyncio.create_task(lane.run(gate.wait, 30, asker=n, target="hung")) for n in range(20)]
    await asyncio.sleep(0.4)  # the first has become slow while the others waited for their turn
    started_at = time.monotonic()
    assert await lane.run(lambda: "answer", 5, asker="last", target="well") == "answer"
    assert time.monotonic() - started_at < 3  # without the other queue: twenty turns of 0.3 s each
    gate.set()
    assert await asyncio.gather(first, *waiting) == [True] * 21


async def test_a_host_that_answers_again_is_asked_beside_the_others(lanes, gate):
    lane = lanes(1, "t", slow_after_s=0.01)
    slow = asyncio.create_task(lane.run(gate.wait, 30, target="host"))
    await asyncio.sleep(0.05)
    queued = [asyncio.create_task(lane.run(gate.wait, 30, target="host")) for _ in range(3)]
    await asyncio.sleep(0.05)
    gate.set()
    assert await asyncio.gather(slow, *queued) == [True] * 4
    assert await lane.run(lambda: "answer", 5, target="host") == "answer"
    await until(lambda: not lane.slow_targets)


async def test_calls_to_hung_hosts_leave_threads_to_the_others_and_are_refused_alone(lanes, gate):
    lane = lanes(2, "t", slow_after_s=0.01, most=6)
    hung = [asyncio.create_task(lane.run(gate.wait, 30, target="hung")) for _ in range(2)]
    await until(lambda: lane.slow_targets)
    more = [asyncio.create_task(lane.run(gate.wait, 30, target="hung")) for _ in range(10)]
    await until(lambda: sum(task.done() for task in more) == 8)
    assert await lane.run(lambda: "answer", 5, target="well") == "answer"
    gate.set()
    ends = await asyncio.gather(*hung, *more, return_exceptions=True)
    assert [type(end) for end in ends].count(TooBusy) == 8
    assert ends.count(True) == 4
    await until(lambda: not lane.slow_targets)
    for _ in range(3):  # every place was given back
        assert await asyncio.gather(*(lane.run(lambda: "a", 5, target="hung") for _ in range(12))) == ["a"] * 12


async def until(holds) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_place_is_not_lost_when_who_waits_for_it_gives_up(lanes):
    turns = Turns(1)
    await turns.take("a")
    waiting = [asyncio.create_task(turns.take(name)) for name in ("b", "b", "c")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    turns.give()
    waiting[1].cancel()  # perhaps it is its turn already
    await asyncio.wait(waiting, timeout=1)
    turns.give()
    await asyncio.wait_for(turns.take("d"), 1)
