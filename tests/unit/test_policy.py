"""Who may ask, what needs whom: an exhaustive table and the rules by name."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from opsbot import policy
from opsbot.domain import Actor, Host, Place, Reach, Risk, Tier, Verdict
from opsbot.policy import TERMINAL_TEAM, ApproverRule, PolicyRules, may_ask
from opsbot.policy_rules import Question

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
