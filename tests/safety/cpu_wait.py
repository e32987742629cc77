"""How long a test had no CPU: what a clock on the wall says of a busy machine says nothing about opsbot."""

from pathlib import Path

# From this share of the time on, limits in seconds are not held against what was measured; figures still say it.
BUSY = 0.1


def waited_for_cpu_s() -> float:
    """How long this thread was ready to run and had no CPU. Second field of schedstat: nanoseconds on a run queue."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
