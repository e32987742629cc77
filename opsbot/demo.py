"""The demo: the real bot, a local stand-in for Slack, and a real service under supervisord, all on this machine."""

import asyncio
import json
import os
import secrets
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from opsbot import bootstrap
from opsbot.config import Config, parse
from opsbot.demo_memory import PageMemory
from opsbot.domain import Json
from opsbot.errors import OpsbotError
from opsbot.workbench.server import Workbench

HOST = "this-machine"
_START_S = 30.0
_STOP_S = 15.0
_POLL_S = 0.1
# supervisord calls a program running after `startsecs` (1 s); before that a card would show it as starting.
_SETTLED_S = 2.0
# What a person may choose for the demo; nothing else of the environment changes it.
_TAKEN_FROM_ENVIRONMENT = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPSBOT_MODEL")


async def run_demo(port: int, data: Path) -> None:
    """Run everything until SIGINT or SIGTERM. What was asked and approved is kept in `data` for the next start.

    Raises:
        ConfigError, StoreError: `data` is in use by another demo, or cannot be written.
        OpsbotError: the service did not start.
    """
    data = _made_private(data)
    async with _workbench(port, data / "page.json") as bench, _service(data) as service_port:
        config = demo_config(bench, data, service_port)
        await bootstrap.serve(config, ready=lambda: _welcome(bench.url, port, config))


def demo_config(bench: Workbench, data: Path, service_port: int) -> Config:
    """Return the demo's configuration: Alice and Bob may ask and approve, nobody their own; Carol may nothing."""
    for name, token in (("bot_token", bench.bot_token), ("app_token", bench.app_token)):
        _write_private(data / name, token)
    settings: dict[str, Json] = {
        "slack": {
            "api_url": bench.api_url,
            "bot_token": {"file": "bot_token"},
            "app_token": {"file": "app_token"},
        },
        "store": {"url": "sqlite:///opsbot.db"},
        "policy": {
            "askers": {"users": ["U0ALICE", "U0BOB"]},
            "approvers": [{"environments": ["demo"], "users": ["U0ALICE", "U0BOB"]}],
        },
        "hosts": {
            HOST: {
                "connection": "local",
                "environment": "demo",
                "service_manager": "supervisord",
                "service_command": [*_python("supervisor.supervisorctl"), "-c", str(data / "supervisord.conf")],
                "units": ["demo"],
                "health": {"demo": {"url": f"http://127.0.0.1:{service_port}/health", "timeout_s": 2}},
            }
        },
        "audit": {"anchor": {"syslog": "none"}},
        # So that there is a chart to see after a minute.
        "history": {"every_s": 10},
        "runbooks": {"folder": str(files("opsbot").joinpath("example_runbooks"))},
        "log": {"level": "warning", "format": "console"},
    }
    environ = {name: os.environ[name] for name in _TAKEN_FROM_ENVIRONMENT if name in os.environ}
    return parse(json.dumps(settings), "the demo's configuration", folder=data, environ=environ)


def _welcome(url: str, wanted_port: int, config: Config) -> None:
    model = "no model; plain answers by opsbot itself" if config.model.keyless else config.model.name
    lines = [
        f"opsbot demo: {url}",
        "",
        "Open the page. You are Alice; switch to Bob or Carol at the top. Try in #ops:",
        "  1. @opsbot how is this machine?",
        "  2. @opsbot restart the demo service       then press Approve as Alice, and as Bob",
        "  3. @opsbot load history of this machine   a chart, after a minute",
        "  4. @opsbot runbook for a full disk        what was written down, with file and heading",
        "  5. /ops logs demo this-machine            (commands need no model)",
        "",
        f"Model: {model}. Set OPENAI_API_KEY or OPENAI_BASE_URL before the start for another.",
        f"Kept in {config.folder}. Ctrl-C ends everything.",
    ]
    if wanted_port and not url.endswith(f":{wanted_port}"):
        lines.insert(1, f"(Port {wanted_port} is taken, so it is another one.)")
    width = max(map(len, lines))
    box = [f"┌─{'─' * width}─┐", *(f"│ {line.ljust(width)} │" for line in lines), f"└─{'─' * width}─┘"]
    sys.stdout.write("\n".join(box) + "\n")
    sys.stdout.flush()


# --- the stand-in for Slack ------------------------------------------------------------------------------------------


@asynccontextmanager
async def _workbench(port: int, page: Path) -> AsyncIterator[Workbench]:
    bench = await _started(port)
    memory = PageMemory(bench.workspace, page)
    memory.restore()
    keeping = asyncio.create_task(memory.keep())
    try:
        yield bench
    finally:
        keeping.cancel()
        memory.write()
        await bench.stop()


async def _started(port: int) -> Workbench:
    """Start a workbench on the port, or on another if it is taken."""
    manifest = json.loads(files("opsbot").joinpath("manifest.json").read_text(encoding="utf-8"))
    bench = _numbered(Workbench(manifest, port))
    try:
        await bench.start()
    except OSError:
        await bench.stop()
        bench = _numbered(Workbench(manifest, 0))
        await bench.start()
    return bench


def _numbered(bench: Workbench) -> Workbench:
    """Number events by the clock: the bot keeps those of the last start, and would take equal ones for duplicates."""
    bench.workspace.ids.skip(int(time.time()))
    return bench


# --- the service -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _service(data: Path) -> AsyncIterator[int]:
    """Run the demo service under a supervisord of its own; yield its port."""
    port = _service_port(data / "service_port")
    # A Unix socket's path is limited to about 100 bytes, so it cannot be in a folder of any depth.
    with tempfile.TemporaryDirectory(prefix="opsbot-demo-") as folder:
        _write_private(data / "supervisord.conf", _supervisord_conf(f"{folder}/control", port))
        command = [*_python("opsbot.demo_guard"), *_python("supervisor.supervisord"), "-n"]
        with (data / "supervisord.out").open("wb") as output:
            guard = await asyncio.create_subprocess_exec(
                *command,
                "-c",
                str(data / "supervisord.conf"),
                cwd=data,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches the whole terminal group; supervisord has to outlive the bot's orderly end.
                start_new_session=True,
            )
        try:
            await _until_healthy(port, guard, data)
            yield port
        finally:
            await _end(guard)


async def _until_healthy(port: int, guard: asyncio.subprocess.Process, data: Path) -> None:
    deadline = asyncio.get_running_loop().time() + _START_S
    while asyncio.get_running_loop().time() < deadline and guard.returncode is None:
        if await asyncio.to_thread(_healthy, port):
            return
        await asyncio.sleep(_POLL_S)
    raise OpsbotError(f"The demo service did not start within {_START_S:.0f} s; {data}/supervisord.out says why.")


def _healthy(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(json.load(answer)["uptime_s"] >= _SETTLED_S)
    except (OSError, ValueError, KeyError):
        return False


async def _end(guard: asyncio.subprocess.Process) -> None:
    if guard.stdin is not None:
        guard.stdin.close()
    try:
        await asyncio.wait_for(guard.wait(), _STOP_S)
    except TimeoutError:
        guard.kill()
        await guard.wait()


def _service_port(note: Path) -> int:
    """Return the port of the last start if it is free: an open request is about exactly that service."""
    try:
        wanted = int(note.read_text())
    except (OSError, ValueError):
        wanted = 0
    port = _free_port(wanted) or _free_port(0)
    note.write_text(str(port))
    return port


def _free_port(wanted: int) -> int:
    """Return `wanted` (0: any port) if it can be listened on, else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except (OSError, OverflowError):
            return 0
        return int(probe.getsockname()[1])


def _supervisord_conf(control: str, port: int) -> str:
    """Return supervisord's configuration. `%` has a meaning there, and some values are expanded twice: the names of
    files are relative to the folder it is started in."""
    program = " ".join(f'"{word}"' for word in (*_python("opsbot.demo_service"), "--port", str(port)))
    user = "user=root\n" if os.geteuid() == 0 else ""
    token = secrets.token_hex(16)
    return f"""[unix_http_server]
file={control}
chmod=0700
username=demo
password={token}

[supervisord]
{user}nodaemon=true
logfile=supervisord.log
pidfile=supervisord.pid
childlogdir=.

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{control}
username=demo
password={token}

[program:demo]
command={program}
startsecs=1
autorestart=true
stopwaitsecs=5
redirect_stderr=true
stdout_logfile=demo.log
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=1
""".replace("%", "%%")


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


# --- files -----------------------------------------------------------------------------------------------------------


def _made_private(folder: Path) -> Path:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OpsbotError(f"{folder}: cannot be made ({error.strerror}); name another with --data.") from error
    return folder.absolute()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
