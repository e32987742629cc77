"""Turns what a reader found into hosts that `opsbot check` accepts, and says why for each that cannot be one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from opsbot.config_faults import fault_of
from opsbot.config_model import HostEntry
from opsbot.importing.findings import Candidate, Findings, Hop, Kind, Remark
from opsbot.inventory import EVERY_HOST, NAME_PATTERN, is_address

_RENAMED = "is an address; its host is called `host-` and the address, with - between the numbers"
# As the SSH adapter: each hop costs a handshake.
_MAX_JUMPS = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person who imports says: these win over the source."""

    user: str = ""
    key: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """An import's result. In `hosts` each candidate is ready: address, port, at most one hop, which is a host here."""

    hosts: tuple[Candidate, ...]
    remarks: tuple[Remark, ...]
    wanted: Wanted = field(default_factory=Wanted)

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the names of all groups, sorted."""
        return tuple(sorted({group for host in self.hosts for group in host.groups}))

    @property
    def left_out(self) -> int:
        """Return how many hosts were left out."""
        return sum(remark.kind is Kind.HOST for remark in self.remarks)


def settle(
    findings: Findings,
    wanted: Wanted,
    *,
    one_name_each: bool = False,
    is_there: Callable[[Path], bool] = Path.exists,
) -> Imported:
    """Check every host and leave out what cannot be one.

    `one_name_each`: further names of the same machine are left out. `is_there` tells whether a key file exists here.
    """
    remarks = list(findings.remarks)
    called: dict[str, str] = {}
    checked: dict[str, Candidate] = {}
    for host in findings.hosts.values():
        name = _new_name(host.name)
        why = f"would be called {name}, as another host is" if name in checked else _fault(host, name, wanted)
        if why:
            remarks.append(Remark(Kind.HOST, host.name, host.where, why))
            continue
        if name != host.name:
            remarks.append(Remark(Kind.SETTING, host.name, host.where, _RENAMED))
        called[host.name] = name
        checked[name] = replace(host, name=name, address=host.address or host.name, port=host.port or 22)
    hosts = _Ways(checked, called, wanted, remarks).settled()
    if one_name_each:
        hosts = _without_other_names(hosts, remarks)
    hosts = _with_keys(hosts, wanted, is_there, remarks)
    return Imported(tuple(_with_good_groups(hosts, remarks)), tuple(remarks), wanted)


# --- each host -------------------------------------------------------------------------------------------------------


def _new_name(name: str) -> str:
    """Return the name, or for an address one that says the same: `host-192-0-2-1`."""
    return "host-" + name.replace(".", "-").replace(":", "-") if is_address(name) else name


def _fault(host: Candidate, name: str, wanted: Wanted) -> str:
    if name == EVERY_HOST or not NAME_PATTERN.fullmatch(name):
        return "cannot be a name here: ASCII letters, digits and - _ . only, at most 63, and not `all`"
    if host.local:
        return ""
    settings: dict[str, object] = {"address": host.address or host.name, "port": host.port or 22}
    if user := wanted.user or host.user:
        settings["user"] = user
    try:
        HostEntry.model_validate(settings)
    except ValidationError as error:
        return "; ".join(fault_of(HostEntry, detail)[1].rstrip(".") for detail in error.errors(include_url=False))
    return ""


def _without_other_names(hosts: Iterable[Candidate], remarks: list[Remark]) -> list[Candidate]:
    kept: dict[tuple[str, int | None, tuple[Hop, ...]], Candidate] = {}
    used = {hop.host for host in hosts for hop in host.jump}
    # A name that others jump through is the one to keep.
    for host in sorted(hosts, key=lambda each: each.name not in used):
        machine = (host.address.lower(), host.port, host.jump)
        known = kept.setdefault(machine, host)
        if known is not host and host.name in used:
            kept[machine[0], machine[1], (*machine[2], Hop(host.name))] = host
        elif known is not host:
            remarks.append(Remark(Kind.HOST, host.name, host.where, f"is another name of {known.name}"))
    return list(kept.values())


# --- jumps -----------------------------------------------------------------------------------------------------------


class _Ways:
    """Resolves each host's jump to a host of the import, and leaves out hosts without a way."""

    def __init__(
        self, hosts: Mapping[str, Candidate], called: Mapping[str, str], wanted: Wanted, remarks: list[Remark]
    ) -> None:
        self._hosts = hosts
        self._called = called
        self._any_user = bool(wanted.user)  # the same one everywhere
        self._remarks = remarks
        self._by_address = _unique_addresses(hosts.values())
        # Who was left out is not meant by an address either.
        self._gone = {remark.what for remark in remarks if remark.kind is Kind.HOST} - called.keys()

    def settled(self) -> list[Candidate]:
        """Return the hosts that can be reached."""
        next_hop: dict[str, str] = {}
        why_not: dict[str, str] = {}
        for host in self._hosts.values():
            if host.jump and not host.local:
                hop, why = self._last_hop(host)
                next_hop[host.name] = hop
                if why:
                    why_not[host.name] = why
        for name in next_hop:
            if name not in why_not and (why := _way_fault(name, next_hop, why_not, self._hosts)):
                why_not[name] = why
        for name, why in why_not.items():
            self._remarks.append(Remark(Kind.HOST, name, self._hosts[name].where, why))
        return [
            replace(host, jump=(Hop(next_hop[name]),) if name in next_hop else ())
            for name, host in self._hosts.items()
            if name not in why_not
        ]

    def _last_hop(self, host: Candidate) -> tuple[str, str]:
        """Return the host before this one, and why that cannot be, if so."""
        *before, last = host.jump
        found = self._find(last)
        if found is None:
            return "", f"is reached through {last.host[:60]!a}, which is not in this import"
        if not self._is_same_login(last, found):
            return found.name, f"is reached through {found.name} with another user or port than {found.name} has here"
        if before and [self._find(hop) for hop in before] != [self._find(hop) for hop in found.jump]:
            return found.name, f"is reached through {found.name} by another way than {found.name} itself"
        return found.name, ""

    def _is_same_login(self, hop: Hop, host: Candidate) -> bool:
        """A hop by name is that host with its settings, one by address only what it says itself."""
        by_name = self._called.get(hop.host) == host.name
        user = hop.user or (host.user if by_name else "")
        port = hop.port or (host.port if by_name else 22)
        return (self._any_user or user == host.user) and port == host.port

    def _find(self, hop: Hop) -> Candidate | None:
        if hop.host in self._gone:
            return None
        name = self._called.get(hop.host, hop.host)
        return self._hosts.get(name) or self._by_address.get(hop.host.lower())


def _unique_addresses(hosts: Iterable[Candidate]) -> dict[str, Candidate]:
    found: dict[str, Candidate] = {}
    doubtful = set()
    for host in hosts:
        address = host.address.lower()
        if not host.local and found.setdefault(address, host) is not host:
            doubtful.add(address)
    return {address: host for address, host in found.items() if address not in doubtful}


def _way_fault(
    name: str, next_hop: Mapping[str, str], why_not: Mapping[str, str], hosts: Mapping[str, Candidate]
) -> str:
    way = [name]
    while (hop := next_hop.get(way[-1])) is not None:
        if hop in way:
            return f"is reached in a loop ({' → '.join([*way, hop])})"
        if hop in why_not:
            return f"is reached through {hop}, which was left out"
        if hosts[hop].local:
            return f"is reached through {hop}, which is the machine itself"
        way.append(hop)
        if len(way) > _MAX_JUMPS + 1:
            return f"is behind more than {_MAX_JUMPS} jump hosts"
    return ""


# --- keys and groups -------------------------------------------------------------------------------------------------


def _with_keys(
    hosts: Iterable[Candidate], wanted: Wanted, is_there: Callable[[Path], bool], remarks: list[Remark]
) -> list[Candidate]:
    faults: dict[str, str] = {}
    done = []
    for host in hosts:
        key = "" if wanted.key or host.local else host.key
        if key and key not in faults:
            faults[key] = _key_fault(key, is_there)
            if faults[key]:
                remarks.append(Remark(Kind.SETTING, key, host.where, faults[key]))
        user = "" if wanted.user or host.local else host.user
        done.append(replace(host, key="" if faults.get(key) else key, user=user))
    return done


def _key_fault(key: str, is_there: Callable[[Path], bool]) -> str:
    instead = "the hosts with it get the key of `defaults`"
    if not key.startswith(("/", "~/")):
        return f"is a key's path that depends on the current folder; {instead}"
    if any(mark in key for mark in ("{{", "%", "${")) or not key.isprintable():
        return f"is a key's path with something to be filled in; {instead}"
    if key.endswith(".pub"):
        return f"is a public key; {instead}"
    try:
        there = is_there(Path(key).expanduser())
    except (OSError, RuntimeError, ValueError):
        there = False
    return "" if there else f"is a key that is not on this machine; {instead}"


def _with_good_groups(hosts: Iterable[Candidate], remarks: list[Remark]) -> list[Candidate]:
    kept = sorted(hosts, key=lambda host: host.name)
    names = {host.name for host in kept}
    faults: dict[str, str] = {}
    for group, where in {group: host.where for host in kept for group in host.groups}.items():
        if group == EVERY_HOST or not NAME_PATTERN.fullmatch(group):
            faults[group] = "cannot be a group's name here"
        elif group in names:
            faults[group] = "is a host's name too, and would be a group's"
        if group in faults:
            remarks.append(Remark(Kind.GROUP, group, where, faults[group]))
    for tag, where in {tag: host.where for host in kept for tag in host.tags}.items():
        if not NAME_PATTERN.fullmatch(tag):
            remarks.append(Remark(Kind.SETTING, tag, where, "cannot be a tag here"))
    return [
        replace(
            host,
            groups=tuple(sorted({group for group in host.groups if group not in faults})),
            tags=tuple(sorted({tag for tag in host.tags if NAME_PATTERN.fullmatch(tag)})),
        )
        for host in kept
    ]
