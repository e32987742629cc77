"""What only supervisord does: names that mean many processes, words instead of statuses, logs without times."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from socket import create_connection

import pytest
from opsbot_tools import start_service, stop_service
from opsbot_tools.restart_service import impact, restart_service, verify

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.services.supervisord import SupervisordServices, parse_process, parse_status
from opsbot.context import Context
from opsbot.domain import Connection, Host, Result, ServiceManager, UnitVerb
from opsbot.errors import BadArguments, CommandFailed, ToolError
from opsbot.tooling import Unit
from tests.fake_shell import FakeShell
from tests.supervisors import Supervisor

TIMEOUT_S = 60
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path_factory.mktemp("s"))
    yield supervisor
    supervisor.stop()


@pytest.fixture(scope="module")
def services(supervisor) -> SupervisordServices:
    return SupervisordServices(supervisor.host, LocalShell())


@pytest.mark.parametrize("name", ["all", "pair:"])
def test_a_name_that_means_several_processes_is_refused(services, name):
    before = services.show("web", timeout_s=TIMEOUT_S)
    for call in (partial(services.act, UnitVerb.RESTART), services.show):
        with pytest.raises(BadArguments, match="several"):
            call(name, timeout_s=TIMEOUT_S)
    assert services.show("web", timeout_s=TIMEOUT_S).invocation_id == before.invocation_id


def test_one_process_of_a_group_is_restarted_alone(services):
    assert services.act(UnitVerb.RESTART, "pair:pair_0", timeout_s=TIMEOUT_S).exit_status == 0
    assert services.show("pair:pair_0", timeout_s=TIMEOUT_S).active
    assert not services.show("pair:pair_1", timeout_s=TIMEOUT_S).active


def test_a_spawn_error_is_a_failure_though_the_stop_went_well(services):
    result = services.act(UnitVerb.RESTART, "broken", timeout_s=TIMEOUT_S)
    assert result.exit_status != 0
    facts = services.show("broken", timeout_s=TIMEOUT_S)
    assert (facts.active_state, facts.result) == ("failed", "Exited too quickly (process log may have details)")


@pytest.mark.parametrize("said", ["x: ERROR (spawn error)\n", "x: stopped\nx: ERROR (abnormal termination)\n", ""])
def test_a_status_of_zero_does_not_hide_an_error(said):
    shell = FakeShell().on("supervisorctl", "restart", "x", stdout=said)
    assert SupervisordServices(Host("h"), shell).act(UnitVerb.RESTART, "x", timeout_s=5).exit_status == 1


def test_time_bounds_on_logs_are_refused_since_lines_carry_no_times(services):
    with pytest.raises(BadArguments, match="no times"):
        services.logs("web", lines=5, since="-1h", timeout_s=TIMEOUT_S)


def test_a_log_that_is_not_there_is_an_error_not_an_empty_log(services):
    with pytest.raises(CommandFailed, match="no log of nope"):
        services.logs("nope", lines=5, timeout_s=TIMEOUT_S)


def test_both_output_streams_are_in_the_log(services):
    lines = services.logs("web", lines=50, timeout_s=TIMEOUT_S)
    assert ("web is up", "stdout") in [(line.text, line.source) for line in lines]
    assert ("a warning", "stderr") in [(line.text, line.source) for line in lines]


def test_connections_of_the_process_are_counted(supervisor, services):
    with create_connection(("127.0.0.1", supervisor.port)):
        said = services.connections(services.show("web", timeout_s=TIMEOUT_S), timeout_s=TIMEOUT_S)
    assert said.startswith(f"listens on tcp {supervisor.port} (loopback); ")
    assert not said.endswith("; 0 connections")


def test_the_health_check_of_the_inventory_is_made(supervisor):
    machines = HostMachines(LocalShell(), LocalShell())
    assert machines.healthy(supervisor.host, "web") == ""
    assert machines.healthy(supervisor.host, "brittle") is None


def test_a_supervisord_that_is_not_there_is_said_to_be_down(tmp_path):
    config = tmp_path / "none.conf"
    config.write_text(f"[supervisorctl]\nserverurl=unix://{tmp_path}/none.sock\n")
    command = Supervisor.command(config)
    host = Host("h", Connection.LOCAL, service_manager=ServiceManager.SUPERVISORD, service_command=command)
    with pytest.raises(CommandFailed, match="does not answer"):
        SupervisordServices(host, LocalShell()).show("web", timeout_s=TIMEOUT_S)


# The forms below are those of supervisord 4.3's `supervisorctl status`, from its subprocess documentation and source.
@pytest.mark.parametrize(
    ("line", "active", "sub"),
    [
        ("web    RUNNING   pid 12, uptime 0:01:02", "active", "running"),
        ("web    STARTING  ", "activating", "start"),
        ("web    BACKOFF   Exited too quickly (process log may have details)", "activating", "auto-restart"),
        ("web    STOPPING  ", "deactivating", "stop"),
        ("web    STOPPED   Nov 22 11:37 PM", "inactive", "dead"),
        ("web    EXITED    Nov 22 11:37 PM", "inactive", "exited"),
        ("web    FATAL     can't find command '/x'", "failed", "failed"),
        ("web    UNKNOWN   ", "unknown", "unknown"),
    ],
)
def test_every_state_has_a_word(line, active, sub):
    (facts,) = parse_status(line + "\n", NOW)
    assert (facts.unit, facts.active_state, facts.sub_state) == ("web", active, sub)


def test_uptime_counts_days():
    (facts,) = parse_status("web RUNNING pid 12, uptime 3 days, 1:02:03\n", NOW)
    assert facts.active_since == NOW - timedelta(days=3, hours=1, minutes=2, seconds=3)
    assert facts.main_pid == 12


def test_other_lines_are_no_services():
    assert parse_status("web: ERROR (no such process)\nunix:///s no such file\n\n", NOW) == ()


def test_a_process_name_with_brackets_and_spaces_does_not_shift_the_fields():
    stat = "12 (a) b (c) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 7 0 5000 1000 25 0"
    process = parse_process(f"boot\n100\nbtime 1000000\n4096\n{stat}\n", 12)
    assert process
    assert (process.invocation_id, process.threads, process.memory_bytes) == ("boot:12:5000", 7, 25 * 4096)
    assert process.started_at == datetime.fromtimestamp(1000050, UTC)


def test_without_proc_the_start_time_of_ps_identifies_a_run():
    process = parse_process("unknown-boot\n100\nbtime 0\n4096\nSun Nov 22 23:37:00 2026\n", 12)
    assert process
    assert process.invocation_id == "unknown-boot:12:Sun Nov 22 23:37:00 2026"
    assert (process.started_at, process.memory_bytes) == (None, None)


def test_a_process_that_has_gone_has_no_identity():
    assert parse_process("boot\n100\nbtime 1000000\n4096\n", 12) is None


# --- the tool, whole, on a real supervisord: what a laptop without systemd plays -----------------------------------


def test_a_restart_is_proposed_done_and_verified(supervisor):
    machines = HostMachines(LocalShell(), LocalShell())
    before = impact(Context(machines, timeout_s=TIMEOUT_S), supervisor.host, Unit("web"))
    facts, before_port = dict(before.facts), supervisor.port
    assert (facts["state"], facts["health now"]) == ("active (running)", "passed")
    assert facts["network"].startswith(f"listens on tcp {supervisor.port} (loopback)")
    result = restart_service.function(Context(machines, timeout_s=TIMEOUT_S), supervisor.host, Unit("web"))
    assert result["exit_status"] == 0
    supervisor.wait_for_new_port(before_port)
    # The service binds another port after its restart, and the health check is where it is now.
    outcome = verify(Context(machines, timeout_s=TIMEOUT_S), supervisor.host, before, Unit("web"))
    assert outcome.result is Result.DONE
    assert outcome.summary == "web was restarted and is active (running); its health check passes"


def test_a_program_that_cannot_start_again_is_failed_with_its_own_words(supervisor):
    machines = HostMachines(LocalShell(), LocalShell())
    host, unit = supervisor.host, Unit("brittle")
    before = impact(Context(machines, timeout_s=TIMEOUT_S), host, unit)
    supervisor.break_brittle()
    assert restart_service.function(Context(machines, timeout_s=TIMEOUT_S), host, unit)["exit_status"] != 0
    outcome = verify(Context(machines, timeout_s=TIMEOUT_S), host, before, unit)
    assert outcome.result is Result.FAILED
    assert "did not come back: Exited too quickly" in outcome.summary
    assert "config error: line 7" in outcome.evidence


def test_a_program_is_stopped_and_started_and_what_is_so_already_is_left_alone(supervisor):
    machines, unit = HostMachines(LocalShell(), LocalShell()), Unit("asleep")

    def carried_out(module, tool):
        before = module.impact(Context(machines, timeout_s=TIMEOUT_S), supervisor.host, unit)
        with suppress(ToolError):
            tool.function(Context(machines, timeout_s=TIMEOUT_S), supervisor.host, unit)
        return module.verify(Context(machines, timeout_s=TIMEOUT_S), supervisor.host, before, unit)

    start, stop = (start_service, start_service.start_service), (stop_service, stop_service.stop_service)
    said = [carried_out(*job) for job in (stop, start, start, stop)]
    assert [outcome.result for outcome in said] == [Result.DONE] * 4
    assert [outcome.summary for outcome in said] == [
        "asleep was not running already; it is inactive (dead)",
        "asleep was started and is active (running)",
        "asleep was running already; the same run goes on, active (running)",
        "asleep was stopped and is inactive (dead)",
    ]
