"""Who may ask, what needs whom: pure decisions, default deny, each naming its rule."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import rfc8785

from opsbot.domain import Actor, Decision, Host, Json, Risk, Rollout, Verdict

# The team id of the person at the bot's own terminal (`opsbot chat`); no chat service uses it.
TERMINAL_TEAM = "terminal"
ANYONE = "*"
_DANGER_NEEDS = 2


@dataclass(frozen=True, slots=True)
class ApproverRule:
    """Who approves changes in these environments ("*": any), and how many of them."""

    environments: tuple[str, ...]
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    needed: int = 1

    def covers(self, environment: str) -> bool:
        return environment in self.environments or ANYONE in self.environments


class Tainted(StrEnum):
    """What becomes of a change that the model proposes after it read untrusted text."""

    APPROVE = "approve"  # a person approves it, as every change, and reads on the card what was read before
    TWO = "two"  # two people at least approve it
    DENY = "deny"  # the model may not propose it; a person can, by a command


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """The operator's rules. `terminal_operator`: who sits at the bot's terminal may approve what they asked there."""

    asker_users: frozenset[str] = frozenset()
    asker_groups: frozenset[str] = frozenset()
    approvers: tuple[ApproverRule, ...] = ()
    hosts_per_action: int = 10
    terminal_operator: bool = False
    rollout: Rollout = field(default_factory=Rollout)
    tainted: Tainted = Tainted.APPROVE

    @property
    def revision(self) -> str:
        """Hex SHA-256 over everything that decides who may do what; `rollout` is bound by name, beside it."""
        content: dict[str, Json] = {
            "asker_users": [*sorted(self.asker_users)],
            "asker_groups": [*sorted(self.asker_groups)],
            "approvers": [
                [[*sorted(rule.environments)], [*sorted(rule.users)], [*sorted(rule.groups)], rule.needed]
                for rule in self.approvers
            ],
            "hosts_per_action": self.hosts_per_action,
            "terminal_operator": self.terminal_operator,
            "tainted": str(self.tainted),
        }
        return hashlib.sha256(rfc8785.dumps(content)).hexdigest()

    @property
    def group_ids(self) -> frozenset[str]:
        """Every user group that some rule names."""
        return self.asker_groups.union(*(rule.groups for rule in self.approvers))


def may_ask(rules: PolicyRules, actor: Actor) -> Decision:
    """Decide whether this person may use the bot at all."""
    if actor.team_id == TERMINAL_TEAM:
        return Decision(Verdict.ALLOW, "terminal")
    if ANYONE in rules.asker_users or actor.user_id in rules.asker_users:
        return Decision(Verdict.ALLOW, "askers.users")
    if actor.groups & rules.asker_groups:
        return Decision(Verdict.ALLOW, "askers.groups")
    return Decision(
        Verdict.DENY, "askers", "You are not on the list of people this bot works for. Its operator keeps it."
    )


def decide(rules: PolicyRules, actor: Actor, risk: Risk, hosts: Sequence[Host]) -> Decision:
    """Decide one call of a tool with this risk: allow, ask people, or deny."""
    asker = may_ask(rules, actor)
    if asker.verdict is not Verdict.ALLOW:
        return asker
    if risk is Risk.READ:
        return Decision(Verdict.ALLOW, "risk.read")
    if not hosts:
        return Decision(Verdict.DENY, "hosts.empty", "No host is named; an empty selection never means all.")
    if len(hosts) > rules.hosts_per_action:
        return Decision(
            Verdict.DENY,
            "limits.hosts_per_action",
            f"{len(hosts)} hosts in one action; the limit is {rules.hosts_per_action}. Ask for fewer at a time.",
        )
    return _approvers_for(rules, risk, hosts)


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


def _approvers_for(rules: PolicyRules, risk: Risk, hosts: Sequence[Host]) -> Decision:
    found = []
    for environment in sorted({host.environment for host in hosts}):
        rule = next((rule for rule in rules.approvers if rule.covers(environment)), None)
        if rule is None or not (rule.users or rule.groups):
            reason = f"Nobody is configured to approve changes in environment {environment!r}."
            return Decision(Verdict.DENY, f"approvers.none:{environment}", reason)
        found.append((environment, rule))
    if len({id(rule) for _, rule in found}) > 1:
        names = ", ".join(environment for environment, _ in found)
        reason = f"These hosts have different approvers ({names}). Ask for one environment at a time."
        return Decision(Verdict.DENY, "approvers.mixed", reason)
    environment, rule = found[0]
    needed = max(rule.needed, _DANGER_NEEDS) if risk is Risk.DANGER else rule.needed
    return Decision(
        Verdict.NEED_APPROVAL,
        f"approvers:{','.join(name for name, _ in found)}",
        needed=needed,
        approver_users=rule.users,
        approver_groups=rule.groups,
    )
