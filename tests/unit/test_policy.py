"""Who may ask, what needs whom: an exhaustive table and the rules by name."""

import itertools
from dataclasses import fields, replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from opsbot import policy
from opsbot.domain import Actor, Host, Membership, Place, Reach, Risk, Tier, Verdict
from opsbot.policy import TERMINAL_TEAM, ApproverRule, Escalation, PolicyRules, Tiers, may_ask, needs_reason_text
from opsbot.policy_rules import Approvers, Effect, Question, Role, Rule, Window
from opsbot.rota import Override, Rota

NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
ALICE = Actor("T1", "UALICE")
CAROL = Actor("T1", "UCAROL")
WEB = Host("web-1", environment="production")
DEV = Host("dev-1", environment="staging")
PRODUCTION = ApproverRule(("production",), users=frozenset({"UBOB"}))
ANY = ApproverRule(("*",), groups=frozenset({"SSRE"}), needed=2)
RULES = PolicyRules(asker_users=frozenset({"UALICE"}), asker_groups=frozenset({"SOPS"}), approvers=(PRODUCTION,))


def decide(rules, actor, risk, hosts, tier=Tier.REPLICA):
    reach = Reach(Tier.READ if risk is Risk.READ else tier, "of the test")
    return policy.decide(rules, Question(actor, "restart_service", risk, tuple(hosts), Place("T1", "C1"), NOW, reach))


def test_unknown_person_may_not_ask():
    assert may_ask(RULES, CAROL).verdict is Verdict.DENY


def test_listed_person_and_group_member_may_ask():
    assert may_ask(RULES, ALICE).rule == "askers"
    assert may_ask(RULES, Actor("T1", "UDAVE", frozenset({"SOPS"}))).verdict is Verdict.ALLOW


def test_empty_rules_allow_nobody():
    assert may_ask(PolicyRules(), ALICE).verdict is Verdict.DENY
    assert decide(PolicyRules(), ALICE, Risk.READ, [WEB]).verdict is Verdict.DENY


def test_star_means_everybody_of_the_team():
    assert may_ask(PolicyRules(asker_users=frozenset({"*"})), CAROL).verdict is Verdict.ALLOW


def test_person_at_the_terminal_may_ask():
    assert may_ask(PolicyRules(), Actor(TERMINAL_TEAM, "root")).verdict is Verdict.ALLOW


def test_empty_host_set_never_means_all():
    assert decide(RULES, ALICE, Risk.CHANGE, []).rule == "hosts.empty"


def test_too_many_hosts_are_denied():
    hosts = [Host(f"web-{n}", environment="production") for n in range(11)]
    assert decide(RULES, ALICE, Risk.CHANGE, hosts).rule == "limits.hosts_per_action"
    assert decide(RULES, ALICE, Risk.CHANGE, hosts[:10]).verdict is Verdict.NEED_APPROVAL


def test_environment_without_approvers_is_denied():
    assert decide(RULES, ALICE, Risk.CHANGE, [DEV]).rule == "approvers.none:staging"


def test_rule_without_people_is_denied():
    rules = PolicyRules(asker_users=frozenset({"UALICE"}), approvers=(ApproverRule(("*",)),))
    assert decide(rules, ALICE, Risk.CHANGE, [WEB]).verdict is Verdict.DENY


def test_hosts_with_different_approvers_are_not_mixed():
    rules = PolicyRules(asker_users=frozenset({"UALICE"}), approvers=(PRODUCTION, ANY))
    assert decide(rules, ALICE, Risk.CHANGE, [WEB, DEV]).rule == "approvers.mixed"


def test_danger_needs_at_least_two_people():
    rules = PolicyRules(asker_users=frozenset({"UALICE"}), approvers=(replace(ANY, needed=1),))
    assert decide(rules, ALICE, Risk.DANGER, [WEB]).needed == 2
    assert decide(rules, ALICE, Risk.CHANGE, [WEB]).needed == 1


@pytest.mark.parametrize(
    ("asker", "risk", "host", "covered"),
    [*itertools.product((ALICE, CAROL), Risk, (None, WEB, DEV), (True, False))],
)
def test_decision_table(asker, risk, host, covered):
    """Every combination: allowed only for an asker, and a change only with approvers for its environment."""
    approvers = (ApproverRule(("production", "staging"), users=frozenset({"UBOB", "UDAVE"})),) if covered else ()
    rules = PolicyRules(asker_users=frozenset({"UALICE"}), approvers=approvers)
    verdict = decide(rules, asker, risk, [host] if host else []).verdict
    if asker is CAROL:
        assert verdict is Verdict.DENY
    elif risk is Risk.READ:
        assert verdict is Verdict.ALLOW
    else:
        assert verdict is (Verdict.NEED_APPROVAL if host and covered else Verdict.DENY)


def test_revision_changes_with_every_field():
    variants = [
        RULES,
        PolicyRules(),
        PolicyRules(asker_users=frozenset({"x"})),
        PolicyRules(asker_groups=frozenset({"x"})),
        PolicyRules(approvers=(PRODUCTION,)),
        PolicyRules(approvers=(ANY,)),
        PolicyRules(hosts_per_action=3),
        PolicyRules(terminal_operator=True),
    ]
    assert len({rules.revision for rules in variants}) == len(variants)
    assert RULES.revision == PolicyRules(frozenset({"UALICE"}), frozenset({"SOPS"}), (PRODUCTION,)).revision


def test_group_ids_are_those_the_rules_name():
    rules = PolicyRules(asker_groups=frozenset({"SOPS"}), approvers=(ANY,))
    assert rules.group_ids == {"SOPS", "SSRE"}


# --- rules, tiers, and what cannot end well --------------------------------------------------------------------------

EVERYONE = Role.of("everyone", ["*"])
ASK_TWO = Rule("ask", Effect.APPROVE, (EVERYONE,), approvers=Approvers(frozenset({"UBOB", "UCAROL"})))


def test_a_denial_of_everything_refuses_at_the_door_whatever_else_permits():
    for part in ({}, {"channels": frozenset({"C1"})}, {"when": Window(frozenset({0}), 0, 1440, ZoneInfo("UTC"))}):
        rules = replace(RULES, rules=(replace(Rule("frozen", Effect.DENY), **part),))
        assert may_ask(rules, ALICE, Place("T1", "C1"), NOW).rule == "frozen"
    narrow = replace(RULES, rules=(Rule("x", Effect.DENY, tools=frozenset({"reboot_host"})),))
    assert may_ask(narrow, ALICE, Place("T1", "C1"), NOW).verdict is Verdict.ALLOW


def test_a_denial_for_a_place_or_hours_does_not_count_where_neither_is_known():
    rules = replace(RULES, rules=(Rule("x", Effect.DENY, channels=frozenset({"C1"})),))
    assert may_ask(rules, ALICE).verdict is Verdict.ALLOW


@pytest.mark.parametrize("membership", [each for each in Membership if each is not Membership.MEMBER])
def test_only_members_are_asked_about_rules(membership):
    decision = may_ask(PolicyRules(asker_users=frozenset({"*"})), replace(ALICE, membership=membership))
    assert (decision.verdict, decision.rule) == (Verdict.DENY, f"person.{membership}")
    assert decision.reason


def test_what_could_only_expire_is_denied_at_once():
    rules = PolicyRules(rules=(ASK_TWO,))
    assert decide(rules, CAROL, Risk.CHANGE, [WEB]).needed == 1
    denied = decide(rules, CAROL, Risk.CHANGE, [WEB], Tier.LAST_REPLICA)
    assert denied.rule == "approvers.too_few"
    assert "2 people other than you must approve this (last replica: of the test)" in denied.reason
    aliased = replace(rules, people={"UBOB": "b", "UCAROL": "b"})
    assert decide(aliased, CAROL, Risk.CHANGE, [WEB]).rule == "approvers.too_few"
    assert decide(rules, ALICE, Risk.CHANGE, [WEB], Tier.LAST_REPLICA).needed == 2


@pytest.mark.parametrize(
    ("tier", "risk", "needed", "reason"),
    [
        (Tier.REPLICA, Risk.CHANGE, 1, False),
        (Tier.UNGROUPED, Risk.CHANGE, 1, False),
        (Tier.LAST_REPLICA, Risk.CHANGE, 2, True),
        (Tier.DATA_STORE, Risk.CHANGE, 2, True),
        (Tier.DANGER, Risk.DANGER, 2, True),
        (Tier.REPLICA, Risk.DANGER, 2, True),
    ],
)
def test_a_tier_says_how_many_and_whether_a_reason_is_needed(tier, risk, needed, reason):
    decision = decide(PolicyRules(rules=(ASK_TWO,)), ALICE, risk, [WEB], tier)
    assert (decision.needed, decision.reason_required) == (needed, reason)
    assert decision.reach == Reach(tier, "of the test")
    if reason:
        assert "because REASON" in needs_reason_text(decision)


def test_hosts_of_one_rule_or_of_equal_approvers_go_together():
    other = replace(ASK_TWO, name="ask-too", environments=frozenset({"staging"}))
    production = replace(ASK_TWO, environments=frozenset({"production"}))
    together = decide(PolicyRules(rules=(production, other)), ALICE, Risk.CHANGE, [WEB, DEV])
    assert (together.verdict, together.rule) == (Verdict.NEED_APPROVAL, "ask,ask-too")
    apart = replace(other, needed=2)
    assert decide(PolicyRules(rules=(production, apart)), ALICE, Risk.CHANGE, [WEB, DEV]).rule == "approvers.mixed"


def test_nobody_on_call_is_nobody_to_approve():
    rota = Rota("r", ("UBOB",), date(2027, 1, 1), time(9), ZoneInfo("UTC"))
    rules = PolicyRules(rules=(replace(ASK_TWO, approvers=Approvers(rotas=(rota,))),))
    assert decide(rules, ALICE, Risk.CHANGE, [WEB]).rule == "approvers.none:production"


def test_every_part_of_a_rule_is_in_the_revision():
    zone, hours = ZoneInfo("UTC"), Window(frozenset({0}), 0, 60, ZoneInfo("UTC"))
    rota = Rota("r", ("UBOB",), date(2026, 1, 1), time(9), zone, (Override(date(2026, 2, 1), date(2026, 2, 2), "UX"),))
    other = {
        "name": "other",
        "effect": Effect.DENY,
        "roles": (),
        "risks": frozenset({Risk.DANGER}),
        "when": hours,
        "approvers": Approvers(rotas=(rota,)),
        "needed": 2,
    }
    made = [replace(ASK_TWO, **{each.name: other.get(each.name, frozenset({"x"}))}) for each in fields(Rule)]
    revisions = {PolicyRules(rules=(rule,)).revision for rule in (ASK_TWO, *made)}
    assert len(revisions) == len(made) + 1
    parts = [{"people": {"U1": "a"}}, {"tiers": Tiers(replica=2)}, {"escalation": Escalation(60)}]
    assert len({PolicyRules(**part).revision for part in ({}, *parts)}) == 4
    with pytest.raises(TypeError, match="object is not part of any rule"):
        assert PolicyRules(people={"U1": object()}).revision  # type: ignore[dict-item]
