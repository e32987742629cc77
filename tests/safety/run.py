"""Every safety row at full size, and the safety page anew; run as `python -m tests.safety.run`.

Rows that hold opsbot's answers against a clock have the machine to themselves; the others run side by side after them.
"""

import os
import subprocess
import sys
import time

from tests.safety import page

# Tests mostly wait, for hosts and for processes that are killed, so two processors carry more than two workers.
_WORKERS = 4
_PARTS = (
    ("-m", "alone"),
    ("-m", "not alone", "-n", str(_WORKERS), "--dist", "loadfile", "--no-loadscope-reorder"),
)


def main() -> int:
    """Run them all; 0: every test passed."""
    environment = os.environ | {
        "SAFETY_SCALE": "full",
        "SAFETY_FIGURES": str(page.FIGURES),
        "SAFETY_RUN": str(time.time_ns()),
    }
    command = [sys.executable, "-m", "pytest", "-rf"]
    codes = [
        subprocess.run([*command, *part, "tests/safety"], env=environment, check=False).returncode for part in _PARTS
    ]
    page.main()
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
