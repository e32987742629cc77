"""YAML and JSON as other tools write them: aliases, merges and foreign tags are met, none of them can do anything."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import yaml

from opsbot.errors import ConfigError

_MAX_DEPTH = 64
# Ten thousand hosts with twenty settings each.
_MAX_NODES = 1_000_000
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR, _MERGE = "tag:yaml.org,2002:str", "<<"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = frozenset({"yes", "no", "true", "false", "on", "off"})
_INT = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value that cannot be read as data: encrypted, or of a type of its own."""

    why: str


class Key(str):
    """A key that knows its line."""

    __slots__ = ("line",)

    def __new__(cls, text: str, line: int) -> "Key":
        made = super().__new__(cls, text)
        made.line = line
        return made

    line: int


Data: TypeAlias = "str | int | float | bool | Sealed | list[Data] | dict[str, Data] | None"


def read_data(text: str, source: str) -> Data:
    """Read one YAML or JSON document. Aliased parts are the same objects, so nothing grows.

    Raises:
        ConfigError: it is neither, too deep or too large.
    """
    if text.lstrip()[:1] == "{":
        try:
            found: Data = json.loads(text, object_hook=_plain)
        except (ValueError, RecursionError):
            pass  # YAML has braces too
        else:
            return found
    try:
        return _Builder(source).build(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise ConfigError(f"{source}:{mark.line + 1 if mark else 1}: not YAML: {problem}; correct it.") from error
    except ValueError as error:
        raise ConfigError(f"{source}: not YAML: {error}; correct it.") from error


def _plain(found: "dict[str, Data]") -> Data:
    """Read what Ansible's JSON writes for `!vault` and `!unsafe`."""
    if len(found) == 1 and "__ansible_vault" in found:
        return Sealed("is encrypted")
    return found["__ansible_unsafe"] if [*found] == ["__ansible_unsafe"] else found


def line_of(key: str) -> int:
    """Return the line of a key, 1 where it is not known (JSON)."""
    return key.line if isinstance(key, Key) else 1


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    value: "list[Data] | dict[str, Data]"
    key: str | None = None
    merged: "list[Data]" = field(default_factory=list)


class _Builder:
    """Builds data from events: no recursion, so that no text can exhaust the stack."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._anchors: dict[str, Data] = {}
        self._open: list[_Open] = []
        self._done: list[Data] = []

    def build(self, text: str) -> Data:
        for count, event in enumerate(_events(text)):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if count > _MAX_NODES or len(self._open) > _MAX_DEPTH or len(self._done) > 1:
                raise ConfigError(f"{self._source}:{line}: too large, too deep or a second document; import a part.")
            self._take(event, line)
        return self._done[0] if self._done else None

    def _take(self, event: yaml.Event, line: int) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._add(_scalar(event), event.anchor, line)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise ConfigError(f"{self._source}:{line}: an alias of something unknown; correct it.")
            self._add(self._anchors[event.anchor], None, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            value: list[Data] | dict[str, Data] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            sealed = event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
            self._add(Sealed("is of a type of its own") if sealed else value, event.anchor, line)
            self._open.append(_Open(value))
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            # Only now is everything there that is merged, and everything that wins over it.
            if isinstance(ended.value, dict):
                for part in ended.merged:
                    _merge(ended.value, part)

    def _add(self, value: Data, anchor: str | None, line: int) -> None:
        if anchor:
            self._anchors[anchor] = value
        if not self._open:
            self._done.append(value)
            return
        around = self._open[-1]
        if isinstance(around.value, list):
            around.value.append(value)
        elif around.key is None:
            # Keys that are no text (numbers, lists) mean nothing in an inventory, but must not be lost either.
            around.key = Key(value if isinstance(value, str) else f"({value})"[:80], line)
        else:
            if around.key == _MERGE:
                around.merged.append(value)
            else:
                around.value[around.key] = value
            around.key = None


def _events(text: str) -> Iterator[yaml.Event]:
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
    return events


def _merge(mapping: "dict[str, Data]", value: Data) -> None:
    """`<<`: what is there already, and what comes first, wins."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, dict):
            for key, inner in part.items():
                mapping.setdefault(key, inner)


def _scalar(event: yaml.ScalarEvent) -> Data:
    text: str = event.value
    if event.tag == "!vault":
        return Sealed("is encrypted")
    if event.tag not in (None, "!", "!unsafe", _STR):
        return Sealed("is of a type of its own")
    if event.tag is not None or not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text.lower() in _BOOL:
        return text.lower() in ("yes", "true", "on")
    return int(text) if _INT.fullmatch(text) else text
