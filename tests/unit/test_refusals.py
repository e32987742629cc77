"""What people are told when a click, a withdrawal or a narrowing does not count: whole sentences, and who may what."""

from dataclasses import replace

import pytest

from opsbot.approvals import (
    Click,
    check_in_time,
    check_may_decide,
    check_reviews,
    check_tier,
    decided_text,
    expire,
    hosts_left,
    is_approver,
    review,
    withdraw,
)
from opsbot.domain import ApprovalState, Membership, Reach, Review, Tier
from opsbot.errors import AlreadyDecided, ApprovalError, Expired, NotAllowed, Stale
from tests.asked import ALICE, BOB, CAROL, DAVE, NOW, RULES, TERMINAL, at, click, decision, make

EXPIRED = "This request expired: its time ended at 03:05:00 UTC. Nothing was run. Ask again for a fresh one."
BY_BOB = "Already decided: approved by <@UBOB> at 03:00:10 UTC. It is now approved."
DENIED_BY_BOB = "Already decided: denied by <@UBOB> at 03:00:10 UTC. It is now denied."
NOT_THEIRS = "You are not among the approvers for this (approvers:production). Nothing was changed."
OWN = "You asked for this, so somebody else has to approve it."
TERMINAL_MAY_NOT = "The person at the terminal may not approve: set policy.terminal_operator to true to allow it."
OTHERS = "Only whoever asked for this can withdraw it. Whoever may approve it can deny it."
APPROVED, DENIED = click(make(), BOB), click(make(), BOB, approve=False)
GUEST = replace(BOB, membership=Membership.GUEST)
FOREIGN_BOB = replace(BOB, team_id="T2")


def refused(act, *arguments, **named) -> str:
    with pytest.raises(ApprovalError) as caught:
        act(*arguments, **named)
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize(
    ("approval", "actor", "approve", "after_s", "said"),
    [
        (make(), BOB, True, 300, f"Expired: {EXPIRED}"),
        (make(), BOB, False, 300, f"Expired: {EXPIRED}"),
        (APPROVED, DAVE, True, 20, f"AlreadyDecided: {BY_BOB}"),
        (DENIED, DAVE, True, 20, f"AlreadyDecided: {DENIED_BY_BOB}"),
        (make(), CAROL, True, 10, f"NotAllowed: {NOT_THEIRS}"),
        (make(), ALICE, True, 10, f"NotAllowed: {OWN}"),
        (make(requester=BOB), BOB, True, 10, f"NotAllowed: {OWN}"),
        (make(), GUEST, True, 10, "NotAllowed: Guests of this workspace may not use me; somebody who is a member can."),
        (make(), FOREIGN_BOB, True, 10, "NotAllowed: Only people of the team that asked may decide this."),
        (make(requester=TERMINAL), TERMINAL, True, 10, f"NotAllowed: {TERMINAL_MAY_NOT}"),
        (
            click(make(needed=2), BOB),
            BOB,
            True,
            20,
            "AlreadyDecided: Your approval is already counted; it takes another person as well.",
        ),
    ],
)
def test_a_click_that_does_not_count_says_why(approval, actor, approve, after_s, said):
    assert refused(click, approval, actor, approve=approve, after_s=after_s) == said


def test_whose_membership_ended_may_not_even_take_back_what_they_asked():
    for membership in (each for each in Membership if each is not Membership.MEMBER):
        gone = replace(ALICE, membership=membership)
        with pytest.raises(NotAllowed):
            check_may_decide(make(), gone, approve=False, rules=RULES)


def test_whoever_sits_at_the_terminal_may_deny_anything_and_approve_if_the_operator_says_so():
    check_may_decide(make(), TERMINAL, approve=False, rules=RULES)
    with pytest.raises(NotAllowed):
        check_may_decide(make(), TERMINAL, approve=True, rules=RULES)
    check_may_decide(make(), TERMINAL, approve=True, rules=replace(RULES, terminal_operator=True))


def test_the_second_account_of_one_person_is_that_person():
    one = replace(RULES, people={"UBOB": "bob", "UDAVE": "bob", "UALICE": "ann", "UCAROL": "ann"})
    first = click(make(needed=2), BOB, rules=one)
    assert "already counted" in refused(click, first, DAVE, rules=one)
    own = make(users=frozenset({"UCAROL"}))
    assert refused(click, own, CAROL, rules=one) == f"NotAllowed: {OWN}"


@pytest.mark.parametrize(
    ("actor", "is_one"),
    [
        (BOB, True),
        (DAVE, True),
        (CAROL, False),
        (FOREIGN_BOB, False),
        (replace(DAVE, team_id="T2"), False),
        (GUEST, False),
        (replace(BOB, groups=frozenset({"SSRE"})), True),
    ],
)
def test_an_approver_is_a_member_of_the_team_that_asked_and_named_or_in_a_group(actor, is_one):
    assert is_approver(make(), actor) is is_one


# --- reviews, looked at again before it runs -------------------------------------------------------------------------


def test_whoever_may_approve_no_more_takes_their_approval_with_them():
    approval = make(needed=2)
    check_reviews(approval, [BOB, DAVE], RULES)
    said = "Stale: stale:approver: <@UDAVE> may no longer approve this. Ask again."
    assert refused(check_reviews, approval, [BOB, replace(DAVE, groups=frozenset())], RULES) == said


@pytest.mark.parametrize("reviewers", [[], [BOB], [BOB, BOB]])
def test_fewer_people_than_needed_are_too_few(reviewers):
    said = "Stale: stale:approver: fewer people than needed approved this. Ask again."
    assert refused(check_reviews, make(needed=2), reviewers, RULES) == said


def test_whoever_turns_out_to_be_the_one_who_asked_approved_nothing():
    one = replace(RULES, people={"UBOB": "bob", "UALICE": "bob"})
    with pytest.raises(Stale, match="<@UBOB> may no longer approve this"):
        check_reviews(make(), [BOB], one)


def test_the_terminal_approved_nothing_where_the_operator_says_no_more_that_it_may():
    check_reviews(make(), [TERMINAL], replace(RULES, terminal_operator=True))
    with pytest.raises(Stale, match="may no longer approve this"):
        check_reviews(make(), [TERMINAL], RULES)


def test_two_accounts_of_one_person_are_too_few():
    one = replace(RULES, people={"UBOB": "bob", "UDAVE": "bob"})
    with pytest.raises(Stale, match="fewer people"):
        check_reviews(make(needed=2), [BOB, DAVE], one)


@pytest.mark.parametrize(
    ("was", "now", "stale"),
    [
        (Reach(Tier.REPLICA, "a"), Reach(Tier.REPLICA, "b"), False),
        (Reach(Tier.REPLICA), Reach(Tier.LAST_REPLICA), True),
        (Reach(Tier.LAST_REPLICA), Reach(Tier.REPLICA), True),
        (None, Reach(Tier.LAST_REPLICA), False),
        (Reach(Tier.REPLICA), None, False),
    ],
)
def test_what_can_break_other_things_than_when_it_was_approved_is_stale(was, now, stale):
    approval = replace(make(), reach=was)
    if not stale:
        check_tier(approval, decision(reach=now))
        return
    assert refused(check_tier, approval, decision(reach=now)) == (
        f"Stale: stale:tier: it was approved as {str(was.tier).replace('_', ' ')}; it is "
        f"{str(now.tier).replace('_', ' ')}. Ask again."
    )


# --- withdrawing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", list(ApprovalState))
def test_a_request_can_be_taken_back_until_it_runs(state):
    approval = replace(make(), state=state)
    if state in (ApprovalState.PENDING, ApprovalState.APPROVED):
        back = withdraw(approval, ALICE, at(20), RULES)
        assert back == replace(approval, state=ApprovalState.WITHDRAWN, decided_at=at(20).at)
    else:
        with pytest.raises(AlreadyDecided):
            withdraw(approval, ALICE, at(20), RULES)


@pytest.mark.parametrize(
    ("approval", "actor", "after_s", "said"),
    [
        (make(), BOB, 10, f"NotAllowed: {OTHERS}"),
        (make(), CAROL, 10, f"NotAllowed: {OTHERS}"),
        (make(), replace(ALICE, team_id="T2"), 10, f"NotAllowed: {OTHERS}"),
        (make(), ALICE, 300, f"Expired: {EXPIRED}"),
        (DENIED, ALICE, 20, f"AlreadyDecided: {DENIED_BY_BOB}"),
        (
            replace(APPROVED, state=ApprovalState.EXECUTING),
            ALICE,
            20,
            "AlreadyDecided: Already decided: approved by <@UBOB> at 03:00:10 UTC. It is now executing. "
            "Stop on its card keeps it from hosts that have not been begun.",
        ),
    ],
)
def test_a_withdrawal_that_does_not_count_says_why(approval, actor, after_s, said):
    assert refused(withdraw, approval, actor, at(after_s), RULES) == said


def test_another_account_of_whoever_asked_can_withdraw():
    one = replace(RULES, people={"UALICE": "ann", "UCAROL": "ann"})
    assert withdraw(make(), CAROL, at(10), one).state is ApprovalState.WITHDRAWN


# --- leaving hosts out -----------------------------------------------------------------------------------------------

THREE = make(hosts=("a", "b", "c"))


def test_an_approver_leaves_hosts_out_and_the_others_stay_in_their_order():
    left = hosts_left(THREE, BOB, ["b"], at(10), RULES)
    assert left == replace(THREE.action, hosts=("a", "c"))


@pytest.mark.parametrize(
    ("approval", "actor", "out", "after_s", "said"),
    [
        (THREE, BOB, ["d", "b", "e"], 10, "NotAllowed: d, e: not among its hosts. Hosts can be left out, never added."),
        (
            THREE,
            BOB,
            ["x" * 300],
            10,
            f"NotAllowed: {'x' * 200}: not among its hosts. Hosts can be left out, never added.",
        ),
        (THREE, ALICE, ["b"], 10, f"NotAllowed: {OWN}"),
        (THREE, CAROL, ["b"], 10, f"NotAllowed: {NOT_THEIRS}"),
        (THREE, BOB, ["b"], 300, f"Expired: {EXPIRED}"),
        (APPROVED, BOB, ["web-1"], 20, f"AlreadyDecided: {BY_BOB}"),
        *(
            (
                THREE,
                BOB,
                out,
                10,
                "NotAllowed: Name at least one host to leave out, and leave at least one. To refuse them all, deny it.",
            )
            for out in ([], ["a", "b", "c"])
        ),
    ],
)
def test_leaving_out_that_does_not_count_says_why(approval, actor, out, after_s, said):
    assert refused(hosts_left, approval, actor, out, at(after_s), RULES) == said


# --- ends ------------------------------------------------------------------------------------------------------------


def test_time_is_over_by_whichever_clock_is_first_and_the_text_says_which():
    check_in_time(make(), at(299.9))
    with pytest.raises(Expired) as late:
        check_in_time(make(), at(300))
    assert str(late.value) == EXPIRED
    slept = replace(at(400), at=NOW)
    with pytest.raises(Expired, match="whatever the clock says"):
        check_in_time(make(), slept)


def test_a_request_that_ran_out_says_so_only_where_the_clock_does_not():
    by_the_clock = expire(make(), at(300))
    assert (by_the_clock.note, by_the_clock.decided_at) == ("", at(300).at)
    slept = expire(make(), replace(at(400), at=at(10).at))
    assert slept.state is ApprovalState.EXPIRED
    assert slept.note == "It expired: its time is over, whatever the clock says (400 s passed)."
    kept = expire(replace(make(), note="Kept."), at(300))
    assert kept.note == "Kept."


def test_one_that_was_approved_and_never_ran_expires_and_keeps_when_it_was_decided():
    over = expire(APPROVED, at(300))
    assert (over.state, over.decided_at, over.reviews) == (ApprovalState.EXPIRED, at(10).at, APPROVED.reviews)


@pytest.mark.parametrize(
    ("approval", "after_s", "said"),
    [(make(), 299, "NotAllowed: It has not expired yet."), (DENIED, 300, f"AlreadyDecided: {DENIED_BY_BOB}")],
)
def test_nothing_expires_early_or_after_it_was_decided(approval, after_s, said):
    assert refused(expire, approval, at(after_s)) == said


BOTH = (Review(BOB, True, NOW), Review(DAVE, True, NOW))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"state": ApprovalState.WITHDRAWN, "decided_at": NOW},
            "This request was withdrawn by <@UALICE>, who made it, at 03:00:00 UTC; nothing was run.",
        ),
        (
            {"state": ApprovalState.WITHDRAWN},
            "This request was withdrawn by <@UALICE>, who made it, at an unknown time; nothing was run.",
        ),
        (
            {"state": ApprovalState.EXPIRED, "decided_at": NOW},
            "This request expired at 03:00:00 UTC; nothing was run.",
        ),
        (
            {"state": ApprovalState.EXPIRED, "decided_at": NOW, "note": "It slept."},
            "This request expired at 03:00:00 UTC; nothing was run. It slept.",
        ),
        (
            {"state": ApprovalState.EXPIRED, "decided_at": NOW, "note": "Too late.", "reviews": BOTH},
            "Already decided: approved by <@UBOB> and <@UDAVE> at 03:00:00 UTC. It is now expired: Too late.",
        ),
        (
            {"state": ApprovalState.STALE, "decided_at": NOW, "note": "stale:policy: x. Ask again.", "reviews": BOTH},
            "Already decided: approved by <@UBOB> and <@UDAVE> at 03:00:00 UTC. It is now stale: stale:policy: x. "
            "Ask again.",
        ),
        (
            {"state": ApprovalState.DONE, "decided_at": NOW, "note": "Fine.", "reviews": BOTH[:1]},
            "Already decided: approved by <@UBOB> at 03:00:00 UTC. It is now done.",
        ),
        (
            {"state": ApprovalState.STALE, "note": "It became X."},
            "Already decided: approved by nobody at an unknown time. It is now stale: It became X.",
        ),
        ({"state": ApprovalState.STALE}, "Already decided: approved by nobody at an unknown time. It is now stale."),
    ],
)
def test_whoever_comes_too_late_is_told_who_decided_when_and_what_became_of_it(changes, said):
    assert decided_text(replace(make(), **changes)) == said


def test_what_is_told_to_somebody_too_late_has_an_end():
    long = replace(make(), state=ApprovalState.STALE, note="x" * 2000)
    assert len(decided_text(long)) == 901
    assert decided_text(long).endswith("xx.")


# --- what a counted click leaves -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "noted"),
    [(Click(True), False), (Click(True, True), True), (Click(False), False), (Click(False, True), False)],
)
def test_only_an_approval_can_be_for_a_while(wanted, noted):
    after = review(make(), BOB, wanted, now=at(10), rules=RULES)
    assert after.reviews == (Review(BOB, wanted.approve, at(10).at, noted),)
    assert after.decided_at == at(10).at


def test_one_of_two_approvals_is_noted_and_decides_nothing():
    first = click(make(needed=2), BOB)
    assert (first.state, first.decided_at) == (ApprovalState.PENDING, None)
    assert first.reviews == (Review(BOB, True, at(10).at),)
    second = click(first, DAVE, after_s=20)
    assert (second.state, second.decided_at) == (ApprovalState.APPROVED, at(20).at)
    assert second.reviews == (*first.reviews, Review(DAVE, True, at(20).at))


def test_a_denial_is_noted_beside_what_was_approved():
    ended = click(click(make(needed=2), BOB), DAVE, approve=False, after_s=20)
    assert ended.reviews == (Review(BOB, True, at(10).at), Review(DAVE, False, at(20).at))
    assert ended.decided_at == at(20).at


def test_a_requester_takes_back_by_denying():
    assert click(make(), ALICE, approve=False).reviews == (Review(ALICE, False, at(10).at),)
