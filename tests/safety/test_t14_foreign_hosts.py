"""T14: no name but the inventory's ever leads to a look-up or a connection."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.domain import IncomingCommand, IncomingMessage
from tests.safety.conftest import Figures, Scale
from tests.safety.hostile_names import hostile
from tests.safety.network_watch import WATCH
from tests.scenario.house import ALICE, CHANNEL, HOSTS, THREAD, House, World
from tests.scripted_model import Say, call
from tests.ssh_servers import Keys, pin_of

ROOT = Path(__file__).resolve().parents[2]
REAL = ("web-1", "web-2", "db-1")


def world_on_real_ssh(folder: Path) -> World:
    """The house of the scenarios, with the real way to hosts in place of the fake one; every host is a closed port."""
    keys = Keys.make(folder)
    there = {"address": "127.0.0.1", "port": 9, "user": "bot", "key_file": str(keys.key_file)}
    hosts = {name: replace(host, host_key=pin_of(keys.host_key), **there) for name, host in HOSTS.items()}
    machines = HostMachines(ParamikoShell(find=hosts.get), LocalShell())
    return World(machines=machines, hosts=hosts)  # type: ignore[arg-type]


async def ask_for_each(names: list[str], folder: Path) -> None:
    """Ask for every name by a model's call, by a command, and as a restart."""
    world = world_on_real_ssh(folder)
    house = House(world)
    await house.start()
    try:
        WATCH.on = True
        for number, name in enumerate(names):
            tool = ("server_status", "service_logs", "restart_service")[number % 3]
            more = {} if tool == "server_status" else {"unit": "nginx"}
            world.model.add(Say(calls=(call(tool, hosts=[name], **more),)), "I could not.")
            await house.send(IncomingMessage(THREAD, ALICE, f"look {number}", f"m{number}"))
            await house.send(IncomingCommand(CHANNEL, ALICE, f"status {name}", reply_to="r"))
            await house.send(IncomingCommand(CHANNEL, ALICE, f"restart nginx {name}", reply_to="r"))
            await house.quiet()
    finally:
        WATCH.on = False
        await house.stop()
        world.machines.close()  # type: ignore[attr-defined]


@pytest.mark.timeout(600)
async def test_a_thousand_foreign_names_lead_nowhere(tmp_path: Path, figures: Figures, scale: Scale) -> None:
    names = hostile(scale(120, 1_000), 14, REAL)
    WATCH.clear()
    await ask_for_each(names, tmp_path)
    figures.note(hostile_host_names=len(names), lookups_and_connections=len(WATCH.seen))
    assert WATCH.seen == []


async def test_the_watch_sees_a_name_that_is_known(tmp_path: Path) -> None:
    """The count above means something: a real name does lead to a connection."""
    WATCH.clear()
    await ask_for_each(["web-1"], tmp_path)
    assert any("('127.0.0.1', 9)" in each for each in WATCH.seen)


PROBE = """
import asyncio, json, pathlib, sys
from tests.safety.test_t14_foreign_hosts import ask_for_each
asyncio.run(ask_for_each(json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])))
"""


def connects_of(names: list[str], tmp_path: Path) -> list[str]:
    """Ask for these names in a process whose system calls are written down; return the calls to addresses."""
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    trace = folder / "trace"
    watched = [sys.executable, "-c", PROBE, json.dumps(names), str(folder)]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace), *watched],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip("this machine does not let strace look")
    assert done.returncode == 0, done.stderr[-2000:]
    return [line for line in trace.read_text().splitlines() if "AF_INET" in line]


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_system_calls_agree(tmp_path: Path, figures: Figures, scale: Scale) -> None:
    """Counted by the kernel, which no library goes around."""
    assert connects_of(["web-1"], tmp_path), "the trace sees nothing, so its silence means nothing"
    connects = connects_of([name for name in hostile(scale(40, 300), 15, REAL) if "\0" not in name], tmp_path)
    figures.note(connections_counted_by_strace=len(connects))
    assert connects == []


def test_configuration_of_ssh_is_never_read() -> None:
    """No ProxyCommand, no alias, no key of the person who runs the bot, no key taken on trust."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "opsbot").rglob("*.py")]
    for word in ("SSHConfig", "load_system_host_keys", "AutoAddPolicy", "WarningPolicy", "SSHClient("):
        assert not any(word in text for text in sources), word
