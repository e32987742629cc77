"""Hosts are looked at by themselves: each once in the interval, spread, never twice at once, without noise."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from opsbot.domain import Host, Metric
from opsbot.recorder import Recorder, RecordingMachines
from opsbot.sampling import Sampling
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines
from tests.fake_store import MemoryStore

HOSTS = [Host(f"h{n:02d}") for n in range(20)]


class Setting:
    """A sampling on fakes. `looked` counts what each host was asked."""

    def __init__(self, hosts: list[Host], every_s: float = 60, machines: FakeMachines | None = None) -> None:
        self.clock = FakeClock()
        self.hosts = hosts
        self.machines = machines or FakeMachines()
        self.recorder = Recorder(MemoryStore().samples, self.clock, every_s=every_s)
        self.sampling = Sampling(
            RecordingMachines(self.machines, self.recorder),
            self.recorder,
            hosts=lambda: tuple(self.hosts),
            clock=self.clock,
            every_s=every_s,
        )

    @property
    def looked(self) -> Counter[str]:
        return Counter(name for name, _ in self.machines.commands)

    def asked(self, host: str) -> list[str]:
        return [argv[0] for name, argv in self.machines.commands if name == host]

    async def passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settles()

    async def settles(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await self.sampling.idle()

    def values(self, host: str, metric: Metric) -> list[float]:
        return [sample.value for sample in self.recorder.history(host, [metric], hours=24).samples]


@asynccontextmanager
async def sampling(*arguments, **keywords):
    setting = Setting(*arguments, **keywords)
    setting.sampling.start()
    await setting.settles()
    yield setting
    await setting.sampling.stop()


async def test_every_host_is_looked_at_once_in_the_interval_spread_over_it() -> None:
    async with sampling(HOSTS) as setting:
        assert setting.looked.total() == 1
        for tick in range(1, 20):
            await setting.passes(3)
            assert setting.looked.total() == tick + 1
        assert set(setting.looked.values()) == {1}
        for _ in range(20):
            await setting.passes(3)
        assert set(setting.looked.values()) == {2}


async def test_more_hosts_than_seconds_are_looked_at_in_small_groups() -> None:
    hosts = [Host(f"n{n:03d}") for n in range(95)]
    async with sampling(hosts, every_s=10) as setting:
        sizes = [setting.looked.total()]
        for _ in range(9):
            await setting.passes(1)
            sizes.append(setting.looked.total() - sum(sizes))
        assert sum(sizes) == 95
        assert set(sizes) == {9, 10}


async def test_one_host_is_looked_at_more_closely_at_once_and_then_every_ten_minutes() -> None:
    async with sampling(HOSTS[:1]) as setting:
        for _ in range(20):
            await setting.passes(60)
        asked = setting.asked("h00")
        assert [n for n, word in enumerate(asked) if word == "facts"] == [0, 10, 20]
        assert len(asked) == 21


async def test_close_looks_at_many_hosts_do_not_fall_together() -> None:
    async with sampling(HOSTS) as setting:
        for _ in range(19):
            await setting.passes(3)
        closely = [name for name, argv in setting.machines.commands if argv == ("facts",)]
        assert closely == ["h00", "h10"]


async def test_a_host_that_is_down_is_recorded_and_makes_no_noise() -> None:
    with capture_logs() as logs:
        async with sampling(HOSTS[:2]) as setting:
            await setting.passes(30)
            setting.machines.fault("h01", "down")
            await setting.passes(30)
            await setting.passes(30)
            setting.machines.heal("h01")
            await setting.passes(30)
            await setting.passes(30)
            assert setting.values("h01", Metric.REACHABLE) == [1.0, 0.0, 1.0]
            assert setting.values("h00", Metric.REACHABLE) == [1.0, 1.0, 1.0]
    assert [entry for entry in logs if entry["log_level"] != "debug"] == []


class Hanging(FakeMachines):
    """Every look at a host in `stuck` waits until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck: set[str] = set()
        self.gate = threading.Event()
        self.inside = Counter[str]()

    def vitals(self, host, *, timeout_s):
        return self._held(host) or super().vitals(host, timeout_s=timeout_s)

    def facts(self, host, *, timeout_s):
        return self._held(host) or super().facts(host, timeout_s=timeout_s)

    def _held(self, host: Host) -> None:
        self.inside[host.name] += 1
        if host.name in self.stuck:
            self.gate.wait(20)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    machines = Hanging()
    yield machines
    machines.gate.set()


async def test_a_host_that_hangs_is_never_asked_twice_at_once_and_delays_no_other(hanging: Hanging) -> None:
    hanging.stuck = {"h00"}
    setting = Setting(HOSTS[:2], machines=hanging)
    setting.sampling.start()
    for _ in range(4):
        for _ in range(5):
            await asyncio.sleep(0)
        setting.clock.advance(30)
    async with asyncio.timeout(20):
        while setting.looked["h01"] < 2:
            await asyncio.sleep(0.01)
    assert hanging.inside["h00"] == 1
    hanging.gate.set()
    await setting.settles()
    await setting.sampling.stop()


async def test_no_more_than_a_few_looks_run_at_once(hanging: Hanging) -> None:
    hanging.stuck = {host.name for host in HOSTS}
    setting = Setting(HOSTS, every_s=10, machines=hanging)
    setting.sampling.start()
    for _ in range(10):
        for _ in range(5):
            await asyncio.sleep(0)
        setting.clock.advance(1)
    await asyncio.sleep(0.2)
    assert hanging.inside.total() == 4
    hanging.gate.set()
    await setting.settles()
    assert hanging.inside.total() == 20
    await setting.sampling.stop()


async def test_stopping_waits_for_no_host(hanging: Hanging) -> None:
    hanging.stuck = {"h00"}
    setting = Setting(HOSTS[:1], machines=hanging)
    setting.sampling.start()
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        await setting.sampling.stop()
    setting.clock.advance(600)
    await asyncio.sleep(0)
    assert hanging.inside["h00"] == 1


async def test_switched_off_nothing_is_looked_at() -> None:
    async with sampling(HOSTS, every_s=0) as setting:
        await setting.passes(600)
        assert setting.looked.total() == 0


async def test_a_changed_inventory_counts_from_the_next_round_on() -> None:
    async with sampling(HOSTS[:1]) as setting:
        setting.hosts = [Host("new"), Host("other")]
        await setting.passes(60)
        await setting.passes(30)
        assert setting.looked == {"h00": 1, "new": 1, "other": 1}


async def test_an_empty_inventory_is_waited_with() -> None:
    async with sampling([]) as setting:
        setting.hosts = HOSTS[:1]
        await setting.passes(60)
        assert setting.looked == {"h00": 1}


async def test_a_surprise_of_one_host_is_logged_and_ends_nothing() -> None:
    class Odd(FakeMachines):
        def facts(self, host, *, timeout_s):
            if host.name == "h00":
                raise ZeroDivisionError
            return super().facts(host, timeout_s=timeout_s)

    with capture_logs() as logs:
        async with sampling(HOSTS[:1], machines=Odd()) as setting:
            await setting.passes(60)
            assert setting.asked("h00") == ["vitals"]
    assert [entry["event"] for entry in logs] == ["sample.crashed"]
