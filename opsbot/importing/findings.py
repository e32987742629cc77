"""What readers of foreign inventories find, what they leave out and why, and how much they may read."""

import os
import stat
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from opsbot.errors import ConfigError

MAX_HOSTS = 10_000
# A host has files of its own in some inventories, and groups too.
_MAX_FILES = 40_000
_MAX_BYTES = 64 * 1024 * 1024
STDIN = "-"


class TooMuchError(ConfigError):
    """A limit of the whole import is passed: no part of it is taken."""


class Kind(StrEnum):
    """What a remark is about."""

    HOST = "host"
    GROUP = "group"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was not taken over."""

    kind: Kind
    what: str
    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Hop:
    """A jump host as the source names it; "" and None: not said."""

    host: str
    user: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host as its source describes it, not yet checked. `jump`: the hops in order, from here to there."""

    name: str
    where: str
    address: str = ""
    port: int | None = None
    user: str = ""
    key: str = ""
    local: bool = False
    jump: tuple[Hop, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Findings:
    """Everything a source says that we understand, and remarks on the rest."""

    hosts: dict[str, Candidate] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)

    def add(self, host: Candidate) -> None:
        """Take a host; a second one of the same name is left out. Raises ConfigError beyond the limit."""
        if known := self.hosts.get(host.name):
            self.leave_out(host.name, host.where, f"is there already ({known.where})")
            return
        self.hosts[host.name] = host
        check_count(len(self.hosts), host.where)

    def leave_out(self, host: str, where: str, why: str) -> None:
        """Note a host that is not taken over."""
        self.remarks.append(Remark(Kind.HOST, host, where, why))

    def remark(self, setting: str, where: str, why: str) -> None:
        """Note something else that is not taken over."""
        self.remarks.append(Remark(Kind.SETTING, setting, where, why))


def check_count(count: int, where: str) -> None:
    """Raise TooMuchError if these are more hosts than one import may have."""
    if count > MAX_HOSTS:
        raise TooMuchError(f"{where}: more than {MAX_HOSTS} hosts; import a part of it.")


@dataclass(slots=True)
class Files:
    """Reads regular files of text, up to limits on their number and size together."""

    _files: int = 0
    _bytes: int = 0

    def read(self, path: Path) -> str:
        """Return a file's text; `-` is standard input. Raises ConfigError."""
        self._count(path)
        try:
            content = self._content(path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror}); correct the path.") from error
        self._bytes += len(content)
        if self._bytes > _MAX_BYTES:
            raise TooMuchError(f"{path}: more than {_MAX_BYTES >> 20} MiB altogether; that is no inventory.")
        if content.startswith(b"#!") or b"\0" in content[:8192]:
            raise ConfigError(
                f"{path}: is a program, and importing runs nothing. Run it yourself and import its answer: "
                f"`ansible-inventory -i {path} --list --yaml > FILE`."
            )
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8.") from error

    def entries(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted; none if it does not exist. Raises ConfigError."""
        self._count(folder)
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be read ({error.strerror}); correct the path.") from error

    def _count(self, path: Path) -> None:
        self._files += 1
        if self._files > _MAX_FILES:
            raise TooMuchError(f"{path}: more than {_MAX_FILES} files and folders; import a part of them.")

    def _content(self, path: Path) -> bytes:
        room = _MAX_BYTES - self._bytes + 1
        if str(path) == STDIN:
            return sys.stdin.buffer.read(room)
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path}: is not a file; name one.")
        with path.open("rb") as file:
            return file.read(room)
