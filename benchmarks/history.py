"""What the short history costs: CPU of looking at 100 real hosts, and what 1,000 hosts' samples do to other writes.

.venv/bin/python benchmarks/history.py            root; boots a fleet with 100 endpoints; about four minutes
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psutil
from fanout import endpoints

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.store import SqlStore, open_store
from opsbot.domain import AuditEntry, Host, Metric, Sample
from opsbot.recorder import Recorder, RecordingMachines
from opsbot.sampling import Sampling

EVERY_S, MEASURED_S = 60.0, 120.0
SWEEP_S = 5.0
# Most share of a core that looking at 100 hosts once a minute may take.
MOST_SHARE = 0.01
APPENDS = 300
# As the recorder writes.
BATCH = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; the looks in a process of their own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        asyncio.run(_looks(json.loads(options.child)))
        return 0
    asyncio.run(_writes())
    with endpoints(100) as job:
        subprocess.run([sys.executable, str(Path(__file__)), "--child", json.dumps(job)], check=True)
    return 0


@contextmanager
def _store() -> Iterator[SqlStore]:
    with tempfile.TemporaryDirectory(prefix="opsbot-history-") as folder:
        yield open_store(f"sqlite:///{folder}/opsbot.db", audit_key=bytes(32))


# --- looking at hosts ------------------------------------------------------------------------------------------------


async def _looks(job: dict[str, str]) -> None:
    hosts = [
        Host(f"host-{n}", address=each, user=job["user"], key_file=job["key_file"], host_key=job["host_key"])
        for n, each in enumerate(job["addresses"], 1)
    ]
    with _store() as store:
        clock = SystemClock()
        recorder = Recorder(store.samples, clock, every_s=EVERY_S)
        machines = HostMachines(ParamikoShell(), LocalShell())
        noted = RecordingMachines(machines, recorder)
        sampling = Sampling(noted, recorder, hosts=lambda: hosts, clock=clock, every_s=EVERY_S)
        sampling.start()
        sweeping = asyncio.create_task(_sweep(recorder))
        await asyncio.sleep(EVERY_S + 5)  # the first round connects
        me = psutil.Process()
        began, cpu_before_s = time.monotonic(), sum(me.cpu_times()[:2])
        await asyncio.sleep(MEASURED_S)
        share = (sum(me.cpu_times()[:2]) - cpu_before_s) / (time.monotonic() - began)
        sweeping.cancel()
        await sampling.stop()
        await recorder.write(everything=True)
        found = [len(store.samples.window(host.name, [Metric.REACHABLE], since=_ago(1))) for host in hosts]
        await asyncio.to_thread(machines.close)
        await store.close()
    met = "met:" if share <= MOST_SHARE else "MISSED:"
    print(
        f"100 hosts looked at once a minute: {share:.2%} of a core ({met} at most {MOST_SHARE:.0%}), "
        f"{min(found)} to {max(found)} samples each, {me.memory_info().rss / 2**20:.0f} MiB in all"
    )


async def _sweep(recorder: Recorder) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        await recorder.write()
        await recorder.thin()


def _ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


# --- writes beside them ----------------------------------------------------------------------------------------------


async def _writes() -> None:
    with _store() as store:
        alone = await _appends(store)
        filling = asyncio.create_task(_fill(store))
        beside = await _appends(store)
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        began = time.perf_counter()
        await store.samples.add(_batch(BATCH, 10_000_000))
        batch_ms = (time.perf_counter() - began) * 1000
        await _past(store)
        began = time.perf_counter()
        found = len(await asyncio.to_thread(store.samples.window, "chart", [Metric.LOAD], since=_ago(24)))
        read_ms = (time.perf_counter() - began) * 1000
        await store.close()
    print(f"an audit record written: {_spread(alone)} alone, {_spread(beside)} while 500 looks a second are written")
    print(f"one batch of {BATCH} looks: {batch_ms:.1f} ms; a day of one host ({found} samples) read: {read_ms:.1f} ms")


async def _appends(store: SqlStore) -> list[float]:
    took_ms = []
    for _ in range(APPENDS):
        began = time.perf_counter()
        await store.audit.append(AuditEntry("benchmark", datetime.now(UTC)))
        took_ms.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.02)
    return took_ms


async def _fill(store: SqlStore) -> None:
    """Thirty times what 1,000 hosts add with a look a minute each."""
    second = 0
    while True:
        await store.samples.add(_batch(BATCH, second))
        second += 1
        await asyncio.sleep(BATCH / 500)


def _batch(count: int, second: int) -> list[Sample]:
    at = datetime.fromtimestamp(1_700_000_000 + second, UTC)
    metrics = (Metric.LOAD, Metric.CPU, Metric.MEMORY, Metric.SWAP, Metric.UPTIME, Metric.REACHABLE)
    return [Sample(f"node-{n:04d}", metric, at, 12.5) for n in range(count) for metric in metrics]


async def _past(store: SqlStore) -> None:
    now = datetime.now(UTC)
    metrics = (Metric.LOAD, Metric.CPU, Metric.MEMORY, Metric.UPTIME, Metric.REACHABLE)
    for hour in range(24):
        ages = [timedelta(hours=hour, minutes=minute) for minute in range(60)]
        await store.samples.add([Sample("chart", metric, now - age, 1.25) for age in ages for metric in metrics])


def _spread(took_ms: Sequence[float]) -> str:
    ordered = sorted(took_ms)
    return f"{median(ordered):.1f} ms (99%: {ordered[int(0.99 * len(ordered))]:.1f} ms)"


if __name__ == "__main__":
    sys.exit(main())
