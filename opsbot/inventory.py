"""Which hosts exist, what a list of names means, and near misses for the names that mean nothing."""

import hashlib
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from types import MappingProxyType

from opsbot.domain import Host
from opsbot.errors import BadArguments, UnknownHost

EVERY_HOST = "all"
# No name may hold a colon, so a tag never hides a host or a group.
TAG = "tag:"
# RFC 1123 (2.1) host names, with "_" as many inventories use it; ASCII only, so that look-alikes cannot exist.
NAME_PATTERN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_SHOWN_CHARS = 60
_NEAR_MISSES = 3
_NEAR_RATIO = 0.72
# Names compared exactly, after a cheap look at their letters: keeps a miss among 1,000 hosts under 5 ms.
_COMPARED = 24


@dataclass(frozen=True, slots=True)
class Inventory:
    """All managed hosts by name, and the groups of host names. Never changes; a new one replaces it.

    `tags` has the hosts that carry each tag. `revision` is the hex SHA-256 over everything it says.
    """

    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(init=False, default_factory=dict)
    revision: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", MappingProxyType({name: self.hosts[name] for name in sorted(self.hosts)}))
        groups = {name: tuple(sorted(self.groups[name])) for name in sorted(self.groups)}
        object.__setattr__(self, "groups", MappingProxyType(groups))
        object.__setattr__(self, "tags", MappingProxyType(_tags(self.hosts.values())))
        content = {"hosts": {name: asdict(host) for name, host in self.hosts.items()}, "groups": groups}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "revision", hashlib.sha256(canonical.encode()).hexdigest())

    def resolve(self, names: Sequence[str]) -> tuple[Host, ...]:
        """Return the hosts that host names, group names, `tag:WORD` and `all` stand for: sorted by name, each once.

        Raises:
            UnknownHost: a name is not in the inventory; carries near misses.
            BadArguments: nothing is selected, or a name is a pattern, an address, a login or an option.
        """
        found: set[str] = set()
        for name in names:
            found.update(self._members(name))
        if not found:
            raise BadArguments("No host is selected; an empty selection never means all. Name hosts or a group.")
        return tuple(self.hosts[name] for name in sorted(found))

    def groups_with(self, name: str) -> tuple[str, ...]:
        """Return the groups that contain the host, sorted."""
        return tuple(group for group, members in self.groups.items() if name in members)

    def summary(self, limit: int) -> str:
        """Describe the inventory to the model: every host if there are at most `limit`, else the groups and counts."""
        if not self.hosts:
            return "No hosts are configured."
        lines = [*_counts("Groups", self.groups, limit), *_counts("Tags (as tag:WORD)", self.tags, limit)]
        shown = list(self.hosts.values())
        if len(shown) > limit:
            counts = Counter(host.environment for host in shown)
            by_environment = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())[:limit])
            lines.insert(0, f"{len(shown)} hosts ({by_environment}); some of them below, list_hosts has all.")
            shown = shown[:limit]
        return "\n".join([*lines, *(_host_line(host) for host in shown)])

    def _members(self, name: str) -> Iterable[str]:
        if name == EVERY_HOST:
            return self.hosts
        if name in self.hosts:
            return (name,)
        if name in self.groups:
            return self.groups[name]
        if name.startswith(TAG) and name.removeprefix(TAG) in self.tags:
            return self.tags[name.removeprefix(TAG)]
        raise self._unknown(name)

    def _unknown(self, name: str) -> BadArguments:
        shown = _cut(name)
        if NAME_PATTERN.fullmatch(word := name.removeprefix(TAG)) and word != name:
            return UnknownHost(shown, self._near_tags(word))
        if at := _hosts_at(name, self.hosts.values()):
            return UnknownHost(shown, at)
        if not NAME_PATTERN.fullmatch(name) or is_address(name):
            return BadArguments(
                f"{shown!a} is not a name: use host or group names exactly as the inventory spells them; "
                "no patterns, addresses, logins or options. `tag:WORD` selects by tag."
            )
        tagged = (TAG + name,) if name in self.tags else ()
        return UnknownHost(shown, (*tagged, *near_misses(name, [*self.hosts, *self.groups, EVERY_HOST])))

    def _near_tags(self, word: str) -> tuple[str, ...]:
        """Return tags that look like the word, as selectors, and the host or group that it may have meant."""
        near = tuple(TAG + tag for tag in near_misses(word, self.tags))
        return (word, *near) if word in self.groups or word in self.hosts else near


def near_misses(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three known names that look like `name`, best first."""
    wanted = name[:_SHOWN_CHARS].lower()
    letters = Counter(wanted)
    by_letters = sorted(known, key=lambda other: (_letters_apart(letters, wanted, other.lower()), other))
    rated = [(SequenceMatcher(None, wanted, other.lower()).ratio(), other) for other in by_letters[:_COMPARED]]
    good = sorted(((-ratio, other) for ratio, other in rated if ratio >= _NEAR_RATIO))
    return tuple(other for _, other in good[:_NEAR_MISSES])


def _letters_apart(letters: Counter[str], name: str, other: str) -> int:
    """Count letters in one name and not in the other, less one point for a common start and a common end."""
    common = sum(min(count, other.count(letter)) for letter, count in letters.items())
    apart = len(name) + len(other) - 2 * common
    return 2 * apart - (name[:3] == other[:3]) - (name[-2:] == other[-2:])


def _hosts_at(address: str, hosts: Iterable[Host]) -> tuple[str, ...]:
    return tuple(host.name for host in hosts if host.address == address)[:_NEAR_MISSES]


def is_address(name: str) -> bool:
    """Tell whether the name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cut(name: str) -> str:
    return name if len(name) <= _SHOWN_CHARS else name[:_SHOWN_CHARS] + "..."


def _tags(hosts: Iterable[Host]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for host in hosts:
        for tag in dict.fromkeys(host.tags):
            found.setdefault(tag, []).append(host.name)
    return {tag: tuple(found[tag]) for tag in sorted(found)}


def _counts(title: str, groups: Mapping[str, tuple[str, ...]], limit: int) -> Iterable[str]:
    if groups:
        named = [f"{name} ({len(members)})" for name, members in groups.items()]
        more = f" and {len(named) - limit} more" if len(named) > limit else ""
        yield f"{title}: {', '.join(named[:limit])}{more}"


def _host_line(host: Host) -> str:
    facts = [host.environment]
    if host.groups:
        facts.append(f"groups {', '.join(sorted(host.groups)[:8])}")
    if host.tags:
        facts.append(f"tags {', '.join(host.tags[:8])}")
    if host.units:
        facts.append(f"may restart {', '.join(host.units[:8])}{' ...' if len(host.units) > 8 else ''}")
    return f"- {host.name}: {'; '.join(facts)}"
