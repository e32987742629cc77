"""What every service manager must do alike: on the fake, and on a real supervisord. (Real systemd: tests/fleet.)"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.services.supervisord import SupervisordServices
from opsbot.domain import Connection, Host, UnitVerb
from opsbot.errors import CommandTimedOut, ToolError
from opsbot.ports import Services
from tests.fake_machines import FakeMachines, FakeUnit
from tests.supervisors import Supervisor

TIMEOUT_S = 60


@dataclass
class Rig:
    """A manager with the services `web` (runs), `asleep` (does not) and `brittle` (runs, can be broken)."""

    services: Services
    web: str
    asleep: str
    brittle: str
    missing: str
    break_brittle: Callable[[], None]
    out_of_reach: Services


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Iterator[Rig]:
    supervisor = Supervisor(tmp_path_factory.mktemp("s"))
    gone = Host("gone", connection=Connection.LOCAL, service_command=("/nonexistent/supervisorctl",))
    services = SupervisordServices(supervisor.host, LocalShell())
    try:
        yield Rig(
            services,
            "web",
            "asleep",
            "brittle",
            "nope",
            supervisor.break_brittle,
            SupervisordServices(gone, LocalShell()),
        )
    finally:
        supervisor.stop()


@pytest.fixture
def fake() -> Rig:
    brittle = FakeUnit("brittle")
    machines = FakeMachines(
        {"h": ["web", FakeUnit("asleep", active_state="inactive", sub_state="dead", log=[]), brittle]}
    )
    machines.fault("gone", "down")

    def break_brittle() -> None:
        brittle.on_restart = "fails"

    names = (f"{name}.service" for name in ("web", "asleep", "brittle", "nope"))
    return Rig(machines.services(Host("h")), *names, break_brittle, machines.services(Host("gone")))


@pytest.fixture(params=["fake", "real"])
def rig(request) -> Rig:
    rig: Rig = request.getfixturevalue(request.param)
    return rig


def test_a_running_service_has_a_pid_an_age_and_the_id_of_its_run(rig):
    facts = rig.services.show(rig.web, timeout_s=TIMEOUT_S)
    assert (facts.unit, facts.exists, facts.active) == (rig.web, True, True)
    assert facts.main_pid
    assert facts.invocation_id
    assert facts.active_since
    assert facts.active_since.tzinfo


def test_looking_twice_sees_the_same_run(rig):
    first = rig.services.show(rig.web, timeout_s=TIMEOUT_S)
    second = rig.services.show(rig.web, timeout_s=TIMEOUT_S)
    assert first.invocation_id == second.invocation_id
    assert first.active_since == second.active_since


def test_a_stopped_service_exists_and_is_inactive(rig):
    facts = rig.services.show(rig.asleep, timeout_s=TIMEOUT_S)
    assert (facts.exists, facts.active_state, facts.main_pid) == (True, "inactive", None)


def test_a_missing_service_is_not_found_and_no_error(rig):
    facts = rig.services.show(rig.missing, timeout_s=TIMEOUT_S)
    assert (facts.exists, facts.load_state, facts.active) == (False, "not-found", False)


def test_the_listing_names_what_runs(rig):
    by_name = {facts.unit: facts for facts in rig.services.units(timeout_s=TIMEOUT_S)}
    assert by_name[rig.web].active
    assert not by_name[rig.asleep].active


def test_a_restart_is_another_run(rig):
    before = rig.services.show(rig.web, timeout_s=TIMEOUT_S)
    result = rig.services.act(UnitVerb.RESTART, rig.web, timeout_s=TIMEOUT_S)
    after = rig.services.show(rig.web, timeout_s=TIMEOUT_S)
    assert result.exit_status == 0
    assert after.active
    assert after.invocation_id != before.invocation_id
    assert after.main_pid != before.main_pid


def test_a_failing_restart_is_a_status_and_a_failed_unit_with_a_log(rig):
    rig.break_brittle()
    result = rig.services.act(UnitVerb.RESTART, rig.brittle, timeout_s=TIMEOUT_S)
    assert result.exit_status != 0
    assert rig.services.show(rig.brittle, timeout_s=TIMEOUT_S).active_state == "failed"
    assert any("config error: line 7" in line.text for line in _logs(rig, rig.brittle))


def test_restarting_a_missing_service_is_a_status_not_an_exception(rig):
    assert rig.services.act(UnitVerb.RESTART, rig.missing, timeout_s=TIMEOUT_S).exit_status != 0


def test_logs_are_bounded_by_lines(rig):
    assert len(rig.services.logs(rig.web, lines=1, timeout_s=TIMEOUT_S)) == 1


def test_a_service_that_wrote_nothing_has_no_lines(rig):
    assert rig.services.logs(rig.asleep, lines=10, timeout_s=TIMEOUT_S) == ()


def test_a_listening_service_says_so(rig):
    facts = rig.services.show(rig.web, timeout_s=TIMEOUT_S)
    assert rig.services.connections(facts, timeout_s=TIMEOUT_S).startswith("listens on tcp ")


def test_a_manager_out_of_reach_is_an_error_in_every_call(rig):
    calls = [
        lambda: rig.out_of_reach.show("x", timeout_s=5),
        lambda: rig.out_of_reach.units(timeout_s=5),
        lambda: rig.out_of_reach.logs("x", lines=1, timeout_s=5),
        lambda: rig.out_of_reach.act(UnitVerb.RESTART, "x", timeout_s=5),
    ]
    for call in calls:
        with pytest.raises(ToolError):
            call()


def test_a_hung_fake_host_times_out_and_is_released_by_healing():
    machines = FakeMachines({"h": ["web"]})
    machines.fault("h", "hang")
    with pytest.raises(CommandTimedOut):
        machines.services(Host("h")).show("web.service", timeout_s=0.05)
    machines.heal("h")
    assert machines.services(Host("h")).show("web.service", timeout_s=5).active


def _logs(rig, unit):
    return rig.services.logs(unit, lines=20, timeout_s=TIMEOUT_S)
