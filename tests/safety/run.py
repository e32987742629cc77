"""Every safety row at full size, and the safety page anew; run as `python -m tests.safety.run`.

Rows that live by the clock on the wall go first, few at a time; then the others, side by side.
"""

import os
import subprocess
import sys
import time

from tests.safety import page

# What is said here of one test without a limit of its own; at full size some work for minutes.
_TIMEOUT_S = 900
# How many at a time: what lives by the clock mostly waits, for hosts and for processes that are killed.
_PARTS = (("timed", 3), ("not timed", 4))


def main() -> int:
    """Run them all; 0: every test passed."""
    environment = os.environ | {
        "SAFETY_SCALE": "full",
        "SAFETY_FIGURES": str(page.FIGURES),
        "SAFETY_RUN": str(time.time_ns()),
    }
    codes = [subprocess.run(_command(*part), env=environment, check=False).returncode for part in _PARTS]
    page.main()
    return max(codes)


def _command(marked: str, workers: int) -> list[str]:
    options = f"-rf -o timeout={_TIMEOUT_S} -n {workers} --dist loadfile --no-loadscope-reorder".split()
    return [sys.executable, "-m", "pytest", *options, "-m", marked, "tests/safety"]


if __name__ == "__main__":
    sys.exit(main())
