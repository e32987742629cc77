"""The probe channel and jump hosts on real hosts: right and in time under each fault, small for hundreds."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.ssh_slots import PoolLimits
from opsbot.domain import Host, Vitals
from opsbot.errors import CommandTimedOut, HostUnreachable, ToolError

pytestmark = pytest.mark.fleet

DEADLINE_S = 4.0
# The promise is one second; the rest is for a busy machine.
LATE_S = 2.0
PATIENT_S = 30.0
MIB = 1024 * 1024
Fault = Callable[..., None]


@pytest.fixture
def machines(fleet_hosts: dict[str, Host]) -> Iterator[HostMachines]:
    known = dict(fleet_hosts)
    machines = HostMachines(ParamikoShell(PoolLimits(suspect_s=0), find=known.get), LocalShell())
    yield machines
    machines.close()


@pytest.fixture
def h1(fleet_hosts: dict[str, Host], machines: HostMachines) -> Host:
    """A host whose probe channel is open, whatever the test before did to it."""
    host = fleet_hosts["h1"]
    end_at = time.monotonic() + PATIENT_S
    while True:
        try:
            machines.vitals(host, timeout_s=PATIENT_S)
            return host
        except ToolError:
            if time.monotonic() > end_at:
                raise


@pytest.fixture
def processes(as_root: Callable[..., str]) -> Callable[[], list[str]]:
    """The shells of the bot's user on h1."""
    return lambda: [
        line for line in as_root("h1", "ps", "-u", "bot", "-o", "comm=").splitlines() if line.strip() == "sh"
    ]


def timely(ask: Callable[[], Any]) -> Any:
    started_at = time.monotonic()
    try:
        return ask()
    finally:
        assert time.monotonic() - started_at < DEADLINE_S + LATE_S


def vitals(machines: HostMachines, host: Host, deadline_s: float = DEADLINE_S) -> Vitals:
    seen = timely(lambda: machines.vitals(host, timeout_s=deadline_s))
    assert seen.memory_total_bytes > 2**30
    return seen


def test_vitals_and_facts_agree_and_come_over_one_shell(
    machines: HostMachines, h1: Host, processes: Callable[[], list[str]]
) -> None:
    time.sleep(1.1)
    seen, facts = vitals(machines, h1), machines.facts(h1, timeout_s=PATIENT_S)
    assert seen.cpu_percent is not None
    assert facts.cpu_percent is not None
    assert (seen.boot_id, seen.memory_total_bytes) == (facts.boot_id, facts.memory_total_bytes)
    assert (facts.hostname, facts.disks[0].mount) == ("h1", "/")
    assert len(processes()) == 1


def test_the_shell_ends_with_the_connection(
    machines: HostMachines, h1: Host, processes: Callable[[], list[str]]
) -> None:
    assert processes()
    machines.close()
    end_at = time.monotonic() + PATIENT_S
    while processes():
        assert time.monotonic() < end_at
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["cut", "kill-sessions"])
def test_a_channel_that_lost_its_connection_is_replaced(
    machines: HostMachines, h1: Host, fault: Fault, kind: str
) -> None:
    fault("h1", kind)
    for _ in range(3):
        vitals(machines, h1)


@pytest.mark.parametrize("kind", ["freeze", "down", "blackhole"])
def test_a_host_that_falls_silent_costs_the_deadline_and_answers_again(
    machines: HostMachines, h1: Host, fleet_hosts: dict[str, Host], fault: Fault, heal: Fault, kind: str
) -> None:
    fault("h1", kind)
    with pytest.raises((HostUnreachable, CommandTimedOut)):
        vitals(machines, h1)
    vitals(machines, fleet_hosts["h2"])
    heal("h1", kind)
    assert machines.vitals(h1, timeout_s=PATIENT_S).memory_total_bytes > 2**30


def test_slow_commands_do_not_slow_an_open_channel(machines: HostMachines, h1: Host, fault: Fault) -> None:
    fault("h1", "slowcmd", 3)
    started_at = time.monotonic()
    vitals(machines, h1)
    assert time.monotonic() - started_at < 1.5
    machines.close()


def test_a_new_channel_on_a_slow_host_answers_within_the_deadline(
    machines: HostMachines, fleet_hosts: dict[str, Host], fault: Fault
) -> None:
    fault("h1", "slowcmd", 2)
    assert machines.vitals(fleet_hosts["h1"], timeout_s=PATIENT_S).memory_total_bytes > 2**30


def test_a_systemd_that_hangs_does_not_keep_an_open_channel_from_answering(
    machines: HostMachines, h1: Host, fault: Fault
) -> None:
    fault("h1", "pid1-hang")
    started_at = time.monotonic()
    vitals(machines, h1)
    assert time.monotonic() - started_at < 1.5
    facts = machines.facts(h1, timeout_s=PATIENT_S)
    assert facts.failed_units is None
    # No log-in is possible now: only the connection that is open answers.
    newcomer = ParamikoShell()
    with pytest.raises((HostUnreachable, CommandTimedOut)):
        timely(lambda: newcomer.run(h1, ("true",), timeout_s=DEADLINE_S))
    newcomer.close()


def test_a_host_that_rebooted_is_another_boot_without_a_cpu_figure(
    machines: HostMachines, h1: Host, fault: Fault, heal: Fault
) -> None:
    before = vitals(machines, h1)
    fault("h1", "poweroff")
    with pytest.raises((HostUnreachable, CommandTimedOut)):
        vitals(machines, h1)
    heal("h1", "poweroff")
    after = machines.vitals(h1, timeout_s=PATIENT_S)
    assert after.boot_id != before.boot_id
    assert after.uptime_s < before.uptime_s or after.cpu_percent is None
    assert after.cpu_percent is None


# --- jump hosts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def inner(fleet_hosts: dict[str, Host]) -> Host:
    """h2, through h1."""
    return replace(fleet_hosts["h2"], jump="h1")


def test_a_host_behind_another_is_read_through_it(machines: HostMachines, h1: Host, inner: Host) -> None:
    seen = machines.run(inner, ("sh", "-c", 'hostname; echo "$SSH_CONNECTION"'), timeout_s=PATIENT_S).stdout.split()
    assert seen[:2] == ["h2", h1.address]
    assert vitals(machines, inner).boot_id != vitals(machines, h1).boot_id


def test_the_wrong_key_of_either_hop_is_refused_and_named(
    machines: HostMachines, h1: Host, inner: Host, fleet_hosts: dict[str, Host], fault: Fault
) -> None:
    fault("h2", "hostkey")
    with pytest.raises(HostUnreachable, match=r"^h2 \(127\.0\.10\.2:22 through h1\) shows another host key"):
        machines.run(inner, ("true",), timeout_s=PATIENT_S)
    wrong = {"h1": replace(h1, host_key=fleet_hosts["h3"].host_key)}
    shell = ParamikoShell(PoolLimits(suspect_s=0), find=wrong.get)
    with pytest.raises(HostUnreachable, match=r"^h2 is reached through h1, but: h1 \(127\.0\.10\.1:22\) shows another"):
        shell.run(inner, ("true",), timeout_s=PATIENT_S)
    shell.close()


@pytest.mark.parametrize("kind", ["freeze", "down", "refuse"])
def test_a_jump_host_with_a_fault_is_named_in_time(
    machines: HostMachines, h1: Host, inner: Host, fault: Fault, kind: str
) -> None:
    machines.run(inner, ("true",), timeout_s=PATIENT_S)
    fault("h1", kind)
    with pytest.raises((HostUnreachable, CommandTimedOut), match="h2") as caught:
        timely(lambda: machines.run(inner, ("true",), timeout_s=DEADLINE_S))
    if caught.type is HostUnreachable:
        assert "h1" in str(caught.value)


@pytest.mark.parametrize("kind", ["down", "refuse"])
def test_a_target_with_a_fault_is_named_in_time(machines: HostMachines, h1: Host, inner: Host, fault: Fault, kind: str):
    fault("h2", kind)
    with pytest.raises(HostUnreachable, match=r"h2 \(127\.0\.10\.2:22 through h1\)"):
        timely(lambda: machines.run(inner, ("true",), timeout_s=DEADLINE_S))
    assert machines.run(h1, ("true",), timeout_s=PATIENT_S).exit_status == 0


def test_a_jump_host_that_was_cut_is_connected_to_again(
    machines: HostMachines, h1: Host, inner: Host, fault: Fault
) -> None:
    machines.run(inner, ("true",), timeout_s=PATIENT_S)
    fault("h1", "cut")
    assert machines.run(inner, ("true",), timeout_s=PATIENT_S).exit_status == 0
