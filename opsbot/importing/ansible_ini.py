"""Ansible's INI inventories: sections of hosts, children and variables."""

import ast
import re
import shlex
import warnings
from dataclasses import dataclass, field

from opsbot.importing.ansible_names import names_of
from opsbot.importing.ansible_tree import UNGROUPED, Tree, kept
from opsbot.importing.findings import Findings
from opsbot.importing.loose_data import Data, Sealed

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_GROUP = re.compile(r"([^:\]\s]+)\s*(?:#.*)?")
_MAX_VALUE = 4096
# Without these, splitting at white space is the same, and ten times faster.
_QUOTING = frozenset("'\"\\#")


def add_ini(text: str, source: str, tree: Tree, findings: Findings) -> None:
    """Add what one INI file says. Raises ConfigError beyond the limits."""
    _Ini(source, tree, findings).read(text)


@dataclass(slots=True)
class _Ini:
    source: str
    tree: Tree
    findings: Findings
    group: str = UNGROUPED
    state: str = "hosts"
    # Groups of this file that only something else names: (parent or "", where).
    pending: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    variables: list[tuple[str, str, Data]] = field(default_factory=list)

    def read(self, text: str) -> None:
        for number, line in enumerate(text.split("\n"), 1):
            stripped = line.strip()
            if stripped and stripped[0] not in "#;":
                self._line(stripped, f"{self.source}:{number}")
        self._settle()

    def _line(self, line: str, where: str) -> None:
        if section := _SECTION.fullmatch(line):
            self._begin(section[1], section[2] or "hosts", where)
        elif line.startswith("[") and line.endswith("]"):
            self.findings.remark(line, where, "is a section that cannot be read; its lines were left out")
            self.state = "unknown"
        elif self.state == "hosts":
            self._host(line, where)
        elif self.state == "vars":
            self._variable(line, where)
        elif self.state == "children":
            self._child(line, where)

    def _begin(self, group: str, state: str, where: str) -> None:
        self.group, self.state = group, state
        if state in ("hosts", "children"):
            self.tree.add_group(group, where)
        elif state == "vars":
            self.pending.setdefault(group, []).append(("", where))
        else:
            self.findings.remark(
                f"[{group}:{state}]", where, "is a section that cannot be read; its lines were left out"
            )

    def _host(self, line: str, where: str) -> None:
        try:
            pattern, *rest = shlex.split(line, comments=True) if _QUOTING & set(line) else line.split()
            if wrong := [word for word in rest if "=" not in word]:
                raise ValueError(f"has {wrong[0][:40]!a} in its line, which is no NAME=VALUE")
            names, port = names_of(pattern, where)
        except ValueError as error:
            said = str(error) if str(error).startswith(("has", "is")) else "is in a line that cannot be read"
            self.findings.leave_out(line.split()[0][:80], where, said)
            return
        pairs = (word.partition("=") for word in rest)
        variables = {name: _value(value) for name, _, value in pairs if kept({name: None})}
        for name in names:
            self.tree.add_host(name, self.group, where, port)
            self.tree.set_host(name, variables)

    def _variable(self, line: str, where: str) -> None:
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            self.findings.remark(name, where, "is no NAME=VALUE")
        elif kept({name: None}):
            self.variables.append((self.group, name, _value(value)))

    def _child(self, line: str, where: str) -> None:
        found = _GROUP.fullmatch(line)
        if found is None:
            self.findings.remark(line[:80], where, "is no group's name")
        else:
            self.pending.setdefault(found[1], []).append((self.group, where))

    def _settle(self) -> None:
        """A group may be named before it is declared, even in another file that came earlier."""
        for name, mentions in self.pending.items():
            for parent, where in mentions:
                if name not in self.tree.groups:
                    self.findings.remark(name, where, "is a group that is declared nowhere")
                elif parent:
                    self.tree.add_child(parent, name)
        for group, name, value in self.variables:
            if group in self.tree.groups:
                self.tree.set_group(group, {name: value})


def _value(text: str) -> Data:
    """Read a value as Ansible does: a Python literal, else the text as it stands."""
    if len(text) > _MAX_VALUE:
        return Sealed("is too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about backslashes
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, str | int) else text if isinstance(value, float) else Sealed("is no text")
