"""The short history for real: hosts looked at over SSH by themselves, and the bot as a process that charts its past."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.adapters.store import open_store
from opsbot.audit_key import load_or_create_key
from opsbot.domain import Metric, Sample
from opsbot.errors import HostUnreachable
from opsbot.recorder import Recorder, RecordingMachines
from opsbot.sampling import Sampling
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore
from tests.ssh_answers import PROBE, RealShell
from tests.ssh_servers import Keys, SshServer
from tests.whole_bot import WholeBot

OPS = "C0OPS"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def machines() -> Iterator[HostMachines]:
    machines = HostMachines(ParamikoShell(PoolLimits(suspect_s=60)), LocalShell())
    yield machines
    machines.close()


async def looked(sampling: Sampling) -> None:
    await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        await sampling.idle()


async def test_a_host_is_sampled_over_its_probe_channel_and_its_outage_is_recorded_at_once(
    machines: HostMachines, keys: Keys
) -> None:
    clock = FakeClock()
    recorder = Recorder(MemoryStore().samples, clock, every_s=60)

    with SshServer(keys, RealShell()) as server:
        host = server.host()
        noted = RecordingMachines(machines, recorder)
        sampling = Sampling(noted, recorder, hosts=lambda: [host], clock=clock, every_s=60)
        sampling.start()
        for _ in range(3):
            await looked(sampling)
            clock.advance(60)
        await looked(sampling)
        commands = list(server.commands)
    name = host.name
    found = recorder.history(name, [Metric.REACHABLE, Metric.MEMORY, Metric.DISK], hours=1).samples
    assert [s.value for s in found if s.metric is Metric.REACHABLE] == [1.0] * 4
    assert all(0 < s.value < 100 for s in found if s.metric is Metric.MEMORY)
    assert {s.part for s in found if s.metric is Metric.DISK}
    assert commands == [PROBE], "one channel, and no command of its own"
    # The server is gone now: one look finds out, the next ones are answered for by the pool without a connection.
    clock.advance(60)
    await looked(sampling)
    clock.advance(60)
    began = asyncio.get_running_loop().time()
    await looked(sampling)
    assert asyncio.get_running_loop().time() - began < 1
    await sampling.stop()
    found = recorder.history(name, [Metric.REACHABLE], hours=1).samples
    assert [s.value for s in found] == [1.0] * 4 + [0.0] * 2
    with pytest.raises(HostUnreachable):
        machines.vitals(host, timeout_s=5)


def kept(folder: Path) -> None:
    """Leave a day of this machine's past in the database, as an earlier start would have."""
    key = load_or_create_key(folder / "audit.key", has_records=False)
    store = open_store(f"sqlite:///{folder}/opsbot.db", audit_key=key)
    now = SystemClock().now().replace(microsecond=0)
    samples = []
    for n in range(1440):
        at = now - timedelta(minutes=n)
        samples.append(Sample("this-machine", Metric.REACHABLE, at, 1.0))
        samples.append(Sample("this-machine", Metric.MEMORY, at, 95.0 if n < 120 else 40.0))
    asyncio.run(store.samples.add(samples))
    asyncio.run(store.close())


async def test_the_bot_charts_a_past_from_before_its_start_and_goes_on_measuring(tmp_path: Path, workbench) -> None:
    await asyncio.to_thread(kept, tmp_path)
    hosts = "hosts: {this-machine: {connection: local}}\nhistory: {every_s: 10}\n"
    bot = WholeBot(tmp_path, workbench, hosts)
    await asyncio.to_thread(bot.start)
    try:
        alice = workbench.person("alice")
        await alice.command(OPS, "/ops history memory this-machine 24")
        answer = await alice.sees(lambda m: "memory used, last 24 h" in json.dumps(m) and not m.get("files"))
        assert "about" in json.dumps(answer)
        picture = await workbench.wait_for(
            lambda m: any(f["title"] == "memory used, last 24 h" for f in m.get("files", []))
        )
        assert "this-machine: " in picture["files"][0]["alt_txt"]
        # A look that has ended is in the recorder's hands, however soon the bot stops.
        await alice.command(OPS, "/ops status this-machine")
        await alice.sees(lambda m: "load" in json.dumps(m) and "this-machine" in json.dumps(m))
    finally:
        assert await asyncio.to_thread(bot.terminate) == 0
    key = (tmp_path / "audit.key").read_text().strip()
    store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=bytes.fromhex(key))
    fresh = store.samples.window("this-machine", [Metric.LOAD], since=datetime.now(UTC) - timedelta(minutes=5))
    assert fresh, "what was measured last is written when the bot stops"
    await store.close()
