"""Processes, ports, dependencies and failed units on a real host: busy, stuck, leaking, failing, hanging."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from opsbot_tools.list_failed_units import list_failed_units
from opsbot_tools.network_ports import network_ports
from opsbot_tools.service_dependencies import service_dependencies
from opsbot_tools.top_processes import top_processes

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.context import Context
from opsbot.domain import Host
from opsbot.tooling import Tool

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(200)]

Fault = Callable[..., None]
# vfork(2): the parent waits uninterruptibly while the child lives.
STUCK = "syscall(58) or do { select(undef, undef, undef, 60); syscall(60, 0) }"
ZOMBIE = "fork or exit; sleep 60"
# Listens on 8097 with room for two and accepts nothing; accepts on 8098 and never closes.
LEAK = """use IO::Socket::INET; my @kept;
my $full = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => 8097, Listen => 1, ReuseAddr => 1);
my $leak = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 8098, Listen => 50, ReuseAddr => 1);
for (1 .. 2) { push @kept, IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 8097, Timeout => 2) }
for (1 .. 25) { my $client = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 8098);
  push @kept, scalar $leak->accept; close $client }
sleep 60"""
UNITS = r"""cd /run/systemd/system
printf '[Service]\nType=oneshot\nExecStart=/bin/sh -c "echo disk on fire; exit 7"\n' > t-bad.service
printf '[Unit]\nRequires=t-gone.service t-bad.service\nWants=t-mid.service\nAfter=t-bad.service\n' > 't-app@.service'
printf '[Service]\nExecStart=/bin/sleep 99\n' >> 't-app@.service'
printf '[Unit]\nRequires=t-app@a\\x2db.service\n[Service]\nExecStart=/bin/sleep 99\n' > t-top.service
printf '[Unit]\nRequires=t-base.service\n[Service]\nExecStart=/bin/sleep 99\n' > t-mid.service
printf '[Service]\nExecStart=/bin/sleep 99\n' > t-base.service
printf '[Service]\nType=simple\nExecStart=/bin/sh -c "kill -SEGV $$$$"\n' > t-crash.service
printf '[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=100ms\n' > t-loop.service
printf '[Socket]\nListenStream=8096\n' > t-door.socket
printf '[Service]\nExecStart=/bin/sleep 99\n' > t-door.service
systemctl daemon-reload
systemctl start t-bad.service; systemctl start t-mid.service t-crash.service t-loop.service t-door.socket
exit 0"""
CLEAN = (
    """systemctl stop 't-*'; rm -f /run/systemd/system/t-*; systemctl daemon-reload; systemctl reset-failed; exit 0"""
)


@pytest.fixture
def machines() -> Iterator[HostMachines]:
    machines = HostMachines(ParamikoShell(), LocalShell())
    yield machines
    machines.close()


@pytest.fixture
def host(fleet_hosts) -> Host:
    return fleet_hosts["h2"]


@pytest.fixture
def ask(machines, host) -> Callable[..., dict]:
    """Ask a tool about h2, within the tool's own time."""

    def ask(tool: Tool, *arguments: str, timeout_s: float | None = None) -> dict:
        return tool.function(Context(machines, timeout_s=timeout_s or tool.timeout_s), host, *arguments)

    return ask


@pytest.fixture
def run(as_root) -> Iterator[Callable[[str, str], None]]:
    """`run("stuck", PERL)`: a transient unit t-stuck.service on h2, gone after the test."""
    names: list[str] = []

    def run(name: str, perl: str) -> None:
        names.append(f"t-{name}.service")
        as_root("h2", "systemd-run", "--quiet", "--collect", f"--unit=t-{name}", "perl", "-e", perl)

    yield run
    for name in names:
        as_root("h2", "sh", "-c", f"systemctl kill -s KILL {name}; systemctl stop {name}; exit 0")


@pytest.fixture
def broken_units(as_root) -> Iterator[None]:
    as_root("h2", "sh", "-c", UNITS)
    yield
    as_root("h2", "sh", "-c", CLEAN)


def until(ask: Callable[[], dict], holds: Callable[[dict], object]) -> dict:
    """Ask until it holds, as long as a process takes to start; return the last answer."""
    end = time.monotonic() + 15
    while not holds(found := ask()) and time.monotonic() < end:
        pass
    return found


def test_busy_loops_come_first_with_what_they_use(ask, fault):
    fault("h2", "cpu", "2")
    found = until(lambda: ask(top_processes), lambda found: found["processes"][0]["cpu_percent"] > 10)
    first = found["processes"][0]
    assert first["cpu_percent"] > 10
    assert first["state"] == "running"
    assert found["cpu"]["busy_percent"] > 30
    assert found["totals"]["running"] >= 1


def test_stuck_processes_are_listed_with_their_unit(ask, run):
    run("stuck", STUCK)
    run("zombie", ZOMBIE)

    def stuck(found: dict) -> dict[str, str]:
        return {
            entry["unit"]: entry["state"] for entry in found["processes"] if entry["state"] in ("blocked", "zombie")
        }

    found = until(lambda: ask(top_processes, "memory"), lambda found: len(stuck(found)) == 2)
    assert stuck(found) == {"t-stuck.service": "blocked", "t-zombie.service": "zombie"}
    assert (found["totals"]["blocked"], found["totals"]["zombies"]) == (1, 1)
    assert "1 blocked, 1 zombie" in top_processes.table({"h2": found}).title


def test_a_full_queue_and_leaked_connections_are_found_without_rights(ask, run):
    run("leak", LEAK)

    def mine(found: dict) -> dict[int, dict]:
        return {entry["port"]: entry for entry in found["listeners"] if entry["unit"] == "t-leak.service"}

    found = until(
        lambda: ask(network_ports),
        lambda found: mine(found).get(8098, {}).get("connections", {}).get("CLOSE-WAIT") == 25,
    )
    full, leak = mine(found)[8097], mine(found)[8098]
    assert (full["reach"], full["problem"]) == (
        "all addresses",
        "queue full: 2 wait to be accepted, room is for 1",
    )
    assert (leak["reach"], leak["problem"]) == ("this host only", "25 connections the service does not close")
    assert {entry["port"] for entry in found["listeners"][:2]} == {8097, 8098}


def test_failed_crashed_and_looping_units_are_told_with_their_reasons(ask, broken_units):
    found = until(
        lambda: ask(list_failed_units),
        lambda found: {"t-crash.service", "t-loop.service"} <= {e["unit"] for e in found["units"] if e["result"]},
    )
    units = {entry["unit"]: entry for entry in found["units"]}
    bad, crash, loop = (units[f"t-{name}.service"] for name in ("bad", "crash", "loop"))
    assert (bad["problem"], bad["result"], bad["exit"]) == ("failed", "exit-code", "exit status 7")
    assert bad["log"][-1].endswith("disk on fire")
    assert crash["exit"].startswith("killed by SIGSEGV")
    assert loop["problem"] in ("failed", "keeps restarting")
    assert loop["restarts"] >= 1
    assert found["units"][0]["problem"] == "failed"


def test_broken_requirements_are_found_below_the_unit_that_is_asked_for(ask, broken_units):
    found = ask(service_dependencies, "t-top.service")
    problems = {(entry["unit"], entry["depth"]): entry["problem"] for entry in found["needs"]}
    assert problems["t-gone.service", 2] == "not found"
    assert problems["t-bad.service", 2] == "failed: exit-code"
    assert problems[r"t-app@a\x2db.service", 1] == "not running"
    assert found["broken"] == 3
    assert ask(service_dependencies, "t-bad.service")["state"] == "failed"
    base = ask(service_dependencies, "t-base.service")
    assert ("t-mid.service", "requires it") in {(e["unit"], e["relation"]) for e in base["needed_by"]}
    escaped = ask(service_dependencies, r"t-app@a\x2db.service")
    assert {entry["unit"] for entry in escaped["needs"][:2]} == {"t-gone.service", "t-bad.service"}


def test_a_socket_that_starts_a_service_is_told_by_ports_and_dependencies(ask, broken_units):
    (door,) = [entry for entry in ask(network_ports)["listeners"] if entry["port"] == 8096]
    assert (door["unit"], door["reach"]) == ("t-door.socket", "all addresses")
    triggers = {e["unit"]: (e["relation"], e["state"]) for e in ask(service_dependencies, "t-door.service")["needs"]}
    assert triggers["t-door.socket"] == ("is triggered by", "active (listening)")


def test_who_may_not_read_the_journal_still_learns_what_failed(machines, host, broken_units):
    found = list_failed_units.function(Context(machines, timeout_s=25), replace(host, user="viewer"))
    assert "logs: the bot's user may not read the journal" in found["not_read"]
    bad = next(entry for entry in found["units"] if entry["unit"] == "t-bad.service")
    assert (bad["exit"], bad["log"]) == ("exit status 7", None)


def test_a_systemd_that_hangs_is_named_and_what_needs_no_systemd_is_answered(ask, fault):
    ask(network_ports)  # logged in: a log-in waits for systemd
    fault("h2", "pid1-hang")
    began = time.monotonic()
    assert ask(list_failed_units)["not_read"] == ["units: systemd did not answer"]
    assert ask(service_dependencies, "nginx.service")["not_read"] == ["dependencies: systemd did not answer"]
    assert time.monotonic() - began < 15
    assert ask(top_processes)["totals"]["processes"] > 10
    assert {entry["port"] for entry in ask(network_ports)["listeners"]} >= {22, 80}
