"""When heads of the audit log are noted: every so many records, every so often, at every act, and in nobody's way."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from opsbot.anchoring import Anchorage, Anchoring
from opsbot.anchors import find_anchors
from opsbot.domain import AuditRecord
from opsbot.errors import ChatError
from tests.fake_clock import FakeClock
from tests.records import KEY, entry


class Place:
    """An anchorage in memory: `failures` are raised first, and while `gate` is shut nothing gets through."""

    def __init__(self, apart_s: float = 0.0) -> None:
        self.lines: list[str] = []
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.anchorage = Anchorage("place", self.put, apart_s)

    async def put(self, text: str) -> None:
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.lines.append(text)

    @property
    def seqs(self) -> list[int]:
        return [head[0] for head in find_anchors(self.lines, KEY).heads]


class Stage:
    def __init__(self, *places: Place) -> None:
        self.clock = FakeClock()
        self.anchoring = Anchoring(KEY, self.clock)
        self.places = places or (Place(),)
        self.place = self.places[0]
        self.running: asyncio.Task[None]

    async def start(self) -> None:
        self.running = asyncio.create_task(self.anchoring.run([place.anchorage for place in self.places]))
        await self.settle()

    async def records(self, first: int, last: int, kind: str = "call.finished") -> None:
        for seq in range(first, last + 1):
            self.anchoring.note(AuditRecord(seq, "", entry(kind), f"{seq:064x}"))
        await self.settle()

    async def passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    await made.start()
    yield made
    await made.anchoring.end(made.running)


async def test_a_head_is_noted_every_50_records(stage: Stage) -> None:
    await stage.records(1, 49)
    assert stage.place.seqs == []
    await stage.records(50, 130)
    assert stage.place.seqs[-1] in (100, 130)
    await stage.records(131, 149)
    await stage.records(150, 200)
    assert stage.place.seqs[-1] >= 150


async def test_a_head_is_noted_every_10_minutes_if_there_is_news(stage: Stage) -> None:
    await stage.records(1, 3)
    await stage.passes(599)
    assert stage.place.seqs == []
    await stage.passes(1)
    assert stage.place.seqs == [3]
    await stage.passes(6000)
    assert stage.place.seqs == [3]


@pytest.mark.parametrize("kind", ["execution.intent", "execution.finished", "execution.reconciled", "opsbot.started"])
async def test_every_act_is_noted_at_once(stage: Stage, kind: str) -> None:
    await stage.records(1, 2)
    await stage.records(3, 3, kind)
    assert stage.place.seqs == [3]


async def test_records_from_other_threads_in_any_order_are_noted_by_the_highest(stage: Stage) -> None:
    def note(seqs: range) -> None:
        for seq in seqs:
            stage.anchoring.note(AuditRecord(seq, "", entry("execution.intent"), f"{seq:064x}"))

    threads = [threading.Thread(target=note, args=(range(n, 400, 4),)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    await stage.settle()
    assert stage.place.seqs == sorted(stage.place.seqs)
    assert stage.place.seqs[-1] == 399


@pytest.mark.parametrize("error", [OSError("no such socket"), ChatError("not in channel")])
async def test_what_could_not_be_noted_is_tried_again_with_the_newest(stage: Stage, error: Exception) -> None:
    stage.place.failures = [error]
    await stage.records(1, 1, "execution.intent")
    await stage.records(2, 2, "execution.intent")
    assert stage.place.seqs == []
    await stage.passes(30)
    assert stage.place.seqs == [2]


async def test_a_place_that_hangs_delays_no_other_and_misses_what_is_outdated() -> None:
    stuck, free = Place(), Place()
    stage = Stage(stuck, free)
    await stage.start()
    stuck.gate.clear()
    for seq in (1, 2, 3):
        await stage.records(seq, seq, "execution.intent")
    assert (stuck.seqs, free.seqs) == ([], [1, 2, 3])
    stuck.gate.set()
    await stage.settle()
    assert stuck.seqs == [1, 3]
    await stage.anchoring.end(stage.running)


async def test_a_channel_is_told_at_most_so_often() -> None:
    stage = Stage(Place(apart_s=60))
    await stage.start()
    for seq in range(1, 6):
        await stage.records(seq, seq, "execution.intent")
    assert stage.place.seqs == [1]
    await stage.passes(60)
    assert stage.place.seqs == [1, 5]
    await stage.anchoring.end(stage.running)


async def test_the_last_head_is_noted_at_the_end_also_within_a_pause() -> None:
    stage = Stage(Place(apart_s=60), Place())
    await stage.start()
    await stage.records(1, 1, "execution.intent")
    await stage.records(2, 4)
    await stage.anchoring.end(stage.running)
    assert [place.seqs[-1] for place in stage.places] == [4, 4]


async def test_records_before_the_start_are_noted_too() -> None:
    stage = Stage()
    await stage.records(1, 1, "opsbot.started")
    await stage.start()
    assert stage.place.seqs == [1]
    await stage.anchoring.end(stage.running)
    await stage.records(2, 2, "execution.intent")


async def test_without_any_place_nothing_happens() -> None:
    anchoring = Anchoring(KEY, FakeClock())
    running = asyncio.create_task(anchoring.run([]))
    await asyncio.sleep(0)
    anchoring.note(AuditRecord(1, "", entry("execution.intent"), "ab" * 32))
    await anchoring.end(running)
