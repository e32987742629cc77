"""How much may be done: hosts in one action, effects in an hour by one person's requests and by all. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from opsbot.domain import Host, Moment
from opsbot.errors import CapReached

WINDOW_S = 3600.0
# Clocks of two machines that are kept in time agree far better than this.
_SKEW_S = 30.0


@dataclass(frozen=True, slots=True)
class Caps:
    """The operator's caps. `hosts_in`: hosts in one action by environment. One effect: one host acted on once."""

    an_hour: int = 60
    an_hour_per_person: int = 20
    hosts_in: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect of the last hour: who asked for it, and how long ago it was."""

    requester: str
    age_s: float


def age_s(then: Moment, now: Moment, *, behind: bool = False) -> float:
    """Return how long ago that was at least, whatever was done to the clock.

    Within one boot only the time since the boot counts. Across boots the clock has to do, unless it was `behind` then
    or is behind now: what an earlier boot of this machine did is as old as this boot, and no more can be told.
    """
    if then.boot_id == now.boot_id:
        return max(0.0, now.monotonic_s - then.monotonic_s)
    by_wall_s = (now.at - then.at).total_seconds()
    if by_wall_s >= 0 and not behind:
        return by_wall_s
    return max(0.0, now.monotonic_s) if then.machine == now.machine else 0.0


@dataclass(frozen=True, slots=True)
class Noted:
    """The time noted with an effect. `behind`: the clock was behind the journal, so it is not to be relied on."""

    moment: Moment
    behind: bool = False


def journal_time(now: Moment, newest: Noted | None) -> Noted:
    """Return the time to note for what is done now.

    The journal's own time never goes back: within one boot it goes on from its newest row, if the clock was set back.
    In a later boot it is only known that the clock is behind.
    """
    if newest is None:
        return Noted(now)
    then = newest.moment
    same_boot = then.boot_id == now.boot_id
    least = then.at + timedelta(seconds=now.monotonic_s - then.monotonic_s) if same_boot else then.at
    behind_s = (least - now.at).total_seconds()
    behind = newest.behind and behind_s > -_SKEW_S if same_boot else behind_s > _SKEW_S
    return Noted(replace(now, at=max(now.at, least)), behind)


def check_hosts(caps: Caps, hosts: Sequence[Host]) -> None:
    """Check how many hosts of each environment are in one action.

    Raises:
        CapReached: too many.
    """
    for environment, count in sorted(Counter(host.environment for host in hosts).items()):
        most = caps.hosts_in.get(environment)
        if most is not None and count > most:
            raise CapReached(
                f"{count} hosts of {environment} in one action; {most} at most "
                f"(limits.hosts_per_action_in). Ask for fewer at a time.",
                rule=f"limits.hosts_per_action_in:{environment}",
            )


def check_hour(caps: Caps, effects: Iterable[Effect], requester: str, *, more: int, now: datetime) -> None:
    """Check that so many more effects fit beside those of the last hour.

    Raises:
        CapReached: they do not; the text says which cap it is and when there is room.
    """
    everything = list(effects)
    own = [effect for effect in everything if effect.requester == requester]
    _check(own, caps.an_hour_per_person, more, now, rule="limits.actions_per_hour_per_person", whose="at your request")
    _check(everything, caps.an_hour, more, now, rule="limits.actions_per_hour", whose="in all")


def _check(effects: Sequence[Effect], most: int, more: int, now: datetime, *, rule: str, whose: str) -> None:
    too_many = len(effects) + more - most
    if too_many <= 0:
        return
    if more > most:
        raise CapReached(f"That are {more} hosts; {most} in an hour are the most ({rule}). Ask for fewer.", rule=rule)
    oldest_first = sorted((effect.age_s for effect in effects), reverse=True)
    free_at = now + timedelta(seconds=WINDOW_S - oldest_first[too_many - 1])
    raise CapReached(
        f"{len(effects)} hosts were acted on {whose} within an hour; {most} are the most ({rule}). "
        f"There is room again at {free_at:%H:%M:%S} UTC.",
        rule=rule,
        free_at=free_at,
    )
