"""Starting, stopping, reloading and clearing services on real hosts: systemd, sudo, journald, over real SSH."""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import ModuleType

import pytest
from opsbot_tools import reload_service as reload
from opsbot_tools import reset_failed as clear
from opsbot_tools import start_service as start
from opsbot_tools import stop_service as stop

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.context import Context
from opsbot.domain import HealthCheck, Host, HostOutcome, Result
from opsbot.errors import BadArguments, ToolError
from opsbot.tooling import Unit

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

NGINX, REDIS, BRITTLE = Unit("nginx.service"), Unit("redis-server.service"), Unit("brittle.service")


@pytest.fixture(scope="module")
def machines() -> Iterator[HostMachines]:
    machines = HostMachines(ParamikoShell(), LocalShell())
    yield machines
    machines.close()


@pytest.fixture
def ctx(machines) -> Callable[..., Context]:
    return lambda timeout_s=90.0: Context(machines, timeout_s=timeout_s)


@pytest.fixture
def h1(fleet_hosts) -> Host:
    host: Host = fleet_hosts["h1"]
    return host


@pytest.fixture
def as_before(fleet, as_root) -> Iterator[None]:
    yield
    for name in ("h1", "h2", "h3"):
        as_root(
            name,
            "sh",
            "-c",
            "rm -f /run/brittle.started; systemctl reset-failed;"
            "systemctl start nginx redis-server flapper slowstop stubborn brittle; systemctl stop slowstart",
        )


def carried_out(ctx: Callable[..., Context], module: ModuleType, host: Host, unit: Unit) -> HostOutcome:
    """Impact, the action once, the verdict: as the executor does."""
    before = module.impact(ctx(15), host, unit)
    with suppress(ToolError):
        getattr(module, module.__name__.rpartition(".")[2]).function(ctx(), host, unit)
    return module.verify(ctx(), host, before, unit)


@pytest.mark.usefixtures("as_before")
def test_a_stop_and_a_start_are_done_and_seen_on_the_host(ctx, h1, as_root):
    facts = dict(stop.impact(ctx(15), h1, NGINX).facts)
    assert (facts["state"], facts["would stop too"], facts["at boot"]) == (
        "active (running)",
        "no other unit",
        "started again",
    )
    stopped = carried_out(ctx, stop, h1, NGINX)
    assert (stopped.result, stopped.summary) == (Result.DONE, "nginx.service was stopped and is inactive (dead)")
    assert as_root("h1", "sh", "-c", "systemctl is-active nginx || true").strip() == "inactive"
    checked = dataclasses.replace(h1, health={NGINX: HealthCheck(url=f"http://{h1.address}/")})
    started = carried_out(ctx, start, checked, NGINX)
    assert (started.result, started.summary) == (
        Result.DONE,
        "nginx.service was started and is active (running); its health check passes",
    )


@pytest.mark.usefixtures("as_before")
def test_what_is_so_already_is_done_without_doing_anything(ctx, machines, h1):
    before = machines.services(h1).show(REDIS, timeout_s=10)
    outcome = carried_out(ctx, start, h1, REDIS)
    assert (outcome.result, "was running already" in outcome.summary) == (Result.DONE, True)
    assert machines.services(h1).show(REDIS, timeout_s=10).invocation_id == before.invocation_id
    assert carried_out(ctx, stop, h1, REDIS).result is Result.DONE
    again = carried_out(ctx, stop, h1, REDIS)
    assert (again.result, "was not running already" in again.summary) == (Result.DONE, True)


@pytest.mark.usefixtures("as_before")
def test_a_start_that_fails_has_its_journal_and_can_be_cleared(ctx, h1, as_root):
    as_root("h1", "sh", "-c", "systemctl stop brittle; touch /run/brittle.started")
    failed = carried_out(ctx, start, h1, BRITTLE)
    assert failed.result is Result.FAILED
    assert "did not come up: exit-code" in failed.summary
    assert "config error: /etc/brittle.conf: line 7: unknown key" in failed.evidence
    assert dict(clear.impact(ctx(15), h1, BRITTLE).facts)["result of its last run"] == "exit-code"
    cleared = carried_out(ctx, clear, h1, BRITTLE)
    assert (cleared.result, dict(cleared.facts)["state"]) == (Result.DONE, "failed (failed) -> inactive (dead)")


@pytest.mark.usefixtures("as_before")
def test_services_slow_to_stop_deaf_to_it_or_slow_to_start_are_waited_for(ctx, fleet_hosts):
    """Side by side on three hosts: 10 s to stop; killed after 5 s, which is no good end; 8 s until ready."""
    jobs = ((stop, "h1", "slowstop"), (stop, "h2", "stubborn"), (start, "h3", "slowstart"))
    with ThreadPoolExecutor(len(jobs)) as pool:
        outcomes = list(
            pool.map(lambda job: carried_out(ctx, job[0], fleet_hosts[job[1]], Unit(f"{job[2]}.service")), jobs)
        )
    assert [outcome.result for outcome in outcomes] == [Result.DONE, Result.FAILED, Result.DONE], outcomes
    assert "is down, but did not end well: timeout" in outcomes[1].summary


@pytest.mark.usefixtures("as_before")
def test_a_service_that_falls_over_again_and_again_is_stopped(ctx, h1, as_root):
    assert carried_out(ctx, stop, h1, Unit("flapper.service")).result is Result.DONE
    assert as_root("h1", "sh", "-c", "systemctl is-active flapper || true").strip() in ("inactive", "failed")


def test_a_reload_keeps_the_run_and_is_proved(ctx, machines, h1):
    before = machines.services(h1).show(NGINX, timeout_s=10)
    checked = dataclasses.replace(h1, health={NGINX: HealthCheck(url=f"http://{h1.address}/")})
    outcome = carried_out(ctx, reload, checked, NGINX)
    assert outcome.result is Result.DONE
    assert outcome.summary.startswith("nginx.service was reloaded; the same run goes on, active (running)")
    after = machines.services(h1).show(NGINX, timeout_s=10)
    assert (after.invocation_id, after.main_pid) == (before.invocation_id, before.main_pid)


def test_a_reload_of_a_broken_configuration_is_failed_and_the_service_goes_on(ctx, h1, fault, heal):
    fault("h1", "badconf")
    outcome = carried_out(ctx, reload, h1, NGINX)
    later = dict(reload.impact(ctx(15), h1, NGINX).facts)
    heal("h1", "badconf")
    assert outcome.result is Result.FAILED
    assert "could not be reloaded (exit-code) and goes on as before: active (running)" in outcome.summary
    assert outcome.evidence
    assert later["last reload"] == "failed: exit-code"


@pytest.mark.parametrize(
    ("module", "unit", "reason"),
    [
        (start, "masked.service", "masked on h1"),
        (start, "nope.service", "has no service nope"),
        (stop, "nope.service", "has no service nope"),
        (reload, "slowstop.service", "cannot be reloaded"),
        (reload, "slowstart.service", "only a running service"),
        (clear, "nope.service", "has no service nope"),
    ],
)
def test_what_makes_no_sense_gets_no_card(ctx, h1, module, unit, reason):
    with pytest.raises(BadArguments, match=reason):
        module.impact(ctx(15), h1, Unit(unit))


def test_a_service_brought_back_by_its_socket_is_not_taken_for_stopped(ctx, h1, as_root):
    """A service that a socket starts, and a client that calls while it is being stopped."""
    as_root(
        "h1",
        "sh",
        "-c",
        "mkdir -p /run/systemd/system; cd /run/systemd/system;"
        "printf '[Socket]\\nListenStream=/run/woken.sock\\n' > woken.socket;"
        "printf '[Service]\\nExecStart=/bin/sleep 600\\n' > woken.service;"
        "systemctl daemon-reload; systemctl start woken.socket woken.service",
    )
    woken = Unit("woken.service")
    try:
        before = stop.impact(ctx(15), h1, woken)
        assert dict(before.facts)["started on demand by"] == "woken.socket (active)"
        as_root("h1", "systemctl", "stop", "woken.service")
        as_root("h1", "perl", "-MIO::Socket::UNIX", "-e", "IO::Socket::UNIX->new('/run/woken.sock') or die $!")
        outcome = stop.verify(ctx(), h1, before, woken)
        assert outcome.result is Result.FAILED
        assert "it is started on demand by woken.socket" in outcome.summary
    finally:
        as_root("h1", "sh", "-c", "systemctl stop woken.socket woken.service; rm /run/systemd/system/woken.*")
        as_root("h1", "systemctl", "daemon-reload")


def test_a_missing_sudo_rule_is_explained_and_nothing_is_done(ctx, h1, fault):
    fault("h1", "sudo")
    before = stop.impact(ctx(15), h1, NGINX)
    with pytest.raises(ToolError, match=r"bot ALL=\(root\) NOPASSWD: /usr/bin/systemctl --no-pager stop -- nginx"):
        stop.stop_service.function(ctx(), h1, NGINX)
    assert stop.verify(ctx(), h1, before, NGINX).result is Result.NOT_DONE
