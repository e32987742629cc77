"""What is noted of hosts as they are read, when it is written, and that nobody ever waits for it."""

import asyncio
import threading
from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from opsbot.domain import Disk, Host, Metric, Sample
from opsbot.errors import CommandTimedOut, HostBusy, HostUnreachable, StoreError
from opsbot.recorder import _MOST_WAITING, Recorder, RecordingMachines, figures_of
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines, server_facts, vitals_of
from tests.fake_store import MemorySamples, MemoryStore

WEB = Host("web-1", address="192.0.2.1")
FACTS = server_facts("web-1")
VITALS = vitals_of(FACTS)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def recorder(store: MemoryStore, clock: FakeClock) -> Recorder:
    return Recorder(store.samples, clock, every_s=60)


def values(recorder: Recorder, metric: Metric, host: str = "web-1", hours: float = 1) -> list[float]:
    return [sample.value for sample in recorder.history(host, [metric], hours=hours).samples]


# --- figures ---------------------------------------------------------------------------------------------------------


def test_vitals_become_figures_with_units() -> None:
    assert figures_of(VITALS) == {
        (Metric.REACHABLE, ""): 1.0,
        (Metric.LOAD, ""): 0.21,
        (Metric.CPU, ""): 7.5,
        (Metric.MEMORY, ""): 25.0,
        (Metric.UPTIME, ""): 1_051_200.0,
    }


def test_facts_add_disks_as_df_counts_them_processors_and_failed_units() -> None:
    reserved = Disk("/srv", 100, 60, available_bytes=0)
    seen = replace(FACTS, disks=(*FACTS.disks, reserved), failed_units=("a.service", "b.service"))
    figures = figures_of(seen)
    assert figures[Metric.DISK, "/"] == 90.0
    assert figures[Metric.DISK, "/srv"] == 100.0
    assert figures[Metric.CPUS, ""] == 2.0
    assert figures[Metric.FAILED_UNITS, ""] == 2.0


def test_what_is_unknown_is_not_kept_as_zero() -> None:
    seen = replace(FACTS, cpu_percent=None, cpus=0, failed_units=None, memory_total_bytes=0, disks=())
    kept = {metric for metric, _ in figures_of(seen)}
    assert kept == {Metric.REACHABLE, Metric.LOAD, Metric.UPTIME}


def test_only_the_fullest_mounts_are_kept_and_their_names_are_bounded() -> None:
    disks = tuple(Disk(f"/{'x' * 300}{n}" if n == 90 else f"/m{n}", 100, n) for n in range(100))
    kept = {part for metric, part in figures_of(replace(FACTS, disks=disks)) if metric is Metric.DISK}
    assert len(kept) == 8
    assert "/m99" in kept
    assert max(len(part) for part in figures_of(replace(FACTS, disks=(disks[90],)))) <= 100


# --- in and out ------------------------------------------------------------------------------------------------------


def test_what_was_just_seen_is_in_the_history_before_it_is_written(recorder: Recorder, clock: FakeClock) -> None:
    recorder.saw(WEB, VITALS)
    found = recorder.history("web-1", [Metric.LOAD], hours=1)
    assert found.samples == (Sample("web-1", Metric.LOAD, clock.now(), 0.21),)
    assert (found.until, found.kept_since, found.every_s) == (clock.now(), clock.now(), 60)
    assert recorder.history("web-2", [Metric.LOAD], hours=1).kept_since is None


async def test_stored_and_fresh_samples_are_one_history_without_doubles(recorder: Recorder, clock: FakeClock) -> None:
    for n in range(6):
        recorder.saw(WEB, replace(VITALS, load=(float(n), 0.0, 0.0)))
        await recorder.write()
        clock.advance(60)
    assert values(recorder, Metric.LOAD) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    found = recorder.history("web-1", [Metric.LOAD, Metric.REACHABLE], hours=1)
    assert [sample.at for sample in found.samples] == sorted(sample.at for sample in found.samples)
    assert len(found.samples) == 12


async def test_looks_within_ten_seconds_are_one_and_the_newest_figures_count(
    recorder: Recorder, store: MemoryStore, clock: FakeClock
) -> None:
    recorder.saw(WEB, FACTS)
    clock.advance(4)
    recorder.saw(WEB, replace(VITALS, load=(3.0, 0.0, 0.0)))
    await recorder.write(everything=True)
    assert len(store.samples.raw) == 1
    assert values(recorder, Metric.LOAD) == [3.0]
    assert values(recorder, Metric.DISK) == [90.0]


async def test_a_look_is_written_only_once_nothing_can_be_added_to_it(
    recorder: Recorder, store: MemoryStore, clock: FakeClock
) -> None:
    recorder.saw(WEB, VITALS)
    clock.advance(9)
    await recorder.write()
    assert store.samples.raw == {}
    clock.advance(1)
    await recorder.write()
    assert len(store.samples.raw) == 1


async def test_a_host_that_was_missed_is_kept_as_not_reachable_and_nothing_else(recorder: Recorder) -> None:
    recorder.missed(WEB)
    assert values(recorder, Metric.REACHABLE) == [0.0]
    assert values(recorder, Metric.LOAD) == []


async def test_while_the_database_is_down_samples_wait_and_the_oldest_are_given_up(
    recorder: Recorder, store: MemoryStore, clock: FakeClock
) -> None:
    store.outage.reason = "The disk is full."
    for n in range(_MOST_WAITING + 5):
        recorder.saw(Host(f"h{n}"), VITALS)
    with pytest.raises(StoreError):
        await recorder.write(everything=True)
    store.outage.reason = ""
    assert recorder.history("h0", [Metric.LOAD], hours=1).samples == ()
    await recorder.write(everything=True)
    assert len(store.samples.raw) == _MOST_WAITING
    assert values(recorder, Metric.LOAD, "h5") == [0.21]


async def test_many_samples_are_written_in_several_short_transactions(clock: FakeClock) -> None:
    sizes: list[int] = []

    class Counting(MemorySamples):
        async def add(self, samples) -> None:
            sizes.append(len({(sample.host, sample.at) for sample in samples}))
            await super().add(samples)

    recorder = Recorder(Counting(MemoryStore().outage), clock)
    for n in range(1200):
        recorder.saw(Host(f"h{n}"), VITALS)
    await recorder.write(everything=True)
    assert sizes == [200] * 6


def test_figures_may_come_from_many_threads_at_once(recorder: Recorder) -> None:
    def note(number: int) -> None:
        for n in range(200):
            recorder.saw(Host(f"h{number}-{n}"), VITALS)

    threads = [threading.Thread(target=note, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder._waiting) == 1600


async def test_the_window_ends_where_it_was_asked_for(recorder: Recorder, clock: FakeClock) -> None:
    recorder.saw(WEB, VITALS)
    await recorder.write(everything=True)
    clock.advance(2 * 3600)
    recorder.saw(WEB, VITALS)
    assert values(recorder, Metric.LOAD, hours=1) == [0.21]
    assert values(recorder, Metric.LOAD, hours=3) == [0.21, 0.21]


# --- thinning --------------------------------------------------------------------------------------------------------


async def test_all_hosts_are_thinned_a_few_at_a_time_then_it_rests(store: MemoryStore, clock: FakeClock) -> None:
    recorder = Recorder(store.samples, clock)
    old = clock.now() - timedelta(days=3)
    await store.samples.add([Sample(f"h{n}", Metric.LOAD, old.astimezone(UTC), 1.0) for n in range(7)])
    left = []
    for _ in range(4):
        await recorder.thin()
        left.append(len(store.samples.raw))
    assert left == [4, 1, 0, 0]
    await store.samples.add([Sample("h0", Metric.LOAD, old, 1.0)])
    await recorder.thin()
    assert len(store.samples.raw) == 1
    clock.advance(601)
    await recorder.thin()
    assert store.samples.raw == {}


# --- machines that are noted -----------------------------------------------------------------------------------------


@pytest.fixture
def machines() -> FakeMachines:
    return FakeMachines({"web-1": ["nginx"]})


def test_facts_and_vitals_are_noted_as_they_are_read(recorder: Recorder, machines: FakeMachines) -> None:
    noted = RecordingMachines(machines, recorder)
    assert noted.vitals(WEB, timeout_s=5) == VITALS
    assert values(recorder, Metric.DISK) == []
    assert noted.facts(WEB, timeout_s=5) == FACTS
    assert values(recorder, Metric.DISK) == [90.0]


def test_a_host_without_connection_is_noted_and_the_error_is_the_same(
    recorder: Recorder, machines: FakeMachines
) -> None:
    machines.fault("web-1", "down")
    with pytest.raises(HostUnreachable, match="no connection"):
        RecordingMachines(machines, recorder).vitals(WEB, timeout_s=5)
    assert values(recorder, Metric.REACHABLE) == [0.0]


@pytest.mark.parametrize("error", [HostBusy("our own commands"), CommandTimedOut("a short deadline")])
def test_what_does_not_prove_an_outage_is_not_noted_as_one(recorder: Recorder, error: Exception) -> None:
    class Failing(FakeMachines):
        def vitals(self, host, *, timeout_s):
            raise error

    with pytest.raises(type(error)):
        RecordingMachines(Failing(), recorder).vitals(WEB, timeout_s=5)
    assert values(recorder, Metric.REACHABLE) == []


def test_everything_else_goes_straight_through(recorder: Recorder, machines: FakeMachines) -> None:
    noted = RecordingMachines(machines, recorder)
    machines.answer("web-1", "uname", stdout="Linux")
    assert noted.run(WEB, ["uname"], timeout_s=5).stdout == "Linux"
    assert noted.services(WEB).show("nginx.service", timeout_s=5).active
    assert noted.healthy(WEB, "nginx.service") is None
    assert (noted.checks(WEB, ["nginx.service"], timeout_s=5), noted.lookups(WEB, timeout_s=5)) == ({}, {})
    assert noted.certificates(WEB, timeout_s=5) == ()
    assert recorder._waiting == {}


async def test_reading_a_host_never_waits_for_the_database(store: MemoryStore, clock: FakeClock) -> None:
    """The store hangs for good; hosts are read all the same."""
    hangs = asyncio.Event()

    class Hanging(MemorySamples):
        async def add(self, samples) -> None:
            await hangs.wait()

    recorder = Recorder(Hanging(store.outage), clock)
    noted = RecordingMachines(FakeMachines(), recorder)
    noted.vitals(WEB, timeout_s=5)
    writing = asyncio.create_task(recorder.write(everything=True))
    async with asyncio.timeout(5):
        await asyncio.to_thread(noted.vitals, WEB, timeout_s=5)
    writing.cancel()
