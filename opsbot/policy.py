"""Who may ask, what needs whom: pure decisions, default deny, each naming its rule."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date, datetime, time
from enum import StrEnum
from zoneinfo import ZoneInfo

import rfc8785

from opsbot.domain import Actor, Decision, Host, Json, Membership, Place, Reach, Risk, Rollout, Tier, Verdict
from opsbot.policy_rules import ANYONE as ANYONE
from opsbot.policy_rules import TERMINAL_TEAM as TERMINAL_TEAM
from opsbot.policy_rules import Approvers, Effect, Question, Role, Rule, channels_of

_DANGER_NEEDS = 2
# From so many approvals on, a tier asks for a reason too.
_REASON_FROM = 2
_CHANGES = frozenset({Risk.CHANGE, Risk.DANGER})
_STRANGERS = {
    Membership.GUEST: "Guests of this workspace may not use me; somebody who is a member can.",
    Membership.FOREIGN: "I work for people of my own workspace only.",
    Membership.BOT: "I take no orders from bots.",
    Membership.GONE: "This account is deactivated, or not one of this workspace.",
    Membership.UNKNOWN: "Slack cannot tell me now who you are, so I did nothing. Please try again in a minute.",
}


@dataclass(frozen=True, slots=True)
class ApproverRule:
    """Who approves changes in these environments ("*": any), and how many of them: shorthand for a rule."""

    environments: tuple[str, ...]
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    needed: int = 1

    def as_rule(self, askers: Role) -> Rule:
        """Return the rule it stands for."""
        return Rule(
            name=f"approvers:{','.join(self.environments)}",
            effect=Effect.APPROVE,
            roles=(askers,),
            risks=_CHANGES,
            environments=None if ANYONE in self.environments else frozenset(self.environments),
            approvers=Approvers(self.users, self.groups),
            needed=self.needed,
        )


@dataclass(frozen=True, slots=True)
class Tiers:
    """How many people must approve at least, by tier. `danger` is two, always, or more."""

    replica: int = 1
    ungrouped: int = 1
    last_replica: int = 2
    danger: int = _DANGER_NEEDS
    data_store: int = 2

    def needed(self, reach: Reach, risk: Risk) -> int:
        least = self.danger if risk is Risk.DANGER else 1
        of_tier: int = getattr(self, reach.tier) if reach.tier is not Tier.READ else 1
        return max(least, of_tier)


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to tell, one after the other, while nobody decides: every `after_s` the next; 0: nobody."""

    after_s: int = 0
    to: tuple[tuple[str, Approvers], ...] = ()


class Tainted(StrEnum):
    """What becomes of a change that the model proposes after it read untrusted text."""

    APPROVE = "approve"  # a person approves it, as every change, and reads on the card what was read before
    TWO = "two"  # two people at least approve it
    DENY = "deny"  # the model may not propose it; a person can, by a command


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """The operator's rules. `terminal_operator`: who sits at the bot's terminal may approve what they asked there.

    `people`: the canonical name of persons with several accounts, by account id.
    `standing_minutes`: for how long an approval may count again for the very same thing; 0: only once.
    """

    asker_users: frozenset[str] = frozenset()
    asker_groups: frozenset[str] = frozenset()
    approvers: tuple[ApproverRule, ...] = ()
    hosts_per_action: int = 10
    terminal_operator: bool = False
    rollout: Rollout = field(default_factory=Rollout)
    tainted: Tainted = Tainted.APPROVE
    rules: tuple[Rule, ...] = ()
    people: Mapping[str, str] = field(default_factory=dict)
    tiers: Tiers = field(default_factory=Tiers)
    escalation: Escalation = field(default_factory=Escalation)
    standing_minutes: int = 0

    @property
    def every_rule(self) -> tuple[Rule, ...]:
        """The rules in their order, and after them those that the shorthand stands for."""
        askers = Role.of("askers", self.asker_users, self.asker_groups)
        reading = Rule("askers", Effect.ALLOW, (askers,), risks=frozenset({Risk.READ}))
        return (*self.rules, reading, *(rule.as_rule(askers) for rule in self.approvers))

    @property
    def revision(self) -> str:
        """Hex SHA-256 over everything that decides who may do what; `rollout` is bound by name, beside it."""
        content = {each.name: _json(getattr(self, each.name)) for each in fields(self) if each.name != "rollout"}
        return hashlib.sha256(rfc8785.dumps(content)).hexdigest()

    @property
    def group_ids(self) -> frozenset[str]:
        """Every user group that some rule names."""
        found = self.asker_groups.union(*(rule.groups for rule in self.approvers))
        for rule in self.rules:
            found = found.union(rule.approvers.groups, *(role.group_ids for role in rule.roles))
        return found.union(*(approvers.groups for _, approvers in self.escalation.to))

    def person(self, actor: Actor) -> str:
        """Return who this is, whichever account is used; spelling in another case is the same person."""
        return self.person_of(actor.team_id, actor.user_id)

    def person_of(self, team_id: str, user_id: str) -> str:
        """As `person`, of an account."""
        known = self.people.get(user_id.upper())
        return f"person:{known}" if known else f"{team_id}/{user_id}".casefold()


def may_approve(rules: PolicyRules, actor: Actor, at: datetime) -> bool:
    """Whether the person is among the approvers of any rule at this time."""
    if actor.team_id == TERMINAL_TEAM:
        return rules.terminal_operator
    if actor.membership is not Membership.MEMBER:
        return False
    return any(
        actor.user_id in rule.approvers.users_at(at) or actor.groups & rule.approvers.groups
        for rule in rules.every_rule
        if rule.effect is Effect.APPROVE
    )


def may_ask(rules: PolicyRules, actor: Actor, place: Place | None = None, at: datetime | None = None) -> Decision:
    """Decide whether this person may use the bot at all; with `place` and `at`, whether from there and now."""
    if actor.membership is not Membership.MEMBER:
        return Decision(Verdict.DENY, f"person.{actor.membership}", _STRANGERS[actor.membership])
    general = [rule for rule in rules.every_rule if _at_the_door(rule, actor, place, at)]
    denial = next((rule for rule in general if rule.effect is Effect.DENY and _about_everything(rule)), None)
    if denial is not None:
        return Decision(
            Verdict.DENY, denial.name, f"The rule {denial.name!r} says no here. The bot's operator keeps it."
        )
    if actor.team_id == TERMINAL_TEAM:
        return Decision(Verdict.ALLOW, "terminal")
    permit = next((rule for rule in general if rule.effect is not Effect.DENY), None)
    if permit is not None:
        return Decision(Verdict.ALLOW, permit.name)
    return Decision(
        Verdict.DENY, "askers", "You are not on the list of people this bot works for. Its operator keeps it."
    )


def _at_the_door(rule: Rule, actor: Actor, place: Place | None, at: datetime | None) -> bool:
    """Whether a rule applies to the person here and now; where that is not known, a permission counts, a denial not."""
    unknown = rule.effect is not Effect.DENY
    here = rule.channels is None or (unknown if place is None else not rule.channels.isdisjoint(channels_of(place)))
    now = rule.when is None or (unknown if at is None else rule.when.holds(at))
    return rule.covers(actor) and here and now


def _about_everything(rule: Rule) -> bool:
    return not rule.about_hosts and rule.tools is None and rule.risks is None


def decide(rules: PolicyRules, question: Question) -> Decision:
    """Decide one call of a tool: at least one rule for each host permits it and none denies it, else it is denied."""
    asker = may_ask(rules, question.actor, question.place, question.at)
    if asker.verdict is not Verdict.ALLOW:
        return asker
    matching = [rule for rule in rules.every_rule if not rule.misses(question)]
    targets = _targets(question.hosts)
    for rule in matching:
        if rule.effect is Effect.DENY and any(not rule.misses_host(host) for host in targets):
            return Decision(Verdict.DENY, rule.name, f"The rule {rule.name!r} denies it. The bot's operator keeps it.")
    permitting = [rule for rule in matching if permits(rule.effect, question.risk)]
    if question.risk is Risk.READ:
        return _read(permitting, targets)
    if not question.hosts:
        return Decision(Verdict.DENY, "hosts.empty", "No host is named; an empty selection never means all.")
    if len(question.hosts) > rules.hosts_per_action:
        return Decision(
            Verdict.DENY,
            "limits.hosts_per_action",
            f"{len(question.hosts)} hosts in one action; the limit is {rules.hosts_per_action}. "
            "Ask for fewer at a time.",
        )
    return _change(rules, question, permitting)


def after_reading(rules: PolicyRules, decision: Decision, tainted_by: Sequence[str]) -> Decision:
    """Return the decision on a change proposed after this untrusted text was read; it never becomes easier."""
    if not tainted_by or decision.verdict is not Verdict.NEED_APPROVAL:
        return decision
    match rules.tainted:
        case Tainted.APPROVE:
            return decision
        case Tainted.TWO:
            return replace(decision, needed=max(decision.needed, _DANGER_NEEDS), rule=f"{decision.rule}, tainted.two")
        case Tainted.DENY:
            read = ", ".join(tainted_by)
            reason = f"Untrusted text was read in this conversation ({read}); a person can ask for it by a command."
            return Decision(Verdict.DENY, "tainted.deny", reason)


def permits(effect: Effect, risk: Risk) -> bool:
    """Whether a rule of this effect can permit a call of this risk: reads are allowed, everything else approved."""
    return effect is (Effect.ALLOW if risk is Risk.READ else Effect.APPROVE)


def _kinds(hosts: Sequence[Host]) -> list[Host]:
    """Return one host of each kind that rules can tell apart."""
    kinds: dict[tuple[str, frozenset[str], frozenset[str]], Host] = {}
    for host in hosts:
        kinds.setdefault((host.environment, frozenset(host.groups), frozenset(host.tags)), host)
    return [*kinds.values()]


def _targets(hosts: Sequence[Host]) -> list[Host | None]:
    """Return one host of each kind; None stands for no host at all."""
    return [*_kinds(hosts)] or [None]


def _read(permitting: Sequence[Rule], targets: Sequence[Host | None]) -> Decision:
    found = []
    for host in targets:
        rule = next((r for r in permitting if not r.misses_host(host)), None)
        if rule is None:
            where = f" on {host.name}" if host else ""
            return Decision(Verdict.DENY, "default", f"No rule allows you to use it{where}.")
        found.append(rule.name)
    return Decision(Verdict.ALLOW, ",".join(dict.fromkeys(found)))


def _change(rules: PolicyRules, question: Question, permitting: Sequence[Rule]) -> Decision:
    found: list[tuple[Host, Rule, frozenset[str]]] = []
    for host in _kinds(question.hosts):
        rule = next((r for r in permitting if not r.misses_host(host)), None)
        if rule is None:
            return _unapprovable(host)
        found.append((host, rule, rule.approvers.users_at(question.at)))
        if not (found[-1][2] or rule.approvers.groups):
            return _unapprovable(host)
    if len({(users, rule.approvers.groups, rule.needed) for _, rule, users in found}) > 1:
        said = ", ".join(f"{host.name}: {rule.name}" for host, rule, _ in found[:5])
        reason = f"These hosts have different approvers ({said}). Ask for those of one rule at a time."
        return Decision(Verdict.DENY, "approvers.mixed", reason)
    _, rule, users = found[0]
    decision = Decision(
        Verdict.NEED_APPROVAL,
        ",".join(dict.fromkeys(rule.name for _, rule, _ in found)),
        needed=max(rule.needed, rules.tiers.needed(question.reach, question.risk)),
        approver_users=users,
        approver_groups=rule.approvers.groups,
        reach=question.reach,
        reason_required=rules.tiers.needed(question.reach, question.risk) >= _REASON_FROM,
    )
    return _possible(rules, question, decision)


def _unapprovable(host: Host) -> Decision:
    where = host.environment
    reason = f"Nobody is configured to approve such a change in environment {where!r} (no rule fits)."
    return Decision(Verdict.DENY, f"approvers.none:{where}", reason)


def _possible(rules: PolicyRules, question: Question, decision: Decision) -> Decision:
    """Deny at once what could only expire: fewer people may approve it than must, the requester not counted."""
    if decision.approver_groups or question.actor.team_id == TERMINAL_TEAM:
        return decision
    team_id = question.actor.team_id
    others = {rules.person_of(team_id, user) for user in decision.approver_users} - {rules.person(question.actor)}
    if len(others) >= decision.needed:
        return decision
    why = f" ({tier_text(question.reach)})" if decision.reason_required else ""
    reason = (
        f"{decision.needed} people other than you must approve this{why}, but the rule {decision.rule!r} has "
        f"{len(others)} of them. Somebody else may ask for it, or the bot's operator names more approvers."
    )
    return Decision(Verdict.DENY, "approvers.too_few", reason, reach=decision.reach)


# --- explaining ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    """How one rule fared with a question on one host (""): why it does not match, or that it does."""

    rule: Rule
    host: str
    misses: str = ""


def looked_at(rules: PolicyRules, question: Question) -> Iterator[Looked]:
    """Yield how each rule fares, host by host, in the order in which they are looked at."""
    for rule in rules.every_rule:
        for host in _targets(question.hosts):
            yield Looked(rule, host.name if host else "", rule.misses(question) or rule.misses_host(host))


def _json(value: object) -> Json:
    """Write rules as JSON, the same for equal rules."""
    match value:
        case bool() | int() | str() | None:
            return value
        case date() | datetime() | time():
            return value.isoformat()
        case ZoneInfo():
            return value.key
        case frozenset():
            return [*sorted(map(str, value))]
        case tuple():
            return [_json(item) for item in value]
        case Mapping():
            return {str(name): _json(item) for name, item in value.items()}
    if is_dataclass(value):
        return {each.name: _json(getattr(value, each.name)) for each in fields(value)}
    raise TypeError(f"{type(value).__name__} is not part of any rule")


def needs_reason_text(decision: Decision) -> str:
    """Say to whoever asked, person or model, that a reason is missing."""
    why = tier_text(decision.reach) if decision.reach else decision.rule
    return (
        f"Not asked for: this needs a reason in a person's own words ({why}). They have to write it: "
        "`… because REASON`, in the message or after the command."
    )


def tier_text(reach: Reach) -> str:
    """Say a tier for people: `last replica: web-1 is the only host of group web`."""
    return f"{reach.tier.replace('_', ' ')}: {reach.why}" if reach.why else reach.tier.replace("_", " ")
