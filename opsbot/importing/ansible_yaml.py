"""Ansible's YAML inventories, and what `ansible-inventory --list` prints as JSON."""

from dataclasses import dataclass

from opsbot.errors import ConfigError
from opsbot.importing.ansible_names import names_of
from opsbot.importing.ansible_tree import ALL, Tree
from opsbot.importing.findings import Findings
from opsbot.importing.loose_data import Data, Sealed, line_of

_META = "_meta"
_SECTIONS = frozenset({"hosts", "vars", "children"})
# Aliases can make a small text mean very much: what is walked is counted.
_MAX_DEPTH = 100
_MAX_STEPS = 200_000
_STEPS_OF_GROUP = 10


def add_yaml(data: Data, source: str, tree: Tree, findings: Findings) -> None:
    """Add what one file says. Raises ConfigError beyond the limits, or if it is no inventory."""
    if data is None:
        return
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: is no inventory: the top must be groups.")
    if "plugin" in data:
        raise ConfigError(
            f"{source}: asks a plugin for its hosts, and importing runs nothing. Run it yourself, and import: "
            f"`ansible-inventory -i {source} --list --yaml > FILE`."
        )
    reader = _Reader(source, tree, findings)
    for name, group in data.items():
        if name != _META:
            reader.group(name, group, 0)
    reader.host_variables(data.get(_META))


@dataclass(slots=True)
class _Reader:
    source: str
    tree: Tree
    findings: Findings
    steps: int = 0

    def group(self, name: str, data: Data, depth: int) -> None:
        """Add a group and what is in it."""
        where = self._where(name)
        self._step(where, depth, _STEPS_OF_GROUP)
        self.tree.add_group(name, where)
        if isinstance(data, list):  # `--list` of old scripts: only hosts
            data = {"hosts": data}
        if not isinstance(data, dict):
            if data is not None:
                self.findings.remark(name, where, "is no group: it holds no settings")
            return
        self._hosts(name, _named(data.get("hosts")), where)
        variables = data.get("vars")
        self.tree.set_group(name, variables if isinstance(variables, dict) else {})
        for child, inner in _named(data.get("children")).items():
            self.group(child, inner, depth + 1)
            self.tree.add_child(name, child)
        for other in sorted(data.keys() - _SECTIONS):
            self.findings.remark(other, self._where(other), "is no part of a group: hosts, vars or children")

    def host_variables(self, meta: Data) -> None:
        """Add the variables that `--list` puts beside the groups."""
        found = meta.get("hostvars") if isinstance(meta, dict) else None
        for name, variables in (found if isinstance(found, dict) else {}).items():
            if name not in self.tree.hosts:
                self.tree.add_host(name, ALL, self._where(name))
            self.tree.set_host(name, variables if isinstance(variables, dict) else {})

    def _hosts(self, group: str, hosts: "dict[str, Data]", group_where: str) -> None:
        for pattern, variables in hosts.items():
            where = self._where(pattern) if line_of(pattern) > 1 else group_where
            self._step(where, 0, 1)
            try:
                names, port = names_of(pattern, where)
            except ValueError as error:
                self.findings.leave_out(pattern[:80], where, str(error))
                continue
            for name in names:
                self.tree.add_host(name, group, where, port)
                self.tree.set_host(name, variables if isinstance(variables, dict) else {})
                if isinstance(variables, Sealed):
                    self.findings.remark(name, where, f"has settings that cannot be read: the value {variables.why}")

    def _step(self, where: str, depth: int, steps: int) -> None:
        self.steps += steps
        if depth > _MAX_DEPTH or self.steps > _MAX_STEPS:
            raise ConfigError(f"{where}: groups in groups without end; that is no inventory.")

    def _where(self, key: str) -> str:
        return f"{self.source}:{line_of(key)}"


def _named(data: Data) -> "dict[str, Data]":
    """Return hosts or children by name, whether they stand in a mapping, a list or alone."""
    if isinstance(data, dict):
        return data
    if isinstance(data, str):
        return {data: None}
    return {name: None for name in data if isinstance(name, str)} if isinstance(data, list) else {}
