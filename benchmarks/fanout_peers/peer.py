"""What every peer's process has in common: it is told the hosts once, then runs a round per line and reports it."""

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

# The question, the same for everybody: load, memory and uptime.
FILES = ("/proc/loadavg", "/proc/meminfo", "/proc/uptime")
COMMAND = "cat " + " ".join(FILES)


@dataclass(frozen=True)
class Job:
    """Where to ask, and with how many hosts under way at the same time."""

    addresses: tuple[str, ...]
    port: int
    user: str
    key_file: str
    host_key: str
    known_hosts: str
    parallel: int


def job() -> Job:
    """Read the job from standard input's first line."""
    given = json.loads(sys.stdin.readline())
    return Job(**{**given, "addresses": tuple(given["addresses"])})


def serve(ask: Callable[[], int]) -> None:
    """Call `ask` (it returns how many hosts answered) once per line; report wall and CPU seconds of each round."""
    answered = ask()  # warms what can be warmed
    print(json.dumps({"warm": answered}), flush=True)
    for _ in sys.stdin:
        cpu_before, began = _cpu_s(), time.monotonic()
        answered = ask()
        wall_s = time.monotonic() - began
        print(json.dumps({"wall_s": wall_s, "cpu_s": _cpu_s() - cpu_before, "answered": answered}), flush=True)


def _cpu_s() -> float:
    """CPU of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def good(output: str) -> bool:
    """Whether this is an answer to the question."""
    return "MemTotal" in output
