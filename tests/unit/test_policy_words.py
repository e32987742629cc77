"""What policy says of itself: how each rule fares, in which words, and one revision for equal rules."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from opsbot.domain import Actor, Decision, Host, Place, Reach, Risk, Rollout, Tier, Verdict
from opsbot.policy import (
    TERMINAL_TEAM,
    ApproverRule,
    Looked,
    PolicyRules,
    Tainted,
    Tiers,
    looked_at,
    needs_reason_text,
    tier_text,
)
from opsbot.policy_rules import Approvers, Effect, Question, Role, Rule, Window, channels_of, group, user

NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)  # a Monday
ZONE = ZoneInfo("UTC")
ALICE = Actor("T1", "UALICE")
WEB = Host("web-1", environment="production", groups=("web",))
WEB2 = replace(WEB, name="web-2")
DB = Host("db-1", environment="production", groups=("db",))
EVERYONE = Role.of("everyone", ["*"])
PEOPLE = Approvers(frozenset({"UBOB", "UCAROL"}))
READ = Rule("read", Effect.ALLOW, (EVERYONE,))
ASK = Rule("ask", Effect.APPROVE, (EVERYONE,), approvers=PEOPLE)
WEB_ONLY = {"groups": frozenset({"web"})}
REACH = Reach(Tier.REPLICA, "one of 2")


def asked(risk: Risk, *hosts: Host, actor: Actor = ALICE, reach: Reach = REACH) -> Question:
    return Question(actor, "the_tool", risk, hosts, Place("T1", "C1"), NOW, reach)


NEEDS_ONE = Decision(Verdict.NEED_APPROVAL, "ask", needed=1, reach=REACH)


# --- explaining ------------------------------------------------------------------------------------------------------


def test_every_rule_is_explained_for_each_kind_of_host_in_order() -> None:
    no = Rule("no", Effect.DENY, (Role.of("dba", ["UX"]),))
    web = replace(READ, **WEB_ONLY)
    rules = PolicyRules(rules=(web, no))
    found = list(looked_at(rules, asked(Risk.READ, WEB, WEB2, DB)))
    assert found[:4] == [
        Looked(web, "web-1"),
        Looked(web, "db-1", "db-1 is not in group web"),
        Looked(no, "web-1", "UALICE is not in role dba"),
        Looked(no, "db-1", "UALICE is not in role dba"),
    ]
    assert [each.rule for each in found[4:]] == [rules.every_rule[2]] * 2
    hostless = list(looked_at(rules, asked(Risk.READ)))
    assert hostless[0] == Looked(web, "", "the tool is not about a host")


def test_kinds_of_hosts_are_told_apart_by_all_that_rules_can_name() -> None:
    plain = Host("a", environment="e", groups=("g",), tags=("t",))
    others = [
        replace(plain, name="b", environment="f"),
        replace(plain, name="c", groups=("h",)),
        replace(plain, name="d", tags=("u",)),
    ]
    same = replace(plain, name="z", address="192.0.2.9")
    found = [each.host for each in looked_at(PolicyRules(rules=(READ,)), asked(Risk.READ, plain, *others, same))]
    assert found[:4] == ["a", "b", "c", "d"]
    assert len(found) == 8


REASON = (
    "Not asked for: this needs a reason in a person's own words ({}). They have to write it: `… because REASON`, in "
    "the message or after the command."
)


def test_who_has_to_give_a_reason_is_told_why_and_how() -> None:
    assert needs_reason_text(NEEDS_ONE) == REASON.format("replica: one of 2")
    assert needs_reason_text(replace(NEEDS_ONE, reach=None)) == REASON.format("ask")


def test_a_tier_is_told_in_words_with_its_reason() -> None:
    assert tier_text(Reach(Tier.LAST_REPLICA, "the only one")) == "last replica: the only one"
    assert tier_text(Reach(Tier.DATA_STORE)) == "data store"


# --- shorthand, names and hours --------------------------------------------------------------------------------------


def test_the_shorthand_stands_for_rules_after_all_others() -> None:
    shorthand = ApproverRule(("production", "lab"), frozenset({"UBOB"}), frozenset({"SSRE"}), needed=2)
    rules = PolicyRules(frozenset({"UALICE"}), frozenset({"SOPS"}), (shorthand, ApproverRule(("*", "x"))), rules=(ASK,))
    askers = Role("askers", frozenset({"user:UALICE", "group:SOPS"}))
    changes = frozenset({Risk.CHANGE, Risk.DANGER})
    assert rules.every_rule == (
        ASK,
        Rule("askers", Effect.ALLOW, (askers,), risks=frozenset({Risk.READ})),
        Rule(
            "approvers:production,lab",
            Effect.APPROVE,
            (askers,),
            risks=changes,
            environments=frozenset({"production", "lab"}),
            approvers=Approvers(frozenset({"UBOB"}), frozenset({"SSRE"})),
            needed=2,
        ),
        Rule("approvers:*,x", Effect.APPROVE, (askers,), risks=changes),
    )


def test_ids_of_users_and_groups_are_never_the_same() -> None:
    assert (user("X"), group("X")) == ("user:X", "group:X")
    made = Role.of("r", ["UALICE", "*"], ["SSRE"])
    assert made == Role("r", frozenset({"user:UALICE", "*", "group:SSRE"}))
    assert Role.of("r") == Role("r", frozenset())


@pytest.mark.parametrize(
    ("days", "said"),
    [(frozenset({6, 0, 2}), "Mon, Wed, Sun 08:05-18:00 UTC"), (frozenset(range(7)), "every day 08:05-18:00 UTC")],
)
def test_hours_are_told_as_people_say_them(days: frozenset[int], said: str) -> None:
    assert str(Window(days, 8 * 60 + 5, 18 * 60, ZONE)) == said


def test_a_window_tells_the_time_as_it_sees_it() -> None:
    berlin = Window(frozenset({0}), 0, 1440, ZoneInfo("Europe/Berlin"))
    assert berlin.shown(datetime(2026, 11, 1, 23, 30, tzinfo=UTC)) == "Mon 00:30 Europe/Berlin"


def test_a_night_belongs_to_the_day_it_starts_on_over_the_week_too() -> None:
    sunday_night = Window(frozenset({6}), 22 * 60, 6 * 60, ZONE)
    assert sunday_night.holds(datetime(2026, 11, 2, 5, 59, tzinfo=UTC))
    assert not sunday_night.holds(datetime(2026, 11, 1, 5, 59, tzinfo=UTC))
    monday_night = replace(sunday_night, days=frozenset({0}))
    assert not monday_night.holds(datetime(2026, 11, 2, 5, 59, tzinfo=UTC))


def test_a_window_that_ends_when_it_starts_is_a_whole_day_from_then_on() -> None:
    from_eight = Window(frozenset({0}), 8 * 60, 8 * 60, ZONE)
    inside = [datetime(2026, 11, 2, 8, 0, tzinfo=UTC), datetime(2026, 11, 3, 7, 59, tzinfo=UTC)]
    outside = [datetime(2026, 11, 2, 7, 59, tzinfo=UTC), datetime(2026, 11, 3, 8, 0, tzinfo=UTC)]
    assert [from_eight.holds(each) for each in (*inside, *outside)] == [True, True, False, False]


def test_a_denial_of_several_roles_counts_for_whoever_may_be_in_one() -> None:
    unread = Actor("T1", "UX", unread=frozenset({"SSRE"}))
    roles = (Role.of("dba", ["UBOB"]), Role.of("sre", [], ["SSRE"]))
    assert Rule("no", Effect.DENY, roles).covers(unread)
    assert not Rule("yes", Effect.ALLOW, roles).covers(unread)
    assert Rule("yes", Effect.ALLOW, roles).misses(asked(Risk.READ, WEB)) == "UALICE is not in role dba or sre"


def test_a_channel_is_known_by_its_id_and_a_direct_message_by_both_names() -> None:
    assert channels_of(Place("T1", "C1")) == {"C1"}
    assert channels_of(Place("T1", "D1", direct=True)) == {"D1", "direct"}
    assert channels_of(Place(TERMINAL_TEAM, "C1")) == {"terminal"}


# --- the revision ----------------------------------------------------------------------------------------------------


def test_equal_rules_have_one_revision_however_their_sets_came_together() -> None:
    users = ["UALICE", "UBOB", "UCAROL"]
    forth, back = (PolicyRules(asker_users=frozenset(order)) for order in (users, users[::-1]))
    assert forth.revision == back.revision
    assert replace(forth, rollout=Rollout(batch=9)).revision == forth.revision, "bound by a name of its own"


def test_whose_accounts_are_one_persons_moves_the_revision() -> None:
    assert PolicyRules(people={"U1": "a"}).revision != PolicyRules(people={"U2": "a"}).revision


def test_every_field_of_the_rules_moves_the_revision() -> None:
    other: dict[str, object] = {
        "asker_users": frozenset({"x"}),
        "asker_groups": frozenset({"x"}),
        "approvers": (ApproverRule(("x",)),),
        "hosts_per_action": 3,
        "terminal_operator": True,
        "tainted": Tainted.TWO,
        "rules": (ASK,),
        "people": {"U1": "a"},
        "tiers": Tiers(replica=2),
        "standing_minutes": 5,
    }
    named = {each.name for each in fields(PolicyRules)} - {"rollout", "escalation"}
    assert set(other) == named
    revisions = {replace(PolicyRules(), **{name: value}).revision for name, value in other.items()}
    assert len(revisions | {PolicyRules().revision}) == len(other) + 1
