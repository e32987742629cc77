"""A process that has imported the bot once and forks it whenever asked: kills by the hundred need fast starts.

Run as `python -m tests.zygote`. Each line on stdin is a request, answered by a line on stdout:
`{"argv": […], "env": {…}, "stderr": PATH}` -> `{"pid": n}`, `{"wait": pid}` -> `{"status": n}` (None: it lives).
Whatever is forked is a whole bot, started by the command line's own `main`; only its imports are not its own.
"""

import faulthandler
import importlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[1]
_IMPORTED = ("opsbot.__main__", "opsbot.cli_run", "opsbot.bootstrap", "tests.failpoints")


class Zygote:
    """The test's end. One request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        command = [sys.executable, "-m", "tests.zygote"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def fork(self, argv: list[str], environment: dict[str, str], stderr: Path) -> "Forked":
        """Start a bot whose stderr goes to the named pipe or file."""
        pid = self._ask({"argv": argv, "env": environment, "stderr": str(stderr)})["pid"]
        return Forked(self, int(pid))

    def status(self, pid: int) -> int | None:
        """Return the exit code, None while it lives."""
        found: int | None = self._ask({"wait": pid})["status"]
        return found

    def stop(self) -> None:
        """End the zygote; what it forked is not touched."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, request: dict[str, object]) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer: dict[str, int] = json.loads(self._process.stdout.readline())
            return answer


class Forked:
    """One forked bot, with as much of `subprocess.Popen` as tests use."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self._zygote = zygote
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._zygote.status(self.pid)
        return self._status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def main() -> None:
    """Serve requests until stdin ends."""
    for name in _IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid, status = os.waitpid(request["wait"], os.WNOHANG)
            answer = {"status": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            answer = {"pid": _forked(request)}
        print(json.dumps(answer), flush=True)


def _forked(request: dict[str, object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        _become(request)
        code = importlib.import_module("opsbot.__main__").main(request["argv"])
    finally:
        sys.stderr.flush()
        os._exit(code)


def _become(request: dict[str, object]) -> None:
    os.environ.clear()
    os.environ.update(request["env"])
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(str(request["stderr"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, descriptor in enumerate((nothing, nothing, errors)):
        os.dup2(descriptor, number)
    faulthandler.enable()
    importlib.import_module("tests.failpoints").arm(os.environ.pop("OPSBOT_FAILPOINT", ""))


if __name__ == "__main__":
    main()
