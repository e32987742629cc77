"""Defences about people and policy, to be taken out one by one."""

from tests.sabotage.copy import Change, Sabotage

T01, T02 = "tests/safety/test_t01_default_deny.py", "tests/safety/test_t02_strangers.py"
T06, T30 = "tests/safety/test_t06_own_request.py", "tests/safety/test_t30_policy_mistakes.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(f"opsbot/{file}", before, after),), tests)


PEOPLE: tuple[Sabotage, ...] = (
    _one(
        "policy: whom no rule knows may ask",
        "policy.py",
        '        Verdict.DENY, "askers", "You are not on the list',
        '        Verdict.ALLOW, "askers", "You are not on the list',
        T01,
    ),
    _one(
        "policy: denials are not looked at",
        "policy.py",
        "if rule.effect is Effect.DENY and any(",
        "if False and any(",
        T30,
    ),
    _one(
        "policy: one host that may be read lets the others be read",
        "policy.py",
        "    for host in targets:\n        rule = next((r for r in permitting",
        "    for host in targets[:1]:\n        rule = next((r for r in permitting",
        T30,
    ),
    _one("policy: an allowed read allows changes", "policy.py", "else Effect.APPROVE)\n", "else effect)\n", T30),
    _one(
        "policy: names of roles are ids",
        "policy_rules.py",
        "        ids = {ANYONE, user(actor.user_id), *map(group, group_ids)}\n        return",
        "        ids = {ANYONE, user(actor.user_id), *map(group, group_ids)}\n        if self.name in group_ids:\n"
        "            return True\n        if self.name == actor.user_id:\n            return True\n        return",
        T30,
    ),
    _one(
        "policy: hours do not matter",
        "policy_rules.py",
        "if self.when is not None and not self.when.holds(question.at):",
        "if False and self.when is not None:",
        T30,
    ),
    _one(
        "policy: a host's group may begin like the rule's",
        "policy_rules.py",
        "self.groups.isdisjoint(host.groups)",
        "not any(g.startswith(h) for g in self.groups for h in host.groups)",
        T30,
    ),
    _one(
        "policy: what a rule leaves empty is any",
        "config_policy.py",
        "Some = Annotated[tuple[Name, ...], Field(min_length=1)]",
        "Some = tuple[Name, ...]",
        T30,
    ),
    _one(
        "policy: a role of nobody is fine",
        "config_policy_checks.py",
        "if not (role.users or role.groups):",
        "if False:",
        T30,
    ),
    _one(
        "people: guests are members",
        "adapters/slack/directory.py",
        "    if any(marks):\n        return Membership.GUEST",
        "    if any(marks):\n        return Membership.MEMBER",
        T02,
    ),
    _one(
        "people: who cannot be looked up is a member",
        "identity.py",
        "            return Membership.UNKNOWN",
        "            return Membership.MEMBER",
        T02,
    ),
    _one(
        "people: clicks of another workspace count",
        "adapters/slack/incoming.py",
        'if team.get("id") != home.team_id or user.get("team_id") != home.team_id:',
        'if team.get("id") != home.team_id:',
        T02,
    ),
    _one(
        "people: other apps are heard",
        "adapters/slack/incoming.py",
        'for mark in ("bot_id", "bot_profile", "is_bot", "hidden")',
        "for mark in ()",
        T02,
    ),
    _one(
        "approvals: the requester may approve",
        "approvals.py",
        '    if is_requester:\n        raise NotAllowed("You asked',
        '    if False:\n        raise NotAllowed("You asked',
        T06,
    ),
    _one(
        "approvals: another account is another person",
        "policy.py",
        "        known = self.people.get(user_id.upper())",
        "        known = None",
        T06,
    ),
    _one(
        "approvals: spelling makes another person",
        "policy.py",
        '{team_id}/{user_id}".casefold()',
        '{team_id}/{user_id}"',
        T06,
    ),
    _one(
        "execution: approvers are not looked at again",
        "approvals.py",
        "    for actor in reviewers:\n        try:",
        "    for actor in ():\n        try:",
        T06,
    ),
    _one(
        "execution: the requester is as stored",
        "scrutiny.py",
        "requester = await self.identify(approval.requester)",
        "requester = approval.requester",
        T06,
    ),
)
