"""What holds actions back, from the configuration: caps, planned freezes, the stop file; and faults in them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from opsbot.caps import Caps
from opsbot.config_faults import Place, dotted
from opsbot.config_freezes import FreezeEntry
from opsbot.config_model import Settings, completed
from opsbot.config_policy_checks import when_faults, zone_faults
from opsbot.config_rules import window, zone_of
from opsbot.domain import Host
from opsbot.errors import BadArguments
from opsbot.freezes import PlannedFreeze
from opsbot.holds import read_scope
from opsbot.inventory import Inventory

Fault = tuple[Place, str]


def caps_of(settings: Settings) -> Caps:
    """Return how much may be done."""
    limits = settings.limits
    return Caps(limits.actions_per_hour, limits.actions_per_hour_per_person, dict(limits.hosts_per_action_in))


def freezes_of(settings: Settings, inventory: Inventory) -> tuple[PlannedFreeze, ...]:
    """Return the planned freezes."""
    return tuple(_planned(entry, inventory.hosts, inventory.groups) for entry in settings.freezes)


def _planned(entry: FreezeEntry, hosts: Mapping[str, Host], groups: Mapping[str, Sequence[str]]) -> PlannedFreeze:
    return PlannedFreeze(
        entry.name,
        read_scope(entry.scope, hosts, groups),
        entry.reason,
        window(entry.when) if entry.when else None,
        _at(entry.begins, entry),
        _at(entry.ends, entry),
    )


def _at(text: str | None, entry: FreezeEntry) -> datetime | None:
    """Return the instant of a wall-clock time; one that the clock skips in spring comes right after the gap."""
    if text is None:
        return None
    return datetime.fromisoformat(text).replace(tzinfo=zone_of(entry.timezone)).astimezone(UTC)


def brake_faults(settings: Settings, broken: frozenset[Place]) -> Iterator[Fault]:
    """Yield what is wrong with caps and freezes. A freeze that holds nothing back is a fault."""
    if ("limits",) not in broken:
        yield from _cap_faults(settings)
    if {("hosts",), ("groups",), ("freezes",)} & broken or any(place[0] in ("hosts", "groups") for place in broken):
        return
    seen: set[str] = set()
    for index, entry in enumerate(settings.freezes):
        place: Place = ("freezes", index)
        if entry.name in seen:
            yield (*place, "name"), f"{dotted((*place, 'name'))}: another freeze has this name; give it its own."
        seen.add(entry.name)
        yield from _time_faults(place, entry)
        yield from _scope_faults(place, entry, settings)


def _cap_faults(settings: Settings) -> Iterator[Fault]:
    limits = settings.limits
    if limits.actions_per_hour_per_person > limits.actions_per_hour:
        place = ("limits", "actions_per_hour_per_person")
        yield place, f"{dotted(place)}: is more than limits.actions_per_hour, so it would never count; lower it."
    for environment, most in limits.hosts_per_action_in.items():
        if most > limits.hosts_per_action:
            here: Place = ("limits", "hosts_per_action_in", environment)
            yield here, f"{dotted(here)}: is more than limits.hosts_per_action, so it would never count; lower it."


def _time_faults(place: Place, entry: FreezeEntry) -> Iterator[Fault]:
    if entry.when is not None:
        yield from when_faults((*place, "when"), entry.when)
        if entry.begins or entry.ends:
            yield place, f"{dotted(place)}: has `when` (every week), so leave begins and ends out."
        return
    if not (entry.begins or entry.ends):
        yield (
            place,
            f"{dotted(place)}: never holds: name `when`, or begins and ends.",
        )
        return
    yield from zone_faults((*place, "timezone"), entry.timezone)
    try:
        begins, ends = _at(entry.begins, entry), _at(entry.ends, entry)
    except (ValueError, OSError, KeyError):
        yield place, f"{dotted(place)}: begins or ends is no time of a calendar; correct it."
        return
    if begins and ends and begins >= ends:
        yield (*place, "ends"), f"{dotted((*place, 'ends'))}: is before it begins; correct one of them."


def _scope_faults(place: Place, entry: FreezeEntry, settings: Settings) -> Iterator[Fault]:
    hosts = {
        name: Host(name, environment=completed(host, settings.defaults).environment)
        for name, host in settings.hosts.items()
    }
    groups: dict[str, list[str]] = {name: [*members] for name, members in settings.groups.items()}
    for name, host in settings.hosts.items():
        for group in host.groups:
            groups.setdefault(group, []).append(name)
    try:
        read_scope(entry.scope, hosts, groups)
    except BadArguments as error:
        here = (*place, "scope")
        yield here, f"{dotted(here)}: {error}"
