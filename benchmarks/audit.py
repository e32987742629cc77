"""The audit log at full size (row R21): how fast a chain is verified, and how many synced records a second are written.

Run as: python benchmarks/audit.py [RECORDS]   (1,000,000 by default; SQLite in a temporary folder of this disk)
"""

import asyncio
import hmac
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opsbot.adapters.store import SqlStore, open_store, read_lines
from opsbot.adapters.store.chain import AuditChain
from opsbot.audit import verify
from opsbot.domain import AuditEntry

KEY = bytes(range(32))
BEGAN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BATCH = 5000
SYNCED = 500
TARGET_S = 60.0


def entries(first: int, count: int) -> list[AuditEntry]:
    """Records like those of real work, about 500 bytes each."""
    facts = {
        "tool": "restart_service",
        "hosts": ["web-1", "web-2"],
        "digest": "9f" * 32,
        "state": "executing",
        "host": "web-1",
        "result": "done",
        "summary": "active (running), main PID 4711 → 4890",
    }
    return [
        AuditEntry(
            "execution.host", BEGAN + timedelta(seconds=n), "T0/U0BOB", f"T0/C0/{n // 20}.000100", f"ID{n // 7}", facts
        )
        for n in range(first, first + count)
    ]


def fill(store: SqlStore, count: int) -> None:
    """Chain so many records, in large transactions."""
    chain = AuditChain(KEY)
    for first in range(0, count, BATCH):
        made = entries(first, min(BATCH, count - first))
        store._database.write_now(lambda connection, made=made: chain.append(connection, made))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return CPU and wall seconds of this work."""
    cpu, wall = time.process_time(), time.monotonic()
    work()
    return time.process_time() - cpu, time.monotonic() - wall


def floor(texts: Iterable[str]) -> None:
    """The least any check has to do: read every row, and one HMAC each."""
    for text in texts:
        hmac.digest(KEY, text.encode(), "sha256")


async def synced(store: SqlStore) -> float:
    """Return how many records a second are written one by one, each on disk before the next."""
    began = time.monotonic()
    for entry in entries(0, SYNCED):
        await store.audit.append(entry)
    return SYNCED / (time.monotonic() - began)


def main() -> None:
    """Measure, and say how far from the target it is."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        url = f"sqlite:///{folder}/audit.db"
        store = open_store(url, audit_key=KEY)
        fill_cpu_s, _ = timed(lambda: fill(store, count))
        per_s = asyncio.run(synced(store))
        asyncio.run(store.close())
        total = count + SYNCED
        least_s, _ = timed(lambda: floor(line.text for line in read_lines(url)))
        cpu_s, wall_s = timed(lambda: check(url, total))
    print(f"records {total:,}; chained and written in bulk: {fill_cpu_s / total * 1e6:.1f} µs of CPU each")
    print(f"verify: {cpu_s:.1f} s of CPU, {wall_s:.1f} s, {total / cpu_s:,.0f} records per CPU second")
    print(f"ratio verify / (read and one HMAC each): {cpu_s / least_s:.2f}")
    print(f"ratio verify / target of {TARGET_S:.0f} s for a million: {cpu_s / TARGET_S / total * 1e6:.3f}")
    print(f"synced appends: {per_s:.0f} a second (target 100)")


def check(url: str, total: int) -> None:
    """Verify the whole log, which must be whole."""
    result = verify(read_lines(url), KEY)
    if not result.ok or result.count != total:
        raise SystemExit(f"the log does not verify: {result}")


if __name__ == "__main__":
    main()
