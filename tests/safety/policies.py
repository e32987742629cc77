"""What policy has to decide, written from its documentation and not from its code; and the questions it is asked."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from opsbot.domain import Actor, Host, Place, Reach, Risk, Tier, Verdict
from opsbot.policy import ApproverRule, PolicyRules, Tiers
from opsbot.policy_rules import Approvers, Effect, Question, Role, Rule, Window

TEAM = "T1"
ALICE, BOB = Actor(TEAM, "UALICE"), Actor(TEAM, "UBOB", frozenset({"SOPS"}))
STRANGER = Actor(TEAM, "USTRANGER", frozenset({"SOTHER"}))
WEB = Host("web-1", environment="production", groups=("web",), tags=("edge",))
DB = Host("db-1", environment="database", groups=("db",))
DAY = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)  # a Monday
NIGHT = datetime(2026, 11, 2, 23, 0, tzinfo=UTC)
OFFICE_HOURS = Window(frozenset({0}), 9 * 60, 17 * 60, ZoneInfo("UTC"))
PEOPLE = Approvers(frozenset({"UCAROL", "UDAVE"}))
ROLES = {"alice": Role.of("alice", ["UALICE"]), "ops": Role.of("ops", [], ["SOPS"]), "all": Role.of("all", ["*"])}


def question(actor: Actor, risk: Risk, hosts: tuple[Host, ...], at: datetime = DAY, channel: str = "C1") -> Question:
    """Ask for the tool `t` on these hosts."""
    tier = Tier.READ if risk is Risk.READ else Tier.REPLICA
    return Question(actor, "t", risk, hosts, Place(TEAM, channel), at, Reach(tier))


# The parts a rule is made of: each as the rule has it, and for whom it holds, in words of its own.
WHO = {"alice": lambda q: q.actor.user_id == "UALICE", "ops": lambda q: "SOPS" in q.actor.groups, "all": lambda q: True}
WHERE = {
    "any": ({}, lambda host: True),
    "web": ({"groups": frozenset({"web"})}, lambda host: host is WEB),
    "database": ({"environments": frozenset({"database"})}, lambda host: host is DB),
    "edge": ({"tags": frozenset({"edge"})}, lambda host: host is WEB),
}
ELSE = {
    "any": ({}, lambda q: True),
    "tool": ({"tools": frozenset({"other"})}, lambda q: False),
    "hours": ({"when": OFFICE_HOURS}, lambda q: q.at == DAY),
    "channel": ({"channels": frozenset({"C1"})}, lambda q: q.place.channel_id == "C1"),
}
RISKS = {
    Effect.ALLOW: frozenset({Risk.READ}),
    Effect.APPROVE: frozenset({Risk.CHANGE, Risk.DANGER}),
    Effect.DENY: None,
}
Parts = tuple[Effect, str, str, str]
EVERY_RULE: tuple[Parts, ...] = tuple(itertools.product(Effect, WHO, WHERE, ELSE))


def rule(parts: Parts, name: str = "r") -> Rule:
    """Make the rule of these parts."""
    effect, who, where, other = parts
    made = Rule(name, effect, (ROLES[who],), risks=RISKS[effect], approvers=PEOPLE)
    return replace(made, **WHERE[where][0], **ELSE[other][0])


def expected(rules: tuple[Parts, ...], asked: Question) -> Verdict:
    """Say what the documentation says: on each host a permission and no denial, else denied."""
    fitting = [parts for parts in rules if WHO[parts[1]](asked) and ELSE[parts[3]][1](asked)]
    permission = Effect.ALLOW if asked.risk is Risk.READ else Effect.APPROVE
    for host in asked.hosts:
        effects = {effect for effect, _, where, _ in fitting if WHERE[where][1](host)}
        if Effect.DENY in effects or permission not in effects:
            return Verdict.DENY
    return Verdict.ALLOW if asked.risk is Risk.READ else Verdict.NEED_APPROVAL


HOST_SETS = ((WEB,), (DB,), (WEB, DB))
EVERY_QUESTION: tuple[Question, ...] = tuple(
    question(actor, risk, hosts, at, channel)
    for actor, risk, hosts, at, channel in itertools.product(
        (ALICE, BOB, STRANGER), Risk, HOST_SETS, (DAY, NIGHT), ("C1", "C2")
    )
)


def policies(max_rules: int = 6) -> st.SearchStrategy[PolicyRules]:
    """Policies of all sorts: rules, and the shorthand beside them."""
    shorthand = st.builds(
        ApproverRule,
        st.sampled_from([("*",), ("production",), ("database",)]),
        st.just(PEOPLE.users),
        st.just(frozenset[str]()),
        st.integers(1, 2),
    )
    made = st.lists(st.sampled_from(EVERY_RULE), max_size=max_rules)
    return st.builds(
        PolicyRules,
        asker_users=st.sampled_from([frozenset(), frozenset({"UALICE"}), frozenset({"*"})]),
        asker_groups=st.sampled_from([frozenset(), frozenset({"SOPS"})]),
        approvers=st.lists(shorthand, max_size=2).map(tuple),
        rules=made.map(lambda found: tuple(rule(parts, f"r{n}") for n, parts in enumerate(found))),
        tiers=st.sampled_from([Tiers(), Tiers(replica=2)]),
    )
