"""What policy answers, in whole: verdict, rule, and the words people read."""

from dataclasses import replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from opsbot.domain import Actor, Decision, Host, Membership, Place, Reach, Risk, Tier, Verdict
from opsbot.policy import (
    TERMINAL_TEAM,
    PolicyRules,
    Tainted,
    Tiers,
    after_reading,
    decide,
    may_approve,
    may_ask,
    permits,
)
from opsbot.policy_rules import Approvers, Effect, Question, Role, Rule, Window
from opsbot.rota import Rota

NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)  # a Monday
ZONE = ZoneInfo("UTC")
ALICE, BOB = Actor("T1", "UALICE"), Actor("T1", "UBOB")
DAVE = Actor("T1", "UDAVE", frozenset({"SSRE"}))
TERMINAL = Actor(TERMINAL_TEAM, "root")
WEB = Host("web-1", environment="production", groups=("web",))
WEB2 = replace(WEB, name="web-2")
DB = Host("db-1", environment="production", groups=("db",))
EVERYONE = Role.of("everyone", ["*"])
PEOPLE = Approvers(frozenset({"UBOB", "UCAROL"}))
READ = Rule("read", Effect.ALLOW, (EVERYONE,))
ASK = Rule("ask", Effect.APPROVE, (EVERYONE,), approvers=PEOPLE)
WEB_ONLY = {"groups": frozenset({"web"})}
DB_ONLY = {"groups": frozenset({"db"})}
REACH = Reach(Tier.REPLICA, "one of 2")


def asked(risk: Risk, *hosts: Host, actor: Actor = ALICE, reach: Reach = REACH) -> Question:
    return Question(actor, "the_tool", risk, hosts, Place("T1", "C1"), NOW, reach)


def answer(rules: tuple[Rule, ...], question: Question, **parts: object) -> Decision:
    return decide(PolicyRules(rules=rules, **parts), question)


def denied(rule: str, reason: str, **parts: object) -> Decision:
    return Decision(Verdict.DENY, rule, reason, **parts)


# --- at the door -----------------------------------------------------------------------------------------------------

NOT_LISTED = denied("askers", "You are not on the list of people this bot works for. Its operator keeps it.")


@pytest.mark.parametrize(
    ("membership", "said"),
    [
        (Membership.GUEST, "Guests of this workspace may not use me; somebody who is a member can."),
        (Membership.FOREIGN, "I work for people of my own workspace only."),
        (Membership.BOT, "I take no orders from bots."),
        (Membership.GONE, "This account is deactivated, or not one of this workspace."),
        (
            Membership.UNKNOWN,
            "Slack cannot tell me now who you are, so I did nothing. Please try again in a minute.",
        ),
    ],
)
def test_who_is_no_member_is_told_so_before_any_rule(membership: Membership, said: str) -> None:
    rules = PolicyRules(rules=(READ, ASK))
    stranger = replace(ALICE, membership=membership)
    assert may_ask(rules, stranger) == denied(f"person.{membership}", said)
    assert decide(rules, asked(Risk.READ, WEB, actor=stranger)) == denied(f"person.{membership}", said)


def test_who_is_on_no_list_is_told_who_keeps_it() -> None:
    assert may_ask(PolicyRules(), ALICE) == NOT_LISTED
    assert answer((), asked(Risk.READ, WEB)) == NOT_LISTED


def test_any_permission_opens_the_door_and_the_terminal_needs_none() -> None:
    assert may_ask(PolicyRules(rules=(READ,)), ALICE) == Decision(Verdict.ALLOW, "read")
    assert may_ask(PolicyRules(rules=(ASK,)), ALICE) == Decision(Verdict.ALLOW, "ask")
    assert may_ask(PolicyRules(), TERMINAL) == Decision(Verdict.ALLOW, "terminal")


def test_a_denial_of_everything_is_told_by_its_name() -> None:
    said = denied("frozen", "The rule 'frozen' says no here. The bot's operator keeps it.")
    rules = PolicyRules(rules=(READ, Rule("frozen", Effect.DENY)))
    assert may_ask(rules, ALICE) == may_ask(rules, TERMINAL) == said


@pytest.mark.parametrize(
    "part",
    [
        {"tools": frozenset({"t"})},
        {"risks": frozenset({Risk.DANGER})},
        {"groups": frozenset({"web"})},
        {"environments": frozenset({"lab"})},
        {"tags": frozenset({"edge"})},
    ],
)
def test_a_denial_of_a_part_keeps_nobody_at_the_door(part: dict[str, object]) -> None:
    rules = PolicyRules(rules=(READ, replace(Rule("no", Effect.DENY), **part)))
    assert may_ask(rules, ALICE).rule == "read"


CLOSED = Window(frozenset({6}), 0, 1440, ZONE)
OPEN = replace(CLOSED, days=frozenset({0}))


@pytest.mark.parametrize(
    ("part", "known", "unknown"),
    [
        ({"channels": frozenset({"C1"})}, True, True),
        ({"channels": frozenset({"C2"})}, False, True),
        ({"when": OPEN}, True, True),
        ({"when": CLOSED}, False, True),
        ({"channels": frozenset({"C1"}), "when": CLOSED}, False, True),
        ({"channels": frozenset({"C2"}), "when": OPEN}, False, True),
    ],
)
def test_a_permission_for_a_place_or_hours_counts_there_and_where_neither_is_known(part, known, unknown) -> None:
    rules = PolicyRules(rules=(replace(READ, **part),))
    assert (may_ask(rules, ALICE, Place("T1", "C1"), NOW).verdict is Verdict.ALLOW) is known
    assert (may_ask(rules, ALICE).verdict is Verdict.ALLOW) is unknown


@pytest.mark.parametrize(
    ("part", "known"),
    [
        ({"channels": frozenset({"C1"})}, True),
        ({"channels": frozenset({"C2"})}, False),
        ({"when": OPEN}, True),
        ({"when": CLOSED}, False),
    ],
)
def test_a_denial_for_a_place_or_hours_counts_there_and_only_there(part, known) -> None:
    rules = PolicyRules(rules=(READ, replace(Rule("no", Effect.DENY), **part)))
    assert (may_ask(rules, ALICE, Place("T1", "C1"), NOW).rule == "no") is known
    assert may_ask(rules, ALICE).rule == "read"


@pytest.mark.parametrize("part", [{"channels": frozenset({"C1"})}, {"when": OPEN}])
def test_a_call_comes_by_the_door_where_and_when_it_is_made(part) -> None:
    no = replace(Rule("no", Effect.DENY), **part)
    assert answer((READ, no), asked(Risk.READ, WEB)) == denied(
        "no", "The rule 'no' says no here. The bot's operator keeps it."
    )
    elsewhere = replace(READ, channels=frozenset({"C2"})) if "channels" in part else replace(READ, when=CLOSED)
    assert answer((elsewhere,), asked(Risk.READ, WEB)) == NOT_LISTED


# --- who may approve anything at all ---------------------------------------------------------------------------------


def test_whoever_some_rule_names_may_approve_and_nobody_else() -> None:
    rota = Rota("r", ("UERIN",), date(2026, 11, 2), time(9), ZONE)
    by = Approvers(frozenset({"UBOB"}), frozenset({"SSRE"}), (rota,))
    rules = PolicyRules(rules=(replace(READ, approvers=Approvers(frozenset({"UALICE"}))), replace(ASK, approvers=by)))
    for actor in (BOB, DAVE, Actor("T1", "UERIN")):
        assert may_approve(rules, actor, NOW)
    for actor in (ALICE, replace(DAVE, groups=frozenset({"SX"})), replace(BOB, membership=Membership.GUEST)):
        assert not may_approve(rules, actor, NOW)
    assert not may_approve(rules, Actor("T1", "UERIN"), datetime(2026, 11, 1, tzinfo=UTC))


def test_the_terminal_approves_only_where_the_operator_says_so() -> None:
    for allowed in (True, False):
        rules = PolicyRules(rules=(ASK,), terminal_operator=allowed)
        assert may_approve(rules, TERMINAL, NOW) is allowed


# --- reads -----------------------------------------------------------------------------------------------------------


def test_a_read_takes_a_permission_on_each_kind_of_host_and_names_those_that_gave_it() -> None:
    web, db = replace(READ, name="web", **WEB_ONLY), replace(READ, name="db", **DB_ONLY)
    assert answer((web, db), asked(Risk.READ, WEB, WEB2, DB)) == Decision(Verdict.ALLOW, "web,db")
    assert answer((web, db), asked(Risk.READ, DB, WEB)) == Decision(Verdict.ALLOW, "db,web")
    assert answer((READ,), asked(Risk.READ, WEB, DB)) == Decision(Verdict.ALLOW, "read")
    assert answer((web, READ), asked(Risk.READ, WEB)) == Decision(Verdict.ALLOW, "web")


def test_a_host_that_no_rule_covers_denies_the_read_by_name() -> None:
    web = replace(READ, **WEB_ONLY)
    refusal = denied("default", "No rule allows you to use it on db-1.")
    assert answer((web,), asked(Risk.READ, WEB, DB)) == refusal
    assert answer((web,), asked(Risk.READ)) == denied("default", "No rule allows you to use it.")
    assert answer((READ,), asked(Risk.READ)) == Decision(Verdict.ALLOW, "read")


def test_a_permission_to_change_is_none_to_read_nor_the_other_way_round() -> None:
    assert answer((ASK,), asked(Risk.READ, WEB)) == denied("default", "No rule allows you to use it on web-1.")
    none = denied(
        "approvers.none:production",
        "Nobody is configured to approve such a change in environment 'production' (no rule fits).",
    )
    assert answer((READ,), asked(Risk.CHANGE, WEB)) == none
    for effect in Effect:
        assert permits(effect, Risk.READ) is (effect is Effect.ALLOW)
        for risk in (Risk.CHANGE, Risk.DANGER):
            assert permits(effect, risk) is (effect is Effect.APPROVE)


# --- denials and limits ----------------------------------------------------------------------------------------------


def test_one_denial_on_one_host_denies_all_of_it_wherever_it_stands() -> None:
    no = Rule("no-db", Effect.DENY, groups=frozenset({"db"}))
    said = denied("no-db", "The rule 'no-db' denies it. The bot's operator keeps it.")
    for risk in (Risk.READ, Risk.CHANGE):
        assert answer((READ, ASK, no), asked(risk, WEB, DB)) == said
        assert answer((READ, ASK, no), asked(risk, WEB)).verdict is not Verdict.DENY


def test_no_host_is_never_every_host() -> None:
    said = denied("hosts.empty", "No host is named; an empty selection never means all.")
    assert answer((ASK,), asked(Risk.CHANGE)) == said


def test_more_hosts_than_the_limit_are_refused_with_both_numbers() -> None:
    said = denied("limits.hosts_per_action", "2 hosts in one action; the limit is 1. Ask for fewer at a time.")
    assert answer((ASK,), asked(Risk.CHANGE, WEB, WEB2), hosts_per_action=1) == said
    assert answer((ASK,), asked(Risk.CHANGE, WEB), hosts_per_action=1).verdict is Verdict.NEED_APPROVAL
    assert answer((READ,), asked(Risk.READ, WEB, WEB2), hosts_per_action=1).verdict is Verdict.ALLOW


# --- changes ---------------------------------------------------------------------------------------------------------


def test_a_change_goes_to_the_people_and_groups_of_its_rule() -> None:
    by = Approvers(frozenset({"UBOB"}), frozenset({"SSRE"}))
    assert answer((replace(ASK, approvers=by, needed=3),), asked(Risk.CHANGE, WEB)) == Decision(
        Verdict.NEED_APPROVAL,
        "ask",
        needed=3,
        approver_users=frozenset({"UBOB"}),
        approver_groups=frozenset({"SSRE"}),
        reach=REACH,
    )


def test_the_first_rule_that_fits_a_host_decides() -> None:
    narrow = replace(ASK, name="web", approvers=Approvers(frozenset({"UDAVE", "UERIN"})), **WEB_ONLY)
    assert answer((narrow, ASK), asked(Risk.CHANGE, WEB)).rule == "web"
    assert answer((ASK, narrow), asked(Risk.CHANGE, WEB)).rule == "ask"
    assert answer((narrow, ASK), asked(Risk.CHANGE, DB)).rule == "ask"


def test_different_approvers_are_told_apart_by_host_and_at_most_five_are_named() -> None:
    hosts = [Host(f"h{n}", environment=f"e{n}") for n in range(6)]
    rules = tuple(
        replace(ASK, name=f"r{n}", needed=n + 1, environments=frozenset({f"e{n}"})) for n in range(len(hosts))
    )
    said = ", ".join(f"h{n}: r{n}" for n in range(5))
    refusal = denied(
        "approvers.mixed", f"These hosts have different approvers ({said}). Ask for those of one rule at a time."
    )
    assert answer(rules, asked(Risk.CHANGE, *hosts)) == refusal


@pytest.mark.parametrize(
    "other",
    [
        {"approvers": Approvers(frozenset({"UBOB"}))},
        {"approvers": Approvers(PEOPLE.users, frozenset({"SSRE"}))},
        {"needed": 2},
    ],
)
def test_one_difference_is_enough_to_be_different_approvers(other: dict[str, object]) -> None:
    web, db = replace(ASK, **WEB_ONLY), replace(ASK, **{**DB_ONLY, **other})
    assert answer((web, db), asked(Risk.CHANGE, WEB, DB)).rule == "approvers.mixed"


def test_a_rule_without_anybody_approves_nothing_and_groups_alone_are_somebody() -> None:
    none = answer((replace(ASK, approvers=Approvers()),), asked(Risk.CHANGE, WEB))
    assert none.rule == "approvers.none:production"
    some = answer((replace(ASK, approvers=Approvers(groups=frozenset({"SSRE"}))),), asked(Risk.CHANGE, WEB))
    assert some.verdict is Verdict.NEED_APPROVAL


@pytest.mark.parametrize(
    ("reach", "risk", "needed", "reason"),
    [
        (REACH, Risk.CHANGE, 1, False),
        (Reach(Tier.LAST_REPLICA), Risk.CHANGE, 2, True),
        (Reach(Tier.READ), Risk.CHANGE, 1, False),
        (Reach(Tier.READ), Risk.DANGER, 2, True),
    ],
)
def test_how_many_it_takes_is_the_most_that_rule_tier_and_risk_ask_for(reach, risk, needed, reason) -> None:
    by = Approvers(groups=frozenset({"SSRE"}))
    for asks in (1, 3):
        found = answer((replace(ASK, approvers=by, needed=asks),), asked(risk, WEB, reach=reach))
        assert (found.needed, found.reason_required) == (max(asks, needed), reason)
        assert found.reach == reach


@pytest.mark.parametrize("tier", [each for each in Tier if each is not Tier.READ])
def test_each_tier_has_its_own_number(tier: Tier) -> None:
    assert replace(Tiers(), **{str(tier): 7}).needed(Reach(tier), Risk.CHANGE) == 7
    assert Tiers(danger=4).needed(Reach(Tier.REPLICA), Risk.DANGER) == 4


TOO_FEW = (
    "2 people other than you must approve this (last replica), but the rule 'ask' has 1 of them. Somebody else may ask "
    "for it, or the bot's operator names more approvers."
)


def test_what_too_few_people_can_approve_is_denied_and_says_how_many_there_are() -> None:
    question = asked(Risk.CHANGE, WEB, actor=BOB, reach=Reach(Tier.LAST_REPLICA))
    assert answer((ASK,), question) == denied("approvers.too_few", TOO_FEW, reach=Reach(Tier.LAST_REPLICA))
    plain = TOO_FEW.replace(" (last replica)", "")
    by_rule = asked(Risk.CHANGE, WEB, actor=BOB)
    assert answer((replace(ASK, needed=2),), by_rule) == denied("approvers.too_few", plain, reach=REACH)


def test_members_of_a_group_and_a_person_at_the_terminal_are_not_counted_beforehand() -> None:
    alone = replace(ASK, approvers=Approvers(frozenset({"UALICE"})))
    assert answer((alone,), asked(Risk.CHANGE, WEB)).rule == "approvers.too_few"
    assert answer((alone,), asked(Risk.CHANGE, WEB, actor=TERMINAL)).verdict is Verdict.NEED_APPROVAL
    grouped = replace(alone, approvers=Approvers(frozenset({"UALICE"}), frozenset({"SSRE"})))
    assert answer((grouped,), asked(Risk.CHANGE, WEB)).verdict is Verdict.NEED_APPROVAL


def test_whoever_asks_is_not_counted_by_any_of_their_accounts() -> None:
    people = {"UALICE": "ann", "UCAROL": "ann"}
    assert answer((replace(ASK, needed=2),), asked(Risk.CHANGE, WEB), people=people).rule == "approvers.too_few"
    assert answer((replace(ASK, needed=2),), asked(Risk.CHANGE, WEB)).verdict is Verdict.NEED_APPROVAL


def test_an_account_spelled_otherwise_is_the_same_person_and_in_another_team_is_not() -> None:
    rules = PolicyRules(people={"UBOB": "bob"})
    assert rules.person(Actor("T1", "ubob")) == "person:bob"
    assert rules.person(Actor("T1", "UALICE")) == rules.person(Actor("t1", "ualice")) == "t1/ualice"
    assert rules.person(Actor("T2", "UALICE")) != rules.person(ALICE)


# --- after untrusted text --------------------------------------------------------------------------------------------

NEEDS_ONE = Decision(Verdict.NEED_APPROVAL, "ask", needed=1, reach=REACH)


@pytest.mark.parametrize(
    ("tainted", "decision", "after"),
    [
        (Tainted.APPROVE, NEEDS_ONE, NEEDS_ONE),
        (Tainted.TWO, NEEDS_ONE, replace(NEEDS_ONE, needed=2, rule="ask, tainted.two")),
        (Tainted.TWO, replace(NEEDS_ONE, needed=3), replace(NEEDS_ONE, needed=3, rule="ask, tainted.two")),
        (
            Tainted.DENY,
            NEEDS_ONE,
            denied(
                "tainted.deny",
                "Untrusted text was read in this conversation (logs, a page); a person can ask for it by a command.",
            ),
        ),
    ],
)
def test_what_was_read_makes_a_change_as_hard_as_the_operator_says(tainted, decision, after) -> None:
    rules = PolicyRules(tainted=tainted)
    assert after_reading(rules, decision, ("logs", "a page")) == after
    assert after_reading(rules, decision, ()) == decision
    for verdict in (Verdict.ALLOW, Verdict.DENY):
        other = replace(decision, verdict=verdict)
        assert after_reading(rules, other, ("logs",)) == other
