"""Looking at services and restarting them on real hosts: systemd, sudo, journald, over real SSH."""

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from socket import create_connection

import pytest
from opsbot_tools.restart_service import impact, restart_service, verify
from opsbot_tools.server_status import server_status
from opsbot_tools.service_logs import service_logs
from opsbot_tools.service_status import service_status

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.context import Context
from opsbot.domain import HealthCheck, Host, HostOutcome, Result
from opsbot.errors import BadArguments, CommandFailed, CommandTimedOut, HostUnreachable, ToolError
from opsbot.tooling import Unit

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

NGINX = Unit("nginx.service")
Fault = Callable[..., None]


@pytest.fixture(scope="module")
def machines() -> Iterator[HostMachines]:
    machines = HostMachines(ParamikoShell(), LocalShell())
    yield machines
    machines.close()


@pytest.fixture
def ctx(machines) -> Callable[..., Context]:
    def context(timeout_s: float = 90.0) -> Context:
        return Context(machines, timeout_s=timeout_s)

    return context


@pytest.fixture
def h1(fleet_hosts) -> Host:
    host: Host = fleet_hosts["h1"]
    return host


def carried_out(ctx: Callable[..., Context], host: Host, unit: Unit) -> HostOutcome:
    """Impact, one restart, verdict: as the executor does."""
    before = impact(ctx(15), host, unit)
    with suppress(ToolError):
        restart_service.function(ctx(), host, unit)
    return verify(ctx(), host, before, unit)


def test_three_hosts_report_their_own_facts_in_one_round_trip(ctx, fleet_hosts):
    hosts = list(fleet_hosts.values())
    with ThreadPoolExecutor(len(hosts)) as pool:
        results = list(pool.map(lambda host: server_status.function(ctx(30), host), hosts))
    assert [result["hostname"] for result in results] == [host.name for host in hosts]
    for result in results:
        assert result["os"].startswith("Debian GNU/Linux 12")
        assert result["memory_total_bytes"] > 2**30
        assert {"/", "/srv/data"} <= {disk["mount"] for disk in result["disks"]}
        assert result["failed_units"] is not None
        # Each host counts from its own boot, by its own time namespace.
        assert 0 < result["uptime_s"] < 24 * 3600


def test_a_full_disk_is_reported_as_full(ctx, h1, fault):
    fault("h1", "diskfull", "/srv/data")
    fullest = server_status.function(ctx(30), h1)["disks"][0]
    assert (fullest["mount"], fullest["used_percent"]) == ("/srv/data", 100.0)


def test_the_impact_of_a_restart_is_read_from_the_host(ctx, h1):
    with create_connection((h1.address, 80), timeout=10):
        facts = dict(impact(ctx(15), h1, NGINX).facts)
    assert facts["state"] == "active (running)"
    assert facts["main PID"].isdecimal()
    assert facts["network"] == "listens on tcp 80; 1 connection from 1 address"
    assert facts["health now"] == "no check configured"


def test_a_good_restart_is_done_with_a_new_invocation(ctx, machines, h1):
    before = machines.services(h1).show("nginx.service", timeout_s=10)
    checked = dataclasses.replace(h1, health={"nginx.service": HealthCheck(url=f"http://{h1.address}/")})
    outcome = carried_out(ctx, checked, NGINX)
    after = machines.services(h1).show("nginx.service", timeout_s=10)
    assert outcome.result is Result.DONE
    assert outcome.summary == "nginx.service was restarted and is active (running); its health check passes"
    assert after.invocation_id != before.invocation_id
    assert after.main_pid != before.main_pid


def test_a_health_check_that_fails_makes_a_good_restart_a_failure(ctx, h1):
    checked = dataclasses.replace(h1, health={"nginx.service": HealthCheck(url=f"http://{h1.address}/nope")})
    outcome = carried_out(ctx, checked, NGINX)
    assert outcome.result is Result.FAILED
    assert f"GET http://{h1.address}/nope answered 404" in outcome.summary


def test_a_unit_that_fails_to_come_back_is_failed_with_its_journal(ctx, h1, as_root):
    as_root("h1", "sh", "-c", "rm -f /run/brittle.started; systemctl restart brittle.service")
    outcome = carried_out(ctx, h1, Unit("brittle.service"))
    assert outcome.result is Result.FAILED
    assert "did not come back: exit-code" in outcome.summary
    assert "config error: /etc/brittle.conf: line 7: unknown key" in outcome.evidence
    assert "status=78" in outcome.evidence


def test_a_flapping_unit_is_not_taken_for_restarted(ctx, h1):
    # Its card can only say "falling over" once it has fallen; it has, seconds after boot.
    _wait_until_it_fell(ctx, h1)
    before = impact(ctx(15), h1, Unit("flapper.service"))
    assert "keeps falling over" in dict(before.facts)["state"]
    restart_service.function(ctx(), h1, Unit("flapper.service"))
    outcome = verify(ctx(), h1, before, Unit("flapper.service"))
    assert outcome.result is Result.FAILED
    assert "fell over" in outcome.summary
    assert "panic: lost upstream" in outcome.evidence


def test_units_slow_to_stop_or_start_and_deaf_to_sigterm_are_waited_for(ctx, fleet_hosts):
    """Side by side on three hosts: 10 s to stop; 8 s until ready; killed after 5 s."""
    jobs = (("h1", "slowstop.service"), ("h2", "slowstart.service"), ("h3", "stubborn.service"))
    with ThreadPoolExecutor(len(jobs)) as pool:
        outcomes = list(pool.map(lambda job: carried_out(ctx, fleet_hosts[job[0]], Unit(job[1])), jobs))
    assert [outcome.result for outcome in outcomes] == [Result.DONE] * 3, outcomes


@pytest.mark.parametrize(
    ("unit", "reason"), [("masked.service", "masked on h1"), ("nope.service", "has no service nope")]
)
def test_masked_and_missing_units_get_no_card(ctx, h1, unit, reason):
    with pytest.raises(BadArguments, match=reason):
        impact(ctx(15), h1, Unit(unit))


def test_logs_that_are_no_utf8_are_readable_and_clean(ctx, h1):
    text = "\n".join(service_logs.function(ctx(20), h1, Unit("latin1.service"))["lines"])
    assert "caf\ufffd d\ufffdj\ufffd vu" in text
    assert "esc red nul-free" in text
    assert "emoji 🔥 ok" in text
    assert "\x1b" not in text


def test_logs_can_be_bounded_in_time(ctx, h1):
    lines = service_logs.function(ctx(20), h1, Unit("tick.service"), lines=200, since="3 s ago")["lines"]
    assert 1 <= len(lines) <= 10
    assert "tick.service" not in lines[0]
    none = service_logs.function(ctx(20), h1, Unit("tick.service"), since="2035-01-01")["lines"]
    assert none == []


def test_a_user_who_may_not_read_the_journal_is_told_so(ctx, h1):
    with pytest.raises(CommandFailed, match="viewer may not read the journal"):
        service_logs.function(ctx(20), dataclasses.replace(h1, user="viewer"), NGINX)


def test_a_missing_sudo_rule_is_explained_and_nothing_is_restarted(ctx, machines, h1, fault):
    fault("h1", "sudo")
    before = impact(ctx(15), h1, NGINX)
    with pytest.raises(ToolError, match=r"bot ALL=\(root\) NOPASSWD: /usr/bin/systemctl --no-pager restart -- nginx"):
        restart_service.function(ctx(), h1, NGINX)
    assert verify(ctx(), h1, before, NGINX).result is Result.NOT_DONE


def test_polkit_alone_is_enough_where_the_inventory_says_so(ctx, h1):
    deploy = dataclasses.replace(h1, user="deploy", sudo=False)
    assert carried_out(ctx, deploy, NGINX).result is Result.DONE
    with pytest.raises(ToolError, match="may not restart"):
        restart_service.function(ctx(), dataclasses.replace(h1, user="viewer", sudo=False), NGINX)


def test_a_broken_configuration_is_found_out_by_the_verdict(ctx, h1, fault, heal, as_root):
    fault("h1", "badconf")
    outcome = carried_out(ctx, h1, NGINX)
    heal("h1", "badconf")
    as_root("h1", "systemctl", "restart", "nginx.service")
    assert outcome.result is Result.FAILED
    assert outcome.evidence


def test_the_listing_shows_failed_units_and_those_that_may_be_touched(ctx, h1):
    result = service_status.function(ctx(30), h1)
    entries = {entry["unit"]: entry for entry in result["units"]}
    assert set(h1.units) <= set(entries)
    assert entries["redis-server.service"]["may_be_restarted"]
    assert not entries["tick.service"]["may_be_restarted"]


def test_a_systemd_that_hangs_costs_one_deadline_not_the_answer(ctx, machines, h1, fault):
    machines.facts(h1, timeout_s=30)  # logging in needs systemd: the connection must be there before
    fault("h1", "pid1-hang")
    facts = machines.facts(h1, timeout_s=30)
    assert facts.failed_units is None
    assert facts.memory_total_bytes > 2**30
    with pytest.raises((CommandTimedOut, HostUnreachable)):
        service_status.function(ctx(3), h1, NGINX)


def test_a_host_that_is_down_is_said_to_be_unreachable(ctx, fleet_hosts, fault):
    fault("h3", "down")
    with pytest.raises((HostUnreachable, CommandTimedOut)):
        server_status.function(ctx(6), fleet_hosts["h3"])


def _wait_until_it_fell(ctx: Callable[..., Context], host: Host) -> None:
    context = ctx(60)
    while not context.show(host, "flapper.service").restarts:
        context.sleep(1)
