"""The policy section turned into the core's rules; it was checked before."""

from collections.abc import Iterable
from datetime import date, time
from zoneinfo import ZoneInfo

from opsbot.config_model import Settings
from opsbot.config_policy import WEEKDAYS, Policy, RotaEntry, RuleEntry, When
from opsbot.domain import Risk, Rollout
from opsbot.policy import ApproverRule, Escalation, PolicyRules, Tainted, Tiers
from opsbot.policy_rules import ANYONE, Approvers, Effect, Role, Rule, Window
from opsbot.rota import Override, Rota

_RISKS = {
    Effect.ALLOW: frozenset({Risk.READ}),
    Effect.APPROVE: frozenset({Risk.CHANGE, Risk.DANGER}),
    Effect.DENY: None,
}
_EVERYONE = Role(ANYONE, frozenset({ANYONE}))


def rules_of(settings: Settings) -> PolicyRules:
    """Return what decides who may do what."""
    policy = settings.policy
    made = _Made(policy)
    return PolicyRules(
        asker_users=frozenset(policy.askers.users),
        asker_groups=frozenset(policy.askers.groups),
        approvers=tuple(
            ApproverRule(rule.environments, frozenset(rule.users), frozenset(rule.groups), rule.needed)
            for rule in policy.approvers
        ),
        hosts_per_action=settings.limits.hosts_per_action,
        terminal_operator=policy.terminal_operator,
        tainted=Tainted(policy.tainted),
        standing_minutes=policy.standing_minutes,
        rollout=Rollout(**settings.rollout.model_dump()),
        rules=tuple(made.rule(entry) for entry in policy.rules),
        people={user_id: name for name, user_ids in policy.people.items() for user_id in user_ids},
        tiers=Tiers(**policy.tiers.model_dump()),
        escalation=Escalation(
            policy.escalate_after_s, tuple((target, made.approvers([target])) for target in policy.escalate_to)
        ),
    )


def approvers_of(policy: Policy, named: Iterable[str]) -> Approvers:
    """Return the people that `user:`, `group:`, `role:` and `oncall:` stand for in this policy."""
    return _Made(policy).approvers(named)


class _Made:
    """The named parts that rules refer to."""

    def __init__(self, policy: Policy) -> None:
        self._roles = {name: Role.of(name, entry.users, entry.groups) for name, entry in policy.roles.items()}
        self._rotas = {name: rota(name, entry) for name, entry in policy.rotas.items()}

    def rule(self, entry: RuleEntry) -> Rule:
        effect = Effect(entry.effect)
        named = [name for name in entry.roles if name != ANYONE]
        roles = tuple(self._roles[name] for name in named)
        if effect is not Effect.DENY and len(named) != len(entry.roles):
            roles = (*roles, _EVERYONE)
        return Rule(
            name=entry.name,
            effect=effect,
            roles=roles,
            tools=_some(entry.tools),
            risks=frozenset(map(Risk, entry.risks)) if entry.risks else _RISKS[effect],
            groups=_some(entry.groups),
            environments=_some(entry.environments),
            tags=_some(entry.tags),
            channels=_some(entry.channels),
            when=window(entry.when) if entry.timed else None,
            approvers=self.approvers(entry.approvers),
            needed=entry.needed or 1,
        )

    def approvers(self, named: Iterable[str]) -> Approvers:
        by_kind: dict[str, list[str]] = {"user": [], "group": [], "role": [], "oncall": []}
        for reference in named:
            kind, _, name = reference.partition(":")
            by_kind[kind].append(name)
        roles = [self._roles[name] for name in by_kind["role"]]
        return Approvers(
            frozenset(by_kind["user"]).union(*(role.user_ids for role in roles)),
            frozenset(by_kind["group"]).union(*(role.group_ids for role in roles)),
            tuple(self._rotas[name] for name in by_kind["oncall"]),
        )


def _some(names: tuple[str, ...]) -> frozenset[str] | None:
    return None if not names or ANYONE in names else frozenset(names)


def window(entry: When) -> Window:
    """Return the hours a `when` means."""
    days = frozenset(WEEKDAYS.index(day) for day in entry.days)
    return Window(days, _minutes(entry.start), _minutes(entry.end), ZoneInfo(entry.timezone))


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone that was checked before."""
    return ZoneInfo(name)


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def rota(name: str, entry: RotaEntry) -> Rota:
    """Return a rotation."""
    return Rota(
        name,
        entry.people,
        date.fromisoformat(entry.starts_on),
        time.fromisoformat(entry.handover),
        ZoneInfo(entry.timezone),
        tuple(
            Override(date.fromisoformat(each.first), date.fromisoformat(each.until), each.person)
            for each in entry.overrides
        ),
    )
