"""Samples of hosts, kept, read and thinned alike by the fake, SQLite and PostgreSQL; and never in the way."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from opsbot.adapters.store import open_store
from opsbot.domain import Metric, Sample
from opsbot.ports import Store
from tests.fake_store import MemoryStore
from tests.records import KEY, NOON, entry, later

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LOAD, MEMORY, UPTIME, DISK, REACHABLE, FAILED = (
    Metric.LOAD,
    Metric.MEMORY,
    Metric.UPTIME,
    Metric.DISK,
    Metric.REACHABLE,
    Metric.FAILED_UNITS,
)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[Store]:
    url = f"sqlite:///{tmp_path}/opsbot.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    opened: Store = MemoryStore() if request.param == "memory" else open_store(url, audit_key=KEY)
    yield opened
    await opened.close()


async def window(store: Store, host: str, *metrics: Metric, since: datetime = NOON - 30 * DAY) -> list[Sample]:
    return list(await asyncio.to_thread(store.samples.window, host, metrics, since=since))


async def oldest(store: Store, host: str) -> datetime | None:
    return await asyncio.to_thread(store.samples.oldest, host)


async def thin_all(store: Store, now: datetime) -> list[str]:
    """Thin as often as there is anything to do, host by host, as the sweep does."""
    seen, after = [], ""
    while after := await store.samples.thin(now, after=after):
        seen.append(after)
    return seen


def by_minute(host: str, metric: Metric, values: list[float], *, first: datetime = NOON) -> list[Sample]:
    return [Sample(host, metric, first + n * MINUTE, value) for n, value in enumerate(values)]


async def test_samples_come_back_in_order_of_time_those_of_the_host_and_metrics_asked_for(store: Store) -> None:
    mine = [
        Sample("web-1", LOAD, NOON, 0.25),
        Sample("web-1", DISK, NOON, 90.1, "/"),
        Sample("web-1", DISK, NOON, 3.0, "/srv/Ünï code"),
        Sample("web-1", LOAD, later(60), 1000000.0),
    ]
    others = [Sample("web-10", LOAD, NOON, 9.0), Sample("web-1", MEMORY, NOON, 50.0)]
    await store.samples.add([mine[3], *others, *mine[:3]])
    found = await window(store, "web-1", LOAD, DISK)
    assert sorted(found, key=lambda s: (s.at, s.metric, s.part)) == sorted(mine, key=lambda s: (s.at, s.metric, s.part))
    assert [sample.at for sample in found] == sorted(sample.at for sample in found)
    assert await window(store, "web-1", LOAD, since=later(60)) == mine[3:]
    assert await window(store, "web-1", LOAD, since=later(61)) == []
    assert await window(store, "nobody", LOAD) == []


async def test_a_host_that_has_samples_of_that_second_keeps_them(store: Store) -> None:
    await store.samples.add([Sample("a", LOAD, NOON, 1.0)])
    await store.samples.add([Sample("a", LOAD, NOON, 2.0), Sample("b", LOAD, NOON, 3.0)])
    assert [sample.value for sample in await window(store, "a", LOAD)] == [1.0]
    assert [sample.value for sample in await window(store, "b", LOAD)] == [3.0]


async def test_nothing_to_store_is_fine(store: Store) -> None:
    await store.samples.add([])
    assert await oldest(store, "a") is None


async def test_the_oldest_sample_is_known_also_when_it_is_a_mean(store: Store) -> None:
    await store.samples.add([Sample("a", LOAD, later(120), 1.0), Sample("a", LOAD, later(60), 1.0)])
    assert await oldest(store, "a") == later(60)
    await thin_all(store, NOON + 3 * DAY)
    assert await oldest(store, "a") == later(300)
    assert await oldest(store, "b") is None


async def test_after_two_days_ten_minutes_become_one_mean(store: Store) -> None:
    await store.samples.add(by_minute("a", LOAD, [float(n) for n in range(20)]))
    now = NOON + timedelta(hours=48, minutes=14, seconds=59)
    assert await thin_all(store, now) == ["a"]
    found = await window(store, "a", LOAD)
    assert [(sample.at, sample.value) for sample in found] == [
        (later(300), 4.5),
        *((later(60 * n), float(n)) for n in range(10, 20)),
    ]


async def test_thinning_again_changes_nothing(store: Store) -> None:
    await store.samples.add(by_minute("a", LOAD, [1.0, 2.0, 3.0] * 20))
    await thin_all(store, NOON + 3 * DAY)
    once = await window(store, "a", LOAD)
    await thin_all(store, NOON + 3 * DAY)
    assert await window(store, "a", LOAD) == once
    assert len(once) == 6


async def test_means_keep_what_matters_of_each_metric(store: Store) -> None:
    for n in range(10):
        at = later(60 * n)
        rebooted = n >= 6
        await store.samples.add(
            [
                Sample("a", UPTIME, at, 60.0 * (n - 6) + 30 if rebooted else 500_000.0 + 60 * n),
                Sample("a", REACHABLE, at, 0.0 if n == 5 else 1.0),
                Sample("a", FAILED, at, 2.0 if n == 7 else 0.0),
                Sample("a", DISK, at, 50.0 + n, "/"),
                Sample("a", DISK, at, 10.0, "/srv"),
            ]
        )
    await thin_all(store, NOON + 3 * DAY)
    found = {(s.metric, s.part): s.value for s in await window(store, "a", UPTIME, REACHABLE, FAILED, DISK)}
    assert found[REACHABLE, ""] == 0.9
    assert found[FAILED, ""] == 2.0
    assert found[DISK, "/"] == 54.5
    assert found[DISK, "/srv"] == 10.0
    # The boot was at 12:05:30; at 12:05 it had not happened, so the mean names the earliest uptime there can be.
    assert found[UPTIME, ""] == 0.0


async def test_uptime_moved_to_the_middle_of_its_ten_minutes_names_the_same_boot(store: Store) -> None:
    booted = NOON - timedelta(days=3)
    await store.samples.add(
        [Sample("a", UPTIME, later(60 * n), (later(60 * n) - booted).total_seconds()) for n in range(10)]
    )
    await thin_all(store, NOON + 3 * DAY)
    (mean,) = await window(store, "a", UPTIME)
    assert mean.at - timedelta(seconds=mean.value) == booted


async def test_after_two_weeks_everything_is_forgotten_also_of_hosts_that_are_gone(store: Store) -> None:
    await store.samples.add([Sample(host, LOAD, NOON, 1.0) for host in ("a", "b", "zz")])
    assert await thin_all(store, NOON + 13 * DAY) == ["a", "b", "zz"]
    assert len(await window(store, "b", LOAD)) == 1
    await thin_all(store, NOON + 14 * DAY + 6 * MINUTE)
    assert await thin_all(store, NOON + 15 * DAY) == []
    assert await window(store, "b", LOAD) == []


async def test_hosts_are_thinned_one_by_one(store: Store) -> None:
    await store.samples.add([Sample(host, LOAD, NOON, 1.0) for host in ("b", "a", "B")])
    now = NOON + 3 * DAY
    assert await store.samples.thin(now) == "B"
    assert [s.at for s in await window(store, "a", LOAD)] == [NOON]
    assert await store.samples.thin(now, after="B") == "a"
    assert [s.at for s in await window(store, "a", LOAD)] == [later(300)]
    assert await store.samples.thin(now, after="b") == ""


async def test_a_long_past_is_thinned_in_steps_without_a_wrong_mean(store: Store) -> None:
    """A bot that was off for weeks finds thousands of rows of one host at once."""
    await store.samples.add([Sample("a", LOAD, later(10 * n), float(n // 60)) for n in range(60 * 50)])
    now = NOON + 3 * DAY
    for _ in range(6):
        await thin_all(store, now)
    found = await window(store, "a", LOAD)
    assert [(sample.at, sample.value) for sample in found] == [(later(600 * n + 300), float(n)) for n in range(50)]


async def test_a_sample_that_is_late_does_not_change_a_mean_that_exists(store: Store) -> None:
    await store.samples.add(by_minute("a", LOAD, [1.0] * 10))
    await thin_all(store, NOON + 3 * DAY)
    await store.samples.add([Sample("a", LOAD, later(30), 99.0)])
    await thin_all(store, NOON + 3 * DAY)
    assert [sample.value for sample in await window(store, "a", LOAD)] == [1.0]


async def test_reading_does_not_wait_for_a_writer(tmp_path) -> None:
    """Whoever asks for a chart waits for nobody's transaction, and nobody's transaction waits for a chart."""
    store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
    await store.samples.add([Sample("a", LOAD, NOON, 1.0)])
    writer = sqlite3.connect(tmp_path / "opsbot.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(2):
        assert len(await window(store, "a", LOAD)) == 1
    writer.execute("ROLLBACK")
    held, release = threading.Event(), threading.Event()

    def slow(connection) -> None:
        connection.exec_driver_sql("SELECT count(*) FROM samples").all()
        held.set()
        release.wait(10)

    reading = asyncio.create_task(asyncio.to_thread(store._reader.read_blocking, slow))
    await asyncio.to_thread(held.wait, 10)
    async with asyncio.timeout(2):
        await store.audit.append(entry("an approval's record"))
    release.set()
    await reading
    writer.close()
    await store.close()


async def test_letters_of_unknown_metrics_are_skipped(tmp_path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
    await store.samples.add([Sample("a", LOAD, NOON, 1.0)])
    edited = sqlite3.connect(tmp_path / "opsbot.db")
    with edited:
        edited.execute("""UPDATE samples SET figures = '{"l":1,"Z":5,"Zx":6}'""")
    edited.close()
    assert len(await window(store, "a", *Metric)) == 1
    await thin_all(store, NOON + 3 * DAY)
    assert [(s.metric, s.value) for s in await window(store, "a", *Metric)] == [(LOAD, 1.0)]
    await store.close()


def test_every_metric_has_a_letter_of_its_own() -> None:
    from opsbot.adapters.store.samples import _LETTERS, _METRICS

    assert set(_LETTERS) == set(Metric)
    assert len(_METRICS) == len(Metric)
    assert all(len(letter) == 1 for letter in _METRICS)


async def test_approvals_records_are_all_written_beside_samples_thinning_and_readers(store: Store) -> None:
    """Samples may be lost; a record that an approval waits for may not, however much is measured and asked."""
    await store.samples.add([Sample(f"h{n}", LOAD, later(60 * m), 1.0) for n in range(20) for m in range(60)])

    async def measured(number: int) -> None:
        await store.samples.add([Sample(f"h{n}", LOAD, later(10_000 + number), 1.0) for n in range(200)])
        await store.samples.thin(NOON + 3 * DAY, after=f"h{number}")

    async def asked(number: int) -> int:
        return len(await window(store, f"h{number}", LOAD))

    records = [store.audit.append(entry("decided", n=n)) for n in range(30)]
    found = await asyncio.gather(*map(measured, range(10)), *map(asked, range(20)), *records)
    assert sorted(record.seq for record in found[-30:]) == list(range(1, 31))
    assert len(await store.audit.read()) == 30
