"""Starting, stopping, reloading, clearing: what the card says, what is refused, and the verdict for each end."""

from contextlib import suppress
from dataclasses import replace
from types import ModuleType

import pytest
from opsbot_tools import reload_service as reload
from opsbot_tools import reset_failed as clear
from opsbot_tools import start_service as start
from opsbot_tools import stop_service as stop

from opsbot.context import Context
from opsbot.domain import CommandResult, Host, HostOutcome, Result, ServiceManager
from opsbot.errors import BadArguments, HostUnreachable, OutcomeUnknown, ToolError
from opsbot.tooling import Unit
from tests.fake_machines import FakeMachines, FakeUnit

HOST = Host("web-1", user="ops", units=("nginx.service",))
NGINX = Unit("nginx.service")
STOPPED = {"active_state": "inactive", "sub_state": "dead"}
FAILED = {"active_state": "failed", "sub_state": "failed", "result": "exit-code"}


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


def card(module: ModuleType, machines: FakeMachines) -> dict[str, str]:
    return dict(module.impact(context(machines), HOST, NGINX).facts)


def send(module: ModuleType, machines: FakeMachines) -> dict:
    return getattr(module, module.__name__.rpartition(".")[2]).function(context(machines), HOST, NGINX)


def carried_out(module: ModuleType, machines: FakeMachines) -> HostOutcome:
    """Impact, the action, the verdict; as the executor does, whatever the action itself raises."""
    before = module.impact(context(machines), HOST, NGINX)
    with suppress(ToolError):
        send(module, machines)
    return module.verify(context(machines), HOST, before, NGINX)


# --- start -----------------------------------------------------------------------------------------------------------


def test_a_started_service_that_lasts_is_done():
    machines = machines_with(**STOPPED)
    outcome = carried_out(start, machines)
    assert (outcome.result, outcome.summary) == (Result.DONE, "nginx.service was started and is active (running)")
    assert dict(outcome.facts)["state"] == "inactive (dead) -> active (running)"
    assert machines.done["web-1", "nginx.service", "start"] == 1
    assert machines.restarts.total() == 0


def test_the_card_of_a_start_says_why_it_stands_still_and_what_happens_at_boot():
    machines = machines_with(**FAILED, details={"UnitFileState": "disabled"})
    assert card(start, machines)["note"] == "its last run failed: exit-code; its log says why"
    assert card(start, machines)["at boot"] == "disabled"


def test_a_service_that_runs_is_left_alone_by_a_start_and_that_is_said():
    machines = machines_with()
    assert card(start, machines)["note"] == "it runs already: a start would do nothing"
    outcome = carried_out(start, machines)
    assert outcome.result is Result.DONE
    assert "was running already; the same run goes on" in outcome.summary


@pytest.mark.parametrize(("load_state", "reason"), [("masked", "is masked"), ("bad-setting", "definition is bad-set")])
def test_what_cannot_be_started_gets_no_card_and_no_command(load_state, reason):
    machines = machines_with(load_state=load_state)
    for attempt in (card, send):
        with pytest.raises(BadArguments, match=reason):
            attempt(start, machines)
    assert machines.done.total() == 0


def test_a_unit_that_refuses_to_be_started_by_hand_gets_no_card():
    with pytest.raises(BadArguments, match="forbids it"):
        card(start, machines_with(**STOPPED, details={"CanStart": "no"}))


def test_a_start_that_fails_has_its_log():
    outcome = carried_out(start, machines_with(**STOPPED, on_restart="fails"))
    assert outcome.result is Result.FAILED
    assert outcome.summary == "nginx.service did not come up: exit-code, status 78"
    assert "config error: line 7: unknown key" in outcome.evidence


def test_a_start_that_falls_over_again_is_failed():
    assert "fell over" in carried_out(start, machines_with(**STOPPED, on_restart="flaps")).summary


def test_a_start_that_did_nothing_is_not_done():
    outcome = carried_out(start, machines_with(**STOPPED, on_restart="nothing"))
    assert (outcome.result, "was not started" in outcome.summary) == (Result.NOT_DONE, True)


def test_a_condition_that_is_not_met_is_named():
    machines = machines_with(**STOPPED, on_restart="nothing", details={"ConditionResult": "no"})
    outcome = carried_out(start, machines)
    assert (outcome.result, "a condition of its definition" in outcome.summary) == (Result.NOT_DONE, True)


def test_a_start_that_ends_unhealthy_is_failed():
    outcome = carried_out(start, machines_with(**STOPPED, health="GET / answered 503"))
    assert outcome.result is Result.FAILED
    assert "but its health check fails: GET / answered 503" in outcome.summary


# --- stop ------------------------------------------------------------------------------------------------------------


def test_a_stopped_service_that_stays_down_is_done():
    machines = machines_with(health="connection refused")
    outcome = carried_out(stop, machines)
    assert (outcome.result, outcome.summary) == (Result.DONE, "nginx.service was stopped and is inactive (dead)")
    assert dict(outcome.facts)["main PID"] == "1001 -> none"
    assert machines.done["web-1", "nginx.service", "stop"] == 1


def test_the_card_of_a_stop_names_what_goes_down_and_what_brings_it_back():
    machines = machines_with(required_by=("app.service",), triggered_by=("nginx.socket",))
    machines.unit("web-1", "nginx").details["UnitFileState"] = "enabled"
    machines.add("web-1", FakeUnit("nginx.socket"))
    facts = card(stop, machines)
    assert facts["would stop too"] == "app.service"
    assert facts["started on demand by"] == "nginx.socket (active)"
    assert facts["at boot"] == "started again"
    assert facts["network"] == "listens on tcp 80; 2 connections from 2 addresses"
    assert "can be started again at once" in facts["note"]


def test_a_service_that_does_not_run_is_left_alone_by_a_stop_and_that_is_said():
    machines = machines_with(**FAILED)
    assert card(stop, machines)["note"] == "it is not running: a stop would do nothing"
    outcome = carried_out(stop, machines)
    assert (outcome.result, "was not running already" in outcome.summary) == (Result.DONE, True)


def test_a_service_that_ended_badly_is_not_taken_for_stopped():
    outcome = carried_out(stop, machines_with(on_restart="fails"))
    assert outcome.result is Result.FAILED
    assert "is down, but did not end well: timeout" in outcome.summary
    assert outcome.evidence


def test_the_result_of_an_older_run_does_not_spoil_the_stop_of_one_that_falls_over():
    machines = machines_with(active_state="activating", sub_state="auto-restart", auto_restarts=3)
    before = stop.impact(context(machines), HOST, NGINX)
    send(stop, machines)
    machines.unit("web-1", "nginx").result = "exit-code"
    assert stop.verify(context(machines), HOST, before, NGINX).result is Result.DONE


def test_a_stop_that_did_nothing_is_not_done():
    outcome = carried_out(stop, machines_with(on_restart="nothing"))
    assert (outcome.result, "the same run goes on" in outcome.summary) == (Result.NOT_DONE, True)


@pytest.mark.parametrize("after_looks", [1, 8])
def test_a_service_that_its_socket_brings_back_is_failed(after_looks):
    machines = machines_with(triggered_by=("nginx.socket",))
    before = stop.impact(context(machines), HOST, NGINX)
    send(stop, machines)

    class Woken(FakeMachines):
        def reach(self, host, argv, timeout_s):
            super().reach(host, argv, timeout_s)
            self.looks = getattr(self, "looks", 0) + 1
            if self.looks == after_looks:
                unit = self.unit("web-1", "nginx")
                unit.active_state, unit.sub_state, unit.run = "active", "running", 2

    machines.__class__ = Woken
    outcome = stop.verify(context(machines), HOST, before, NGINX)
    assert outcome.result is Result.FAILED
    assert "it is started on demand by nginx.socket" in outcome.summary


def test_a_service_that_came_back_for_a_moment_only_is_failed_all_the_same():
    machines = machines_with(triggered_by=("nginx.socket",))
    before = stop.impact(context(machines), HOST, NGINX)
    send(stop, machines)

    class Blinking(FakeMachines):
        def reach(self, host, argv, timeout_s):
            super().reach(host, argv, timeout_s)
            self.looks = getattr(self, "looks", 0) + 1
            up = self.looks == 3
            self.unit("web-1", "nginx").active_state = "active" if up else "inactive"

    machines.__class__ = Blinking
    outcome = stop.verify(context(machines), HOST, before, NGINX)
    assert (outcome.result, "was stopped and started again" in outcome.summary) == (Result.FAILED, True)


def test_a_service_that_its_own_definition_brings_back_is_failed():
    machines = machines_with(details={"Restart": "always"})
    before = stop.impact(context(machines), HOST, NGINX)
    send(stop, machines)
    unit = machines.unit("web-1", "nginx")
    unit.active_state, unit.sub_state, unit.run = "active", "running", 2
    outcome = stop.verify(context(machines), HOST, before, NGINX)
    assert outcome.result is Result.FAILED
    assert "runs, in another run than before (its definition says Restart=always)" in outcome.summary


def test_a_unit_that_refuses_to_be_stopped_by_hand_gets_no_card():
    with pytest.raises(BadArguments, match="forbids it"):
        card(stop, machines_with(details={"CanStop": "no"}))


def test_the_card_warns_before_the_door_is_shut():
    machines = FakeMachines({"web-1": ["ssh"]})
    facts = dict(stop.impact(context(machines), HOST, Unit("ssh.service")).facts)
    assert "nobody could start it again from here" in facts["warning"]
    assert "warning" not in card(stop, machines_with())


def test_a_service_that_falls_over_and_was_not_stopped_is_said_to_be_so():
    machines = machines_with(active_state="activating", sub_state="auto-restart", on_restart="nothing")
    assert "is not stopped: it keeps falling over" in carried_out(stop, machines).summary


def test_a_missing_unit_cannot_be_stopped_but_one_that_outlived_its_definition_can():
    with pytest.raises(BadArguments, match="has no service"):
        card(stop, machines_with(load_state="not-found", **STOPPED))
    assert carried_out(stop, machines_with(load_state="not-found")).result is Result.DONE


# --- reload ----------------------------------------------------------------------------------------------------------


def test_a_reload_in_the_same_run_is_done():
    machines = machines_with(health="")
    outcome = carried_out(reload, machines)
    assert outcome.result is Result.DONE
    assert outcome.summary == (
        "nginx.service was reloaded; the same run goes on, active (running); its health check passes"
    )
    assert dict(outcome.facts)["main PID"] == "1001 -> 1001"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (STOPPED, "only a running service"),
        ({"details": {"CanReload": "no"}}, "cannot be reloaded"),
        ({"load_state": "not-found", **STOPPED}, "has no service"),
    ],
)
def test_what_cannot_be_reloaded_gets_no_card_and_no_command(script, reason):
    machines = machines_with(**script)
    for attempt in (card, send):
        with pytest.raises(BadArguments, match=reason):
            attempt(reload, machines)
    assert machines.done.total() == 0


def test_a_reload_the_service_refuses_is_failed_though_it_goes_on():
    outcome = carried_out(reload, machines_with(on_restart="fails"))
    assert outcome.result is Result.FAILED
    assert "could not be reloaded (exit-code) and goes on as before" in outcome.summary
    assert "config error: line 7: unknown key" in outcome.evidence


def test_the_next_card_names_a_reload_that_failed():
    assert card(reload, machines_with(details={"ReloadResult": "exit-code"}))["last reload"] == "failed: exit-code"


def test_a_reload_that_never_reached_the_service_is_not_done():
    outcome = carried_out(reload, machines_with(on_restart="nothing", details={"ReloadResult": "exit-code"}))
    assert (outcome.result, "was not reloaded" in outcome.summary) == (Result.NOT_DONE, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"active_state": "failed", "sub_state": "failed"}, "did not survive the reload"),
        ({"run": 2}, "was restarted, not reloaded"),
    ],
)
def test_a_reload_that_costs_the_run_is_failed(change, words):
    machines = machines_with()
    before = reload.impact(context(machines), HOST, NGINX)
    send(reload, machines)
    for name, value in change.items():
        setattr(machines.unit("web-1", "nginx"), name, value)
    outcome = reload.verify(context(machines), HOST, before, NGINX)
    assert (outcome.result, words in outcome.summary) == (Result.FAILED, True)


def test_a_main_process_that_changed_in_a_reload_is_failed():
    machines = machines_with()
    before = reload.impact(context(machines), HOST, NGINX)
    send(reload, machines)
    earlier = replace(before, fingerprint={**before.fingerprint, "main_pid": "77"})
    outcome = reload.verify(context(machines), HOST, earlier, NGINX)
    assert (outcome.result, "its main process is another one" in outcome.summary) == (Result.FAILED, True)


def test_a_reload_nobody_can_prove_is_unknown():
    machines = machines_with()
    before = reload.impact(context(machines), HOST, NGINX)
    send(reload, machines)

    class Silent(FakeMachines):
        def _details(self, host, argv):
            return ""

    machines.__class__ = Silent
    assert reload.verify(context(machines), HOST, before, NGINX).result is Result.UNKNOWN


def test_a_reload_by_others_changes_the_fingerprint():
    machines = machines_with()
    before = reload.impact(context(machines), HOST, NGINX).fingerprint
    send(reload, machines)
    assert reload.impact(context(machines), HOST, NGINX).fingerprint != before


# --- reset-failed ----------------------------------------------------------------------------------------------------


def test_a_failed_state_that_is_gone_is_done():
    machines = machines_with(**FAILED, auto_restarts=5)
    facts = card(clear, machines)
    assert (facts["automatic restarts"], facts["exit status"]) == ("5", "78")
    assert facts["note"] == "it would not be started by this"
    outcome = carried_out(clear, machines)
    assert outcome.result is Result.DONE
    assert outcome.summary == "nginx.service is not failed, its count of restarts is cleared: inactive (dead)"


def test_a_service_that_is_not_failed_says_so_before_it_is_cleared():
    machines = machines_with(auto_restarts=2)
    assert "it is not failed" in card(clear, machines)["note"]
    assert carried_out(clear, machines).result is Result.DONE


def test_a_state_that_was_not_cleared_is_not_done():
    assert carried_out(clear, machines_with(**FAILED, on_restart="nothing")).result is Result.NOT_DONE
    outcome = carried_out(clear, machines_with(auto_restarts=3, on_restart="nothing"))
    assert (outcome.result, "still has 3 restarts" in outcome.summary) == (Result.NOT_DONE, True)


def test_a_service_that_failed_again_since_is_failed():
    machines = machines_with(**FAILED)
    before = clear.impact(context(machines), HOST, NGINX)
    machines.unit("web-1", "nginx").run += 1
    outcome = clear.verify(context(machines), HOST, before, NGINX)
    assert (outcome.result, "failed again" in outcome.summary) == (Result.FAILED, True)


def test_a_failed_unit_without_a_definition_can_be_forgotten():
    assert "forget it altogether" in card(clear, machines_with(load_state="not-found", **FAILED))["note"]
    with pytest.raises(BadArguments, match="has no service"):
        card(clear, machines_with(load_state="not-found", **STOPPED))


# --- all of them -----------------------------------------------------------------------------------------------------

VERBS = [(start, STOPPED, "start"), (stop, {}, "stop"), (reload, {}, "reload"), (clear, FAILED, "reset-failed")]


@pytest.mark.parametrize(("module", "script", "verb"), VERBS)
def test_a_missing_sudo_rule_is_named_with_the_line_to_add(module, script, verb):
    machines = machines_with(**script)
    before = module.impact(context(machines), HOST, NGINX)
    machines.fault("web-1", "no-sudo")
    rule = rf"ops ALL=\(root\) NOPASSWD: /usr/bin/systemctl --no-pager {verb} -- nginx\.service`"
    with pytest.raises(ToolError, match=rule):
        send(module, machines)
    assert machines.done.total() == 0
    assert module.verify(context(machines), HOST, before, NGINX).result is Result.NOT_DONE


@pytest.mark.parametrize(("module", "script", "verb"), VERBS)
@pytest.mark.parametrize(
    ("fault", "result"),
    [("lost", Result.DONE), ("lost-before", Result.NOT_DONE), ("lost-for-good", Result.UNKNOWN)],
)
def test_after_a_lost_connection_the_host_says_what_happened(module, script, verb, fault, result):
    machines = machines_with(**script)
    before = module.impact(context(machines), HOST, NGINX)
    machines.fault("web-1", fault)
    with pytest.raises(OutcomeUnknown):
        send(module, machines)
    assert module.verify(context(machines), HOST, before, NGINX).result is result
    assert machines.done["web-1", "nginx.service", verb] == (0 if fault == "lost-before" else 1)


@pytest.mark.parametrize(("module", "script", "verb"), VERBS)
def test_a_host_that_is_down_gets_no_card(module, script, verb):
    machines = machines_with(**script)
    machines.fault("web-1", "down")
    with pytest.raises(HostUnreachable):
        card(module, machines)


@pytest.mark.parametrize(("module", "script", "verb"), VERBS)
def test_a_new_run_by_others_changes_the_fingerprint(module, script, verb):
    machines = machines_with(**script)
    before = module.impact(context(machines), HOST, NGINX).fingerprint
    assert module.impact(context(machines), HOST, NGINX).fingerprint == before
    machines.unit("web-1", "nginx").run += 1
    assert module.impact(context(machines), HOST, NGINX).fingerprint != before


@pytest.mark.parametrize("module", [reload, clear])
def test_what_supervisord_cannot_do_is_refused_before_anything_is_asked(module):
    machines = machines_with()
    host = replace(HOST, service_manager=ServiceManager.SUPERVISORD)
    with pytest.raises(BadArguments, match="supervisord cannot re"):
        module.impact(context(machines), host, Unit("nginx"))
    with pytest.raises(BadArguments, match="it knows start, stop, restart"):
        getattr(module, module.__name__.rpartition(".")[2]).function(context(machines), host, Unit("nginx"))
    assert machines.commands == []


def test_only_a_stop_is_dangerous_and_each_tool_needs_its_own_permission():
    tools = [getattr(module, module.__name__.rpartition(".")[2]) for module, _, _ in VERBS]
    assert [(tool.needs, tool.risk == "danger", tool.deferred) for tool in tools] == [
        ("start", False, True),
        ("stop", True, True),
        ("reload", False, True),
        ("reset-failed", False, True),
    ]
    assert [tool.available is not None for tool in tools] == [True, False, True, False]


class Answering(FakeMachines):
    """Every verb is answered by this, and nothing happens."""

    answer_of_act: CommandResult

    def services(self, host):
        services = super().services(host)
        services.act = lambda verb, unit, *, timeout_s: self.answer_of_act
        return services


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (1, "Failed to start nginx.service: Transaction is destructive.", "web-1 answered: Failed to start nginx"),
        (127, "bash: line 1: sudo: command not found", "web-1 has no sudo; nothing was changed"),
        (1, "Failed to stop nginx.service: Interactive authentication required.", "the bot's user may not"),
        (4, "", "web-1 answered: status 4"),
    ],
)
@pytest.mark.parametrize(("module", "script", "verb"), VERBS)
def test_a_command_that_failed_and_changed_nothing_says_why(module, script, verb, status, said, words):
    machines = machines_with(**script)
    machines.__class__ = Answering
    machines.answer_of_act = CommandResult((verb,), status, "", said)
    with pytest.raises(ToolError, match=words):
        send(module, machines)
