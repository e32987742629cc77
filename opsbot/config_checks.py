"""What must fit together across settings: names, units, keys. Pure, but for `file_faults`."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from opsbot.config_brakes import brake_faults
from opsbot.config_faults import Place, dotted
from opsbot.config_model import HostEntry, Settings, completed, jump_of
from opsbot.config_policy_checks import policy_faults
from opsbot.domain import ServiceManager
from opsbot.errors import BadArguments
from opsbot.host_keys import host_key_fault
from opsbot.inventory import EVERY_HOST, NAME_PATTERN, is_address, near_misses
from opsbot.reach import WHOLE_HOST
from opsbot.units import canonical_unit

# As the SSH adapter: each hop costs a handshake.
_MAX_JUMPS = 3
# As samples are kept (`recorder.GRID_S`).
_MIN_HISTORY_S = 10
_NAME_RULE = "use letters, digits and - _ . only, beginning and ending with a letter or digit, at most 63"
Fault = tuple[Place, str]


def cross_faults(settings: Settings, names: Iterable[str], broken: frozenset[Place]) -> Iterator[Fault]:
    """Yield what does not fit together.

    `names`: every host named in the file, also those whose own settings are broken (and are not in `settings`).
    `broken`: places left out of `settings`; nothing is concluded from their absence.
    """
    known = frozenset(names)
    yield from _name_faults(settings, known)
    yield from _group_faults(settings, known)
    for name, host in settings.hosts.items():
        whole = completed(host, settings.defaults)
        yield from _host_faults(("hosts", name), whole, broken, keys_elsewhere=settings.host_keys is not None)
        yield from _jump_faults(name, settings, known)
    yield from _store_faults(settings)
    if settings.audit.anchor.channel is not None and settings.slack is None and ("slack",) not in broken:
        place: Place = ("audit", "anchor", "channel")
        yield place, f"{dotted(place)}: there is no `slack:` section; remove it or add one."
    yield from _runbook_faults(settings)
    yield from brake_faults(settings, broken)
    if 0 < settings.history.every_s < _MIN_HISTORY_S:
        said = f"use 0 (off) or {_MIN_HISTORY_S} to 3600 seconds; looking more often shows no more."
        yield ("history", "every_s"), f"history.every_s: {said}"
    yield from policy_faults(settings, broken)


def file_faults(settings: Settings, folder: Path) -> Iterator[Fault]:
    """Yield what is wrong with private key files on this machine."""
    places: dict[str, Place] = {}
    for name, entry in settings.hosts.items():
        host = completed(entry, settings.defaults)
        for setting, file in (("key", host.key), ("read_key", host.read_key)):
            if host.connection == "ssh" and file is not None:
                own = setting in entry.model_fields_set
                places.setdefault(file, ("hosts", name, setting) if own else ("defaults", setting))
    for key, place in places.items():
        if fault := _key_file_fault(folder / Path(key).expanduser()):
            yield place, f"{dotted(place)}: {fault}"


# --- names -----------------------------------------------------------------------------------------------------------


def _name_faults(settings: Settings, hosts: frozenset[str]) -> Iterator[Fault]:
    for kind, names in (("hosts", hosts), ("groups", frozenset(settings.groups))):
        for name in sorted(names):
            place = (kind, name)
            if name == EVERY_HOST:
                yield place, f"{dotted(place)}: `all` always means every host; use another name."
            elif is_address(name):
                yield place, f"{dotted(place)}: give it a name and write the address below it as `address`."
            elif not NAME_PATTERN.fullmatch(name):
                yield place, f"{dotted(place)}: cannot be a name; {_NAME_RULE}."
    for name in sorted(hosts & _all_groups(settings).keys()):
        place = ("groups", name) if name in settings.groups else ("hosts", name)
        yield place, f"{dotted(place)}: is a host and a group; rename one of them."


def _runbook_faults(settings: Settings) -> Iterator[Fault]:
    runbooks, model = settings.runbooks, settings.model
    if runbooks.backend == "openai" and runbooks.api_key is None and (model.api_key is None or model.base_url):
        said = "needs a key; set it, or choose another runbooks.backend."
        yield ("runbooks", "api_key"), f"runbooks.api_key: {said}"
    if runbooks.backend == "compatible" and runbooks.base_url is None and model.base_url is None:
        yield (
            ("runbooks", "base_url"),
            "runbooks.base_url: name the server that makes vectors, as `http://host:port/v1`.",
        )


def _group_faults(settings: Settings, hosts: frozenset[str]) -> Iterator[Fault]:
    for group, members in settings.groups.items():
        place = ("groups", group)
        if not members:
            yield place, f"{dotted(place)}: names no host; add one or remove the group."
        for index, member in enumerate(members):
            if member not in hosts:
                near = near_misses(member, hosts)
                hint = f"did you mean {near[0]}?" if near else "add it under hosts or remove it here."
                here = (*place, index)
                yield here, f"{dotted(here)}: there is no host {member[:60]!a}; {hint}"
    for name, host in settings.hosts.items():
        for index, group in enumerate(host.groups):
            if group == EVERY_HOST or not NAME_PATTERN.fullmatch(group):
                there: Place = ("hosts", name, "groups", index)
                yield there, f"{dotted(there)}: {group[:60]!a} cannot be a group's name; {_NAME_RULE}, and not `all`."
        for index, tag in enumerate(host.tags):
            if not NAME_PATTERN.fullmatch(tag):
                there = ("hosts", name, "tags", index)
                yield there, f"{dotted(there)}: {tag[:60]!a} cannot be a tag; {_NAME_RULE}."


def _all_groups(settings: Settings) -> Mapping[str, None]:
    named = [group for host in settings.hosts.values() for group in host.groups]
    return dict.fromkeys([*settings.groups, *named])


# --- hosts -----------------------------------------------------------------------------------------------------------


def _host_faults(place: Place, host: HostEntry, broken: frozenset[Place], *, keys_elsewhere: bool) -> Iterator[Fault]:
    if host.connection == "ssh" and (*place, "connection") not in broken:
        yield from _ssh_faults(place, host, broken, keys_elsewhere=keys_elsewhere)
    manager = ServiceManager(host.service_manager)
    allowed = set()
    for index, unit in enumerate(host.units):
        try:
            allowed.add(canonical_unit(unit, manager))
        except BadArguments as error:
            here: Place = (*place, "units", index)
            yield here, f"{dotted(here)}: {error}"
    yield from _data_store_faults(place, host, allowed, broken)
    for unit, check in host.health.items():
        here = (*place, "health", unit)
        if (check.url is None) == (check.tcp is None):
            yield here, f"{dotted(here)}: name exactly one of url and tcp."
        try:
            if canonical_unit(unit, manager) not in allowed and (*place, "units") not in broken:
                yield here, f"{dotted(here)}: is not among the units of this host; correct it or add it there."
        except BadArguments as error:
            yield here, f"{dotted(here)}: {error}"


def _data_store_faults(place: Place, host: HostEntry, units: set[str], broken: frozenset[Place]) -> Iterator[Fault]:
    """A data store nobody could touch anyway is a typing error that would leave the real one unprotected."""
    if {(*place, "units"), (*place, "containers")} & broken:
        return
    for index, name in enumerate(host.data_stores):
        try:
            unit = canonical_unit(name, ServiceManager(host.service_manager))
        except BadArguments:
            unit = ""
        if name != WHOLE_HOST and unit not in units and name not in host.containers:
            here = (*place, "data_stores", index)
            yield here, f'{dotted(here)}: is not among the units and containers of this host; correct it, or write "*".'


def _ssh_faults(place: Place, host: HostEntry, broken: frozenset[Place], *, keys_elsewhere: bool) -> Iterator[Fault]:
    for setting, value, remedy in (("user", host.user, "the login name"), ("key", host.key, "the private key's path")):
        if value is None and not {(*place, setting), ("defaults",)} & broken:
            yield place, f"{dotted(place)}: has no `{setting}`; add {remedy} here or under defaults."
    # With a file of keys, a host without one is only not connected to, until `opsbot hosts trust` has pinned it.
    if host.host_key is None and not keys_elsewhere and (*place, "host_key") not in broken:
        yield (
            place,
            f"{dotted(place)}: has no `host_key`; copy the line of /etc/ssh/ssh_host_ed25519_key.pub from the host, or "
            "name a file of keys (`host_keys: FILE`) and run `opsbot hosts trust` (no key is ever accepted unseen).",
        )
    elif host.host_key is not None and (fault := host_key_fault(host.host_key)):
        here = (*place, "host_key")
        yield here, f"{dotted(here)}: {fault}"


def _jump_faults(name: str, settings: Settings, hosts: frozenset[str]) -> Iterator[Fault]:
    """A way to a host names hosts that exist and are reached by SSH, and ends."""
    way = [name]
    place: Place = ("hosts", name, "jump") if "jump" in settings.hosts[name].model_fields_set else ("defaults", "jump")
    while (jump := jump_of(way[-1], settings)) is not None:
        if jump not in hosts:
            near = near_misses(jump, hosts)
            if len(way) == 1:
                hint = f"did you mean {near[0]}?" if near else "add it under hosts or correct it."
                yield place, f"{dotted(place)}: there is no host {jump[:60]!a}; {hint}"
            return
        if jump not in settings.hosts:
            return  # its own settings are faulty
        if completed(settings.hosts[jump], settings.defaults).connection != "ssh":
            yield place, f"{dotted(place)}: {jump} is this machine, not a host behind SSH; remove it."
            return
        way.append(jump)
        if jump in way[:-1]:
            yield place, f"{dotted(place)}: the way there is a loop ({' → '.join(way)}); correct one of them."
            return
        if len(way) > _MAX_JUMPS + 1:
            yield place, f"{dotted(place)}: is behind more than {_MAX_JUMPS} jump hosts; name a nearer one."
            return


def _key_file_fault(path: Path) -> str:
    try:
        facts = path.stat()
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); create it (ssh-keygen -t ed25519) or correct the path."
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{path} may be read or written by others; run `chmod 600 {path}`."
    if facts.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {facts.st_uid}; it must belong to the bot's user or root (chown it)."
    if b"PRIVATE KEY" not in start:
        return f"{path} is no private key; name the file without .pub."
    return ""


# --- store -----------------------------------------------------------------------------------------------------------


def _store_faults(settings: Settings) -> Iterator[Fault]:
    url = settings.store.url
    if url.startswith("sqlite:"):
        if settings.store.password is not None:
            yield ("store", "password"), "store.password: SQLite has no password; remove it."
        return
    if urlsplit(url).password is not None:
        yield ("store", "url"), "store.url: a password may not stand here; remove it and name store.password."
    if settings.store.audit_key is None:
        yield (
            ("store",),
            "store.audit_key: is missing; several bots on one PostgreSQL share one key. Make 64 hexadecimal "
            "digits (`openssl rand -hex 32`) and say where they are.",
        )
