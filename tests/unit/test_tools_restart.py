"""Restarting a service: what the card says, what is refused, and the verdict for each way it can end."""

from contextlib import suppress
from dataclasses import replace

import pytest
from opsbot_tools.restart_service import impact, restart_service, verify

from opsbot.context import Context
from opsbot.domain import Host, Result
from opsbot.errors import BadArguments, CommandTimedOut, HostUnreachable, OutcomeUnknown, ToolError
from opsbot.tooling import Unit
from tests.fake_machines import FakeMachines, FakeUnit

HOST = Host("web-1", user="ops", units=("nginx.service",))
NGINX = Unit("nginx.service")


class Time:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


def context(machines: FakeMachines, timeout_s: float = 90) -> Context:
    time = Time()
    return Context(machines, timeout_s=timeout_s, monotonic=lambda: time.now, sleep=time.sleep)


def machines_with(**script: object) -> FakeMachines:
    return FakeMachines({"web-1": [FakeUnit("nginx", **script)]})  # type: ignore[arg-type]


def restarted(machines: FakeMachines, unit: Unit = NGINX):
    """Collect the impact, restart, verify; as the executor does, whatever the restart itself raises."""
    before = impact(context(machines), HOST, unit)
    with suppress(ToolError):
        restart_service.function(context(machines), HOST, unit)
    return verify(context(machines), HOST, before, unit)


# --- the card --------------------------------------------------------------------------------------------------------


def test_the_impact_names_what_a_restart_would_hit():
    machines = machines_with(required_by=("app.service",), health="")
    facts = dict(impact(context(machines), HOST, NGINX).facts)
    assert facts["state"] == "active (running)"
    assert facts["main PID"] == "1001"
    assert facts["running since"].startswith("2026-11-02 09:01:00 UTC")
    assert facts["automatic restarts"] == "0"
    assert facts["network"] == "listens on tcp 80; 2 connections from 2 addresses"
    assert facts["needed by"] == "app.service"
    assert facts["health now"] == "passed"
    assert "note" not in facts


def test_a_fact_that_cannot_be_read_is_unknown():
    machines = machines_with(connections="unknown")
    facts = dict(impact(context(machines), HOST, NGINX).facts)
    assert facts["network"] == "unknown"
    assert facts["health now"] == "no check configured"


def test_a_stopped_unit_says_that_a_restart_would_start_it():
    facts = dict(impact(context(machines_with(active_state="inactive", sub_state="dead")), HOST, NGINX).facts)
    assert facts["running since"] == "not running"
    assert facts["note"] == "it is not running: a restart would start it"


@pytest.mark.parametrize(("load_state", "reason"), [("masked", "is masked"), ("bad-setting", "definition is bad-set")])
def test_a_unit_that_cannot_be_started_gets_no_card(load_state, reason):
    with pytest.raises(BadArguments, match=reason):
        impact(context(machines_with(load_state=load_state)), HOST, NGINX)


def test_a_missing_unit_gets_no_card():
    with pytest.raises(BadArguments, match=r"web-1 has no service nope\.service"):
        impact(context(machines_with()), HOST, Unit("nope.service"))


def test_a_host_that_is_down_gets_no_card():
    machines = machines_with()
    machines.fault("web-1", "down")
    with pytest.raises(HostUnreachable):
        impact(context(machines), HOST, NGINX)


def test_a_restart_by_others_changes_the_fingerprint():
    machines = machines_with()
    before = impact(context(machines), HOST, NGINX).fingerprint
    assert impact(context(machines), HOST, NGINX).fingerprint == before
    machines.unit("web-1", "nginx").run += 1
    assert impact(context(machines), HOST, NGINX).fingerprint != before


def test_a_unit_that_keeps_falling_over_does_not_drift_by_that():
    machines = machines_with(active_state="activating", sub_state="auto-restart", auto_restarts=7)
    before = impact(context(machines), HOST, NGINX)
    assert "it keeps falling over" in dict(before.facts)["state"]
    machines.unit("web-1", "nginx").run += 1
    machines.unit("web-1", "nginx").auto_restarts += 1
    assert impact(context(machines), HOST, NGINX).fingerprint == before.fingerprint


# --- the restart -----------------------------------------------------------------------------------------------------


def test_it_restarts_once_and_reports_both_sides():
    machines = machines_with()
    result = restart_service.function(context(machines), HOST, NGINX)
    assert machines.restarts["web-1", "nginx.service"] == 1
    assert result["exit_status"] == 0
    assert result["before"]["main_pid"] == 1001
    assert result["after"]["main_pid"] == 1002


def test_a_missing_sudo_rule_is_named_with_the_line_to_add():
    machines = machines_with()
    machines.fault("web-1", "no-sudo")
    with pytest.raises(ToolError, match=r"ops ALL=\(root\) NOPASSWD: /usr/bin/systemctl --no-pager restart -- nginx"):
        restart_service.function(context(machines), HOST, NGINX)
    assert machines.restarts.total() == 0


def test_a_failing_restart_is_a_result_not_an_exception():
    result = restart_service.function(context(machines_with(on_restart="fails")), HOST, NGINX)
    assert result["exit_status"] == 1
    assert result["after"]["active_state"] == "failed"


@pytest.mark.parametrize("fault", ["lost", "lost-before", "lost-for-good"])
def test_a_lost_connection_is_never_a_result(fault):
    machines = machines_with()
    machines.fault("web-1", fault)
    with pytest.raises(OutcomeUnknown):
        restart_service.function(context(machines), HOST, NGINX)


def test_a_host_that_goes_away_after_the_restart_does_not_look_unreached():
    machines = machines_with()

    class Going(FakeMachines):
        def services(self, host):
            services = super().services(host)
            act = services.act

            def act_and_go(verb, unit, *, timeout_s):
                result = act(verb, unit, timeout_s=timeout_s)
                self.fault("web-1", "down")
                return result

            services.act = act_and_go
            return services

    machines.__class__ = Going
    assert restart_service.function(context(machines), HOST, NGINX)["after"] is None


# --- the verdict -----------------------------------------------------------------------------------------------------


def test_a_new_run_that_lasts_is_done():
    outcome = restarted(machines_with())
    assert (outcome.result, outcome.evidence) == (Result.DONE, "")
    assert outcome.summary == "nginx.service was restarted and is active (running)"
    assert dict(outcome.facts)["main PID"] == "1001 -> 1002"


def test_a_slow_start_is_waited_for():
    assert restarted(machines_with(settle_shows=30)).result is Result.DONE


def test_a_unit_still_starting_at_the_deadline_is_unknown():
    outcome = restarted(machines_with(settle_shows=10_000))
    assert outcome.result is Result.UNKNOWN
    assert "last seen activating (start)" in outcome.summary


def test_a_unit_that_does_not_come_back_is_failed_with_its_log():
    outcome = restarted(machines_with(on_restart="fails"))
    assert outcome.result is Result.FAILED
    assert outcome.summary == "nginx.service did not come back: exit-code, status 78"
    assert "config error: line 7: unknown key" in outcome.evidence


def test_a_unit_that_falls_over_again_is_failed():
    outcome = restarted(machines_with(on_restart="flaps"))
    assert outcome.result is Result.FAILED
    assert "fell over" in outcome.summary


def test_a_unit_that_fell_over_before_is_watched_for_longer():
    machines = machines_with(auto_restarts=5)
    before = impact(context(machines), HOST, NGINX)
    restart_service.function(context(machines), HOST, NGINX)
    machines.commands.clear()
    assert verify(context(machines), HOST, before, NGINX).result is Result.DONE
    assert len(machines.commands) >= 12


def test_the_same_run_means_it_was_not_done():
    outcome = restarted(machines_with(on_restart="nothing"))
    assert outcome.result is Result.NOT_DONE
    assert "was not restarted" in outcome.summary


def test_a_refused_restart_is_not_done():
    machines = machines_with()
    before = impact(context(machines), HOST, NGINX)
    machines.fault("web-1", "no-sudo")
    with pytest.raises(ToolError):
        restart_service.function(context(machines), HOST, NGINX)
    assert verify(context(machines), HOST, before, NGINX).result is Result.NOT_DONE


@pytest.mark.parametrize(
    ("fault", "result"),
    [("lost", Result.DONE), ("lost-before", Result.NOT_DONE), ("lost-for-good", Result.UNKNOWN)],
)
def test_after_a_lost_connection_the_host_says_what_happened(fault, result):
    machines = machines_with()
    before = impact(context(machines), HOST, NGINX)
    machines.fault("web-1", fault)
    with pytest.raises(OutcomeUnknown):
        restart_service.function(context(machines), HOST, NGINX)
    assert verify(context(machines), HOST, before, NGINX).result is result
    assert machines.restarts.total() == (0 if fault == "lost-before" else 1)


def test_a_failing_health_check_is_failed_though_the_unit_runs():
    outcome = restarted(machines_with(health="GET / answered 503"))
    assert outcome.result is Result.FAILED
    assert "its health check fails: GET / answered 503" in outcome.summary
    assert outcome.evidence


def test_a_service_gets_some_time_to_become_healthy():
    machines = machines_with(health="connection refused")

    class Recovering(FakeMachines):
        def healthy(self, host, unit):
            answer = super().healthy(host, unit)
            self.tries = getattr(self, "tries", 0) + 1
            return "" if self.tries > 3 else answer

    machines.__class__ = Recovering
    assert restarted(machines).result is Result.DONE


def test_a_passing_health_check_is_said():
    assert restarted(machines_with(health="")).summary.endswith("; its health check passes")


def test_a_unit_that_was_failed_and_stays_in_that_run_was_not_touched():
    machines = machines_with(active_state="failed", sub_state="failed", result="exit-code", on_restart="nothing")
    assert restarted(machines).result is Result.NOT_DONE


def test_a_unit_stopped_by_the_restart_is_failed():
    machines = machines_with()
    before = impact(context(machines), HOST, NGINX)
    restart_service.function(context(machines), HOST, NGINX)
    unit = machines.unit("web-1", "nginx")
    unit.active_state, unit.sub_state = "inactive", "dead"
    outcome = verify(context(machines), HOST, before, NGINX)
    assert outcome.result is Result.FAILED
    assert "is not running any more" in outcome.summary


def test_a_job_that_was_idle_and_ran_to_its_end_is_done():
    machines = machines_with(active_state="inactive", sub_state="dead")
    before = impact(context(machines), HOST, NGINX)
    machines.unit("web-1", "nginx").run += 1
    outcome = verify(context(machines), HOST, before, NGINX)
    assert (outcome.result, "ran to its end" in outcome.summary) == (Result.DONE, True)


def test_without_ids_the_main_process_tells_runs_apart():
    machines = machines_with()
    before = impact(context(machines), HOST, NGINX)
    nameless = replace(before, fingerprint={**before.fingerprint, "invocation_id": ""})
    assert verify(context(machines), HOST, nameless, NGINX).result is Result.NOT_DONE
    machines.unit("web-1", "nginx").run += 1
    assert verify(context(machines), HOST, nameless, NGINX).result is Result.DONE


def test_a_hung_host_makes_the_outcome_unknown():
    machines = machines_with()
    before = impact(context(machines), HOST, NGINX)

    class Hung(FakeMachines):
        def reach(self, host, argv, timeout_s):
            raise CommandTimedOut("no answer")

    machines.__class__ = Hung
    assert verify(context(machines), HOST, before, NGINX).result is Result.UNKNOWN
