"""Every safety row at full size, and the safety page anew; run as `python -m tests.safety.run`.

Rows that hold opsbot's answers against a clock go first, one for each of two processors; then the others, side by side.
"""

import os
import subprocess
import sys
import time

from tests.safety import page

# Tests mostly wait, for hosts and for processes that are killed, so two processors carry more than two workers.
_WORKERS = 4
_PARTS = (("alone", 2), ("not alone", _WORKERS))


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
    together = ("-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder")
    return [sys.executable, "-m", "pytest", "-rf", "-m", marked, *together, "tests/safety"]


if __name__ == "__main__":
    sys.exit(main())
