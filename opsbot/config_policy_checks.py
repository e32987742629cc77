"""What must fit together in the policy: names that exist, rules that can apply, people enough to approve. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from opsbot.config_faults import Place, dotted
from opsbot.config_model import Settings, completed
from opsbot.config_policy import Approvers, Policy, RotaEntry, RuleEntry, When
from opsbot.inventory import near_misses

_ANY = "*"
Fault = tuple[Place, str]
# Names that decisions carry without a rule of the operator's.
_RESERVED = ("askers", "default", "terminal", "inventory")
_PERMITTED = {"allow": {"read"}, "approve": {"change", "danger"}, "deny": {"read", "change", "danger"}}


def policy_faults(settings: Settings, broken: frozenset[Place]) -> Iterator[Fault]:
    """Yield what does not fit together; nothing is concluded from what is `broken` and so left out."""
    policy = settings.policy
    if ("policy",) in broken:
        return
    if not {("policy", "askers"), ("policy", "rules")} & broken:
        yield from _asker_faults(settings)
    for index, shorthand in enumerate(policy.approvers):
        yield from _approver_faults(("policy", "approvers", index), shorthand)
    if not {("policy", "approvers"), ("policy", "rules")} & broken:
        yield from _coverage_faults(settings)
    for name, role in policy.roles.items():
        if not (role.users or role.groups):
            place: Place = ("policy", "roles", name)
            yield place, f"{dotted(place)}: names nobody, so a denial for it would deny nobody; add users or groups."
    names = _Names(settings, broken)
    seen: dict[str, int] = {}
    for index, rule in enumerate(policy.rules):
        place = ("policy", "rules", index)
        yield from _rule_name_faults(place, rule, seen.setdefault(rule.name, index))
        yield from _rule_faults(place, rule)
        yield from names.faults(place, rule)
    for name, rota in policy.rotas.items():
        yield from _rota_faults(("policy", "rotas", name), rota)
    yield from _people_faults(policy)
    yield from _escalation_faults(policy, names)


def _asker_faults(settings: Settings) -> Iterator[Fault]:
    policy = settings.policy
    if settings.slack is None or policy.askers.users or policy.askers.groups:
        return
    if not any(rule.effect != "deny" for rule in policy.rules):
        place = ("policy", "askers")
        yield place, 'policy.askers: nobody may talk to the bot; name users or groups (users: ["*"] for everyone).'


def _approver_faults(place: Place, rule: Approvers) -> Iterator[Fault]:
    if not (rule.users or rule.groups):
        yield place, f"{dotted(place)}: names no approver; add users or groups."
    elif not rule.groups and len(set(rule.users)) < rule.needed:
        here = (*place, "needed")
        yield here, f"{dotted(here)}: {rule.needed} people must approve, but only {len(set(rule.users))} may."


def _coverage_faults(settings: Settings) -> Iterator[Fault]:
    """Where something can be done, somebody must be there to approve it."""
    policy = settings.policy
    covered = {name for shorthand in policy.approvers for name in shorthand.environments}
    for rule in policy.rules:
        if rule.effect == "approve":
            covered.update(rule.environments or (_ANY,))
    if _ANY in covered:
        return
    writable: dict[str, str] = {}
    for name, host in settings.hosts.items():
        if host.units:
            writable.setdefault(completed(host, settings.defaults).environment, name)
    for environment in sorted(writable.keys() - covered):
        yield (
            ("policy", "approvers"),
            f"policy.approvers: nobody approves changes in environment {environment!r} (host {writable[environment]} "
            "has units); add a rule for it.",
        )


# --- rules -----------------------------------------------------------------------------------------------------------


def _rule_name_faults(place: Place, rule: RuleEntry, first: int) -> Iterator[Fault]:
    here = (*place, "name")
    if rule.name in _RESERVED:
        yield here, f"{dotted(here)}: {rule.name!r} is a word of opsbot's own; choose another name."
    elif first != place[-1]:
        yield here, f"{dotted(here)}: policy.rules[{first}] is called {rule.name!r} too; decisions name their rule."


def _rule_faults(place: Place, rule: RuleEntry) -> Iterator[Fault]:
    """A rule that says what its effect cannot mean."""
    if rule.effect != "deny" and not rule.roles:
        yield place, f'{dotted(place)}: has no `roles`; name whom it is for (["*"]: every member of the workspace).'
    if rule.effect == "approve" and not rule.approvers:
        yield place, f"{dotted(place)}: has no `approvers`; name who approves."
    for setting in ("approvers", "needed") if rule.effect != "approve" else ():
        if setting in rule.model_fields_set:
            here: Place = (*place, setting)
            yield here, f"{dotted(here)}: belongs to rules with `effect: approve`; remove it."
    for index, risk in enumerate(rule.risks):
        if risk not in _PERMITTED[rule.effect]:
            here = (*place, "risks", index)
            say = "write `effect: approve`" if rule.effect == "allow" else "write `effect: allow`"
            yield here, f"{dotted(here)}: {rule.effect} is never for {risk}; {say} for those."
    yield from _meaning_faults(place, rule)


def _meaning_faults(place: Place, rule: RuleEntry) -> Iterator[Fault]:
    """Lists and hours that do not say what somebody meant by them."""
    for setting in ("roles", "tools", "groups", "environments", "tags", "channels"):
        named: Sequence[str] = getattr(rule, setting)
        if _ANY in named and len(named) > 1:
            here = (*place, setting)
            yield here, f'{dotted(here)}: "*" stands for all of them already; leave it alone there or remove it.'
    if rule.timed:
        yield from when_faults((*place, "when"), rule.when)


class _Names:
    """What rules may refer to."""

    def __init__(self, settings: Settings, broken: frozenset[Place]) -> None:
        whole = [completed(host, settings.defaults) for host in settings.hosts.values()]
        self._policy = settings.policy
        self._broken = broken
        self._hosts_known = not any(place[0] in ("hosts", "groups", "defaults", "inventory") for place in broken)
        self._of_hosts: Mapping[str, tuple[str, frozenset[str]]] = {
            "groups": ("group", frozenset(settings.groups).union(*(host.groups for host in whole))),
            "environments": ("host in environment", frozenset(host.environment for host in whole)),
            "tags": ("host with tag", frozenset(tag for host in whole for tag in host.tags)),
        }

    def faults(self, place: Place, rule: RuleEntry) -> Iterator[Fault]:
        """Yield what a rule names and is not there: a typing error in a denial would deny nothing."""
        yield from self._missing(_placed((*place, "roles"), rule.roles), "role", self._policy.roles)
        for setting, (kind, known) in self._of_hosts.items():
            named: Sequence[str] = getattr(rule, setting)
            if self._hosts_known:
                yield from self._missing(_placed((*place, setting), named), kind, known)
        yield from self.approver_faults((*place, "approvers"), rule.approvers, rule.needed or 1)

    def approver_faults(self, place: Place, named: Sequence[str], needed: int) -> Iterator[Fault]:
        """Yield approvers that are not there, that would be everybody, or that are too few."""
        references = [(here, *_split(reference)) for here, reference in _placed(place, named)]
        known: Iterable[str]
        for kind, known in (("role", self._policy.roles), ("oncall", self._policy.rotas)):
            words = ((here, name) for here, found, name in references if found == kind)
            yield from self._missing(words, "rota" if kind == "oncall" else kind, known)
        people: set[str] = set()
        for here, kind, name in references:
            role = self._policy.roles.get(name) if kind == "role" else None
            if role is not None and _ANY in role.users:
                yield here, f"{dotted(here)}: this role is everybody; name who may approve."
            open_ended = kind == "group" or (kind == "role" and (role is None or role.groups))
            people.update([_ANY] if open_ended else role.users if role else [f"{kind}:{name}".removeprefix("user:")])
        if named and _ANY not in people and len(people) < needed:
            around = (*place[:-1], "needed")
            yield around, f"{dotted(around)}: {needed} people must approve, but only {len(people)} may."

    def _missing(self, named: Iterable[tuple[Place, str]], kind: str, known: Iterable[str]) -> Iterator[Fault]:
        section = {"role": "roles", "rota": "rotas"}.get(kind, "")
        if section and ("policy", section) in self._broken:
            return
        there = frozenset(known)
        for place, name in named:
            if name != _ANY and name not in there:
                near = near_misses(name, there)
                hint = f"did you mean {near[0]}?" if near else "correct it, or add it."
                yield place, f"{dotted(place)}: there is no {kind} {name[:60]!a}; {hint}"


def _placed(place: Place, named: Sequence[str]) -> list[tuple[Place, str]]:
    return [((*place, index), name) for index, name in enumerate(named)]


def _split(reference: str) -> tuple[str, str]:
    kind, _, name = reference.partition(":")
    return kind, name


# --- rotas, people, escalation ---------------------------------------------------------------------------------------


def when_faults(place: Place, when: When) -> Iterator[Fault]:
    """Yield what is wrong with hours of the week."""
    yield from zone_faults((*place, "timezone"), when.timezone)
    if when.start == when.end:
        here = (*place, "end")
        yield here, f'{dotted(here)}: is when it starts; for whole days write "00:00" and "24:00".'


def zone_faults(place: Place, name: str) -> Iterator[Fault]:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        said = "is no time zone this machine knows; write one like Europe/Berlin (and install tzdata if that fails)."
        yield place, f"{dotted(place)}: {said}"


def _rota_faults(place: Place, rota: RotaEntry) -> Iterator[Fault]:
    yield from zone_faults((*place, "timezone"), rota.timezone)
    yield from _day_faults((*place, "starts_on"), rota.starts_on)
    taken: list[tuple[date, date, int]] = []
    for index, override in enumerate(rota.overrides):
        here: Place = (*place, "overrides", index)
        wrong = [
            *_day_faults((*here, "first"), override.first),
            *_day_faults((*here, "until"), override.until),
        ]
        yield from wrong
        if wrong:
            continue
        first, until = date.fromisoformat(override.first), date.fromisoformat(override.until)
        if until <= first:
            yield (*here, "until"), f"{dotted((*here, 'until'))}: must be a later day than `first`."
        other = next((number for start, end, number in taken if first < end and start < until), None)
        if other is not None:
            yield here, f"{dotted(here)}: overlaps with overrides[{other}]; one person is on call at a time."
        taken.append((first, until, index))


def _day_faults(place: Place, text: str) -> Iterator[Fault]:
    try:
        date.fromisoformat(text)
    except ValueError:
        yield place, f"{dotted(place)}: there is no such day; write year-month-day, in quotes."


def _people_faults(policy: Policy) -> Iterator[Fault]:
    owner: dict[str, str] = {}
    for name, user_ids in policy.people.items():
        for index, user_id in enumerate(user_ids):
            if owner.setdefault(user_id, name) != name:
                here: Place = ("policy", "people", name, index)
                yield here, f"{dotted(here)}: is {owner[user_id]}'s already; an account belongs to one person."


def _escalation_faults(policy: Policy, names: _Names) -> Iterator[Fault]:
    yield from names.approver_faults(("policy", "escalate_to"), policy.escalate_to, 1)
    if bool(policy.escalate_to) != bool(policy.escalate_after_s):
        place: Place = ("policy", "escalate_to" if policy.escalate_to else "escalate_after_s")
        yield place, f"{dotted(place)}: escalate_after_s and escalate_to are needed both, or none."
    elif policy.escalate_after_s >= policy.approval_expires_s:
        place = ("policy", "escalate_after_s")
        yield place, f"{dotted(place)}: a request is over by then (approval_expires_s); make it shorter."
