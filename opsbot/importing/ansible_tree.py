"""Ansible's groups and hosts with the variables that say how to reach them, and which variable wins."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opsbot.errors import ConfigError
from opsbot.importing.findings import TooMuchError, check_count
from opsbot.importing.loose_data import Data

ALL, UNGROUPED = "all", "ungrouped"
PRIORITY = "ansible_group_priority"
# Later ones win over earlier ones, as in Ansible's ssh connection plugin (ansible-core 2.19).
ADDRESS = ("ansible_host", "ansible_ssh_host")
PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
CONNECTION = ("ansible_connection",)
# In the order in which ssh gets them; it takes the first.
ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_KEPT = frozenset({*ADDRESS, *PORT, *USER, *KEY, *CONNECTION, *ARGUMENTS, *PASSWORD, PRIORITY})
_MAX_GROUPS = 5_000
_MAX_DEPTH = 100
Variables = Mapping[str, Data]


@dataclass(slots=True)
class Group:
    """One group; `all` is around every other."""

    name: str
    parents: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Data] = field(default_factory=dict)
    priority: int = 1
    depth: int = 0


@dataclass(slots=True)
class TreeHost:
    """One host and the groups that name it."""

    name: str
    where: str
    groups: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Data] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """What all files of an inventory say together."""

    groups: dict[str, Group] = field(default_factory=lambda: {ALL: Group(ALL), UNGROUPED: Group(UNGROUPED)})
    hosts: dict[str, TreeHost] = field(default_factory=dict)

    def add_group(self, name: str, where: str) -> None:
        """Declare a group. Raises TooMuchError beyond the limit."""
        self.groups.setdefault(name, Group(name))
        if len(self.groups) > _MAX_GROUPS:
            raise TooMuchError(f"{where}: more than {_MAX_GROUPS} groups; import a part of it.")

    def add_child(self, parent: str, child: str) -> None:
        """Put a group into another one; both are declared."""
        if child != ALL:
            self.groups[child].parents[parent] = None

    def add_host(self, name: str, group: str, where: str, port: int | None = None) -> None:
        """Put a host into a group; a port counts where the host is named first."""
        if name not in self.hosts:
            self.hosts[name] = TreeHost(name, where, variables={} if port is None else {PORT[0]: port})
            check_count(len(self.hosts), where)
        self.hosts[name].groups[group] = None

    def set_host(self, name: str, variables: Variables) -> None:
        """Set variables of a host that is there."""
        self.hosts[name].variables.update(kept(variables))

    def set_group(self, name: str, variables: Variables) -> None:
        """Set variables of a group that is there."""
        group = self.groups[name]
        found = kept(variables)
        priority = found.pop(PRIORITY, None)
        if isinstance(priority, int | str) and str(priority).isdecimal() and len(str(priority)) < 10:
            group.priority = int(priority)
        group.variables.update(found)


def kept(variables: Variables) -> dict[str, Data]:
    """Return the variables that say how to reach a host; all others are none of our business."""
    return {name: value for name, value in variables.items() if name in _KEPT}


class Precedence:
    """Which groups each host is in, and which variables it has in the end.

    `of_group` and `of_host` read `group_vars` and `host_vars`.
    """

    def __init__(
        self, tree: Tree, of_group: Callable[[str], Variables], of_host: Callable[[str], Variables], source: str
    ) -> None:
        self._tree = tree
        self._of_group = of_group
        self._of_host = of_host
        _set_depths(tree.groups, source)
        self._around: dict[str, frozenset[str]] = {}
        self._merged: dict[frozenset[str], tuple[tuple[str, ...], Variables]] = {}
        self._files: dict[str, Variables] = {}

    def of(self, host: TreeHost) -> tuple[tuple[str, ...], Variables]:
        """Return the host's groups, without `all` and `ungrouped`, and its variables."""
        groups, variables = self._of_groups(frozenset(host.groups))
        return groups, {**variables, **host.variables, **kept(self._of_host(host.name))}

    def _of_groups(self, direct: frozenset[str]) -> tuple[tuple[str, ...], Variables]:
        if direct not in self._merged:
            every = frozenset(name for group in direct for name in self._with_parents(group)) - {ALL, UNGROUPED}
            ordered = self._sorted(every or {UNGROUPED})
            merged: dict[str, Data] = {}
            for name in (ALL, *ordered):
                merged.update(self._tree.groups[name].variables)
            for name in (ALL, *ordered):
                merged.update(self._file(name))
            self._merged[direct] = (tuple(sorted(every)), merged)
        return self._merged[direct]

    def _sorted(self, names: Iterable[str]) -> Sequence[str]:
        groups = (self._tree.groups[name] for name in names)
        return [group.name for group in sorted(groups, key=lambda each: (each.depth, each.priority, each.name))]

    def _with_parents(self, name: str) -> frozenset[str]:
        if name not in self._around:
            parents = self._tree.groups[name].parents
            self._around[name] = frozenset({name}).union(*(self._with_parents(parent) for parent in parents))
        return self._around[name]

    def _file(self, group: str) -> Variables:
        if group not in self._files:
            found = kept(self._of_group(group))
            found.pop(PRIORITY, None)  # counts in inventory files only
            self._files[group] = found
        return self._files[group]


def _set_depths(groups: Mapping[str, Group], source: str) -> None:
    """Give each group the length of the longest way to it from `all`. Raises ConfigError for a loop."""
    children: dict[str, list[str]] = {}
    waiting = {}
    for group in groups.values():
        if group.name != ALL:
            group.parents = group.parents or {ALL: None}
            waiting[group.name] = len(group.parents)
            for parent in group.parents:
                children.setdefault(parent, []).append(group.name)
    ready = [ALL]
    while ready:
        parent = ready.pop()
        for child in children.get(parent, ()):
            groups[child].depth = max(groups[child].depth, groups[parent].depth + 1)
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    if stuck := sorted(name for name, count in waiting.items() if count):
        raise ConfigError(f"{source}: groups contain each other in a circle, {stuck[0][:60]!a} among them; correct it.")
    if max(group.depth for group in groups.values()) > _MAX_DEPTH:
        raise ConfigError(f"{source}: groups are nested more than {_MAX_DEPTH} deep; that is no inventory.")
