"""What holds actions back: stops and freezes, where they hold, and who is heard about their end. Pure."""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from opsbot.domain import Host
from opsbot.errors import AlreadyDecided, BadArguments, NotAllowed, TargetTaken

# As approvals' ids: spoken over the phone, so no letters that read like digits.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH = 6
EVERYTHING = "all"
# Who made a hold, if not a person in chat: the first part of `by`.
SHELL, FILE, CONFIGURATION = "shell", "file", "configuration"
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,254}", re.ASCII)
# A first word for going on after a stop counts so long.
_VOTE = timedelta(minutes=15)
_PEOPLE_TO_RESUME = 2


class HoldKind(StrEnum):
    """A stop holds everything back until two people end it; a freeze what it names, until it ends or is lifted."""

    STOP = "stop"
    FREEZE = "freeze"


class Where(StrEnum):
    """What a scope's name is a name of."""

    ALL = "all"
    ENVIRONMENT = "environment"
    GROUP = "group"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a hold holds. `unit` narrows it to one service or container, as written; "" is everything there.

    `hosts` were in it when it was made: they stay in it when a group loses them.
    """

    where: Where
    name: str = ""
    unit: str = ""
    hosts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As people write it: `all`, `group:web`, `nginx@host:web-1`."""
        place = EVERYTHING if self.where is Where.ALL else f"{self.where}:{self.name}"
        return f"{self.unit}@{place}" if self.unit else place


@dataclass(frozen=True, slots=True)
class Hold:
    """A stop or a freeze. `by` and `ended_by` are keys of persons, `shell/USER`, `file/PATH` or `configuration/NAME`.

    `until` None: until it is lifted. `votes`: who said lately that a stop may end, and when.
    """

    id: str
    kind: HoldKind
    scope: Scope
    by: str
    at: datetime
    reason: str = ""
    until: datetime | None = None
    votes: tuple[tuple[str, datetime], ...] = ()
    ended_by: str = ""
    ended_at: datetime | None = None
    end_reason: str = ""
    version: int = 1

    def in_force(self, now: datetime) -> bool:
        """Whether it holds now."""
        return self.ended_at is None and (self.until is None or now < self.until)


def new_id() -> str:
    """Make an id for a hold."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


def who(by: str) -> str:
    """Name whoever made or ended a hold, for chat: code alone makes the mention."""
    kind, _, name = by.partition("/")
    if kind == SHELL:
        return f"{_plain(name)} (in a shell)"
    if kind == FILE:
        return f"the file {_plain(name)}"
    if kind == CONFIGURATION:
        return f"the configuration ({_plain(name)})"
    return f"<@{name}>" if name.isalnum() and name.isascii() else "somebody"


def told(hold: Hold) -> str:
    """Say what is held back by whom and until when, without the reason: that is a person's words."""
    by, since = who(hold.by), f"{hold.at:%Y-%m-%d %H:%M:%S} UTC"
    if hold.kind is HoldKind.STOP:
        return f"All actions are stopped by {by} since {since} (stop {_plain(hold.id)})."
    until = f" until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
    return f"{_plain(str(hold.scope))} is frozen{until} by {by} since {since} (freeze {_plain(hold.id)})."


def told_why(hold: Hold) -> str:
    """As `told`, with the reason."""
    return f"{told(hold)} Reason: {hold.reason or 'none given'}"


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() and char not in "<>&" else "_" for char in text[:200])


# --- where it holds --------------------------------------------------------------------------------------------------


def read_scope(text: str, hosts: Mapping[str, Host], groups: Mapping[str, Sequence[str]]) -> Scope:
    """Read a scope as people write it; a name without `host:` or `group:` is whichever exists.

    Raises:
        BadArguments: it names nothing that exists.
    """
    unit, at, place = text.rpartition("@")
    if at and not unit:
        raise BadArguments("Nothing stands before the @. Write the service there, as in nginx@web.")
    if unit and not _SERVICE.fullmatch(unit):
        raise BadArguments(f"{unit[:80]!a} is not the name of a service or container.")
    kind, _, name = place.partition(":")
    if place == EVERYTHING:
        return Scope(Where.ALL, unit=unit)
    if not name:
        kind, name = ("host" if place in hosts else "group"), place
    found = _members(kind, name, hosts, groups)
    if not found:
        raise BadArguments(
            f"{text[:80]!a} names nothing in the inventory. Write all, environment:NAME, a group, a host, or "
            "SERVICE@ before one of them."
        )
    return Scope(Where(kind), name, unit, tuple(sorted(found)))


def _members(kind: str, name: str, hosts: Mapping[str, Host], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    match kind:
        case Where.ENVIRONMENT:
            return tuple(host.name for host in hosts.values() if host.environment == name)
        case Where.GROUP:
            return tuple(groups.get(name, ()))
        case Where.HOST:
            return (name,) if name in hosts else ()
        case _:
            return ()


def covers(scope: Scope, host: Host, targets: Sequence[str]) -> bool:
    """Whether the hold holds back an action on these targets of the host; without targets it is the whole host."""
    inside = {
        Where.ALL: True,
        Where.ENVIRONMENT: host.environment == scope.name,
        Where.GROUP: scope.name in host.groups,
        Where.HOST: host.name == scope.name,
    }[scope.where]
    if not inside and host.name not in scope.hosts:
        return False
    return not scope.unit or not targets or any(_same(scope.unit, target) for target in targets)


def _same(unit: str, target: str) -> bool:
    """Whether both name one service: systemd's `.service` may be left out."""
    return unit.removesuffix(".service") == target.removesuffix(".service")


def holding(holds: Iterable[Hold], hosts: Sequence[Host], targets: Sequence[str], now: datetime) -> Hold | None:
    """Return what holds an action on these hosts back now: a stop before a freeze, or None."""
    found = [
        hold
        for hold in holds
        if hold.in_force(now) and (not hosts or any(covers(hold.scope, host, targets) for host in hosts))
    ]
    return min(found, key=lambda hold: (hold.kind is not HoldKind.STOP, hold.at), default=None)


def overlap(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two actions on one host touch the same; without targets an action touches the whole host."""
    return not one or not other or bool(set(one) & set(other))


def taken(host: str, approval_id: str) -> TargetTaken:
    """Make the error that names who is there."""
    return TargetTaken(f"Request {approval_id} is under way there on {host}. Ask again after it.", rule="lock")


# --- their ends ------------------------------------------------------------------------------------------------------


def lift(hold: Hold, by: str, *, reason: str, now: datetime) -> Hold:
    """Return the hold as ended. Raises AlreadyDecided when it does not hold any more."""
    _check_in_force(hold, now)
    return replace(hold, ended_by=by, ended_at=now, end_reason=reason)


def vote(stop: Hold, person: str, by: str, *, reason: str, now: datetime) -> Hold:
    """Count one person's word that the stop may end: ended with the second person's within a quarter of an hour.

    `person` is who it is whichever account is used, `by` the account.

    Raises:
        NotAllowed: this person's word is counted already.
        AlreadyDecided: it does not hold any more.
    """
    _check_in_force(stop, now)
    fresh = tuple((voter, at) for voter, at in stop.votes if timedelta() <= now - at <= _VOTE)
    if any(voter == person for voter, _ in fresh):
        raise NotAllowed("Your word is counted already; it takes another person as well.")
    counted = replace(stop, votes=(*fresh, (person, now)))
    return lift(counted, by, reason=reason, now=now) if len(counted.votes) >= _PEOPLE_TO_RESUME else counted


def _check_in_force(hold: Hold, now: datetime) -> None:
    if not hold.in_force(now):
        raise AlreadyDecided(f"The {hold.kind} {hold.id} holds nothing back any more.")
