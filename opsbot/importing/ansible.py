"""Ansible inventories: files and folders, their `group_vars` and `host_vars`, as the hosts they describe."""

import re
from collections.abc import Mapping
from pathlib import Path

from opsbot.errors import ConfigError
from opsbot.importing import ansible_tree as tree_of
from opsbot.importing.ansible_ini import add_ini
from opsbot.importing.ansible_tree import Precedence, Tree, TreeHost, Variables
from opsbot.importing.ansible_yaml import add_yaml
from opsbot.importing.findings import STDIN, Candidate, Files, Findings, Hop, TooMuchError
from opsbot.importing.loose_data import Data, Sealed, read_data
from opsbot.importing.places import changes_login, hops_of_options

# What ansible-core 2.19 passes over in a folder (inventory/manager.py and INVENTORY_IGNORE_EXTS).
_IGNORED = re.compile(
    r"^\.|^(host_vars|group_vars|vars_plugins)$|(\.pyc|\.pyo|\.swp|\.bak|~|\.rpm|\.md|\.txt|\.rst|\.orig|\.cfg|\.retry)$"
)
_EXTENSIONS = ("", ".yml", ".yaml", ".json")
_MAX_FOLDERS = 32
_VAULT = "$ANSIBLE_VAULT;"
_BY_SSH = frozenset({"ssh", "smart", "paramiko", "paramiko_ssh"})
_COLLECTION = re.compile(r"^(ansible\.builtin|ansible\.netcommon|community\.general)\.")


def read_ansible(path: Path, files: Files) -> Findings:
    """Read an inventory file or folder, and the variables beside it. Raises ConfigError."""
    findings, tree = Findings(), Tree()
    if str(path) != STDIN and path.is_dir():
        _add_folder(path, files, tree, findings, 0)
        folder: Path | None = path
    else:
        _add_file(path, files, tree, findings)
        folder = None if str(path) == STDIN else path.parent
    of_group, of_host = (_VariableFiles(folder, name, files, findings) for name in ("group_vars", "host_vars"))
    precedence = Precedence(tree, of_group.of, of_host.of, str(path))
    for host in tree.hosts.values():
        groups, variables = precedence.of(host)
        _add_host(host, groups, variables, findings)
    return findings


def _add_folder(path: Path, files: Files, tree: Tree, findings: Findings, depth: int) -> None:
    if depth > _MAX_FOLDERS:
        raise TooMuchError(f"{path}: folders are nested more than {_MAX_FOLDERS} deep; import a part of them.")
    for entry in files.entries(path):
        inner = path / entry
        if _IGNORED.search(entry):
            continue
        if inner.is_dir():
            _add_folder(inner, files, tree, findings, depth + 1)
            continue
        try:
            _add_file(inner, files, tree, findings)
        except TooMuchError:
            raise
        except ConfigError as error:
            # Ansible goes on without a source that it cannot read, too; but we say it with the result.
            findings.remark(entry, str(inner), "was left out: " + str(error).removeprefix(f"{inner}: "))


def _add_file(path: Path, files: Files, tree: Tree, findings: Findings) -> None:
    text = files.read(path)
    if path.suffix == ".toml":
        raise ConfigError(f"{path}: is TOML; write it as YAML first: `ansible-inventory -i {path} --list --yaml`.")
    if text.startswith(_VAULT):
        raise ConfigError(f"{path}: is encrypted, and importing decrypts nothing; import a readable copy.")
    if _is_yaml(path, text):
        add_yaml(read_data(text, str(path)), str(path), tree, findings)
    else:
        add_ini(text, str(path), tree, findings)


def _is_yaml(path: Path, text: str) -> bool:
    """Ansible tries one reader after the other; the first line that says anything tells as well."""
    if path.suffix in (".yml", ".yaml", ".json"):
        return True
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    return first == "---" or first.startswith("{") or re.fullmatch(r"[\"']?[\w.-]+[\"']?:(\s.*)?", first) is not None


# --- group_vars and host_vars ----------------------------------------------------------------------------------------


class _VariableFiles:
    """One of the folders `group_vars` and `host_vars`: per name a file, or a folder of files."""

    def __init__(self, around: Path | None, name: str, files: Files, findings: Findings) -> None:
        self._folder = around / name if around is not None else Path(name)
        self._entries = frozenset(files.entries(self._folder) if around is not None else ())
        self._files = files
        self._findings = findings

    def of(self, name: str) -> Variables:
        """Return what the files of this group or host say."""
        for extension in _EXTENSIONS:
            if name + extension in self._entries:
                path = self._folder / (name + extension)
                return self._of_folder(path, 0) if path.is_dir() else self._of_file(path)
        return {}

    def _of_folder(self, path: Path, depth: int) -> Variables:
        found: dict[str, Data] = {}
        for entry in self._files.entries(path) if depth < _MAX_FOLDERS else ():
            inner = path / entry
            if entry.startswith(".") or entry.endswith("~"):
                continue
            if inner.is_dir() and not inner.suffix:
                found.update(self._of_folder(inner, depth + 1))
            elif inner.suffix in _EXTENSIONS and inner.is_file():
                found.update(self._of_file(inner))
        return found

    def _of_file(self, path: Path) -> Variables:
        text = self._files.read(path)
        if text.startswith(_VAULT):
            self._findings.remark(path.name, str(path), "is an encrypted file; what it says was not applied")
            return {}
        data = read_data(text, str(path))
        if not isinstance(data, dict | None):
            raise ConfigError(f"{path}: holds no variables (`name: value`); correct it.")
        return tree_of.kept(data or {})


# --- hosts -----------------------------------------------------------------------------------------------------------


class _UnreadableError(Exception):
    """A variable that decides how the host is reached cannot be read."""


def _add_host(host: TreeHost, groups: tuple[str, ...], variables: Variables, findings: Findings) -> None:
    try:
        connection = _COLLECTION.sub("", _text(variables, tree_of.CONNECTION) or "ssh")
        if connection == "local":
            findings.add(Candidate(host.name, host.where, local=True, groups=groups))
            return
        if connection not in _BY_SSH:
            raise _UnreadableError(f"is not reached by SSH but by {connection[:40]!a}")
        jump = _jump(variables)
        address = _text(variables, tree_of.ADDRESS)
        port = _port(variables)
        user = _text(variables, tree_of.USER)
    except _UnreadableError as error:
        findings.leave_out(host.name, host.where, str(error))
        return
    if any(variables.get(name) is not None for name in tree_of.PASSWORD):
        findings.remark(host.name, host.where, "has a password there; opsbot logs in with keys only")
    key = variables.get(tree_of.KEY[1], variables.get(tree_of.KEY[0]))
    if isinstance(key, Sealed):
        findings.remark(host.name, host.where, f"has a key whose path {key.why}; it gets the key of `defaults`")
    findings.add(
        Candidate(
            host.name, host.where, address, port, user, key if isinstance(key, str) else "", jump=jump, groups=groups
        )
    )


def _text(variables: Variables, names: tuple[str, ...]) -> str:
    """Return the variable that wins among these, "" if there is none."""
    for name in reversed(names):
        value = variables.get(name)
        if isinstance(value, Sealed):
            raise _UnreadableError(f"has {name}, which {value.why}")
        if isinstance(value, list | dict | bool):
            raise _UnreadableError(f"has {name}, which is no text")
        if value is not None:
            if "{{" in str(value) or "{%" in str(value):
                raise _UnreadableError(f"has {name}, which is a template to be filled in")
            return str(value).strip()
    return ""


def _port(variables: Mapping[str, Data]) -> int | None:
    text = _text(variables, tree_of.PORT)
    if text and not re.fullmatch(r"[1-9][0-9]{0,4}", text, re.ASCII):
        raise _UnreadableError(f"has a port that is none: {text[:20]!a}")
    return int(text) if text else None


def _jump(variables: Variables) -> tuple[Hop, ...]:
    arguments = " ".join(filter(None, (_text(variables, (name,)) for name in tree_of.ARGUMENTS)))
    if not arguments:
        return ()
    hops = hops_of_options(arguments)
    if hops is None:
        raise _UnreadableError("is reached with options of ssh that are no plain jump")
    if changes_login(arguments):
        raise _UnreadableError("is reached with options of ssh that change the port, the user or the key")
    return hops
