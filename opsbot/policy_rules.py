"""Rules as data: roles, time windows, what a rule matches and whom it asks. Pure; no patterns, no evaluation."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from opsbot.domain import Actor, Host, Place, Reach, Risk
from opsbot.rota import Rota

# The team id of the person at the bot's own terminal (`opsbot chat`); no chat service uses it.
TERMINAL_TEAM = "terminal"
ANYONE = "*"
# Instead of a channel's id: any direct message with the bot, and its terminal.
DIRECT, TERMINAL = "direct", "terminal"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def user(user_id: str) -> str:
    """Return the prefixed id of a user, which no group and no role can have."""
    return f"user:{user_id}"


def group(group_id: str) -> str:
    """Return the prefixed id of a user group."""
    return f"group:{group_id}"


@dataclass(frozen=True, slots=True)
class Role:
    """People by a name. `members` are prefixed ids, or ANYONE; the name itself is never compared with an id."""

    name: str
    members: frozenset[str] = frozenset()

    @staticmethod
    def of(name: str, users: Iterable[str] = (), groups: Iterable[str] = ()) -> "Role":
        """Return the role of these users (ANYONE: every member of the workspace) and members of these groups."""
        people = {ANYONE if user_id == ANYONE else user(user_id) for user_id in users}
        return Role(name, frozenset(people | {group(group_id) for group_id in groups}))

    @property
    def user_ids(self) -> frozenset[str]:
        return frozenset(member.removeprefix("user:") for member in self.members if member.startswith("user:"))

    @property
    def group_ids(self) -> frozenset[str]:
        return frozenset(member.removeprefix("group:") for member in self.members if member.startswith("group:"))

    def holds(self, actor: Actor) -> bool:
        """Whether the person is known to be in it. Whoever sits at the bot's terminal is in every role."""
        return actor.team_id == TERMINAL_TEAM or self._has(actor, actor.groups)

    def may_hold(self, actor: Actor) -> bool:
        """Whether the person is in it as far as is known; a group that could not be read counts."""
        return actor.team_id != TERMINAL_TEAM and self._has(actor, actor.groups | actor.unread)

    def _has(self, actor: Actor, group_ids: Collection[str]) -> bool:
        ids = {ANYONE, user(actor.user_id), *map(group, group_ids)}
        return not self.members.isdisjoint(ids)


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days of the week (Monday is 0) in wall-clock time; minutes of the day, `end` not included.

    One that ends before it starts goes on after midnight, and belongs to the day it starts on.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    def holds(self, at: datetime) -> bool:
        """Whether this (aware) time is inside; an hour that the clock shows twice counts twice."""
        local = at.astimezone(self.zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days

    def shown(self, at: datetime) -> str:
        """Say the time as this window sees it."""
        local = at.astimezone(self.zone)
        return f"{_DAYS[local.weekday()]} {local:%H:%M} {self.zone.key}"

    def __str__(self) -> str:
        days = ", ".join(_DAYS[day] for day in sorted(self.days)) if len(self.days) < 7 else "every day"
        return f"{days} {_clock(self.start)}-{_clock(self.end)} {self.zone.key}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


class Effect(StrEnum):
    """What a rule that matches says: a read is allowed, a change goes to approvers, or neither happens."""

    ALLOW = "allow"
    APPROVE = "approve"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may approve: people by id, members of user groups, and whoever is on call."""

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    rotas: tuple[Rota, ...] = ()

    def users_at(self, at: datetime) -> frozenset[str]:
        """Return the people named, and those on call at this time."""
        return self.users.union(who for rota in self.rotas if (who := rota.on_call(at)))


@dataclass(frozen=True, slots=True)
class Question:
    """What policy is asked: may this person do this with this tool on these hosts, from here, now?"""

    actor: Actor
    tool: str
    risk: Risk
    hosts: tuple[Host, ...]
    place: Place
    at: datetime
    reach: Reach

    @property
    def channels(self) -> frozenset[str]:
        return channels_of(self.place)


def channels_of(place: Place) -> frozenset[str]:
    """Return what a rule may call this place: its channel's id, `direct`, `terminal`."""
    if place.team_id == TERMINAL_TEAM:
        return frozenset({TERMINAL})
    return frozenset({place.channel_id, DIRECT} if place.direct else {place.channel_id})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. None matches anything; a named set matches what is in it, exactly. `roles` (): anybody.

    `groups`, `environments` and `tags` are of hosts. `approvers` and `needed` are for APPROVE.
    """

    name: str
    effect: Effect
    roles: tuple[Role, ...] = ()
    tools: frozenset[str] | None = None
    risks: frozenset[Risk] | None = None
    groups: frozenset[str] | None = None
    environments: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    channels: frozenset[str] | None = None
    when: Window | None = None
    approvers: Approvers = Approvers()
    needed: int = 1

    @property
    def about_hosts(self) -> bool:
        """Whether it matters which host it is."""
        return not self.groups is self.environments is self.tags is None

    def covers(self, actor: Actor) -> bool:
        """Whether the person is in one of its roles; for a denial, whether they may be."""
        if not self.roles:
            return True
        return any(role.may_hold(actor) if self.effect is Effect.DENY else role.holds(actor) for role in self.roles)

    def misses(self, question: Question) -> str:
        """Say why it does not match the question, whatever the host; "": it does."""
        if not self.covers(question.actor):
            return f"{question.actor.user_id} is not in {_named('role', (role.name for role in self.roles))}"
        if self.tools is not None and question.tool not in self.tools:
            return f"the tool is not {_named('', self.tools)}"
        if self.risks is not None and question.risk not in self.risks:
            return f"the risk is {question.risk}, not {_named('', self.risks)}"
        if self.channels is not None and self.channels.isdisjoint(question.channels):
            return f"it is not asked in {_named('', self.channels)}"
        if self.when is not None and not self.when.holds(question.at):
            return f"{self.when.shown(question.at)} is outside {self.when}"
        return ""

    def misses_host(self, host: Host | None) -> str:
        """Say why it does not match on this host (None: a tool without hosts); "": it does."""
        if host is None:
            return "the tool is not about a host" if self.about_hosts else ""
        if self.groups is not None and self.groups.isdisjoint(host.groups):
            return f"{host.name} is not in {_named('group', self.groups)}"
        if self.environments is not None and host.environment not in self.environments:
            return f"{host.name} is in environment {host.environment}, not {_named('', self.environments)}"
        if self.tags is not None and self.tags.isdisjoint(host.tags):
            return f"{host.name} has not {_named('tag', self.tags)}"
        return ""


def _named(kind: str, names: Iterable[str]) -> str:
    return f"{kind} {' or '.join(sorted(map(str, names)))}".strip()
