"""What is written down of a request: the record from its proposal to its end, for people, the model and the audit."""

import hashlib
import json
from dataclasses import replace

import pytest

from opsbot.actions import Prepared
from opsbot.approvals import (
    Proposal,
    asked_facts,
    bound,
    conclude,
    ending,
    entry,
    narrow,
    open_approval,
    result_for_model,
    stand,
)
from opsbot.bindings import bind, bind_own, check_unchanged, digest
from opsbot.domain import (
    Action,
    Approval,
    ApprovalState,
    AuditEntry,
    HostOutcome,
    Impact,
    Narrowing,
    Order,
    OrderVerb,
    Reach,
    Result,
    Review,
    Tier,
)
from tests.asked import ACTION, ALICE, BOB, DAVE, HOST, NOW, PLACE, RULES, TOOL, at, click, decision, make

IMPACTS = {"web-1": Impact((("state", "active"), ("since", "02:00")), {"invocation_id": "a1"})}
REACH = Reach(Tier.LAST_REPLICA, "web-1 is the only host of group web")
PREPARED = Prepared(TOOL, ACTION, (HOST,))
PROPOSAL = Proposal(
    PLACE, ALICE, PREPARED, decision(reach=REACH, needed=2), IMPACTS, "it leaks", "c1", ("logs of web-1",)
)


def test_the_record_of_a_request_says_all_of_its_proposal() -> None:
    made = open_approval(PROPOSAL, RULES, now=at(0), lifetime_s=300)
    says = Approval(
        id=made.id,
        conversation_id=PLACE.key,
        place=PLACE,
        call_id="c1",
        requester=ALICE,
        action=ACTION,
        tool_sha256="f" * 64,
        reason="it leaks",
        rule="approvers:production",
        needed=2,
        approver_users=frozenset({"UBOB"}),
        approver_groups=frozenset({"SSRE"}),
        impacts=IMPACTS,
        created_at=NOW,
        expires_at=at(300).at,
        digest="",
        opened=at(0),
        tainted_by=("logs of web-1",),
        reach=REACH,
    )
    current = bind(PREPARED, RULES)
    bindings = {**current, **bind_own(says)}
    assert made == replace(says, bindings=bindings, digest=digest(bindings))
    check_unchanged(made, current)


def test_an_id_is_eight_characters_that_nobody_mistakes() -> None:
    for _ in range(200):
        made = open_approval(PROPOSAL, RULES, now=at(0), lifetime_s=300)
        assert len(made.id) == 8
        assert set(made.id) <= set("23456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_what_a_record_says_of_itself_goes_before_what_would_run() -> None:
    """No field of what would run can stand in for one of the record."""
    made = bound(make(), {"needed": "0", "extra": "x"})
    assert (made.bindings["needed"], made.bindings["extra"]) == ("1", "x")


# --- fewer hosts, and approvals that count again ---------------------------------------------------------------------

PAIR = click(make(needed=2, hosts=("a", "web-1")), BOB)
LEFT_OUT = Narrowing(BOB, at(20).at, ("a",))


def test_a_narrowed_request_is_a_new_one_that_nobody_reviewed_and_that_is_due_when_it_was() -> None:
    judged = decision(needed=1, approver_users=frozenset({"UDAVE"}), approver_groups=frozenset({"SDB"}), reach=REACH)
    judged = replace(judged, rule="approvers:fewer")
    shown = replace(PAIR, shown_at=NOW)
    left = narrow(shown, LEFT_OUT, replace(PROPOSAL, decision=judged), RULES)
    expected = replace(
        shown,
        action=ACTION,
        impacts={"web-1": shown.impacts["web-1"]},
        rule="approvers:fewer",
        reach=REACH,
        needed=2,
        approver_users=frozenset({"UDAVE"}),
        approver_groups=frozenset({"SDB"}),
        reviews=(),
        shown_at=None,
        narrowed=(LEFT_OUT,),
    )
    bindings = {**bind(PREPARED, RULES), **bind_own(expected)}
    assert left == replace(expected, bindings=bindings, digest=digest(bindings))
    assert left.digest != shown.digest


def test_fewer_hosts_never_need_fewer_people_but_may_need_more() -> None:
    assert narrow(make(needed=1), LEFT_OUT, PROPOSAL, RULES).needed == 2
    assert narrow(make(needed=3), LEFT_OUT, PROPOSAL, RULES).needed == 3


def test_who_left_out_what_is_kept_each_time() -> None:
    again = Narrowing(DAVE, at(30).at, ("b",))
    once = narrow(PAIR, LEFT_OUT, PROPOSAL, RULES)
    assert narrow(once, again, PROPOSAL, RULES).narrowed == (LEFT_OUT, again)


def test_what_stands_on_an_approval_takes_its_reviews_and_is_bound_to_it() -> None:
    parent = click(make(), BOB)
    pending = make()
    stood = stand(pending, parent, PREPARED, at(30), RULES)
    expected = replace(
        pending, stands_on=parent.id, reviews=parent.reviews, state=ApprovalState.APPROVED, decided_at=at(30).at
    )
    bindings = {**bind(PREPARED, RULES), **bind_own(expected)}
    assert stood == replace(expected, bindings=bindings, digest=digest(bindings))
    assert stood.bindings["stands_on"] == parent.id


# --- ends ------------------------------------------------------------------------------------------------------------


def outcomes(*results: Result) -> list[HostOutcome]:
    return [HostOutcome(name, result, "") for name, result in zip("abc", results, strict=False)]


@pytest.mark.parametrize(
    ("results", "state", "note"),
    [
        ([Result.DONE] * 3, ApprovalState.DONE, "Seen."),
        ([Result.DONE, Result.FAILED, Result.DONE], ApprovalState.FAILED, "Seen."),
        ([Result.DONE, Result.NOT_DONE, Result.DONE], ApprovalState.FAILED, "Seen."),
        ([Result.FAILED, Result.UNKNOWN, Result.DONE], ApprovalState.UNKNOWN, "Seen."),
        ([Result.DONE], ApprovalState.FAILED, "Seen. Not touched: b, c."),
        ([Result.UNKNOWN], ApprovalState.UNKNOWN, "Seen. Not touched: b, c."),
        ([], ApprovalState.FAILED, "Seen. Not touched: a, b, c."),
    ],
)
def test_the_end_of_an_action_is_what_all_its_hosts_say(results, state, note) -> None:
    running = replace(make(hosts=("a", "b", "c")), state=ApprovalState.EXECUTING)
    ended = conclude(running, outcomes(*results), note="Seen.")
    assert ended == replace(running, state=state, outcomes=tuple(outcomes(*results)), note=note)


def test_without_a_note_only_what_was_not_touched_is_noted() -> None:
    assert conclude(make(hosts=("a", "b")), outcomes(Result.DONE)).note == "Not touched: b."
    assert conclude(make(hosts=("a",)), outcomes(Result.DONE)).note == ""


ENDED = replace(
    make(needed=2),
    state=ApprovalState.DONE,
    digest="0123456789abcdef",
    reviews=(Review(BOB, True, NOW), Review(DAVE, True, NOW)),
    outcomes=(HostOutcome("web-1", Result.DONE, "Up.", "x" * 3000),),
    note="Seen.",
)


def test_the_model_is_told_what_became_of_its_call_and_by_whom() -> None:
    narrowed = (Narrowing(BOB, NOW, ("a", "b")), Narrowing(DAVE, NOW, ("c",)))
    told = result_for_model(replace(ENDED, narrowed=narrowed, halted=Order(OrderVerb.HALT, DAVE, NOW)))
    assert json.loads(told.content) == {
        "approval": ENDED.id,
        "digest": "0123456789ab",
        "state": "done",
        "outcomes": [{"host": "web-1", "result": "done", "summary": "Up.", "evidence": "x" * 2000}],
        "note": "Seen.",
        "decided_by": ["<@UBOB>", "<@UDAVE>"],
        "left_out": ["a", "b", "c"],
        "stopped_by": "<@UDAVE>",
    }
    assert (told.call_id, told.failed, told.untrusted) == ("c1", False, True)


def test_the_model_is_told_nothing_that_did_not_happen() -> None:
    told = result_for_model(replace(make(), state=ApprovalState.EXPIRED))
    assert set(json.loads(told.content)) == {"approval", "digest", "state", "outcomes", "note"}
    assert (told.failed, told.untrusted) == (True, False)


# --- the audit -------------------------------------------------------------------------------------------------------


def test_an_audit_entry_names_the_request_what_it_would_do_and_its_digest() -> None:
    made = make()
    base = {"tool": "restart_service", "hosts": ["web-1"], "digest": made.digest, "state": "pending"}
    assert entry(made, "approval.asked", NOW) == AuditEntry("approval.asked", NOW, "", PLACE.key, made.id, base)
    whole = replace(made, stands_on="7KQ2M4", tainted_by=("logs of web-1", "the page x"))
    assert entry(whole, "approval.decided", NOW, actor=BOB, facts={"approve": True}) == AuditEntry(
        "approval.decided",
        NOW,
        "T1/UBOB",
        PLACE.key,
        made.id,
        base | {"stands_on": "7KQ2M4", "tainted_by": ["logs of web-1", "the page x"], "approve": True},
    )


def test_the_audit_keeps_what_approvers_were_shown() -> None:
    made = open_approval(PROPOSAL, RULES, now=at(0), lifetime_s=300)
    assert asked_facts(made) == {
        "arguments": {"unit": "nginx.service"},
        "shown": {"web-1": [["state", "active"], ["since", "02:00"]]},
        "tool_sha256": "f" * 64,
        "expires_at": "2026-11-22T03:05:00+00:00",
        "tainted_by": ["logs of web-1"],
    }


@pytest.mark.parametrize("said", ["an error: é", "half a character: \ud83d", ""])
def test_an_operation_is_closed_with_what_the_host_said_by_its_hash(said: str) -> None:
    made = make()
    closed = ending(made, HostOutcome("web-1", Result.FAILED, "Down.", said), NOW)
    checksum = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest() if said else ""
    facts = {"host": "web-1", "result": "failed", "summary": "Down.", "evidence_sha256": checksum}
    assert closed == entry(made, "execution.host", NOW, facts=facts)


def test_arguments_of_a_request_are_kept_apart_from_those_of_another() -> None:
    other = Prepared(TOOL, Action(ACTION.tool, {"unit": "redis.service"}, ("web-1",)), (HOST,))
    assert open_approval(replace(PROPOSAL, prepared=other), RULES, now=at(0), lifetime_s=300).action == other.action
