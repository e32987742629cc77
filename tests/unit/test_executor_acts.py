"""How the executor acts, once: in the last moment, and what is said of a tool or a host that fails."""

import threading
import time
from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from opsbot import executor as executor_module
from opsbot.actions import Catalogue
from opsbot.campaign import Control
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.discovery import Registry
from opsbot.domain import (
    Approval,
    ApprovalState,
    HostOutcome,
    Impact,
    Operation,
    Result,
)
from opsbot.errors import (
    ApprovalError,
    CommandTimedOut,
    Expired,
    Fenced,
    HostUnreachable,
    Stale,
    ToolError,
)
from opsbot.executor import Executor
from opsbot.holds import Scope, Where
from opsbot.tooling import Unit
from tests.records import entry
from tests.restarting import (
    FREEZE,
    HOSTS,
    asked,
    catalogue,
    executor,
    raising,
    recorded,
    run,
    running,
    script,
    sent,
)
from tests.small_tools import RULES, executor_of, no_progress

__all__ = ["catalogue", "executor", "script"]


# --- once, with what was approved, by the account that acts ----------------------------------------------------------


async def test_it_acts_once_by_the_acting_account_with_typed_arguments_and_looks_afterwards(
    executor, catalogue, script
):
    final = await run(executor, await asked(executor, catalogue))
    assert final.state is ApprovalState.DONE
    assert final.outcomes == (HostOutcome("a", Result.DONE, "It is up."),)
    assert sent(executor) == [("a", ("restart", "nginx.service"))]
    assert script.acting == [True]
    assert script.threads[0].startswith("opsbot-write")
    ((_, acts, arguments),) = script.given["act"]
    assert arguments == {"unit": "nginx.service", "container": None}
    assert type(arguments["unit"]) is Unit
    assert 20 < acts.remaining_s <= 40
    assert acts._may_act
    ((host, looks, told),) = script.given["verify"]
    assert (host, told["unit"], type(told["unit"]), told["container"]) == ("a", "nginx.service", Unit, None)
    assert told["before"] == Impact((("state", "active"),), {"invocation_id": "1", "main_pid": "7"})
    assert 60 < looks.remaining_s <= 90
    assert not looks._may_act


async def test_each_step_is_written_down_with_what_it_says(executor, catalogue):
    await run(executor, await asked(executor, catalogue))
    assert recorded(executor) == [
        ("execution.started", {}),
        ("execution.intent", {"host": "a"}),
        ("execution.host", {"host": "a", "result": "done", "summary": "It is up.", "evidence_sha256": ""}),
        ("execution.finished", {"note": ""}),
    ]
    states = [record.entry.facts["state"] for record in executor._store.audit.records[1:]]
    assert states == ["executing", "executing", "executing", "done"]
    assert list(executor._store.approvals.ends.values()) == ["done"]
    row = executor._store.operations.rows
    assert [(each.targets, each.requester) for each in row.values()] == [(("nginx.service",), "t1/ualice")]


async def test_the_card_is_told_that_it_runs_before_anything_is_sent(executor, catalogue):
    seen = []

    async def progress(approval, steps):
        seen.append((approval.state, [step.state for step in steps], len(sent(executor))))

    await executor.execute(await asked(executor, catalogue, "a", "b"), progress)
    assert seen[0] == (ApprovalState.EXECUTING, ["waiting", "waiting"], 0)


async def test_whoever_stops_it_in_time_stops_it(executor, catalogue):
    control = Control(("a", "b"))
    control.leave()
    final = await executor.execute(await asked(executor, catalogue, "a", "b"), no_progress, control)
    assert [outcome.host for outcome in final.outcomes] == ["a"]
    assert control.over
    assert "opsbot was shut down in between." in final.note


# --- in the last moment -----------------------------------------------------------------------------------------------


async def begin(executor: Executor, approval: Approval) -> HostOutcome:
    """Run the first host of an approval that is executing."""
    prepared, _ = await executor.judged(approval, approval.action)
    return await executor.run_host(approval, prepared, prepared.hosts[0])


async def test_what_may_not_begin_writes_nothing_down(executor, catalogue):
    approval = await running(executor, await asked(executor, catalogue))
    executor._clock.advance(300)
    written = len(executor._store.audit.records)
    with pytest.raises(Expired):
        await begin(executor, approval)
    assert len(executor._store.audit.records) == written


async def test_what_was_begun_before_is_looked_at_and_not_sent_again(executor, catalogue, script):
    approval = await running(executor, await asked(executor, catalogue))
    operation = Operation(approval, "a", ("nginx.service",), executor._clock.moment(), "x")
    assert await executor._store.operations.claim(operation, entry(), caps=Caps())
    assert await begin(executor, approval) == HostOutcome("a", Result.DONE, "It is up.")
    assert sent(executor) == []
    assert [host for host, _, _ in script.given["verify"]] == ["a"]


async def test_what_the_journal_refuses_is_stale_by_the_rule_that_refused(executor, catalogue):
    approval = await running(executor, await asked(executor, catalogue))
    executor.checkpoint.brakes = Brakes(Caps(an_hour=50, an_hour_per_person=0))
    with pytest.raises(Stale, match=r"^stale:limits\.actions_per_hour_per_person: That are 1 hosts"):
        await begin(executor, approval)
    assert sent(executor) == []


@pytest.mark.parametrize(("took_s", "runs"), [(3.9, True), (4.0, True), (4.1, False)])
async def test_an_intent_that_took_long_to_write_is_not_carried_out(executor, catalogue, monkeypatch, took_s, runs):
    approval = await running(executor, await asked(executor, catalogue))
    claim = executor._store.operations.claim

    async def slow(*arguments, **named):
        executor._clock.advance(took_s)
        return await claim(*arguments, **named)

    monkeypatch.setattr(executor._store.operations, "claim", slow)
    outcome = await begin(executor, approval)
    assert (outcome.result is Result.DONE) is runs
    assert (sent(executor) != []) is runs
    if not runs:
        assert outcome == HostOutcome(
            "a",
            Result.NOT_DONE,
            "Not run: it took 4.1 s to write the intent down, so the disk is not to be relied on.",
        )


@pytest.mark.parametrize(
    "change",
    [
        lambda executor: setattr(executor.scrutiny, "rules", replace(RULES, hosts_per_action=3)),
        lambda executor: executor._store.holds.stored.update({FREEZE.id: FREEZE}),
        lambda executor: executor._clock.advance(300),
    ],
)
async def test_what_changes_while_the_intent_is_written_is_not_carried_out(executor, catalogue, monkeypatch, change):
    approval = await running(executor, await asked(executor, catalogue))
    claim = executor._store.operations.claim

    async def claimed(*arguments, **named):
        done = await claim(*arguments, **named)
        executor._clock.monotonic = lambda: 0.0  # so that it does not count as slow
        change(executor)
        return done

    monkeypatch.setattr(executor._store.operations, "claim", claimed)
    with pytest.raises(ApprovalError):
        await begin(executor, approval)
    assert sent(executor) == []


async def test_a_freeze_in_the_last_moment_stops_the_first_command(executor, catalogue, script):
    script.before_command = lambda number: executor._store.holds.stored.update({FREEZE.id: FREEZE})
    final = await run(executor, await asked(executor, catalogue))
    assert final.state is ApprovalState.STALE
    assert final.note.startswith("stale:freeze: Held back: nginx@host:a is frozen")
    assert sent(executor) == []


async def test_a_freeze_of_another_service_in_the_last_moment_stops_nothing(executor, catalogue, script):
    beside = replace(FREEZE, scope=Scope(Where.HOST, "a", "redis"))
    script.before_command = lambda number: executor._store.holds.stored.update({beside.id: beside})
    assert (await run(executor, await asked(executor, catalogue))).state is ApprovalState.DONE


async def test_an_expiry_in_the_last_moment_stops_the_first_command(executor, catalogue, script):
    script.before_command = lambda number: executor._clock.advance(300)
    final = await run(executor, await asked(executor, catalogue))
    assert (final.state, sent(executor)) == (ApprovalState.EXPIRED, [])


async def test_what_began_in_time_may_send_its_other_commands_but_not_against_a_freeze(executor, catalogue, script):
    script.commands = 2
    script.before_command = lambda number: executor._clock.advance(299 * number)
    final = await run(executor, await asked(executor, catalogue))
    assert (final.state, len(sent(executor))) == (ApprovalState.DONE, 2)


async def test_a_freeze_between_two_commands_lets_the_host_say_how_it_stands(executor, catalogue, script):
    script.commands = 2
    script.before_command = lambda number: executor._store.holds.stored.update({FREEZE.id: FREEZE} if number else {})
    script.verify = lambda: HostOutcome("", Result.FAILED, "It is half done.")
    final = await run(executor, await asked(executor, catalogue))
    assert len(sent(executor)) == 1
    assert final.state is ApprovalState.FAILED
    assert final.outcomes[0].summary.startswith("It is half done. (Held back: nginx@host:a is frozen")


async def test_what_cannot_send_its_second_command_is_not_said_to_have_sent_none(executor, catalogue, script):
    """The first one was sent: only the host can say what became of it."""
    script.commands = 2

    def before(number: int) -> None:
        if number:
            executor._workshop._machines.fault("a", "down")

    script.before_command = before
    final = await run(executor, await asked(executor, catalogue))
    assert len(sent(executor)) == 1
    assert final.outcomes[0].result is Result.DONE
    assert final.outcomes[0].summary.startswith("It is up. (")


async def test_a_process_that_others_give_up_between_two_commands_lets_the_host_say_how_it_stands(catalogue, script):
    script.commands = 2
    checked: list[int] = []

    def check() -> None:
        checked.append(1)
        if len(checked) == 2:
            raise Fenced("The other replicas gave this one up.")

    executor = executor_of(catalogue, check=check)
    try:
        final = await run(executor, await asked(executor, catalogue))
    finally:
        executor.close()
    assert len(sent(executor)) == 1
    assert final.outcomes == (HostOutcome("a", Result.DONE, "It is up. (The other replicas gave this one up.)"),)


async def test_a_process_that_others_gave_up_sends_nothing(catalogue):
    checked: list[int] = []

    def check() -> None:
        checked.append(1)
        raise Fenced("The other replicas gave this one up.")

    executor = executor_of(catalogue, check=check)
    try:
        final = await run(executor, await asked(executor, catalogue))
    finally:
        executor.close()
    assert (sent(executor), checked) == ([], [1])
    assert final.outcomes == (HostOutcome("a", Result.NOT_DONE, "Not run: The other replicas gave this one up."),)


# --- what the host and the tool say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ToolError("sudo says no."), "It is up. (sudo says no.)"),
        (CommandTimedOut("It took\ntoo long."), "It is up. (It took too long.)"),
        (
            ZeroDivisionError("secret"),
            "It is up. (The tool itself failed (ZeroDivisionError); the log has the rest.)",
        ),
    ],
)
async def test_whatever_went_wrong_is_told_beside_what_the_host_says(executor, catalogue, script, error, said):
    script.end = raising(error)
    with capture_logs() as logged:
        final = await run(executor, await asked(executor, catalogue))
    assert final.outcomes == (HostOutcome("a", Result.DONE, said),)
    crashed = [(line["event"], line["tool"]) for line in logged if line["log_level"] == "error"]
    assert crashed == ([("tool.crashed", "restart")] if isinstance(error, ZeroDivisionError) else [])


async def test_a_host_that_was_not_reached_is_not_done_and_not_asked(executor, catalogue, script):
    script.end = raising(HostUnreachable("No way to a."))
    final = await run(executor, await asked(executor, catalogue))
    assert final.outcomes == (HostOutcome("a", Result.NOT_DONE, "Not run: No way to a."),)
    assert script.given["verify"] == []


async def test_a_tool_that_does_not_end_is_told_by_its_time(executor, catalogue, script, monkeypatch):
    go = threading.Event()
    script.commands, script.end = 0, partial(go.wait, 20)
    (restart,) = catalogue.registry.tools
    executor.scrutiny.catalogue = Catalogue(Registry((replace(restart, timeout_s=0.0),)), catalogue.inventory)
    monkeypatch.setattr(executor_module, "GRACE_S", 0.1)
    final = await run(executor, await asked(executor, executor.scrutiny.catalogue))
    go.set()
    assert final.outcomes[0].summary == "It is up. (The tool did not end within its 0 s.)"


@pytest.mark.parametrize(
    ("error", "said", "logged_as"),
    [
        (HostUnreachable("No way to a."), "The host could not be asked afterwards: No way to a.", []),
        (ZeroDivisionError("secret"), "Verification itself failed (ZeroDivisionError).", ["verify.crashed"]),
        (TimeoutError(), "The host could not be asked afterwards: no answer in time.", []),
    ],
)
async def test_a_host_that_cannot_say_leaves_the_outcome_unknown(executor, catalogue, script, error, said, logged_as):
    def verify():
        raise error

    script.verify = verify
    with capture_logs() as logged:
        final = await run(executor, await asked(executor, catalogue))
    assert final.state is ApprovalState.UNKNOWN
    assert final.outcomes == (HostOutcome("a", Result.UNKNOWN, said),)
    assert [line["event"] for line in logged if line["log_level"] == "error"] == logged_as
    assert [line["tool"] for line in logged if line["log_level"] == "error"] == ["restart"] * len(logged_as)


async def test_what_the_host_says_is_taken_in_like_any_text(executor, catalogue, script):
    script.verify = lambda: HostOutcome("", Result.DONE, "hunter2-hunter2 is up.")
    final = await run(executor, await asked(executor, catalogue))
    assert "hunter2" not in final.outcomes[0].summary


async def test_without_anything_to_compare_with_the_outcome_is_unknown(executor, catalogue, script):
    approval = await running(executor, await asked(executor, catalogue))
    prepared, _ = await executor.judged(approval, approval.action)
    unknown = HostOutcome("a", Result.UNKNOWN, "Nothing to compare with, so the outcome is not known.")
    assert await executor._verify(prepared, HOSTS["a"], replace(approval, impacts={})) == unknown
    silent = replace(prepared, tool=replace(prepared.tool, verify=None))
    assert await executor._verify(silent, HOSTS["a"], approval) == unknown
    assert script.given["verify"] == []


async def test_a_thread_may_take_its_time_and_a_little_more(executor, monkeypatch):
    monkeypatch.setattr(executor_module, "GRACE_S", 20.0)
    assert await executor._within(0.0, lambda: time.sleep(0.01) or "late") == "late"
    go = threading.Event()
    monkeypatch.setattr(executor_module, "GRACE_S", 0.0)
    with pytest.raises(TimeoutError):
        await executor._within(0.05, lambda: go.wait(20))
    go.set()
