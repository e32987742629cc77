"""What a reboot or a kill would hit, on what real hosts of two Debian releases printed.

To record again: `python -m tests.tools.test_endings_recorded debian-12 h4` with a fleet up; it only looks.
"""

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from opsbot_tools import kill_process as kill
from opsbot_tools import reboot_host as reboot

from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.domain import Host, Result
from opsbot.errors import BadArguments
from tests.recordings import FOLDER, RecordingShell, ReplayShell

RELEASES = ["debian-12-endings", "debian-13-endings"]
UNITS = ("nginx.service", "redis-server.service")


def look(machines: HostMachines, host: Host, pid: int, ticks: int) -> dict:
    """Look as the cards do, and as after a reboot that did and one that did not happen; it is recorded."""
    # Time stands still, so that what depends on the time left is the same words each time.
    ctx = Context(
        machines,
        timeout_s=60,
        hosts=(host, Host("inner", jump=host.name)),
        monotonic=lambda: 0.0,
        sleep=lambda seconds: None,
    )
    found = {"reboot": reboot.impact(ctx, host), "serves": reboot.available(ctx, host)}
    earlier = replace(found["reboot"], fingerprint={"boot_id": "0" * 36})
    found |= {"rebooted": reboot.verify(ctx, host, earlier), "not rebooted": reboot.verify(ctx, host, found["reboot"])}
    with suppress(BadArguments):
        kill.impact(ctx, host, 2**22, 1)
    return found | {"kill": kill.impact(ctx, host, pid, ticks)}


@pytest.fixture(params=RELEASES)
def seen(request) -> dict:
    shell = ReplayShell(request.param)
    about = json.loads((FOLDER / f"{request.param}.json").read_text())["recorded_on"]
    host = Host("box-1", units=UNITS)
    return look(HostMachines(shell, shell), host, int(about["pid"]), int(about["ticks"]))


def test_a_reboot_names_what_runs_and_the_boot(seen):
    facts = dict(seen["reboot"].facts)
    assert facts["services that run"] == "nginx.service, redis-server.service"
    assert facts["cut off meanwhile"] == "inner (reached through it)"
    assert facts["reboot required"] == "no"
    assert len(seen["reboot"].fingerprint["boot_id"]) == 36
    assert seen["serves"] is True


def test_another_boot_is_a_reboot_and_the_same_one_is_none(seen):
    rebooted, same = seen["rebooted"], seen["not rebooted"]
    assert (rebooted.result, same.result) == (Result.DONE, Result.NOT_DONE)
    assert "2 services run as before" in rebooted.summary
    assert dict(rebooted.facts)["system"] in ("running", "degraded")


def test_a_process_is_known_by_its_service_user_and_start(seen):
    facts = dict(seen["kill"].facts)
    assert facts["process"].startswith("nginx (PID ")
    assert facts["main process of it"] == "yes"
    assert facts["service"] == "nginx.service, active (running)"
    assert (facts["user"], facts["restarts by itself"]) == ("root", "no")
    assert facts["memory"].endswith("iB")
    assert seen["kill"].fingerprint["unit"] == "nginx.service"


def record(name: str, host: str) -> None:
    """Look at a host of the fleet as the user bot, and keep what it printed."""
    from opsbot.adapters.ssh import ParamikoShell
    from tests.fleet.conftest import FLEET, _pinned_keys

    inventory = json.loads(subprocess.check_output([FLEET, "inventory"]))
    entry = next(each for each in inventory["hosts"] if each["name"] == host)
    pins = _pinned_keys(Path(inventory["known_hosts"]))
    target = Host(
        "box-1", address=entry["addr"], user="bot", key_file=inventory["key"], host_key=pins[entry["addr"]], units=UNITS
    )
    shell = RecordingShell(ParamikoShell())
    try:
        pid = shell.run(
            target, ("systemctl", "show", "--value", "-p", "MainPID", UNITS[0]), timeout_s=10
        ).stdout.strip()
        stat = shell.run(target, ("cat", f"/proc/{pid}/stat"), timeout_s=10).stdout
        ticks = stat.rpartition(")")[2].split()[19]
        look(HostMachines(shell, shell), target, int(pid), int(ticks))
        release = shell.run(target, ("cat", "/etc/debian_version"), timeout_s=10).stdout.strip()
        shell.save(name, release=f"Debian {release}", user="bot", pid=pid, ticks=ticks)
    finally:
        shell.close()


if __name__ == "__main__":
    record(f"{sys.argv[1]}-endings", sys.argv[2])
