"""How busy a CPU was since somebody last looked: two readings of its counters, none of them waited for."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# A difference over less is noise, over more is history.
_MIN_AGE_S, _MAX_AGE_S = 1.0, 120.0
# More hosts than an inventory has.
_MAX_HOSTS = 10_000


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Time all processors together have spent since boot, in any one unit. `idle` includes waiting for disks."""

    total: float
    idle: float

    def busy_percent(self, before: "CpuTime") -> float | None:
        """The busy share since an earlier reading; None if time did not pass."""
        passed, idle = self.total - before.total, self.idle - before.idle
        return round(min(100.0, max(0.0, 100.0 * (passed - idle) / passed)), 1) if passed > 0 else None


@dataclass(frozen=True, slots=True)
class CpuReading:
    """What a host said at one moment; `uptime_s` is its own clock."""

    boot_id: str
    uptime_s: float
    cpu: CpuTime


@dataclass(slots=True)
class _Past:
    """Two readings at least a second apart: while the newer one is too young to compare with, the older one serves."""

    older: CpuReading
    newer: CpuReading
    heard_at: float


class CpuReadings:
    """The readings before, by host. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._past: dict[str, _Past] = {}

    def percent(self, host: str, now: CpuReading) -> float | None:
        """Compare with a reading before, if one is of the same boot and 1 to 120 s old; and remember this one.

        Ages are by the host's own uptime: what the network does to an answer does not spoil the difference.
        """
        with self._lock:
            past = self._past.get(host)
            if past is None or past.newer.boot_id != now.boot_id or past.newer.uptime_s > now.uptime_s:
                past = self._begin(host, now)
            before = past.older
            if now.uptime_s - past.newer.uptime_s >= _MIN_AGE_S:
                before = past.newer
                past.older, past.newer, past.heard_at = past.newer, now, self._monotonic()
        age_s = now.uptime_s - before.uptime_s
        return now.cpu.busy_percent(before.cpu) if _MIN_AGE_S <= age_s <= _MAX_AGE_S else None

    def ready(self, host: str) -> bool:
        """Whether the next reading will, as far as we know, have one to be compared with."""
        with self._lock:
            past = self._past.get(host)
            if past is None:
                return False
            age_s = self._monotonic() - past.heard_at
        if age_s < _MIN_AGE_S:
            age_s += past.newer.uptime_s - past.older.uptime_s
        return _MIN_AGE_S <= age_s <= _MAX_AGE_S

    def _begin(self, host: str, now: CpuReading) -> _Past:
        if len(self._past) >= _MAX_HOSTS:
            self._past.clear()
        past = self._past[host] = _Past(now, now, self._monotonic())
        return past
