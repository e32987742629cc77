"""What becomes of an action that was interrupted, and how records are written."""

from dataclasses import replace

import pytest

from opsbot.actions import Catalogue
from opsbot.caps import Caps
from opsbot.domain import (
    Approval,
    ApprovalState,
    HostOutcome,
    Operation,
    Result,
)
from opsbot.errors import (
    Conflict,
    HostUnreachable,
    StoreError,
)
from opsbot.executor import Executor
from opsbot.inventory import Inventory
from tests.records import entry
from tests.restarting import (
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

__all__ = ["catalogue", "executor", "script"]


# --- after an interruption --------------------------------------------------------------------------------------------


async def interrupted(executor: Executor, catalogue: Catalogue, *begun: str, **changes: object) -> Approval:
    """An action on two hosts that was begun on some, and whose end was never recorded."""
    approval = await running(executor, await asked(executor, catalogue, "a", "b"))
    for host in begun:
        operation = Operation(approval, host, (), executor._clock.moment(), "x")
        assert await executor._store.operations.claim(operation, entry(), caps=Caps())
    stored = replace(approval, **changes)
    executor._store.approvals.stored[approval.id] = stored
    return stored


LOOKED = "opsbot was interrupted during this action and looked at the host afterwards; nothing was run twice."


async def test_hosts_that_were_begun_are_looked_at_and_the_look_is_recorded(executor, catalogue, script):
    final = await executor.reconcile(await interrupted(executor, catalogue, "a"))
    assert final.outcomes == (HostOutcome("a", Result.DONE, "It is up."),)
    assert (final.state, final.note) == (ApprovalState.FAILED, f"{LOOKED} Not touched: b.")
    assert recorded(executor)[-2:] == [
        ("execution.host", {"host": "a", "result": "done", "summary": "It is up.", "evidence_sha256": ""}),
        ("execution.reconciled", {"note": LOOKED}),
    ]
    assert script.given["act"] == []


async def test_nothing_begun_is_nothing_run(executor, catalogue):
    final = await executor.reconcile(await interrupted(executor, catalogue))
    said = "opsbot was interrupted before the command was sent; nothing was run. Ask again."
    assert (final.state, final.outcomes) == (ApprovalState.FAILED, ())
    assert final.note == f"{said} Not touched: a, b."
    assert recorded(executor)[-1] == ("execution.reconciled", {"note": said})


async def test_what_is_known_of_a_host_stays_and_what_is_unknown_is_looked_at_again(executor, catalogue, script):
    known = HostOutcome("a", Result.FAILED, "It was down.")
    unknown = HostOutcome("b", Result.UNKNOWN, "No answer.")
    approval = await interrupted(executor, catalogue, "a", "b", outcomes=(known, unknown))
    final = await executor.reconcile(approval)
    assert final.outcomes == (known, HostOutcome("b", Result.DONE, "It is up."))
    assert [host for host, _, _ in script.given["verify"]] == ["b"]


async def test_one_that_ended_opsbot_whenever_it_looked_is_left_to_people(executor, catalogue, script):
    final = await executor.reconcile(await interrupted(executor, catalogue, "a", "b"), look=False)
    said = "opsbot ended each time it looked, so it looks no more: see for yourself."
    assert final.outcomes == tuple(HostOutcome(name, Result.UNKNOWN, said) for name in "ab")
    assert final.state is ApprovalState.UNKNOWN
    assert script.given["verify"] == []


async def test_looking_again_and_finding_the_same_writes_nothing(executor, catalogue, script):
    script.verify = raising(HostUnreachable("No way."))
    once = await executor.reconcile(await interrupted(executor, catalogue, "a", "b"))
    written = len(executor._store.audit.records)
    assert await executor.reconcile(once) is once
    assert len(executor._store.audit.records) == written
    script.verify = lambda: HostOutcome("", Result.DONE, "It is up.")
    assert (await executor.reconcile(once)).state is ApprovalState.DONE


async def test_what_another_request_did_since_is_never_taken_for_its_own(executor, catalogue, script):
    script.verify = raising(HostUnreachable("No way."))
    once = await executor.reconcile(await interrupted(executor, catalogue, "a", "b"))
    assert once.state is ApprovalState.UNKNOWN
    script.verify = lambda: HostOutcome("", Result.DONE, "It is up.")
    another = replace(once, id="ANOTHER", state=ApprovalState.EXECUTING, outcomes=())
    executor._store.approvals.stored[another.id] = another
    later = Operation(another, "a", (), executor._clock.moment(), "x")
    assert await executor._store.operations.claim(later, entry(), caps=Caps())
    final = await executor.reconcile(once)
    said = f"Request {another.id} acted on the same there since, so what became of this one cannot be told any more."
    assert final.outcomes == (HostOutcome("a", Result.UNKNOWN, said), HostOutcome("b", Result.DONE, "It is up."))
    assert final.state is ApprovalState.UNKNOWN
    assert [host for host, _, _ in script.given["verify"]] == ["a", "b", "b"]
    assert await executor.reconcile(final) is final


async def test_a_host_that_left_cannot_be_looked_at_any_more(executor, catalogue):
    approval = await interrupted(executor, catalogue, "a", "b")
    executor.scrutiny.catalogue = Catalogue(catalogue.registry, Inventory({"b": HOSTS["b"]}, {}))
    final = await executor.reconcile(approval)
    left, there = final.outcomes
    assert (left.host, left.result) == ("a", Result.UNKNOWN)
    assert left.summary.startswith("Cannot be looked at any more: ")
    assert len(left.summary) > len("Cannot be looked at any more: None")
    assert there == HostOutcome("b", Result.DONE, "It is up.")


# --- the record -------------------------------------------------------------------------------------------------------


async def test_a_record_is_written_only_over_the_one_it_was_made_from(executor, catalogue):
    approval = await asked(executor, catalogue)
    newer = await running(executor, approval)
    with pytest.raises(Conflict):
        await executor.save(replace(approval, note="x"), approval, "execution.started")
    saved = await executor.save(replace(newer, note="x"), newer)
    assert (saved.note, saved.version) == ("x", newer.version + 1)
    assert recorded(executor) == [], "without a kind nothing is told"


async def test_a_store_that_fails_before_the_claim_runs_nothing(executor, catalogue):
    approval = await asked(executor, catalogue)
    executor._store.outage.reason = "The disk is full."
    with pytest.raises(StoreError):
        await run(executor, approval)
    assert sent(executor) == []
