"""The executor on small tools of its own: reads side by side, actions once, and every way they can go wrong."""

import threading
import time
from dataclasses import replace

import pytest

from opsbot import campaign
from opsbot.actions import Catalogue
from opsbot.caps import Caps
from opsbot.discovery import Registry
from opsbot.domain import (
    ApprovalState,
    Operation,
    Result,
)
from opsbot.errors import BadArguments, CommandTimedOut, Conflict, HostUnreachable, ToolError
from opsbot.inventory import Inventory
from opsbot.policy import PolicyRules
from tests.records import entry
from tests.small_tools import RULES, A, B, Script, approved, catalogue_of, executor_of, no_progress


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def catalogue(script: Script) -> Catalogue:
    return catalogue_of(script)


@pytest.fixture
async def executor(catalogue: Catalogue):
    made = executor_of(catalogue)
    yield made
    made.close()


async def test_a_tool_without_hosts_answers_alone(executor, catalogue):
    fan_out = await executor.read(catalogue.from_words("count", [], {}))
    assert fan_out.as_json() == "2"
    failed = await executor.read(catalogue.from_words("count", [], {"fail": True}))
    assert failed.errors == {"": "It failed."}
    assert "It failed." in failed.as_json()


async def test_a_thread_that_ignores_its_deadline_is_answered_for_and_delays_nobody(executor, catalogue):
    began = time.monotonic()
    fan_out = await executor.read(catalogue.from_words("look", ["all"], {"how": "slowly"}))
    assert fan_out.results == {"a": "slowly"}
    assert "No answer within 1 s" in fan_out.errors["b"]
    assert time.monotonic() - began < 10


async def test_an_unexpected_error_shows_its_kind_and_nothing_else(executor, catalogue):
    fan_out = await executor.read(catalogue.from_words("look", ["a"], {"how": "strangely"}))
    assert "ZeroDivisionError" in fan_out.errors["a"]
    assert "secret detail" not in fan_out.errors["a"]


async def test_a_writing_tool_is_never_run_as_a_read(executor, catalogue, script):
    with pytest.raises(BadArguments, match="changes things"):
        await executor.read(catalogue.from_words("change_it", ["a"], {}))
    assert script.ran == 0


async def test_a_tool_without_impact_cannot_be_proposed(executor, catalogue):
    prepared = catalogue.from_words("look", ["a"], {})
    with pytest.raises(ToolError, match="cannot say what it would hit"):
        await executor.impacts(prepared)


async def test_done_on_every_host_in_order(executor, catalogue, script):
    final = await executor.execute(await approved(executor, catalogue, ("b", "a")), no_progress)
    assert final.state is ApprovalState.DONE
    assert [outcome.host for outcome in final.outcomes] == ["a", "b"]
    assert script.ran == 2


@pytest.mark.parametrize(
    ("error", "state", "says"),
    [
        (HostUnreachable("No route."), ApprovalState.FAILED, "Not run: No route."),
        (CommandTimedOut("Too long."), ApprovalState.DONE, "(Too long.)"),
        (ToolError("sudo says hunter2-hunter2"), ApprovalState.DONE, "[redacted"),
        (ZeroDivisionError("secret detail"), ApprovalState.DONE, "ZeroDivisionError"),
    ],
)
async def test_the_host_has_the_last_word_unless_nothing_was_sent(executor, catalogue, script, error, state, says):
    def act():
        raise error

    script.act = act
    final = await executor.execute(await approved(executor, catalogue), no_progress)
    assert final.state is state
    assert says.lower() in final.outcomes[0].summary.lower()
    assert "secret detail" not in final.outcomes[0].summary
    assert "hunter2" not in final.outcomes[0].summary
    assert script.ran == 1


@pytest.mark.parametrize("error", [HostUnreachable("No route."), ZeroDivisionError("secret detail")])
async def test_a_verification_that_fails_is_an_unknown_outcome(executor, catalogue, script, error):
    def verify():
        raise error

    script.verify = verify
    final = await executor.execute(await approved(executor, catalogue), no_progress)
    assert final.state is ApprovalState.UNKNOWN
    assert "secret detail" not in final.outcomes[0].summary


async def test_an_operation_claimed_before_is_looked_at_and_never_run(executor, catalogue, script, monkeypatch):
    async def taken(*_, **__):
        return False

    monkeypatch.setattr(executor._store.operations, "claim", taken)
    final = await executor.execute(await approved(executor, catalogue), no_progress)
    assert script.ran == 0
    assert final.state is ApprovalState.DONE


async def test_two_executions_of_one_approval_run_it_once(executor, catalogue, script):
    approval = await approved(executor, catalogue)
    await executor.execute(approval, no_progress)
    with pytest.raises(Conflict):
        await executor.execute(approval, no_progress)
    assert script.ran == 1


async def test_expired_before_and_during_the_checks(executor, catalogue, script):
    approval = await approved(executor, catalogue)
    executor._clock.advance(300)
    final = await executor.execute(approval, no_progress)
    assert final.state is ApprovalState.EXPIRED
    assert script.ran == 0


async def test_what_waits_for_its_turn_until_it_expired_never_begins(executor, catalogue, script):
    """Approved and begun in time, but its host comes too late: nothing is claimed."""
    approval = await approved(executor, catalogue)

    async def late(*_) -> None:
        executor._clock.advance(300)

    final = await executor.execute(approval, late)
    assert final.state is ApprovalState.EXPIRED
    assert script.ran == 0
    assert await executor._store.operations.started(approval.id) == frozenset()


async def test_an_intent_that_takes_until_the_expiry_to_be_recorded_is_not_carried_out(
    executor, catalogue, script, monkeypatch
):
    approval = await approved(executor, catalogue)
    claim = executor._store.operations.claim

    async def slow(*arguments, **named):
        done = await claim(*arguments, **named)
        executor._clock.advance(300)
        return done

    monkeypatch.setattr(executor._store.operations, "claim", slow)
    final = await executor.execute(approval, no_progress)
    assert script.ran == 0
    assert [outcome.result for outcome in final.outcomes] == [Result.NOT_DONE]


async def test_what_began_in_time_goes_on_over_its_other_hosts(executor, catalogue, script):
    approval = await approved(executor, catalogue, ("a", "b"))

    def act() -> str:
        executor._clock.advance(300)
        return "ok"

    script.act = act
    final = await executor.execute(approval, no_progress)
    assert final.state is ApprovalState.DONE
    assert script.ran == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rules": PolicyRules(asker_users=frozenset({"UALICE"}))}, "policy"),
        ({"rules": PolicyRules(approvers=RULES.approvers)}, "policy"),
        ({"rules": replace(RULES, hosts_per_action=3)}, "policy"),
        ({"inventory": {"b": B}}, "inventory"),
        ({"inventory": {"a": replace(A, address="192.0.2.7"), "b": B}}, "host_records"),
        ({"tool": "e" * 64}, "tool_file"),
        ({"mark": "2"}, "target"),
    ],
)
async def test_whatever_changes_after_the_approval_stops_it(executor, catalogue, script, change, field):
    approval = await approved(executor, catalogue)
    executor.scrutiny.rules = change.get("rules", RULES)
    script.mark = change.get("mark", "1")
    registry, inventory = catalogue.registry, catalogue.inventory
    if "inventory" in change:
        inventory = Inventory(change["inventory"], {})
    if "tool" in change:
        registry = Registry(tuple(replace(each, sha256=change["tool"]) for each in registry.tools))
    executor.scrutiny.catalogue = Catalogue(registry, inventory)
    final = await executor.execute(approval, no_progress)
    assert final.state is ApprovalState.STALE
    assert final.note.startswith(f"stale:{field}:")
    assert script.ran == 0


async def test_reconciling_looks_at_hosts_that_were_begun_and_at_no_others(executor, catalogue, script):
    approval = await approved(executor, catalogue, ("a", "b"))
    running = await executor._store.approvals.change(
        replace(approval, state=ApprovalState.EXECUTING), expected=(approval.state, approval.version), entries=[]
    )
    assert await executor._store.operations.claim(
        Operation(running, "a", (), executor._clock.moment(), "x"), entry(), caps=Caps()
    )
    final = await executor.reconcile(running)
    assert script.ran == 0
    assert final.state is ApprovalState.FAILED
    assert [outcome.host for outcome in final.outcomes] == ["a"]
    assert "Not touched: b" in final.note


async def test_reconciling_a_host_that_left_the_inventory_stays_unknown(executor, catalogue):
    approval = await approved(executor, catalogue)
    running = await executor._store.approvals.change(
        replace(approval, state=ApprovalState.EXECUTING), expected=(approval.state, approval.version), entries=[]
    )
    await executor._store.operations.claim(
        Operation(running, "a", (), executor._clock.moment(), "x"), entry(), caps=Caps()
    )
    executor.scrutiny.catalogue = Catalogue(catalogue.registry, Inventory({"b": B}, {}))
    final = await executor.reconcile(running)
    assert final.state is ApprovalState.UNKNOWN
    assert await executor.reconcile(final) is final


async def test_progress_is_told_while_a_host_works(executor, catalogue, script, monkeypatch):
    monkeypatch.setattr(campaign, "_TICK_S", 0.01)
    seen, enough = [], threading.Event()

    async def progress(approval, steps):
        seen.append([step.state for step in steps])
        if len(seen) > 5:
            enough.set()

    script.act = lambda: str(enough.wait(20))
    final = await executor.execute(await approved(executor, catalogue, ("a", "b")), progress)
    assert final.state is ApprovalState.DONE
    assert ["running", "waiting"] in seen
    assert ["done", "running"] in seen
