"""What systemd hears of a process, and the unit in the documentation."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsbot.adapters.systemd import ALIVE, READY, STOPPING, Systemd
from tests.notify_socket import NotifySocket

ROOT = Path(__file__).resolve().parents[2]
PID = 4711


@pytest.fixture
def listening(tmp_path):
    listening = NotifySocket(tmp_path)
    yield listening
    listening.close()


def test_where_systemd_is_not_nothing_is_told(tmp_path: Path) -> None:
    Systemd.of({}, PID).tell(READY)
    Systemd(str(tmp_path / "nobody")).tell(READY)
    Systemd("/" + "too long" * 100).tell(READY)


def test_states_are_told_in_order(listening: NotifySocket) -> None:
    systemd = Systemd.of(listening.environment, PID)
    systemd.tell(READY, "STATUS=here")
    systemd.tell(STOPPING)
    listening.wait_for(STOPPING)
    assert listening.states() == [READY, "STATUS=here", STOPPING]


def test_an_address_without_a_file_is_found() -> None:
    name = f"opsbot-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        Systemd(f"@{name}").tell(READY)
        assert listening.recv(100) == b"READY=1"


def test_a_full_socket_does_not_hold_the_bot_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        for _ in range(2000):
            Systemd(str(tmp_path / "deaf")).tell(ALIVE)


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": "٣"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_the_one_systemd_set_for_this_process(environment: dict[str, str], seconds: float) -> None:
    assert Systemd.of(environment, PID).watchdog_s == seconds


def test_what_this_process_starts_does_not_speak_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.setenv(name, str(os.getpid()))
    assert Systemd.found().address
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & set(os.environ)


async def test_an_event_loop_that_hangs_shows_no_life(listening: NotifySocket) -> None:
    async with Systemd(str(listening.path), watchdog_s=0.03).watched():
        while listening.states().count(ALIVE) < 3:
            await asyncio.sleep(0.005)
        shown = len(listening.settled())
        time.sleep(0.2)
        assert len(listening.settled()) == shown
        while listening.states().count(ALIVE) < shown + 2:
            await asyncio.sleep(0.005)
    shown = len(listening.settled())
    await asyncio.sleep(0.1)
    assert len(listening.settled()) == shown


async def test_without_a_watchdog_there_are_no_signs_of_life(listening: NotifySocket) -> None:
    async with Systemd(str(listening.path)).watched():
        await asyncio.sleep(0.05)
    assert listening.settled() == []


# --- the unit --------------------------------------------------------------------------------------------------------


def unit() -> str:
    text = (ROOT / "docs/slack-setup.md").read_text(encoding="utf-8")
    found = re.search(r"```ini\n(\[Unit\].*?)```", text, re.DOTALL)
    assert found
    return found.group(1)


def test_the_documented_unit_lets_the_bot_say_when_it_is_ready_and_end_in_its_time() -> None:
    said = dict(line.split("=", 1) for line in unit().splitlines() if "=" in line)
    assert said["Type"] == "notify"
    assert said["KillMode"] == "mixed"
    assert said["Restart"] == "on-failure"
    assert int(said["TimeoutStopSec"]) > 20
    assert int(said["WatchdogSec"]) >= 10


def verified(folder: Path, unit: str) -> subprocess.CompletedProcess[str]:
    (folder / "opsbot.service").write_text(unit)
    command = ["systemd-analyze", "verify", "--man=no", str(folder / "opsbot.service")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
def test_systemd_accepts_the_documented_unit(tmp_path: Path) -> None:
    if verified(tmp_path, "[Service]\nExecStart=/bin/true\n").returncode:
        pytest.skip("systemd-analyze accepts no unit here, not even the simplest")
    here = unit().replace("/opt/opsbot/.venv/bin/opsbot", sys.executable).replace("User=opsbot", "User=root")
    checked = verified(tmp_path, here)
    assert "opsbot.service" not in checked.stderr, checked.stderr
    assert checked.returncode == 0, checked.stderr
    assert verified(tmp_path, here.replace("Type=notify", "Type=whatever")).stderr
