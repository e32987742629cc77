"""Events written to SQLite by many at once: sharing commits, and with a commit each; interleaved, in one run.

Run as: python benchmarks/commits.py [ROUNDS]   (5 by default; in a temporary folder of this disk)
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from opsbot.adapters.store import SqlStore, open_store
from opsbot.domain import Actor, IncomingCommand, Place

KEY = bytes(range(32))
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EVENT = IncomingCommand(Place("T1", "C1"), Actor("T1", "U1"), "help", "https://reply")
EVENTS = 600
WRITERS = (1, 8, 64)


@dataclass(frozen=True, slots=True)
class Speed:
    """How one way did."""

    per_s: float
    cpu_ms: float


async def write_all(store: SqlStore, writers: int) -> None:
    """Accept the events, each with two keys, so many at a time."""
    numbers: Iterator[int] = iter(range(EVENTS))

    async def write() -> None:
        for number in numbers:
            await store.inbox.accept([f"event:{number}", f"message:{number}"], EVENT, NOON)

    await asyncio.gather(*(write() for _ in range(writers)))


def measure(writers: int, *, together: bool) -> Speed:
    """Fill a new database."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        store = open_store(f"sqlite:///{folder}/commits.db", audit_key=KEY)
        store._database._share = together
        wall, cpu = time.monotonic(), time.process_time()
        asyncio.run(write_all(store, writers))
        speed = Speed(EVENTS / (time.monotonic() - wall), (time.process_time() - cpu) / EVENTS * 1000)
        asyncio.run(store.close())
        return speed


def main() -> None:
    """Print medians, and the ratio between the two ways."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for writers in WRITERS:
        pairs = [(measure(writers, together=False), measure(writers, together=True)) for _ in range(rounds)]
        alone, shared = (statistics.median(pair[way].per_s for pair in pairs) for way in (0, 1))
        alone_ms, shared_ms = (statistics.median(pair[way].cpu_ms for pair in pairs) for way in (0, 1))
        ratio = statistics.median(pair[1].per_s / pair[0].per_s for pair in pairs)
        print(
            f"{writers} at once: a commit each {alone:.0f}/s, {alone_ms:.2f} ms of CPU; "
            f"shared {shared:.0f}/s, {shared_ms:.2f} ms; ratio {ratio:.1f}"
        )


if __name__ == "__main__":
    main()
