"""A replica's pulse: who is taken for dead and when, who is not, and what a replica may still do that was held up."""

import asyncio

import pytest

from opsbot.errors import Fenced, StoreError
from opsbot.replica import BEAT_S, SILENT_S, Replica
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore


class Pulse:
    """One replica that lives on a clock, and what it was told to adopt."""

    def __init__(self, store: MemoryStore, clock: FakeClock) -> None:
        self.store = store
        self.replica = Replica(store.replicas, store.leases, clock)
        self.adopted: list[str] = []
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.replica.start()
        self.task = asyncio.create_task(self.replica.run(self._adopt))

    async def _adopt(self, names) -> None:
        for name in names:
            if await self.replica.take(name) is not None:
                self.adopted.append(name)

    def freeze(self) -> None:
        assert self.task is not None
        self.task.cancel()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def pulses(clock: FakeClock):
    first = MemoryStore()
    pair = Pulse(first, clock), Pulse(first.beside(), clock)
    for pulse in pair:
        await pulse.start()
    yield pair
    for pulse in pair:
        pulse.freeze()
        await asyncio.gather(pulse.task, return_exceptions=True)


async def passes(clock: FakeClock, seconds: float, step_s: float = BEAT_S) -> None:
    for _ in range(round(seconds / step_s)):
        clock.advance(step_s)
        for _ in range(30):
            await asyncio.sleep(0)


async def test_the_work_of_a_silent_replica_is_taken_over_and_not_before(pulses, clock) -> None:
    one, two = pulses
    await one.replica.take("turn:x")
    await passes(clock, 3)
    one.freeze()
    await passes(clock, SILENT_S - 1)
    assert two.adopted == []
    await passes(clock, 3)
    assert two.adopted == ["turn:x"]


async def test_a_replica_that_lives_is_never_given_up(pulses, clock) -> None:
    one, two = pulses
    await one.replica.take("turn:x")
    await passes(clock, 20 * SILENT_S)
    assert one.adopted == two.adopted == []
    assert await two.replica.take("turn:x") is None


async def test_an_outage_of_the_database_makes_nobody_look_dead(pulses, clock) -> None:
    """Both were silent for long; whoever comes back first must not take the other one's work."""
    one, two = pulses
    await one.replica.take("turn:x")
    await passes(clock, 2)
    one.store.outage.reason = "PostgreSQL is away"
    await passes(clock, 19)
    one.store.outage.reason = ""
    await passes(clock, 10)
    assert two.adopted == []
    assert not one.task.done()


async def test_a_watcher_that_slept_itself_watches_anew(pulses, clock) -> None:
    one, two = pulses
    await one.replica.take("turn:x")
    await passes(clock, 2)
    clock.advance(60)  # nobody ran meanwhile, as when a machine was suspended
    await passes(clock, 3)
    assert two.adopted == []


async def test_a_replica_given_up_hears_of_it_at_its_next_beat(pulses, clock) -> None:
    one, two = pulses
    await one.replica.take("turn:x")
    one.freeze()
    await passes(clock, SILENT_S + 3)
    assert two.adopted == ["turn:x"]
    with pytest.raises(Fenced):
        await asyncio.wait_for(_live_again(one, clock), 5)


async def _live_again(pulse: Pulse, clock: FakeClock) -> None:
    task = asyncio.create_task(pulse.replica.run(pulse._adopt))
    await passes(clock, 2)
    await task


async def test_after_a_silence_a_replica_does_nothing_that_cannot_be_taken_back(pulses, clock) -> None:
    one, _ = pulses
    await passes(clock, 2)
    one.replica.check_sure()
    one.freeze()
    clock.advance(SILENT_S - 1)
    with pytest.raises(Fenced, match="nothing was sent"):
        one.replica.check_sure()


async def test_a_replica_alone_needs_to_be_sure_of_nobody(clock) -> None:
    alone = MemoryStore()
    replica = Replica(alone.replicas, alone.leases, clock)
    await replica.start()
    clock.advance(3600)
    replica.check_sure()
    assert replica.leads()


async def test_exactly_one_replica_leads_and_the_other_one_after_it(pulses, clock) -> None:
    one, two = pulses
    await passes(clock, 2)
    assert [one.replica.leads(), two.replica.leads()] in ([True, False], [False, True])
    leader, other = (one, two) if one.replica.leads() else (two, one)
    leader.freeze()
    await passes(clock, SILENT_S + 3)
    assert other.replica.leads()


async def test_one_task_at_a_time_holds_a_lease_and_waits_for_the_other_replica(pulses, clock) -> None:
    one, two = pulses
    order: list[str] = []

    async def work(pulse: Pulse, name: str) -> None:
        async with pulse.replica.hold("turn:x"):
            order.append(f"{name} begins")
            await clock.sleep(1)
            order.append(f"{name} ends")

    tasks = [asyncio.create_task(work(pulse, name)) for pulse, name in ((one, "a"), (one, "b"), (two, "c"))]
    await passes(clock, 10, 0.5)
    assert all(task.done() for task in tasks)
    assert sorted(order[::2]) == ["a begins", "b begins", "c begins"]
    assert [end.replace("ends", "begins") for end in order[1::2]] == order[::2]
    assert one.store.leases.register.holders == {}


async def test_a_cancelled_holder_keeps_its_lease_and_a_failed_one_does_not(pulses, clock) -> None:
    one, two = pulses

    async def fail() -> None:
        async with one.replica.hold("turn:x"):
            raise StoreError("no")

    async def wait() -> None:
        async with one.replica.hold("turn:y"):
            await clock.sleep(100)

    with pytest.raises(StoreError):
        await fail()
    assert await two.replica.take("turn:x") is not None
    waiting = asyncio.create_task(wait())
    await passes(clock, 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await two.replica.take("turn:y") is None
    await one.replica.leave()
    assert await two.replica.take("turn:y") is not None


async def test_work_that_is_adopted_never_holds_up_the_beats(clock) -> None:
    first = MemoryStore()
    one, two = Pulse(first, clock), Pulse(first.beside(), clock)
    stuck = asyncio.Event()

    async def adopt(names) -> None:
        await stuck.wait()

    await one.start()
    await two.replica.start()
    task = asyncio.create_task(two.replica.run(adopt))
    await one.replica.take("turn:x")
    one.freeze()
    await passes(clock, 5 * SILENT_S)
    two.replica.check_sure()
    task.cancel()
    stuck.set()
