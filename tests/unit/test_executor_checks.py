"""What the executor looks at before it acts: whatever changed since the approval, and nothing is sent."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from opsbot import standing
from opsbot.actions import Catalogue
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.discovery import Registry
from opsbot.domain import (
    Approval,
    ApprovalState,
    Membership,
    Reach,
    Review,
    StandingApproval,
    Tier,
    Verdict,
)
from opsbot.errors import (
    ToolError,
)
from opsbot.executor import Executor
from opsbot.holds import Scope, Where
from opsbot.inventory import Inventory
from opsbot.policy import PolicyRules, Tainted
from opsbot.policy_rules import Approvers, Effect, Role, Rule, Window
from tests.records import entry
from tests.restarting import (
    FREEZE,
    HOSTS,
    NOW,
    asked,
    catalogue,
    executor,
    recorded,
    run,
    script,
    sent,
)
from tests.small_tools import ALICE, BOB, RULES, executor_of

__all__ = ["catalogue", "executor", "script"]


# --- what is looked at before -------------------------------------------------------------------------------------


async def refused(executor: Executor, approval: Approval) -> str:
    """Return why it was not run, after making sure that it was not, and that the audit says the same."""
    final = await run(executor, approval)
    assert final.state in (ApprovalState.STALE, ApprovalState.EXPIRED)
    assert sent(executor) == []
    assert recorded(executor)[-1] == ("execution.refused", {"note": final.note})
    assert executor._store.approvals.stored[approval.id] == final
    return f"{final.state}: {final.note}"


async def test_what_is_over_is_refused_before_anything_is_looked_at(executor, catalogue, script):
    approval = await asked(executor, catalogue)
    executor._clock.advance(300)
    executor.scrutiny.catalogue = Catalogue(Registry(()), Inventory({}, {}))
    assert await refused(executor, approval) == (
        "expired: This request expired: its time ended at 03:05:00 UTC. Nothing was run. Ask again for a fresh one."
    )
    assert recorded(executor) == [("execution.refused", {"note": executor._store.approvals.stored[approval.id].note})]


async def test_what_runs_out_while_it_is_looked_at_is_refused(executor, catalogue, script):
    approval = await asked(executor, catalogue)
    impacts = executor._reads.impacts

    async def slow(prepared):
        found = await impacts(prepared)
        executor._clock.advance(300)
        return found

    executor._reads.impacts = slow
    assert (await refused(executor, approval)).startswith("expired: This request expired: its time ended")


async def test_a_target_that_changed_is_refused_by_the_names_of_what_changed(executor, catalogue, script):
    approval = await asked(executor, catalogue, "a", "b")
    script.fingerprint = {"invocation_id": "2", "main_pid": "8"}
    assert await refused(executor, approval) == (
        "stale: stale:target: a changed since the card was made (invocation id, main pid). Ask again."
    )


async def test_only_the_hosts_that_come_next_are_looked_at_anew(executor, catalogue, script):
    approval = await asked(executor, catalogue, "a", "b")
    script.looked.clear()
    prepared = await executor.recheck(approval, ["b"])
    assert script.looked == ["b"]
    assert [host.name for host in prepared.hosts] == ["a", "b"]


async def test_a_part_of_a_request_is_judged_as_that_part(executor, catalogue):
    approval = await asked(executor, catalogue, "a", "b")
    whole, _ = await executor.judged(approval, approval.action)
    part, decision = await executor.judged(approval, replace(approval.action, hosts=("b",)))
    assert (whole.action.hosts, part.action.hosts) == (("a", "b"), ("b",))
    assert (part.hosts, decision.verdict) == ((HOSTS["b"],), Verdict.NEED_APPROVAL)


async def test_a_target_that_knows_something_new_is_as_it_was(executor, catalogue, script):
    approval = await asked(executor, catalogue)
    script.fingerprint = {**script.fingerprint, "started_by": "cron"}
    assert (await run(executor, approval)).state is ApprovalState.DONE


async def test_a_target_that_lost_what_was_shown_is_refused(executor, catalogue, script):
    approval = await asked(executor, catalogue)
    script.fingerprint = {"invocation_id": "1"}
    assert "(main pid)" in await refused(executor, approval)


async def test_a_target_that_cannot_be_examined_any_more_is_refused(executor, catalogue, script, monkeypatch):
    approval = await asked(executor, catalogue)

    async def broken(prepared):
        raise ToolError("web-1 does not answer.")

    monkeypatch.setattr(executor._reads, "impacts", broken)
    assert await refused(executor, approval) == "stale: stale:target: web-1 does not answer."


async def test_a_host_that_left_is_refused_and_named(executor, catalogue):
    approval = await asked(executor, catalogue)
    executor.scrutiny.catalogue = Catalogue(catalogue.registry, Inventory({"b": HOSTS["b"]}, {}))
    said = await refused(executor, approval)
    assert said.startswith("stale: stale:inventory: ")
    assert "'a'" in said or " a" in said


async def test_a_policy_that_asks_for_nobody_any_more_is_refused_with_its_reason(executor, catalogue):
    approval = await asked(executor, catalogue)
    executor.scrutiny.rules = replace(RULES, approvers=())
    assert (await refused(executor, approval)) == (
        "stale: stale:policy: Nobody is configured to approve such a change in environment 'x' (no rule fits)."
    )


@pytest.mark.parametrize(("waits_s", "runs"), [(119, True), (120, False)])
async def test_a_rule_counts_where_and_when_it_runs_not_only_when_it_was_asked(catalogue, waits_s, runs):
    night = Window(frozenset({6}), 3 * 60, 3 * 60 + 2, ZoneInfo("UTC"))
    everyone = (Role.of("everyone", ["*"]),)
    ask = Rule("ask", Effect.APPROVE, everyone, channels=frozenset({"C1"}), approvers=Approvers(frozenset({"UBOB"})))
    executor = executor_of(catalogue, rules=PolicyRules(rules=(replace(ask, when=night),)))
    try:
        approval = await asked(executor, catalogue)
        executor._clock.advance(waits_s)
        if runs:
            assert (await run(executor, approval)).state is ApprovalState.DONE
        else:
            assert (await refused(executor, approval)).startswith("stale: stale:policy: ")
    finally:
        executor.close()


async def test_what_was_read_before_counts_when_it_runs_too(catalogue):
    executor = executor_of(catalogue, rules=replace(RULES, tainted=Tainted.DENY))
    try:
        approval = await asked(executor, catalogue, tainted_by=("logs of a",))
        assert "stale:policy: Untrusted text was read in this conversation (logs of a)" in await refused(
            executor, approval
        )
    finally:
        executor.close()


async def test_a_tier_that_changed_is_refused(executor, catalogue):
    approval = await asked(executor, catalogue, reach=Reach(Tier.DATA_STORE))
    assert "stale:tier: it was approved as data store; it is" in await refused(executor, approval)


async def test_people_are_looked_up_anew_before_it_runs(catalogue):
    gone = {BOB.user_id: replace(BOB, membership=Membership.GONE)}

    async def identify(actor):
        return gone.get(actor.user_id, actor)

    executor = executor_of(catalogue, identify=identify)
    try:
        approval = await asked(executor, catalogue)
        assert await refused(executor, approval) == (
            "stale: stale:approver: <@UBOB> may no longer approve this. Ask again."
        )
    finally:
        executor.close()


async def test_whoever_asked_is_looked_up_anew_before_it_runs(catalogue):
    async def identify(actor):
        return replace(actor, membership=Membership.GUEST) if actor == ALICE else actor

    executor = executor_of(catalogue, identify=identify)
    try:
        assert "stale:policy: Guests of this workspace may not use me" in await refused(
            executor, await asked(executor, catalogue)
        )
    finally:
        executor.close()


async def test_a_denial_among_the_reviews_is_no_approval(executor, catalogue):
    approval = await asked(executor, catalogue, reviews=(Review(BOB, False, NOW),))
    assert "fewer people than needed approved this" in await refused(executor, approval)


async def test_a_freeze_set_after_the_approval_is_obeyed(executor, catalogue):
    approval = await asked(executor, catalogue)
    await executor._store.holds.add(FREEZE, entry())
    assert await executor.checkpoint.in_force() == (FREEZE,)
    assert executor.scrutiny.held(approval) == (
        "nginx@host:a is frozen by <@UBOB> since 2026-11-22 03:00:00 UTC (freeze F7KQ2M)."
    )
    assert (await refused(executor, approval)).startswith("stale: stale:freeze: Held back: nginx@host:a is frozen")


@pytest.mark.parametrize("elsewhere", [Scope(Where.HOST, "b"), Scope(Where.HOST, "a", "redis")])
async def test_a_freeze_elsewhere_holds_nothing_here(executor, catalogue, elsewhere):
    await executor._store.holds.add(replace(FREEZE, scope=elsewhere), entry())
    approval = await asked(executor, catalogue)
    await executor.checkpoint.in_force()
    assert executor.scrutiny.held(approval) == ""
    assert (await run(executor, approval)).state is ApprovalState.DONE


async def test_one_host_that_is_held_back_holds_the_others_too(executor, catalogue):
    approval = await asked(executor, catalogue, "a", "b")
    await executor._store.holds.add(replace(FREEZE, scope=Scope(Where.HOST, "b")), entry())
    assert "host:b is frozen" in await refused(executor, approval)


async def test_the_cap_on_hosts_is_looked_at_with_all_hosts_of_the_action(executor, catalogue):
    approval = await asked(executor, catalogue, "a", "b")
    executor.checkpoint.brakes = Brakes(Caps(hosts_in={"x": 1}))
    assert "stale:limits.hosts_per_action_in:x: 2 hosts of x in one action" in await refused(executor, approval)


# --- approvals that count again ---------------------------------------------------------------------------------------


async def parent_of(executor: Executor, approval: Approval, **changes: object) -> Approval:
    """Store an approval that counts again, on which this one stands."""
    moment = executor._clock.moment()
    lasting = StandingApproval(moment, moment.at + timedelta(minutes=30), standing.pattern(approval.bindings))
    parent = replace(approval, id="PARENT22", state=ApprovalState.DONE, standing=lasting, stands_on="", call_id="p")
    executor._store.approvals.stored["PARENT22"] = replace(parent, **changes)
    return parent


async def test_what_stands_on_an_approval_runs_while_that_counts(executor, catalogue):
    approval = await asked(executor, catalogue, stands_on="PARENT22")
    await parent_of(executor, approval)
    assert (await run(executor, approval)).state is ApprovalState.DONE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (None, "there is no request PARENT22 any more. Ask again."),
        ({"standing": None}, "request PARENT22 does not count for this: it was approved for once only. Ask again."),
        (
            {"state": ApprovalState.FAILED},
            "request PARENT22 does not count for this: its own action is failed, not done. Ask again.",
        ),
    ],
)
async def test_what_stands_on_an_approval_that_does_not_count_is_refused(executor, catalogue, changes, said):
    approval = await asked(executor, catalogue, stands_on="PARENT22")
    if changes is not None:
        await parent_of(executor, approval, **changes)
    assert await refused(executor, approval) == f"stale: stale:standing: {said}"


async def test_the_beginning_of_an_id_is_not_the_approval_it_stands_on(executor, catalogue):
    approval = await asked(executor, catalogue, stands_on="PAR")
    await parent_of(executor, approval)
    executor._store.approvals.stored["PARENT22"] = replace(executor._store.approvals.stored["PARENT22"], id="PARENT22")
    assert "there is no request PAR any more" in await refused(executor, approval)


async def test_it_can_be_approved_for_as_long_as_the_rules_say_and_a_tool_that_left_for_once(executor, catalogue):
    approval = await asked(executor, catalogue)
    executor.scrutiny.rules = replace(RULES, standing_minutes=15)
    assert executor.scrutiny.standing_minutes(approval) == 15
    assert executor.scrutiny.standing_minutes(replace(approval, tainted_by=("logs",))) == 0
    executor.scrutiny.catalogue = Catalogue(Registry(()), Inventory(HOSTS, {}))
    assert executor.scrutiny.standing_minutes(approval) == 0
    assert executor.scrutiny.touches(approval) == ((HOSTS["a"],), ())


async def test_what_it_touches_are_its_hosts_as_they_are_now_and_its_services(executor, catalogue):
    approval = await asked(executor, catalogue)
    moved = replace(HOSTS["a"], address="192.0.2.7")
    executor.scrutiny.catalogue = Catalogue(catalogue.registry, Inventory({"a": moved, "b": HOSTS["b"]}, {}))
    assert executor.scrutiny.touches(approval) == ((moved,), ("nginx.service",))
