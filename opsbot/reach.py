"""How much an action can break, from the inventory: replicas that go on serving, the last one, data. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from opsbot.domain import Host, Reach, Risk, Tier
from opsbot.errors import BadArguments
from opsbot.inventory import Inventory
from opsbot.units import canonical_unit

WHOLE_HOST = "*"
_NAMED = 3
_ORDER = tuple(Tier)


@dataclass(frozen=True, slots=True)
class Target:
    """What an action touches on its hosts: one unit or container by its canonical name, or ("") the whole host."""

    name: str = ""
    container: bool = False

    def on(self, host: Host) -> bool:
        """Whether the inventory says that this host has it."""
        return not self.name or self.name in self._spelled(host, host.containers if self.container else host.units)

    def keeps_data(self, host: Host) -> bool:
        """Whether it is one of the host's data stores; the whole host is, if it has any."""
        if not self.name or WHOLE_HOST in host.data_stores:
            return bool(host.data_stores)
        return self.name in self._spelled(host, host.data_stores)

    def _spelled(self, host: Host, names: Sequence[str]) -> frozenset[str]:
        return frozenset(names) if self.container else frozenset(_canonical(host, name) for name in names)

    def __str__(self) -> str:
        return self.name or "the host"


def _canonical(host: Host, name: str) -> str:
    try:
        return canonical_unit(name, host.service_manager)
    except BadArguments:
        return name  # a container's name among data stores


def reach_of(inventory: Inventory, risk: Risk, hosts: Sequence[Host], targets: Sequence[Target]) -> Reach:
    """Return the highest tier over these hosts and targets (none: the whole hosts), with what makes it so."""
    if risk is Risk.READ:
        return Reach(Tier.READ, "it changes nothing")
    look = _Look(inventory, frozenset(host.name for host in hosts), _groups(inventory))
    found = [look.at(host, target) for host in hosts for target in targets or (Target(),)]
    highest = max(found, key=lambda reach: _ORDER.index(reach.tier), default=Reach(Tier.UNGROUPED, "it is on no host"))
    if risk is Risk.DANGER and _ORDER.index(highest.tier) < _ORDER.index(Tier.DANGER):
        return Reach(Tier.DANGER, f"the tool is of risk danger; {highest.why}")
    return highest


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at the inventory, which asks each group once."""

    inventory: Inventory
    touched: frozenset[str]
    groups: Mapping[str, Sequence[str]]
    _known: dict[tuple[str, Target], frozenset[str]] = field(default_factory=dict)

    def at(self, host: Host, target: Target) -> Reach:
        if target.keeps_data(host):
            return Reach(Tier.DATA_STORE, f"{target} on {host.name} keeps data")
        groups = self.groups.get(host.name, ())
        if not groups:
            return Reach(Tier.UNGROUPED, f"{host.name} is in no group, so its replicas are not known")
        having = frozenset().union(*(self._having(group, target) for group in groups))
        where = f"group {' or '.join(groups[:_NAMED])}" + (f" with {target}" if target.name else "")
        if left := having - self.touched:
            return Reach(Tier.REPLICA, f"{_some(left)} of {where} {'is' if len(left) == 1 else 'are'} not touched")
        if len(having | {host.name}) == 1:
            return Reach(Tier.LAST_REPLICA, f"{host.name} is the only host of {where}")
        return Reach(Tier.LAST_REPLICA, f"no host of {where} is left untouched")

    def _having(self, group: str, target: Target) -> frozenset[str]:
        if (group, target) not in self._known:
            members = (self.inventory.hosts.get(name) for name in self.inventory.groups[group])
            self._known[group, target] = frozenset(host.name for host in members if host and target.on(host))
        return self._known[group, target]


def _groups(inventory: Inventory) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for group, members in inventory.groups.items():
        for name in members:
            found.setdefault(name, []).append(group)
    return found


def _some(names: frozenset[str]) -> str:
    shown = sorted(names)[:_NAMED]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(shown)}{more}"
