"""The approval state machine: what is bound, who may decide, when it ends."""

import itertools
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot import approvals
from opsbot.actions import Prepared
from opsbot.approvals import conclude, expire
from opsbot.bindings import FREE_HOST_FIELDS, bind, bind_own, check_unchanged, digest
from opsbot.domain import (
    Actor,
    ApprovalState,
    Connection,
    HealthCheck,
    Host,
    HostOutcome,
    Impact,
    Order,
    OrderVerb,
    Place,
    Reach,
    Result,
    Rollout,
    ServiceManager,
    Tier,
)
from opsbot.errors import AlreadyDecided, ApprovalError, Expired, NotAllowed, Stale
from tests.asked import ACTION, ALICE, BOB, CAROL, DAVE, HOST, NOW, RULES, TERMINAL, TOOL, at, click, make


def test_an_approver_approves():
    approved = click(make(), BOB)
    assert approved.state is ApprovalState.APPROVED
    assert approved.reviews[0].actor == BOB
    assert approved.decided_at == NOW + timedelta(seconds=10)


def test_a_group_member_approves():
    assert click(make(), DAVE).state is ApprovalState.APPROVED


def test_requester_cannot_approve_own_request():
    with pytest.raises(NotAllowed, match="somebody else has to approve"):
        click(make(requester=BOB), BOB)


def test_requester_with_changed_groups_is_still_the_requester():
    with pytest.raises(NotAllowed, match="somebody else"):
        click(make(requester=Actor("T1", "UDAVE")), DAVE)


def test_requester_may_withdraw():
    assert click(make(), ALICE, approve=False).state is ApprovalState.DENIED


def test_somebody_without_the_role_cannot_decide_either_way():
    for approve in (True, False):
        with pytest.raises(NotAllowed, match="not among the approvers"):
            click(make(), CAROL, approve=approve)


def test_the_same_user_id_in_another_team_is_somebody_else_and_may_not_decide():
    with pytest.raises(NotAllowed):
        click(make(), Actor("T2", "UBOB"))


def test_two_people_are_needed_when_two_are_asked_for():
    first = click(make(needed=2), BOB)
    assert first.state is ApprovalState.PENDING
    with pytest.raises(AlreadyDecided, match="another person"):
        click(first, BOB)
    assert click(first, DAVE).state is ApprovalState.APPROVED


def test_one_denial_ends_it_even_after_an_approval():
    assert click(click(make(needed=2), BOB), DAVE, approve=False).state is ApprovalState.DENIED


def test_a_late_click_is_told_who_decided_and_when():
    with pytest.raises(AlreadyDecided, match=r"approved by <@UBOB> at 03:00:10 UTC"):
        click(click(make(), BOB), DAVE)


@pytest.mark.parametrize("after_s", [300, 301, 86400])
def test_no_click_counts_at_or_after_the_expiry(after_s):
    with pytest.raises(Expired):
        click(make(), BOB, after_s=after_s)


def test_the_last_moment_counts():
    assert click(make(), BOB, after_s=299.999).state is ApprovalState.APPROVED


def test_expiry_is_neither_early_nor_for_decided_ones():
    with pytest.raises(NotAllowed):
        expire(make(), at(299))
    assert expire(make(), at(300)).state is ApprovalState.EXPIRED
    with pytest.raises(AlreadyDecided):
        expire(click(make(), BOB, approve=False), at(300))


def test_terminal_operator_approves_only_if_configured():
    with pytest.raises(NotAllowed, match="terminal_operator"):
        click(make(requester=TERMINAL), TERMINAL)
    rules = replace(RULES, terminal_operator=True)
    assert click(make(requester=TERMINAL, rules=rules), TERMINAL, rules=rules).state is ApprovalState.APPROVED


EVERY_CLICK = tuple(
    itertools.product(
        (ALICE, BOB), (ALICE, BOB, DAVE, CAROL), (True, False), tuple(ApprovalState), (False, True), (True, False)
    )
)


def test_every_click_in_every_state():
    """The whole table, written from the rules and not from the code; one test, so that it can be run often."""
    assert len(EVERY_CLICK) == 2 * 4 * 2 * len(ApprovalState) * 2 * 2
    for row in EVERY_CLICK:
        requester, clicker, approve, state, late, listed = row
        users, groups = (frozenset({"UBOB"}), frozenset({"SSRE"})) if listed else (frozenset(), frozenset())
        approval = replace(make(requester=requester, users=users, groups=groups), state=state)
        is_approver = listed and clicker in (BOB, DAVE)
        own = clicker is requester
        counts = state is ApprovalState.PENDING and not late and ((own and not approve) or (is_approver and not own))
        after = counted(approval, clicker, approve=approve, after_s=400 if late else 10)
        if counts:
            assert after is (ApprovalState.APPROVED if approve else ApprovalState.DENIED), row
        else:
            assert after is None, row


def counted(approval, clicker, *, approve, after_s):
    """Return the state after a click, None: it did not count, and the text said why."""
    try:
        return click(approval, clicker, approve=approve, after_s=after_s).state
    except ApprovalError as error:
        return None if str(error) else ApprovalState.UNKNOWN


def current(*, tool=TOOL, action=ACTION, host=HOST, rules=RULES, via=()):
    return bind(Prepared(tool, action, (host,), via), rules)


def test_nothing_changed_passes():
    check_unchanged(make(), current())


@pytest.mark.parametrize(
    ("field", "now"),
    [
        ("tool_file", current(tool=replace(TOOL, sha256="e" * 64))),
        ("tool", current(action=replace(ACTION, tool="stop_service"))),
        ("arguments", current(action=replace(ACTION, arguments={"unit": "redis.service"}))),
        ("hosts", current(action=replace(ACTION, hosts=("web-2",)))),
        ("host_records", current(host=replace(HOST, address="192.0.2.9"))),
        ("host_keys", current(host=replace(HOST, host_key="ssh-ed25519 BBBB"))),
        ("host_keys", current(via=(Host("bastion"),))),
        ("host_records", current(host=replace(HOST, units=()))),
        ("host_records", current(host=replace(HOST, user="root"))),
        ("policy", current(rules=replace(RULES, hosts_per_action=3))),
    ],
)
def test_any_change_after_approval_makes_it_stale_and_says_what(field, now):
    with pytest.raises(Stale, match=f"stale:{field}:"):
        check_unchanged(make(), now)


@pytest.mark.parametrize(
    ("field", "edited"),
    [
        ("requester", {"requester": CAROL}),
        ("needed", {"needed": 0}),
        ("expires_at", {"expires_at": NOW + timedelta(days=1)}),
        ("request", {"id": "22223333"}),
        ("place", {"place": Place("T1", "C2", "1.0")}),
        ("approvers", {"approver_users": frozenset({"UCAROL"})}),
        ("approvers", {"approver_groups": frozenset({"SALL"})}),
        ("approvers", {"rule": "approvers:lab"}),
        ("reason", {"reason": "because"}),
        ("opened", {"opened": at(1)}),
        ("opened", {"opened": None}),
        ("opened", {"opened": replace(at(0), monotonic_s=1.0)}),
        ("tier", {"reach": Reach(Tier.DATA_STORE)}),
        ("tainted_by", {"tainted_by": ("logs of web-1",)}),
        ("stands_on", {"stands_on": "22223333"}),
        ("target", {"impacts": {"web-1": Impact((("state", "failed"),), {"invocation_id": "a1"})}}),
        ("target", {"impacts": {"web-1": Impact((("state", "active"),), {"invocation_id": "a2"})}}),
        ("digest", {"digest": "0" * 64}),
    ],
)
def test_an_edited_record_is_stale(field, edited):
    with pytest.raises(Stale, match=f"stale:{field}:"):
        check_unchanged(replace(make(), **edited), current())


def test_what_is_bound_has_these_names():
    own = "request place requester needed approvers reason opened expires_at tier tainted_by stands_on target"
    would_run = "tool tool_file arguments hosts host_keys host_records policy rollout"
    assert set(make().bindings) == {*own.split(), *would_run.split()}
    assert {name for name, bound in make().bindings.items() if not bound} == {
        "reason",
        "rollout",
        "tier",
        "tainted_by",
        "stands_on",
    }
    assert bind_own(replace(make(), tainted_by=("a", "b")))["tainted_by"] == "a, b"


def test_hosts_are_bound_in_their_order_and_health_checks_by_their_services():
    assert make(hosts=("b", "a")).bindings["hosts"] == "b,a"
    one, other = (current(host=replace(HOST, health={name: HealthCheck("u")})) for name in ("x", "y"))
    assert one["host_records"] != other["host_records"]


def test_a_host_with_something_that_cannot_be_written_down_is_never_bound():
    with pytest.raises(TypeError) as refused:
        current(host=replace(HOST, address=object()))
    assert str(refused.value) == "object has no canonical form"


def test_what_is_stale_is_told_by_name_in_words():
    for edited, said in (
        ({"expires_at": NOW}, "stale:expires_at: expires at changed since this was asked. Ask again."),
        ({"digest": "0" * 64}, "stale:digest: the record does not match what was approved. Ask again."),
    ):
        with pytest.raises(Stale) as stale:
            check_unchanged(replace(make(), **edited), current())
        assert str(stale.value) == said


def test_a_field_that_is_bound_no_more_is_stale():
    approval = make()
    with pytest.raises(Stale, match="stale:colour:"):
        check_unchanged(replace(approval, bindings={**approval.bindings, "colour": "red"}), current())


def test_every_field_of_a_host_is_bound_or_named_as_free():
    """A field added one day counts until somebody decides that it does not."""
    changed = {
        "name": "web-3",
        "port": 2222,
        "sudo": False,
        "connection": Connection.LOCAL,
        "health": {"x": HealthCheck("u")},
        "service_manager": ServiceManager.SUPERVISORD,
    }
    for field in fields(Host):
        usual = ("other",) if isinstance(getattr(HOST, field.name), tuple) else "other"
        value = changed.get(field.name, usual)
        differs = current(host=replace(HOST, **{field.name: value})) != current()
        assert differs is (field.name not in FREE_HOST_FIELDS or field.name == "host_key"), field.name


def test_digest_is_over_the_bindings_alone_and_order_does_not_matter():
    approval = make()
    assert approval.digest == digest(dict(reversed(list(approval.bindings.items()))))
    assert approval.digest != make(requester=CAROL).digest


def test_two_requests_for_the_same_thing_never_have_the_same_digest():
    assert make().digest != make().digest


@given(st.lists(st.sampled_from(list(Result)), max_size=3))
def test_an_action_is_done_only_if_every_host_is_verified_as_done(results):
    hosts = ("a", "b", "c")
    approval = replace(make(), action=replace(ACTION, hosts=hosts))
    outcomes = [HostOutcome(name, result, "") for name, result in zip(hosts, results, strict=False)]
    final = conclude(approval, outcomes)
    assert (final.state is ApprovalState.DONE) == (results == [Result.DONE] * 3)
    if Result.UNKNOWN in results:
        assert final.state is ApprovalState.UNKNOWN
    for name in hosts[len(results) :]:
        assert name in final.note


def test_ids_are_unambiguous_and_unguessable():
    ids = {make().id for _ in range(500)}
    assert len(ids) == 500
    assert not set("".join(ids)) & set("01OIL")


def test_the_models_result_is_a_failure_unless_done():
    for state in ApprovalState:
        result = approvals.result_for_model(replace(make(), state=state))
        assert result.failed is (state is not ApprovalState.DONE)
        assert result.call_id == "c1"


# --- orders to an action under way -----------------------------------------------------------------------------------

ASKED = replace(RULES, asker_users=frozenset({"UALICE", "UERIN"}))
ERIN = Actor("T1", "UERIN")
PAUSED_BY_ERIN = Order(OrderVerb.PAUSE, ERIN, NOW)


@pytest.mark.parametrize("verb", [OrderVerb.PAUSE, OrderVerb.HALT])
@pytest.mark.parametrize(("actor", "may"), [(ALICE, True), (ERIN, True), (BOB, True), (DAVE, True), (CAROL, False)])
def test_whoever_may_ask_or_approve_may_pause_and_halt(verb, actor, may):
    assert may_order(actor, verb) is may


@pytest.mark.parametrize(
    ("actor", "may"), [(ALICE, False), (ERIN, True), (BOB, True), (DAVE, True), (CAROL, False), (TERMINAL, False)]
)
def test_going_on_takes_who_may_approve_or_who_paused(actor, may):
    assert may_order(actor, OrderVerb.RESUME, given=PAUSED_BY_ERIN) is may


def test_the_requester_may_go_on_only_after_a_pause_of_their_own():
    assert may_order(ALICE, OrderVerb.RESUME, given=Order(OrderVerb.PAUSE, ALICE, NOW))
    assert not may_order(ALICE, OrderVerb.RESUME, given=None)


@pytest.mark.parametrize("verb", list(OrderVerb))
def test_nobody_of_another_team_may_order_anything(verb):
    assert not may_order(Actor("T2", "UERIN"), verb, given=PAUSED_BY_ERIN)
    assert not may_order(Actor("T2", "UBOB"), verb, given=PAUSED_BY_ERIN)


def may_order(actor, verb, given=None):
    try:
        approvals.check_may_order(make(), actor, verb, ASKED, given=given)
    except NotAllowed:
        return False
    return True


def test_how_it_goes_over_several_hosts_is_part_of_what_is_approved():
    two = Prepared(TOOL, ACTION, (HOST, replace(HOST, name="web-2")))
    one = Prepared(TOOL, ACTION, (HOST,))
    agreed = {tuple(bind(two, replace(RULES, rollout=each)).items()) for each in ROLLOUTS}
    assert len(agreed) == len(ROLLOUTS)
    alone = {tuple(bind(one, replace(RULES, rollout=each)).items()) for each in ROLLOUTS}
    assert len(alone) == 1


ROLLOUTS = (Rollout(), Rollout(canary=2), Rollout(batch=2), Rollout(max_unavailable=2), Rollout(pause_max_s=60))


def test_hosts_without_an_outcome_are_untouched_and_named():
    approval = replace(make(), action=replace(ACTION, hosts=("a", "b", "c")))
    ended = conclude(approval, [HostOutcome("b", Result.DONE, "")], note="Stopped.")
    assert ended.untouched == ("a", "c")
    assert ended.note == "Stopped. Not touched: a, c."
    assert ended.state is ApprovalState.FAILED
