"""OpenSSH's client configuration as a list of hosts (ssh_config(5), 10.2); no Match is tried, nothing is run."""

import glob
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from opsbot.errors import ConfigError
from opsbot.importing.findings import Candidate, Files, Findings, Hop, check_count
from opsbot.importing.places import hops_of, hops_of_command
from opsbot.inventory import is_address

# READCONF_MAX_DEPTH of OpenSSH.
_MAX_DEPTH = 16
_MAX_INCLUDED = 1000
# Names times blocks with patterns: a blink for real files, a refusal for made-up ones.
_MAX_TESTS = 20_000_000
_USED = frozenset({"hostname", "port", "user", "identityfile", "proxyjump", "proxycommand"})
_LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.*)", re.ASCII)
_Patterns = tuple[str, ...]


@dataclass(slots=True)
class _Block:
    """Settings under the same conditions: every list of patterns must fit the name."""

    conditions: tuple[_Patterns, ...]
    settings: list[tuple[str, str, str]] = field(default_factory=list)


def read_ssh_config(path: Path, files: Files) -> Findings:
    """Read every host that is named without a pattern, with what all blocks that fit it say; the first value counts.

    Raises:
        ConfigError: a file cannot be read, or includes go too deep.
    """
    reader = _Reader(path, files)
    reader.read(path, (), 0)
    reader.add_hosts()
    return reader.findings


class _Reader:
    """Collects names and blocks, in the order in which OpenSSH reads them."""

    def __init__(self, path: Path, files: Files) -> None:
        self.findings = Findings()
        # OpenSSH starts relative paths at ~/.ssh, where the user's file is.
        self._folder = path.parent
        self._files = files
        self._names: dict[str, str] = {}
        self._blocks: list[_Block] = []

    def read(self, path: Path, outer: tuple[_Patterns, ...], depth: int) -> None:
        """Read one file, all of which stands under the `outer` conditions."""
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{path}: is included more than {_MAX_DEPTH} files deep; correct the Include lines.")
        block: _Block | None = self._begin(outer)
        for number, line in enumerate(self._files.read(path).split("\n"), 1):
            found = _LINE.fullmatch(line.strip())
            if found is None:
                continue  # empty, a comment, or a keyword alone, which OpenSSH refuses
            keyword, rest, where = found[1].lower(), found[2], f"{path}:{number}"
            if keyword == "host":
                block = self._begin((*outer, self._host_line(rest, where, outer)))
            elif keyword == "match":
                block = self._match_line(rest, where, outer)
            elif block is not None:
                block = self._setting(block, keyword, rest, where, depth)

    def _begin(self, conditions: tuple[_Patterns, ...]) -> _Block:
        self._blocks.append(_Block(conditions))
        return self._blocks[-1]

    def _host_line(self, rest: str, where: str, outer: tuple[_Patterns, ...]) -> _Patterns:
        patterns = tuple(_words(rest) or ())
        if not patterns:
            self.findings.remark("Host", where, "is a line that cannot be read")
        for pattern in patterns:
            if not set("*?!") & set(pattern) and all(_fits(condition, pattern) for condition in outer):
                self._names.setdefault(pattern, where)
        check_count(len(self._names), where)
        return patterns

    def _match_line(self, rest: str, where: str, outer: tuple[_Patterns, ...]) -> _Block | None:
        if rest.strip().lower() == "all":
            return self._begin(outer)
        self.findings.remark("Match", where, "is a block that depends on more than the name; it was not applied")
        return None

    def _setting(self, block: _Block, keyword: str, rest: str, where: str, depth: int) -> _Block:
        if keyword == "include":
            for path in self._included(rest, where):
                self.read(path, block.conditions, depth + 1)
            return self._begin(block.conditions)  # what follows comes after what was included
        if keyword == "canonicalizehostname" and rest.strip().lower() != "no":
            self.findings.remark("CanonicalizeHostname", where, "changes names by asking the DNS; it was not applied")
        if keyword in _USED:
            words = _words(rest)
            if words:
                block.settings.append((keyword, rest.strip() if keyword == "proxycommand" else words[0], where))
            else:
                self.findings.remark(keyword, where, "is a line that cannot be read")
        return block

    def _included(self, rest: str, where: str) -> Iterator[Path]:
        for word in _words(rest) or ():
            path = Path(word).expanduser() if word.startswith("~/") else Path(word)
            if "%" in word or "${" in word or (word.startswith("~") and path == Path(word)):
                self.findings.remark("Include", where, "has something to be filled in; it was not read")
                continue
            found = sorted(islice(glob.iglob(str(self._folder / path)), _MAX_INCLUDED + 1))
            if len(found) > _MAX_INCLUDED:
                raise ConfigError(f"{where}: includes more than {_MAX_INCLUDED} files; import them in parts.")
            if not found and not glob.has_magic(word):
                self.findings.remark("Include", where, "names a file that is not there")
            yield from (Path(name) for name in found if not Path(name).is_dir())

    # --- what is said of each name -----------------------------------------------------------------------------------

    def add_hosts(self) -> None:
        """Add every name with what the blocks that fit it say."""
        exact: dict[str, list[int]] = {}
        general: list[int] = []
        blocks = [block for block in self._blocks if block.settings]
        for index, block in enumerate(blocks):
            patterns = block.conditions[-1] if block.conditions else ()
            if not patterns or any(set("*?!") & set(pattern) for pattern in patterns):
                general.append(index)
                continue
            for pattern in dict.fromkeys(patterns):
                exact.setdefault(pattern, []).append(index)
        if len(general) * len(self._names) > _MAX_TESTS:
            raise ConfigError(f"{self._folder}: too many hosts times blocks with patterns; import a part of them.")
        for name, where in self._names.items():
            indices = sorted([*general, *exact.get(name, ())])
            fitting = [
                blocks[index] for index in indices if all(_fits(each, name) for each in blocks[index].conditions)
            ]
            self._add(name, where, fitting)

    def _add(self, name: str, where: str, blocks: Sequence[_Block]) -> None:
        said: dict[str, str] = {}
        for block in blocks:
            for keyword, value, _ in block.settings:
                # Whichever of the two comes first decides about both.
                said.setdefault("proxy" if keyword in ("proxyjump", "proxycommand") else keyword, f"{keyword} {value}")
        values = {keyword: value.partition(" ")[2] for keyword, value in said.items()}
        jump = _jump(said.get("proxy", ""))
        address = _address(values.get("hostname", name), name)
        port = values.get("port", "22")
        if jump is None:
            self.findings.leave_out(name, where, "is reached by a ProxyJump or ProxyCommand that is no plain jump")
        elif address is None:
            self.findings.leave_out(name, where, "has a HostName with something to be filled in")
        elif not (port.isascii() and port.isdecimal() and len(port) < 6):
            self.findings.leave_out(name, where, "has a Port that is no number")
        else:
            key = _home(values.get("identityfile", "none"))
            user = values.get("user", "")
            self.findings.add(Candidate(name, where, address, int(port), user, key, jump=jump))


def _jump(said: str) -> tuple[Hop, ...] | None:
    keyword, _, value = said.partition(" ")
    return hops_of_command(value) if keyword == "proxycommand" else hops_of(value or "none")


def _address(text: str, name: str) -> str | None:
    """Fill in `%h` and `%%`, the tokens a HostName may have; None if there are others."""
    filled = re.sub(r"%(.)", lambda found: {"h": name, "%": "%"}.get(found[1], "\0"), text)
    return None if "\0" in filled or ("%" in filled and not is_address(filled)) else filled


def _home(key: str) -> str:
    return "" if key.lower() == "none" else re.sub(r"^%d/", "~/", key)


def _words(text: str) -> list[str] | None:
    """Split a line as OpenSSH does: quotes count, a backslash does not, a word that begins with # ends it."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    words = []
    try:
        for word in lexer:
            if word.startswith("#"):
                break
            words.append(word)
    except ValueError:
        return None
    return words


def _fits(patterns: _Patterns, name: str) -> bool:
    """Tell whether a Host line means this name: one pattern at least fits, and no negated one."""
    if any(pattern.startswith("!") and _fits_one(pattern[1:], name) for pattern in patterns):
        return False
    return any(not pattern.startswith("!") and _fits_one(pattern, name) for pattern in patterns)


def _fits_one(pattern: str, name: str) -> bool:
    """Compare with `*` and `?`, in time bounded by the product of both lengths."""
    at = star = -1
    place = index = 0
    while index < len(name):
        if place < len(pattern) and pattern[place] != "*" and pattern[place] in ("?", name[index]):
            place, index = place + 1, index + 1
        elif place < len(pattern) and pattern[place] == "*":
            star, at, place = place, index, place + 1
        elif star >= 0:
            at += 1
            place, index = star + 1, at
        else:
            return False
    return not pattern[place:].strip("*")
