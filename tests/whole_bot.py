"""The whole bot as a process of its own: `opsbot run` on a configuration file, ended by SIGTERM or SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text

from tests.workbench_fixture import RunningWorkbench
from tests.zygote import Forked, Zygote

ROOT = Path(__file__).parents[1]
_PATIENCE_S = 60.0
# A service that takes a while to stop, and writes down every start.
_SLOW = """
import pathlib, signal, sys, time
def leave(*_):
    time.sleep(1.5)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
with pathlib.Path("starts.log").open("a") as log:
    log.write("started\\n")
while True:
    time.sleep(0.1)
"""
_SUPERVISORD = """
[unix_http_server]
file={folder}/s
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
nodaemon=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s
[program:slow]
command={python} {folder}/slow.py
directory={folder}
startsecs=0
"""
_COMMON = """
slack: {slack}
store:
  url: "{store_url}"
  audit_key: {{file: "{folder}/audit.key"}}
policy:
  read_s: 0  # clicks of these people count at once
  {policy}
  askers: {{users: [U0ALICE, U0BOB]}}
  approvers:
    - environments: ["*"]
      users: [U0BOB]
  tiers: {{last_replica: 1}}
log: {{format: json, level: info}}
"""
_THIS_MACHINE = """
hosts:
  this-machine:
    connection: local
    service_manager: supervisord
    service_command: ["{python}", "-m", "supervisor.supervisorctl", "-c", "{folder}/supervisord.conf"]
    units: [slow]
"""


class SlowService:
    """A real supervisord with one service, `slow`, whose starts are counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "slow.py").write_text(_SLOW)
        config = folder / "supervisord.conf"
        config.write_text(_SUPERVISORD.format(folder=folder, python=sys.executable))
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @property
    def starts(self) -> int:
        log = self.folder / "starts.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    @property
    def hosts(self) -> str:
        """The configuration of this machine as a host."""
        return _THIS_MACHINE.format(folder=self.folder, python=sys.executable)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


class WholeBot:
    """One process of the bot at a time, on the same files, database and Slack.

    `hosts` is that part of the configuration, `policy` a line more of another; with `http_port` Slack's events come
    over HTTP. A `zygote` makes starts fast; `name` tells replicas in one folder apart.
    """

    def __init__(
        self,
        folder: Path,
        workbench: RunningWorkbench,
        hosts: str,
        *,
        store_url: str = "",
        model_url: str = "",
        http_port: int = 0,
        policy: str = "",
        zygote: Zygote | None = None,
        name: str = "config",
    ) -> None:
        self._folder = folder
        self._workbench = workbench
        self.store_url = store_url or f"sqlite:///{folder}/opsbot.db"
        self._model_url = model_url
        self._zygote = zygote
        self._config = folder / f"{name}.yaml"
        self._pipes = folder / f"{name}.stderr"
        self._lives = 0
        # Where in the log the last life begins.
        self._born = 0
        self._process: subprocess.Popen[str] | Forked | None = None
        self._ready = threading.Event()
        self.log: list[dict[str, object]] = []
        # What its environment has besides.
        self.environment: dict[str, str] = {}
        slack = f"{{mode: http, http: {{port: {http_port}}}}}" if http_port else "{}"
        config = _COMMON.format(folder=folder, store_url=self.store_url, slack=slack, policy=policy) + hosts
        self._config.write_text(config)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, failpoint: str = "", *, wait: bool = True) -> None:
        """Start a process and wait until it takes events; with a failpoint it may die before (see `failpoints`)."""
        self._lives += 1
        self._born = len(self.log)
        self._ready.clear()
        bench = self._workbench.bench
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SLACK_"))}
        environment |= {
            "SLACK_BOT_TOKEN": bench.bot_token,
            "SLACK_APP_TOKEN": bench.app_token,
            "SLACK_SIGNING_SECRET": bench.signing_secret,
            "SLACK_API_URL": bench.api_url,
        }
        if self._model_url:
            environment["OPENAI_BASE_URL"] = self._model_url
        if failpoint:
            environment["OPSBOT_FAILPOINT"] = failpoint
        environment |= {"PYTHONFAULTHANDLER": "1"} | self.environment
        self._launch(environment)
        if wait and not self._wait_ready() and not failpoint:
            if self.alive:
                self.signal(signal.SIGABRT)  # it writes down where it stands (faulthandler), and ends
                self.wait(30)
                time.sleep(0.5)  # its last words
            raise AssertionError(f"the bot did not get ready: {self._words()}")

    def _words(self) -> str:
        """What this life has written, the last lines of it."""
        return "\n".join(str(line) for line in self.log[self._born :][-60:])

    def _launch(self, environment: dict[str, str]) -> None:
        argv = ["run", "--config", str(self._config)]
        if self._zygote is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "opsbot", *argv],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            threading.Thread(target=self._read, args=(self._process.stderr, self._lives), daemon=True).start()
            return
        # A pipe for each life: a child of the last one may hold that one's end open for a moment, and then end it.
        pipe = self._pipes.with_suffix(f".{self._lives}")
        os.mkfifo(pipe)
        threading.Thread(target=self._read_pipe, args=(pipe, self._lives), daemon=True).start()
        self._process = self._zygote.fork(argv, environment, pipe)

    def _wait_ready(self) -> bool:
        """Wait for the ready line, or for the process to give up."""
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE_S
        while not self._ready.wait(0.02):
            if self._process.poll() is not None or time.monotonic() > deadline:
                time.sleep(0.2)  # its last words
                return False
        return True

    @property
    def cpu_s(self) -> float:
        """CPU seconds the process has used so far."""
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def kill(self) -> None:
        """End the process as `kill -9` does."""
        self.signal(signal.SIGKILL)
        self.wait(30)

    def signal(self, number: int) -> None:
        """Send a signal: SIGSTOP freezes the process, SIGCONT lets it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def stands_still(self) -> None:
        """Wait until a SIGSTOP has come into effect."""
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE_S
        while psutil.Process(self._process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def terminate(self) -> int:
        """End the process as systemd does; return its exit code. Its last words are shown if the test fails."""
        print(*(json.dumps(line)[:400] for line in self.log[-60:]), sep="\n")
        self.signal(signal.SIGTERM)
        return self.wait(60)

    def wait(self, timeout_s: float) -> int:
        """Wait for the end; return the exit code."""
        assert self._process is not None
        deadline = time.monotonic() + timeout_s
        while (code := self._process.poll()) is None:
            assert time.monotonic() < deadline, f"it did not end within {timeout_s} s: {self.log[-5:]}"
            time.sleep(0.005)
        return code

    def hang_up(self) -> None:
        """Tell the process to read its inventory again, as `systemctl reload` does."""
        self.signal(signal.SIGHUP)

    def stop_all(self) -> None:
        """Tell the process to stop every action, as `kill -USR1` does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def wait_for_log(self, event: str, count: int = 1) -> dict[str, object]:
        """Wait until so many lines of this event are in the log, and return the last one."""
        deadline = time.monotonic() + _PATIENCE_S
        while len(found := [line for line in self.log if line.get("event") == event]) < count:
            assert time.monotonic() < deadline, f"no {event} in the log: {self.log[-5:]}"
            time.sleep(0.05)
        return found[-1]

    def states(self) -> list[str]:
        """The states of all approvals, oldest first, read from the database beside the bot."""
        engine = create_engine(self.store_url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT state FROM approvals ORDER BY created_at, id")).all()
        engine.dispose()
        return [row[0] for row in rows]

    def _read_pipe(self, path: Path, life: int) -> None:
        with path.open(encoding="utf-8", errors="replace") as pipe:
            path.unlink()
            self._read(pipe, life)

    def _read(self, lines: Iterable[str], life: int) -> None:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"event": line.rstrip()}
            self.log.append(entry)
            if entry.get("event") == "opsbot.ready" and life == self._lives:
                self._ready.set()
