"""What was measured of hosts and kept."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Metric(StrEnum):
    """What is measured of hosts and kept. The value is a stable name with its unit."""

    LOAD = "load_1m"
    CPU = "cpu_percent"
    MEMORY = "memory_used_percent"
    SWAP = "swap_used_percent"
    UPTIME = "uptime_s"
    # 1: it answered, 0: it did not; as a mean the share of looks it answered.
    REACHABLE = "reachable"
    # Of each mount point, which is the sample's `part`.
    DISK = "disk_used_percent"
    FAILED_UNITS = "failed_units"
    # How many processors there are, beside the load.
    CPUS = "cpus"


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one host at one time (aware UTC, whole seconds). `part`: of what, where a host has several."""

    host: str
    metric: Metric
    at: datetime
    value: float
    part: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of one host: the samples of a window up to `until`, oldest first.

    `kept_since`: the oldest there is of this host, None: nothing yet. `every_s`: how often it is looked at by itself,
    0: only when somebody asks.
    """

    samples: tuple[Sample, ...]
    until: datetime
    kept_since: datetime | None = None
    every_s: float = 0.0
