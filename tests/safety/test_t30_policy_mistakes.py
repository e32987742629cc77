"""Mistakes in a policy take rights away or keep the bot from starting; none gives any."""

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot.config import parse
from opsbot.config_yaml import read_yaml
from opsbot.domain import Actor, Risk, Verdict
from opsbot.errors import ConfigError
from opsbot.policy import PolicyRules, decide, may_ask
from opsbot.policy_rules import Effect, Role
from opsbot.toolbox import tools_of
from tests.docs.sessions import Document
from tests.safety import policies
from tests.safety.policies import ALICE, DB, EVERY_QUESTION, EVERY_RULE, WEB, expected, question, rule

POLICY = dict(Document("policy.md").files)["config.yaml"]
DATA = read_yaml(POLICY).data


def permitted(rules: PolicyRules) -> dict[int, tuple[int, frozenset[str]]]:
    """Return, of every question, those that are not denied: how many must approve, and who may."""
    decisions = {number: decide(rules, asked) for number, asked in enumerate(EVERY_QUESTION)}
    return {
        number: (decision.needed, decision.approver_users)
        for number, decision in decisions.items()
        if decision.verdict is not Verdict.DENY
    }


# --- the decision table ----------------------------------------------------------------------------------------------


def test_one_rule_decides_as_documented_in_every_case(figures):
    """Every rule that can be made of the parts, with every question: nothing is left to chance."""
    wrong = [
        (parts, asked)
        for parts, asked in itertools.product(EVERY_RULE, EVERY_QUESTION)
        if decide(PolicyRules(rules=(rule(parts),)), asked).verdict is not expected((parts,), asked)
    ]
    figures.note(decisions_of_one_rule=f"{len(EVERY_RULE) * len(EVERY_QUESTION):,}, {len(wrong)} wrong")
    assert wrong == []


def test_two_rules_decide_as_documented(figures, scale):
    """Every pair of rules, in both orders; in a small run every 37th case of them."""
    step, tried, wrong = scale(37, 1), 0, []
    pairs = itertools.product(EVERY_RULE, EVERY_RULE)
    for number, (first, second) in enumerate(pairs):
        if number % step:
            continue
        rules = PolicyRules(rules=(rule(first, "a"), rule(second, "b")))
        for asked in EVERY_QUESTION[number % 7 :: 7]:
            tried += 1
            if decide(rules, asked).verdict is not expected((first, second), asked):
                wrong.append((first, second, asked))
    figures.note(decisions_of_two_rules=f"{tried:,}, {len(wrong)} wrong")
    assert wrong == []


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize("risk", Risk)
def test_reads_are_allowed_and_changes_approved_and_never_otherwise(effect, risk):
    """Even by a rule that says nothing of risks, which the configuration would not let through."""
    made = replace(rule((effect, "all", "any", "any")), risks=None)
    verdict = decide(PolicyRules(rules=(made,)), question(ALICE, risk, (WEB,))).verdict
    fitting = {(Effect.ALLOW, True): Verdict.ALLOW, (Effect.APPROVE, False): Verdict.NEED_APPROVAL}
    assert verdict is fitting.get((effect, risk is Risk.READ), Verdict.DENY)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(EVERY_RULE), min_size=3, max_size=8), st.sampled_from(EVERY_QUESTION))
def test_many_rules_decide_as_documented(found, asked):
    made = tuple(rule(parts, f"r{number}") for number, parts in enumerate(found))
    assert decide(PolicyRules(rules=made), asked).verdict is expected(tuple(found), asked)


@settings(max_examples=100, deadline=None)
@given(policies.policies(), st.sampled_from(EVERY_QUESTION))
def test_every_decision_names_its_rule(rules, asked):
    decision = decide(rules, asked)
    own = {"askers", "default", "approvers.mixed", "approvers.too_few"}
    named = {each.name for each in rules.every_rule}
    known = own | named | {f"approvers.none:{host.environment}" for host in asked.hosts}
    assert set(decision.rule.split(",")) <= known | {name for each in named for name in each.split(",")}


# --- a denial only takes ---------------------------------------------------------------------------------------------


def test_adding_a_denial_never_adds_anything(figures, scale):
    """However it is placed among whatever rules: no question more is permitted, and by nobody else."""
    tried = 0

    @settings(max_examples=scale(40, 2000), deadline=None)
    @given(policies.policies(), st.sampled_from(EVERY_RULE), st.integers(0, 6))
    def adds_nothing(rules, parts, place):
        nonlocal tried
        tried += len(EVERY_QUESTION)
        denial = rule((Effect.DENY, *parts[1:]), "denial")
        with_it = replace(rules, rules=(*rules.rules[:place], denial, *rules.rules[place:]))
        before, after = permitted(rules), permitted(with_it)
        assert after.items() <= before.items()
        for actor in (policies.ALICE, policies.BOB, policies.STRANGER):
            if may_ask(rules, actor).verdict is Verdict.DENY:
                assert may_ask(with_it, actor).verdict is Verdict.DENY

    adds_nothing()
    figures.note(questions_with_a_denial_added=f"{tried:,}, 0 permitted more")


def test_an_empty_policy_permits_nothing(figures):
    asked = [question(actor, risk, hosts) for actor in (ALICE, policies.BOB) for risk in Risk for hosts in ((), (WEB,))]
    for rules in (PolicyRules(), parse("").rules(), parse("policy: {}").rules(), parse("policy: {rules: []}").rules()):
        assert [each for each in (*EVERY_QUESTION, *asked) if decide(rules, each).verdict is not Verdict.DENY] == []
        assert may_ask(rules, ALICE).verdict is Verdict.DENY
    figures.note(permitted_by_an_empty_policy=f"0 of {len(EVERY_QUESTION) + len(asked)}")


# --- names -----------------------------------------------------------------------------------------------------------

LIKE_IDS = ("U0ALICE", "S0SRE", "user", "group", "anyone", "sre", "askers")
TEXT = """
slack: {{}}
policy:
  roles: {{"{name}": {{users: [U0BOB]}}}}
  rules: [{{name: look, effect: allow, roles: ["{name}"]}}]
"""


@pytest.mark.parametrize("name", LIKE_IDS)
def test_a_role_named_like_an_id_holds_its_own_people_alone(name, figures):
    rules = parse(TEXT.format(name=name)).rules()
    assert may_ask(rules, Actor("T1", "U0BOB")).verdict is Verdict.ALLOW
    for other in (Actor("T1", name), Actor("T1", "U0ALICE"), Actor("T1", "UX", frozenset({name, "S0SRE"}))):
        assert may_ask(rules, other).verdict is Verdict.DENY
    figures.note(roles_named_like_ids=f"{len(LIKE_IDS)} of {len(LIKE_IDS)} hold their own people alone")


@given(st.text(), st.text())
def test_two_names_are_one_only_if_they_are_equal(role, other):
    assert Role.of("r", [role]).holds(Actor("T1", other)) is (role in (other, "*"))
    assert Role.of("r", [], [role]).holds(Actor("T1", "U", frozenset({other}))) is (role == other)


PATHS = (
    "..",
    "../web",
    "web/..",
    "web/../db",
    "./web",
    "web/",
    "/web",
    "a..b",
    "web*",
    "*web",
    "WEB",
    " web",
    "web\t",
    "",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_name_is_no_path_and_no_pattern(path):
    """Of the core: it matches nothing but itself. Of the configuration: it is a fault, with its line."""
    for part in ("groups", "environments", "tags"):
        made = replace(rule((Effect.APPROVE, "all", "any", "any")), **{part: frozenset({path})})
        assert decide(PolicyRules(rules=(made,)), question(ALICE, Risk.CHANGE, (WEB,))).verdict is Verdict.DENY
    for setting in ("roles", "tools", "groups", "environments", "tags", "channels", "approvers"):
        with pytest.raises(ConfigError, match=r"config.yaml:\d+: "):
            _with_rule(**{setting: [path]})


@pytest.mark.parametrize("name", [path for path in PATHS if path != "WEB"])
def test_a_rule_is_not_called_like_a_path_or_a_pattern(name):
    with pytest.raises(ConfigError, match=r"config.yaml:\d+: policy.rules\[0\].name"):
        _with_rule(name=name)


def _with_rule(**changed):
    """Parse the documented policy with one rule that is changed."""
    data = json.loads(json.dumps(DATA))
    made = {"name": "x", "effect": "approve", "roles": ["*"], "approvers": ["group:S0SRE"]} | changed
    data["policy"]["rules"] = [made]
    config = parse(json.dumps(data))
    if "tools" in changed:
        tools_of(config)
    return config


# --- broken files ----------------------------------------------------------------------------------------------------

HOSTILE = (None, [], {}, "", "*", ["*"], [None], [[]], {"a": "b"}, -1, 0, 99, True, False, "..", ["../x"], "U0NEW", 1.5)


def _leaves(value, place=()):
    """Yield every place of the policy, and of its lists and maps as wholes."""
    yield place
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*place, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*place, index))


def _replaced(place, new):
    data = json.loads(json.dumps(DATA))
    around = data["policy"]
    for part in place[:-1]:
        around = around[part]
    around[place[-1]] = new
    return json.dumps(data)


def test_a_value_that_makes_no_sense_is_a_fault_or_gives_nothing(figures):
    """Every setting of the documented policy, replaced by everything it should not be.

    What passes the checks permits no question that the policy did not, unless it is about who may ask and approve, or
    takes all rules away in so many words.
    """
    says_so = {"askers", "approvers", "users"}
    no_rules = (("rules",), [])
    before = _grid(parse(POLICY).rules())
    tried = refused = harmless = 0
    for place in [each for each in _leaves(DATA["policy"]) if each]:
        for new in HOSTILE:
            tried += 1
            try:
                rules = parse(_replaced(place, new)).rules()
            except ConfigError:
                refused += 1
                continue
            excused = (place, new) == no_rules or says_so & {part for part in place if isinstance(part, str)}
            assert excused or _grid(rules) <= before, (place, new)
            harmless += 1
    figures.note(
        hostile_values=f"{tried:,}: {refused:,} refused at the start, {harmless} that change nothing for worse"
    )
    assert refused > tried * 0.8


def test_nothing_that_is_left_empty_means_everything():
    """`groups:` with nothing behind it, an empty list, an empty word: a fault, never `any`."""
    for setting in ("roles", "tools", "risks", "groups", "environments", "tags", "channels", "when", "approvers"):
        for empty in (None, [], "", {}):
            with pytest.raises(ConfigError, match=rf"policy.rules\[0\].{setting}"):
                _with_rule(**{setting: empty})


_OVERRIDE = "[{first: '2026-02-02', until: '2026-02-01', person: U0B}]"
BROKEN = (
    "policy: [",
    "policy: {rules: [{name: x}",
    "policy:\n\t- x",
    "policy: null",
    "policy: []",
    "policy: deny everything",
    "policy: {rule: []}",
    "policy: {rules: {}}",
    "policy: {rules: [null]}",
    "policy: {rules: [{}]}",
    "policy: {rules: [{name: x, effect: Deny}]}",
    "policy: {rules: [{name: x, effect: permit, roles: ['*']}]}",
    "policy: {rules: [{name: x, effect: deny, role: ['*']}]}",
    "policy: {rules: [{name: x, effect: deny}, {name: x, effect: deny}]}",
    "policy: {rules: [{name: askers, effect: deny}]}",
    "policy: {rules: [{name: x, effect: allow, roles: ['*'], risks: [change]}]}",
    "policy: {rules: [{name: x, effect: allow, roles: ['*'], approvers: ['group:S0A']}]}",
    "policy: {rules: [{name: x, effect: approve, roles: ['*']}]}",
    "policy: {rules: [{name: x, effect: approve, roles: ['*'], risks: [read], approvers: ['group:S0A']}]}",
    "policy: {rules: [{name: x, effect: approve, roles: ['*'], approvers: [U0BOB]}]}",
    "policy: {rules: [{name: x, effect: approve, roles: ['*'], approvers: ['user:U0BOB'], needed: 2}]}",
    "policy: {rules: [{name: x, effect: deny, roles: [nobody]}]}",
    "policy: {rules: [{name: x, effect: deny, roles: ['*', '*']}]}",
    "policy: {rules: [{name: x, effect: deny, when: {timezone: Mars/Base}}]}",
    "policy: {rules: [{name: x, effect: deny, when: {timezone: ../../etc/passwd}}]}",
    "policy: {rules: [{name: x, effect: deny, when: {timezone: UTC, start: 8:00}}]}",
    "policy: {rules: [{name: x, effect: deny, when: {timezone: UTC, start: '25:00'}}]}",
    "policy: {rules: [{name: x, effect: deny, when: {timezone: UTC, start: '08:00', end: '08:00'}}]}",
    "policy: {rules: [{name: x, effect: deny, when: {}}]}",
    "policy: {roles: {x: {users: [alice]}}}",
    "policy: {roles: {'a/b': {}}}",
    "policy: {roles: {x: {users: ['*']}}, rules: [{name: x, effect: approve, roles: ['*'], approvers: ['role:x']}]}",
    "policy: {rotas: {x: {people: [], starts_on: '2026-01-01', timezone: UTC}}}",
    "policy: {rotas: {x: {people: [U0A], starts_on: '2026-02-30', timezone: UTC}}}",
    f"policy: {{rotas: {{x: {{people: [U0A], starts_on: '2026-01-01', timezone: UTC, overrides: {_OVERRIDE}}}}}}}",
    "policy: {people: {a: [U0ONE], b: [U0ONE]}}",
    "policy: {tiers: {danger: 1}}",
    "policy: {tiers: {replica: 0}}",
    "policy: {escalate_after_s: 60}",
    "policy: {escalate_to: ['oncall:x'], escalate_after_s: 60}",
    "policy: !!python/object/apply:os.system {args: [id]}",
    "policy: &a {rules: [*a]}",
    "policy: {}\npolicy: {}",
    "\x00policy: {}",
)


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_policy_does_not_start_and_says_where(text, figures):
    with pytest.raises(ConfigError, match=r"config\.yaml:\d+: "):
        parse(text)
    figures.note(broken_policies=f"{len(BROKEN)} of {len(BROKEN)} refused, each by line")


def test_every_fault_of_a_policy_is_told_at_once():
    text = """
policy:
  roles: {sre: {users: [U0BOB]}}
  rules:
    - {name: a, effect: deny, roles: [srre]}
    - {name: a, effect: allow, roles: ["*"], risks: [danger]}
    - {name: c, effect: approve, roles: [sre], approvers: ["oncall:first"]}
  tiers: {danger: 1}
"""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    faults = str(caught.value).splitlines()
    assert [fault.split(": ")[0] for fault in faults] == [f"config.yaml:{line}" for line in (5, 6, 6, 7, 8)]
    assert "did you mean sre?" in faults[0]


def _grid(rules: PolicyRules) -> set[tuple[str, str, str]]:
    """Return who may do what where, of people and hosts that the documented policy is about."""
    people = [Actor("T1", user) for user in ("U0ALICE", "U0DORA", "U0NEW")]
    people += [Actor("T1", "U0CARL", frozenset({"S0CONTRACT"})), Actor("T1", "U0SUE", frozenset({"S0SRE"}))]
    hosts = (WEB, DB)
    return {
        (actor.user_id, str(risk), host.name)
        for actor in people
        for risk in Risk
        for host in hosts
        if decide(rules, question(actor, risk, (host,))).verdict is not Verdict.DENY
    }
