"""The configuration's other files, put into one document: inventories, and pinned host keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opsbot.config_faults import Place, dotted
from opsbot.config_yaml import Document, read_file, read_yaml
from opsbot.domain import Json
from opsbot.host_keys import read_host_keys

_SECTIONS = ("hosts", "groups", "defaults")
# Some 40,000 hosts with their keys.
_MAX_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Sources:
    """One document out of several files, which still knows where each thing stands."""

    document: Document
    main: str
    folder: Path
    faults: list[tuple[str, int, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    # Hosts whose key stands beside them.
    inline_host_keys: frozenset[str] = frozenset()
    _places: dict[Place, tuple[str, int]] = field(default_factory=dict)

    @staticmethod
    def of(document: Document, main: str, folder: Path) -> "Sources":
        """Begin with the main file."""
        sources = Sources(document, main, folder)
        sources.faults = [(main, line, said) for line, said in document.faults]
        return sources

    def where(self, place: Place) -> tuple[str, int]:
        """Return file and line of the place, or of the nearest thing around it that exists."""
        around = place
        while around:
            if around in self._places:
                return self._places[around]
            if around in self.document.lines:
                break
            around = around[:-1]
        return self.main, self.document.line_of(place)

    def add_files(self) -> None:
        """Read and put in the files that `inventory` and `host_keys` name."""
        named = self.document.data.get("inventory")
        for index, name in enumerate(named if isinstance(named, list) else ()):
            if isinstance(name, str):
                self._add_inventory(name, ("inventory", index))
        hosts = self.document.data.get("hosts")
        if isinstance(hosts, dict):
            self.inline_host_keys = frozenset(
                name for name, entry in hosts.items() if isinstance(entry, dict) and "host_key" in entry
            )
        keys = self.document.data.get("host_keys")
        if isinstance(keys, str):
            self._add_host_keys(self.folder / Path(keys).expanduser())

    # --- inventories -------------------------------------------------------------------------------------------------

    def _add_inventory(self, name: str, place: Place) -> None:
        path = self.folder / Path(name).expanduser()
        self.files.append(path)
        text = self._text(path, place)
        if text is None:
            return
        document = read_yaml(text, max_bytes=_MAX_BYTES)
        self.faults += [(str(path), line, said) for line, said in document.faults]
        if not document.data and not document.faults:
            # As a full disk or a broken-off copy leaves it; it must not take every host away.
            self.faults.append((str(path), 1, f"is empty; put hosts there, or take it out of {dotted(place)}."))
        self.document.unread |= {place for place in document.unread if place[:1] != ("defaults",)}
        for section in sorted(document.data.keys() - {*_SECTIONS}):
            line = document.lines[(section,)]
            said = (
                f"{section[:60]}: only {', '.join(_SECTIONS)} stand in an inventory file; the rest is in {self.main}."
            )
            self.faults.append((str(path), line, said))
        self._add_hosts(document, path)
        self._add_groups(document, path)

    def _text(self, path: Path, place: Place) -> str | None:
        file, line = self.where(place)
        try:
            text = read_file(path, max_bytes=_MAX_BYTES)
            if len(text.encode()) <= _MAX_BYTES:
                return text
            said = f"{path} is larger than {_MAX_BYTES // 2**20} MiB; that is no inventory, check the path."
        except OSError as error:
            said = f"{path} cannot be read ({error.strerror}); correct the path."
        except UnicodeDecodeError:
            said = f"{path} is not UTF-8 text; save it as UTF-8."
        self.faults.append((file, line, f"{dotted(place)}: {said}"))
        return None

    def _section(self, name: str) -> dict[str, Json]:
        section = self.document.data.setdefault(name, {})
        return section if isinstance(section, dict) else {}

    def _add_hosts(self, document: Document, path: Path) -> None:
        hosts, known = document.data.get("hosts", {}), self._section("hosts")
        defaults = document.data.get("defaults", {})
        if not isinstance(hosts, dict) or not isinstance(defaults, dict):
            self.faults.append(
                (str(path), 1, "hosts and defaults must hold settings of their own, indented below them.")
            )
            return
        added = set()
        for name, entry in hosts.items():
            if name in known:
                file, line = self.where(("hosts", name))
                said = f"hosts.{name[:60]}: is there twice (first in {file}:{line}); remove one."
                self.faults.append((str(path), document.lines["hosts", name], said))
                continue
            added.add(name)
            known[name] = _with_defaults(entry, defaults, path.parent)
            for setting in defaults:
                self._places["hosts", name, setting] = (str(path), document.line_of(("defaults", setting)))
        for place, line in document.lines.items():
            if place[0] == "hosts" and len(place) > 1 and place[1] in added:
                self._places[place] = (str(path), line)

    def _add_groups(self, document: Document, path: Path) -> None:
        groups, known = document.data.get("groups", {}), self._section("groups")
        if not isinstance(groups, dict):
            self.faults.append((str(path), 1, "groups must hold lists of hosts, indented below it."))
            return
        for name, members in groups.items():
            before = known.get(name, [])
            if not isinstance(members, list) or not isinstance(before, list):
                known[name] = members  # named by the check of the whole
                self._places["groups", name] = (str(path), document.lines["groups", name])
                continue
            if name not in known:
                self._places["groups", name] = (str(path), document.lines["groups", name])
            known[name] = [*before, *members]
            for index in range(len(members)):
                here = (str(path), document.line_of(("groups", name, index)))
                self._places["groups", name, len(before) + index] = here

    # --- host keys ---------------------------------------------------------------------------------------------------

    def _add_host_keys(self, path: Path) -> None:
        self.files.append(path)
        if not path.exists():
            return  # `opsbot hosts trust` makes it
        text = self._text(path, ("host_keys",))
        found, faults = read_host_keys(text or "")
        self.faults += [(str(path), line, said) for line, said in faults]
        hosts = self._section("hosts")
        for name, (line, keys) in found.items():
            entry = hosts.get(name)
            if isinstance(entry, dict) and "host_key" not in entry:
                hosts[name] = {**entry, "host_key": keys}
                self._places["hosts", name, "host_key"] = (str(path), line)


def _with_defaults(entry: Json, defaults: Mapping[str, Json], folder: Path) -> Json:
    """Return a host's settings with its file's defaults; the paths of its keys are relative to that file."""
    if entry is None:
        entry = {}
    if not isinstance(entry, dict):
        return entry
    whole = {**defaults, **entry}
    for setting in ("key", "read_key"):
        path = whole.get(setting)
        if isinstance(path, str):
            whole[setting] = str(folder / Path(path).expanduser())
    return whole
