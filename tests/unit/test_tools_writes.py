"""Starting, stopping, reloading, clearing: what the card says, what is refused, and the verdict for each end."""

from contextlib import suppress
from types import ModuleType

import pytest
from opsbot_tools import start_service as start

from opsbot.domain import Host, HostOutcome, Result
from opsbot.errors import BadArguments, ToolError
from opsbot.tooling import Context, Unit
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
