"""What hosts say of themselves is kept: gathered in memory as it is read, written in batches, thinned bit by bit."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar

from opsbot.domain import (
    CertificateReport,
    CheckResult,
    CommandResult,
    Disk,
    History,
    Host,
    Metric,
    Sample,
    ServerFacts,
    Vitals,
)
from opsbot.errors import HostBusy, HostUnreachable
from opsbot.ports import Clock, Machines, Past, Samples, Services

# Looks are kept by tens of seconds: however often people look, a host adds no more than six rows a minute.
GRID_S = 10
# So many looks in one transaction: some milliseconds of the database's one writer.
_BATCH = 200
# What waits when the database does not take it; the oldest are given up first.
_MOST_WAITING = 20_000
_MOUNTS = 8
_MOUNT_CHARS = 100
# Hosts thinned in one sweep, and how long after its beginning a round through all of them may begin anew.
_THINNED_AT_ONCE = 3
_ROUND_S = 600.0

_Look: TypeAlias = dict[tuple[Metric, str], float]
_Seen = TypeVar("_Seen", ServerFacts, Vitals)


class Recorder(Past):
    """Takes figures in from any thread, and gives them back together with those that are stored.

    Losing some in a crash is accepted; nobody ever waits for them to be written. `every_s`: as `History` says.
    """

    def __init__(self, samples: Samples, clock: Clock, *, every_s: float = 0.0) -> None:
        self._samples = samples
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int], _Look] = {}
        self._thinned = ""
        self._next_round_at = clock.monotonic()

    # --- in ----------------------------------------------------------------------------------------------------------

    def saw(self, host: Host, seen: ServerFacts | Vitals) -> None:
        """Note what a host said just now."""
        self._note(host.name, figures_of(seen))

    def missed(self, host: Host) -> None:
        """Note that a host did not answer."""
        self._note(host.name, {(Metric.REACHABLE, ""): 0.0})

    def _note(self, name: str, figures: Mapping[tuple[Metric, str], float]) -> None:
        now_s = int(self._clock.now().timestamp())
        with self._lock:
            self._waiting.setdefault((name, now_s - now_s % GRID_S), {}).update(figures)
            while len(self._waiting) > _MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]

    # --- out ---------------------------------------------------------------------------------------------------------

    def history(self, host: str, metrics: Sequence[Metric], *, hours: float) -> History:
        """Return these metrics of a host over the last hours; blocks for the database. Raises StoreError."""
        until = self._clock.now()
        since = until - timedelta(hours=hours)
        stored = self._samples.window(host, metrics, since=since)
        first = self._samples.oldest(host)
        with self._lock:
            fresh = [(at_s, dict(look)) for (name, at_s), look in self._waiting.items() if name == host]
        waiting = tuple(_samples(host, sorted(fresh, key=lambda each: each[0])))
        known = {sample.at for sample in stored}
        newer = (s for s in waiting if s.at >= since and s.at not in known and s.metric in metrics)
        first = min((at for at in (first, *(sample.at for sample in waiting)) if at is not None), default=None)
        return History((*stored, *newer), until, first, self._every_s)

    # --- upkeep ------------------------------------------------------------------------------------------------------

    async def write(self, *, everything: bool = False) -> None:
        """Store what is complete (`everything`: also what may still be added to). Raises StoreError; then it waits."""
        limit_s = int(self._clock.now().timestamp()) - (0 if everything else GRID_S)
        with self._lock:
            due = {key: dict(look) for key, look in self._waiting.items() if everything or key[1] <= limit_s}
        keys = list(due)
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            await self._samples.add([one for name, at_s in batch for one in _samples(name, [(at_s, due[name, at_s])])])
            with self._lock:
                for key in batch:
                    self._waiting.pop(key, None)

    async def thin(self) -> None:
        """Thin the old samples of the next few hosts. Raises StoreError."""
        if self._clock.monotonic() < self._next_round_at:
            return
        for _ in range(_THINNED_AT_ONCE):
            self._thinned = await self._samples.thin(self._clock.now(), after=self._thinned)
            if not self._thinned:
                self._next_round_at = self._clock.monotonic() + _ROUND_S
                return


def figures_of(seen: ServerFacts | Vitals) -> _Look:
    """Return what is worth keeping of a look at a host that answered."""
    used = seen.memory_total_bytes - seen.memory_available_bytes
    figures: dict[tuple[Metric, str], float | None] = {
        (Metric.REACHABLE, ""): 1.0,
        (Metric.LOAD, ""): round(seen.load[0], 2),
        (Metric.CPU, ""): seen.cpu_percent,
        (Metric.MEMORY, ""): _percent(used, seen.memory_total_bytes),
        (Metric.SWAP, ""): _percent(seen.swap_used_bytes, seen.swap_total_bytes),
        (Metric.UPTIME, ""): float(int(seen.uptime_s)),
    }
    if isinstance(seen, ServerFacts):
        figures[Metric.CPUS, ""] = float(seen.cpus) if seen.cpus else None
        figures[Metric.FAILED_UNITS, ""] = None if seen.failed_units is None else float(len(seen.failed_units))
        figures |= {(Metric.DISK, disk.mount[:_MOUNT_CHARS]): _full(disk) for disk in _fullest(seen.disks)}
    return {key: value for key, value in figures.items() if value is not None}


def _fullest(disks: Iterable[Disk]) -> list[Disk]:
    return sorted(disks, key=lambda disk: _full(disk) or 0.0, reverse=True)[:_MOUNTS]


def _full(disk: Disk) -> float | None:
    """How full, as `df` counts it: at 100% users can write no more."""
    free = disk.size_bytes - disk.used_bytes if disk.available_bytes is None else disk.available_bytes
    return _percent(disk.used_bytes, disk.used_bytes + free)


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _samples(host: str, looks: Iterable[tuple[int, Mapping[tuple[Metric, str], float]]]) -> Iterator[Sample]:
    for at_s, look in looks:
        at = datetime.fromtimestamp(at_s, UTC)
        for (metric, part), value in look.items():
            yield Sample(host, metric, at, value, part)


class RecordingMachines(Machines):
    """Machines whose facts and vitals are noted as they are read; everything else goes straight through."""

    def __init__(self, machines: Machines, recorder: Recorder) -> None:
        self._machines = machines
        self._recorder = recorder

    def facts(self, host: Host, *, timeout_s: float) -> ServerFacts:
        return self._noted(host, lambda: self._machines.facts(host, timeout_s=timeout_s))

    def vitals(self, host: Host, *, timeout_s: float) -> Vitals:
        return self._noted(host, lambda: self._machines.vitals(host, timeout_s=timeout_s))

    def _noted(self, host: Host, look: Callable[[], _Seen]) -> _Seen:
        try:
            seen = look()
        except HostBusy:
            raise  # it is there: only our own commands kept it from answering
        except HostUnreachable:
            self._recorder.missed(host)
            raise
        self._recorder.saw(host, seen)
        return seen

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        return self._machines.run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)

    def services(self, host: Host) -> Services:
        return self._machines.services(host)

    def healthy(self, host: Host, unit: str) -> str | None:
        return self._machines.healthy(host, unit)

    def checks(self, host: Host, units: Sequence[str], *, timeout_s: float) -> Mapping[str, CheckResult]:
        return self._machines.checks(host, units, timeout_s=timeout_s)

    def certificates(self, host: Host, *, timeout_s: float) -> tuple[CertificateReport, ...]:
        return self._machines.certificates(host, timeout_s=timeout_s)

    def lookups(self, host: Host, *, timeout_s: float) -> Mapping[str, tuple[str, ...] | None]:
        return self._machines.lookups(host, timeout_s=timeout_s)
