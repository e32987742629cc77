"""Disks, kernel messages and package updates, on what real hosts of two Debian releases printed.

To record again: `python -m tests.tools.test_resources_recorded debian-12 h4` with a fleet up.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.disk_usage import disk_usage, parse_disk_usage
from opsbot_tools.kernel_messages import kernel_messages, parse_kernel_messages
from opsbot_tools.package_updates import package_updates, parse_package_updates

from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.domain import Host
from tests.recordings import RecordingShell, ReplayShell, recorded_output

RELEASES = ["debian-12-resources", "debian-13-resources"]


def look(machines: HostMachines, host: Host) -> dict[str, dict]:
    """Run every tool once; the recording holds their commands."""

    def ctx() -> Context:
        return Context(machines, timeout_s=30)

    return {
        "disks": disk_usage.function(ctx(), host),
        "share": disk_usage.function(ctx(), host, "/usr/share"),
        "kernel": kernel_messages.function(ctx(), host),
        "updates": package_updates.function(ctx(), host),
    }


@pytest.fixture(params=RELEASES)
def seen(request) -> dict:
    shell = ReplayShell(request.param)
    return look(HostMachines(shell, shell), Host("box-1"))


def test_file_systems_are_read_with_sizes_and_inodes(seen):
    root = next(each for each in seen["disks"]["file_systems"] if each["mount"] == "/")
    assert root["size_bytes"] == 512 * 1024 * 1024
    assert 0 < root["used_bytes"] < root["size_bytes"]
    assert root["used_percent"] in range(1, 20)
    assert root["inodes_used_percent"] == 1
    assert root["read_only"] is False


def test_memory_file_systems_that_are_not_full_are_left_out(seen):
    assert {each["type"] for each in seen["disks"]["file_systems"]} <= {"overlay", "ext4"}


def test_the_largest_directories_of_the_fullest_file_system_are_found(seen):
    below = seen["disks"]["below"]
    paths = [each["path"] for each in below["directories"]]
    sizes = [each["bytes"] for each in below["directories"]]
    assert below["path"] == "/"
    assert "/usr" in paths[:2]
    assert sizes == sorted(sizes, reverse=True)
    assert below["unreadable"] > 5
    assert "may not be read" in below["remark"]
    assert below["unaccounted_bytes"] is None  # with places unread nothing can be said


def test_a_directory_is_looked_below(seen):
    below = seen["share"]["below"]
    assert below["path"] == "/usr/share"
    assert all(each["path"].startswith("/usr/share/") for each in below["directories"])


def test_a_container_without_kernel_messages_says_so_instead_of_all_is_well(seen):
    assert seen["kernel"]["messages"] == []
    assert seen["kernel"]["not_read"].startswith("the journal holds no kernel messages")


def test_without_package_lists_updates_are_unknown_not_none(seen):
    updates = seen["updates"]
    assert (updates["pending"], updates["updates"]) == (None, None)
    assert "no package lists" in updates["not_known"]
    assert updates["reboot_required"] is False
    assert updates["running_kernel"]


PARSERS = {
    "# opsbot: disk usage": parse_disk_usage,
    "# opsbot: kernel messages": lambda text: parse_kernel_messages(text, 24),
    "# opsbot: package updates": parse_package_updates,
}


@pytest.mark.parametrize("first_line", PARSERS)
@given(data=st.data())
def test_any_damage_to_an_output_is_read_or_named(first_line, data):
    output = recorded_output("debian-12-resources", first_line)
    start = data.draw(st.integers(0, len(output)))
    end = data.draw(st.integers(start, len(output)))
    junk = data.draw(st.text(max_size=40))
    json.dumps(PARSERS[first_line](output[:start] + junk + output[end:]), allow_nan=False)


def test_an_empty_output_is_unknown():
    assert parse_disk_usage("")["below"]["remark"] == "not looked at"
    assert parse_kernel_messages("", 24)["not_read"]
    assert parse_package_updates("")["reboot_required"] is None
    assert parse_package_updates("")["not_known"]


def record(name: str, host: str) -> None:
    """Run the tools on a host of the fleet as the user bot, and keep what it printed."""
    from opsbot.adapters.ssh import ParamikoShell
    from tests.fleet.conftest import FLEET, _pinned_keys

    inventory = json.loads(subprocess.check_output([FLEET, "inventory"]))
    entry = next(each for each in inventory["hosts"] if each["name"] == host)
    pins = _pinned_keys(Path(inventory["known_hosts"]))
    target = Host(host, address=entry["addr"], user="bot", key_file=inventory["key"], host_key=pins[entry["addr"]])
    shell = RecordingShell(ParamikoShell())
    try:
        look(HostMachines(shell, shell), target)
        release = shell.run(target, ("cat", "/etc/debian_version"), timeout_s=10).stdout.strip()
        shell.save(name, release=f"Debian {release}", user="bot")
    finally:
        shell.close()


if __name__ == "__main__":
    record(f"{sys.argv[1]}-resources", sys.argv[2])
