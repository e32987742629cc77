"""Processes, ports, dependencies and failed units, on what real hosts of two Debian releases printed.

To record again: `python -m tests.tools.test_processes_recorded debian-12 h5` with a fleet up.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.list_failed_units import list_failed_units, parse_failed_units
from opsbot_tools.network_ports import network_ports, parse_ports
from opsbot_tools.service_dependencies import parse_dependencies, service_dependencies
from opsbot_tools.top_processes import parse_processes, top_processes

from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.domain import Host
from tests.recordings import RecordingShell, ReplayShell, recorded_output

RELEASES = ["debian-12-processes", "debian-13-processes"]
HOST = Host("box-1", units=("nginx.service",))
UNITS = ("nginx.service", "systemd-journald.service", "nosuch.service")


def look(machines: HostMachines, host: Host) -> dict[str, dict]:
    """Run every tool once; the recording holds their commands."""

    def ctx() -> Context:
        return Context(machines, timeout_s=30)

    found = {
        "cpu": top_processes.function(ctx(), host, "cpu"),
        "memory": top_processes.function(ctx(), host, "memory"),
        "ports": network_ports.function(ctx(), host),
        "failed": list_failed_units.function(ctx(), host),
    }
    return found | {unit: service_dependencies.function(ctx(), host, unit) for unit in UNITS}


@pytest.fixture(params=RELEASES)
def seen(request) -> dict[str, dict]:
    shell = ReplayShell(request.param)
    return look(HostMachines(shell, shell), HOST)


def test_processes_are_read_with_unit_user_and_identity(seen):
    processes = {entry["command"]: entry for entry in seen["memory"]["processes"]}
    redis = processes["redis-server"]
    assert (redis["unit"], redis["user"], redis["state"]) == ("redis-server.service", "redis", "sleeping")
    assert redis["threads"] > 1
    assert 2**20 < redis["memory_bytes"] < 2**30
    assert redis["age_s"] > 60
    assert redis["started_ticks"] > 0
    assert processes["systemd"]["unit"] in ("init.scope", "user@1000.service")
    assert processes["sshd" if "sshd" in processes else "sshd-session"]["pid"] > 1


def test_the_measured_second_is_told(seen):
    for by in ("cpu", "memory"):
        found = seen[by]
        assert found["by"] == by
        assert 1 <= found["interval_s"] < 3
        assert 0 <= found["cpu"]["busy_percent"] <= 100
        assert found["totals"]["processes"] > 15
        assert (len(found["processes"]), found["not_read"]) == (15, [])


def test_the_largest_come_first_and_the_fair_share_is_told_where_it_may_be_read(seen):
    sizes = [entry["memory_bytes"] for entry in seen["memory"]["processes"]]
    assert sizes == sorted(sizes, reverse=True)
    readable = [entry for entry in seen["memory"]["processes"] if entry["share_bytes"] is not None]
    assert {entry["user"] for entry in readable} == {"bot"}
    assert all(0 < entry["share_bytes"] <= entry["memory_bytes"] for entry in readable)


def test_listeners_are_read_with_unit_and_user(seen):
    ports = {entry["port"]: entry for entry in seen["ports"]["listeners"]}
    assert {port: ports[port]["unit"] for port in (22, 80, 6379)} == {
        22: "ssh.service",
        80: "nginx.service",
        6379: "redis-server.service",
    }
    assert (ports[6379]["reach"], ports[6379]["user"], ports[6379]["queue"]) == ("this host only", "redis", 511)
    assert (ports[80]["reach"], ports[80]["addresses"]) == ("all addresses", ["0.0.0.0", "::"])
    assert ports[22]["connections"]["ESTAB"] >= 1
    assert seen["ports"]["top_peers"][0]["port"] == 22
    assert isinstance(seen["ports"]["overflows_since_boot"], int)
    assert seen["ports"]["not_read"] == []


def test_a_flapping_service_is_told_with_its_last_words(seen):
    (entry,) = seen["failed"]["units"]
    assert (entry["unit"], entry["problem"]) == ("flapper.service", "keeps restarting")
    assert entry["restarts"] > 50
    assert any("panic: lost upstream" in line for line in entry["log"])
    assert len(entry["log"]) == 3
    assert "fstrim.timer" in seen["failed"]["masked_but_wanted"]
    assert (seen["failed"]["failed"], seen["failed"]["not_read"]) == (0, [])


def test_dependencies_are_read_in_both_directions(seen):
    found = seen["nginx.service"]
    assert (found["state"], found["broken"], found["not_read"]) == ("active (running)", 0, [])
    links = {(entry["relation"], entry["unit"]) for entry in (*found["needs"], *found["needed_by"])}
    assert {("requires", "sysinit.target"), ("wants it", "multi-user.target")} <= links
    assert not any(unit.endswith(".slice") for _, unit in links)
    assert "network-online.target" in found["starts_after"] or "network.target" in found["starts_after"]


def test_the_sockets_of_a_service_are_told_as_its_triggers(seen):
    journal = seen["systemd-journald.service"]
    links = {entry["unit"]: (entry["relation"], entry["state"]) for entry in journal["needs"]}
    assert links["systemd-journald.socket"] == ("requires", "active (running)")
    assert links["systemd-journald-audit.socket"][0] == "is triggered by"
    assert any(entry["unit"] == "sysinit.target" for entry in journal["needed_by"])


def test_a_service_that_is_not_there_says_so(seen):
    assert (seen["nosuch.service"]["state"], seen["nosuch.service"]["needs"]) == ("not-found", [])


PARSERS = {
    "# opsbot: processes": lambda text: parse_processes(text, "cpu"),
    "# opsbot: network ports": parse_ports,
    "# opsbot: failed units": parse_failed_units,
    "# opsbot: dependencies": lambda text: parse_dependencies(text, "nginx.service"),
}


@pytest.mark.parametrize("first_line", PARSERS)
@given(data=st.data())
def test_any_damage_to_an_output_is_read_or_named(first_line, data):
    output = recorded_output("debian-12-processes", first_line)
    start = data.draw(st.integers(0, len(output)))
    end = data.draw(st.integers(start, len(output)))
    junk = data.draw(st.text(max_size=40))
    json.dumps(PARSERS[first_line](output[:start] + junk + output[end:]), allow_nan=False)


@pytest.mark.parametrize("first_line", PARSERS)
def test_an_output_cut_short_is_named(first_line):
    output = recorded_output("debian-13-processes", first_line)
    for length in range(0, len(output) - 20, 997):
        assert PARSERS[first_line](output[:length])["not_read"]


def record(name: str, host: str) -> None:
    """Run the tools on a host of the fleet as the user bot, and keep what it printed."""
    from opsbot.adapters.ssh import ParamikoShell
    from tests.fleet.conftest import FLEET, _pinned_keys

    inventory = json.loads(subprocess.check_output([FLEET, "inventory"]))
    entry = next(each for each in inventory["hosts"] if each["name"] == host)
    pins = _pinned_keys(Path(inventory["known_hosts"]))
    target = replace(
        HOST, name=host, address=entry["addr"], user="bot", key_file=inventory["key"], host_key=pins[entry["addr"]]
    )
    shell = RecordingShell(ParamikoShell())
    try:
        look(HostMachines(shell, shell), target)
        release = shell.run(target, ("cat", "/etc/debian_version"), timeout_s=10).stdout.strip()
        shell.save(name, release=f"Debian {release}", user="bot")
    finally:
        shell.close()


if __name__ == "__main__":
    record(f"{sys.argv[1]}-processes", sys.argv[2])
