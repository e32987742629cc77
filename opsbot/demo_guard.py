"""Runs a program for as long as the process that started us lives: however that one ends, its pipe to us closes."""

import os
import subprocess
import sys
import threading

_PATIENCE_S = 10.0


def main() -> int:
    """Run the arguments as a command; end it when standard input does. Returns its exit status."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    watcher = threading.Thread(target=_end_with_input, args=(child,), daemon=True)
    watcher.start()
    return child.wait()


def _end_with_input(child: subprocess.Popen[bytes]) -> None:
    # Not sys.stdin: a thread that waits in its buffer cannot be left behind at the end.
    while os.read(0, 4096):
        pass
    child.terminate()
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
