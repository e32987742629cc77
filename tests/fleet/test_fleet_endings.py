"""Rebooting a real host and ending real processes: systemd, sudo, sshd, over real SSH."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from opsbot_tools import kill_process as kill
from opsbot_tools import reboot_host as reboot
from opsbot_tools.top_processes import top_processes

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.context import Context
from opsbot.domain import Host, Result
from opsbot.errors import BadArguments, ToolError

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]


@pytest.fixture
def machines() -> Iterator[HostMachines]:
    machines = HostMachines(ParamikoShell(), LocalShell())
    yield machines
    machines.close()


@pytest.fixture
def ctx(machines) -> Callable[..., Context]:
    return lambda timeout_s=90.0: Context(machines, timeout_s=timeout_s)


@pytest.fixture
def h3(fleet_hosts) -> Host:
    return replace(fleet_hosts["h3"], units=("nginx.service", "redis-server.service"))


@pytest.fixture
def h2(fleet_hosts) -> Host:
    return replace(fleet_hosts["h2"], units=("nginx.service", "redis-server.service"))


@pytest.fixture
def as_before(as_root) -> Iterator[None]:
    yield
    for name in ("h2", "h3"):
        as_root(name, "sh", "-c", "systemctl reset-failed; systemctl start nginx redis-server")


def process_of(ctx, host: Host, unit: str, *, main: bool) -> dict:
    """A process of the unit as top_processes shows it to people and the model."""
    main_pid = ctx().show(host, unit).main_pid
    found = top_processes.function(ctx(), host, "memory")["processes"]
    return next(each for each in found if each["unit"] == unit and (each["pid"] == main_pid) is main)


def main_of(ctx, host: Host, unit: str) -> dict:
    """The unit's main process, as the host's own /proc identifies it (its clock is not this machine's)."""
    pid = int(ctx().run(host, "systemctl", "show", "--value", "-p", "MainPID", unit).check().stdout)
    stat = ctx().run(host, "cat", f"/proc/{pid}/stat").check().stdout
    return {"pid": pid, "started_ticks": int(stat.rpartition(")")[2].split()[19])}


# --- reboot ----------------------------------------------------------------------------------------------------------


def test_a_reboot_is_sent_once_and_verified_by_another_boot(ctx, h3, as_before):
    before = reboot.impact(ctx(15), h3)
    assert dict(before.facts)["services that run"] == "nginx.service, redis-server.service"
    assert reboot.available(ctx(10), h3)
    answer = reboot.reboot_host.function(ctx(280), h3)
    assert answer["boot_id_after"] not in (None, answer["boot_id_before"])
    outcome = reboot.verify(ctx(90), h3, before)
    assert outcome.result is Result.DONE, outcome
    assert "2 services run as before" in outcome.summary
    assert reboot.impact(ctx(15), h3).fingerprint != before.fingerprint  # a second approval of the same card is stale


def test_without_the_rule_nothing_is_rebooted(ctx, h3, fault):
    before = reboot.impact(ctx(15), h3)
    fault("h3", "sudo")
    with pytest.raises(ToolError, match="opsbot sudoers h3"):
        reboot.reboot_host.function(ctx(60), h3)
    assert reboot.verify(ctx(30), h3, before).result is Result.NOT_DONE


def test_a_host_that_does_not_come_back_is_unknown_in_time(ctx, h3, fault):
    before = reboot.impact(ctx(15), h3)
    fault("h3", "blackhole")
    outcome = reboot.verify(ctx(12), h3, before)
    assert outcome.result is Result.UNKNOWN
    assert "console" in outcome.summary


# --- kill ------------------------------------------------------------------------------------------------------------


def carried_out(ctx, host: Host, process: dict, signal: str = "TERM"):
    """Impact, the kill, the verdict: as the executor does."""
    pid, ticks = process["pid"], process["started_ticks"]
    before = kill.impact(ctx(15), host, pid, ticks, signal)
    answer = kill.kill_process.function(ctx(30), host, pid, ticks, signal)
    assert answer["sent"] is True
    return kill.verify(ctx(60), host, before, pid, ticks, signal)


def test_a_worker_is_ended_and_its_service_goes_on(ctx, h2, as_before):
    worker = process_of(ctx, h2, "nginx.service", main=False)
    outcome = carried_out(ctx, h2, worker)
    assert outcome.result is Result.DONE, outcome
    assert "nginx.service is active" in outcome.summary


def test_a_main_process_that_is_killed_fails_its_service_with_evidence(ctx, h2, as_before):
    outcome = carried_out(ctx, h2, main_of(ctx, h2, "nginx.service"), "KILL")
    assert outcome.result is Result.FAILED, outcome
    assert "nginx.service is failed" in outcome.summary


def test_another_process_with_that_number_is_never_hit(ctx, h2, machines, as_root):
    worker = process_of(ctx, h2, "redis-server.service", main=True)
    for ticks in (worker["started_ticks"] + 1, 0):
        with pytest.raises(BadArguments, match="another process now"):
            kill.kill_process.function(ctx(), h2, worker["pid"], ticks)
    # Even if the number is given to another process between the look and the kill: the host's own check refuses.
    stat = as_root("h2", "cat", "/proc/sys/kernel/random/boot_id").strip()
    argv = ("sh", "-c", kill._KILL, "sh", stat, str(worker["pid"]), "1", "sudo", "-n", "/usr/bin/kill", "-TERM", "--")
    assert ctx().run(h2, *argv, str(worker["pid"])).exit_status == 71
    assert ctx().show(h2, "redis-server.service").main_pid == worker["pid"]


def test_processes_of_other_services_and_the_door_itself_are_refused(ctx, h2):
    for unit in ("ssh.service", "systemd-journald.service"):
        main = main_of(ctx, h2, unit)
        with pytest.raises(BadArguments, match=f"belongs to {unit}"):
            kill.impact(ctx(), h2, main["pid"], main["started_ticks"])


def test_without_the_rule_nothing_is_ended(ctx, h2, fault):
    main = process_of(ctx, h2, "redis-server.service", main=True)
    fault("h2", "sudo")
    with pytest.raises(ToolError, match="opsbot sudoers h2"):
        kill.kill_process.function(ctx(), h2, main["pid"], main["started_ticks"])
    assert ctx().show(h2, "redis-server.service").main_pid == main["pid"]
