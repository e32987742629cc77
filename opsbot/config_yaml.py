"""YAML as configuration needs it: plain data, the line of every key, and every fault of the text at once."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from opsbot.domain import Json

_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 20
_STR, _INT, _FLOAT, _BOOL, _NULL = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null"))
# libyaml reads 1,000 hosts in a blink; the pure Python reader, with the same results, takes seconds.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class Document:
    """What a YAML text says. `lines` has the line (from 1) of every key and list item by its path."""

    data: dict[str, Json] = field(default_factory=dict)
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)
    # Places whose value could not be read: their faults are listed already.
    unread: set[tuple[str | int, ...]] = field(default_factory=set)

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """Return the line of the path, or of the nearest thing around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_file(path: Path, *, max_bytes: int = _MAX_BYTES) -> str:
    """Return the text of a file, or a little more than `max_bytes` of one that is larger or has no end.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is not UTF-8.
    """
    with path.open("rb") as file:
        read = file.read(max_bytes + 4)
    # Cut where a character may be halved: it is too large anyway.
    return read.decode("utf-8", "strict" if len(read) <= max_bytes else "replace")


def read_yaml(text: str, *, max_bytes: int = _MAX_BYTES) -> Document:
    """Read one YAML document whose top is a mapping. Nothing is executed; tags, anchors and duplicates are faults."""
    document = Document()
    if len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        document.faults.append((1, f"larger than {max_bytes // 1024} KiB; that is no configuration, check the file."))
        return document
    try:
        document.faults.extend(_refused_events(text))
        node = None if document.faults else yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        document.faults.append(_syntax_fault(error))
        return document
    except ValueError as error:
        document.faults.append((1, f"cannot be read: {error}."))
        return document
    if isinstance(node, yaml.MappingNode):
        value = _Reader(document).mapping(node, ())
        document.data = value
    elif node is not None:
        document.faults.append((_line(node), "the top must be settings (`name: value`), not a list or a word."))
    return document


def _refused_events(text: str) -> list[tuple[int, str]]:
    """Find what must not be composed at all: an alias can make a small text enormous, depth can exhaust the stack."""
    faults = []
    depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if getattr(event, "anchor", None) is not None:
            faults.append((line, "anchors and aliases (& and *) are not taken; write it out or use `defaults`."))
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in ("!", _STR):
            faults.append((line, f"the tag {tag[:60]!r} is not taken; write a plain value."))
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or documents > 1 or len(faults) >= 20:
            said = f"nested deeper than {_MAX_DEPTH} levels" if depth > _MAX_DEPTH else "a second document (`---`)"
            return faults if len(faults) >= 20 else [*faults, (line, f"{said}; a configuration is one flat document.")]
    return faults


def _syntax_fault(error: yaml.YAMLError) -> tuple[int, str]:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    line = mark.line + 1 if mark is not None else 1
    return line, f"not YAML: {problem}; check indentation, colons and quotes there."


class _Reader:
    """Turns nodes into JSON values and writes down lines and faults on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._scalars = yaml.constructor.SafeConstructor()

    def mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != _STR:
                self._fault(key_node, f"the key {_shown(key_node)} is not a plain word; put it in quotes.")
                continue
            key, here = key_node.value, (*path, key_node.value)
            if key in found:
                self._fault(key_node, f"{key[:60]!r} is there twice (first in line {self._document.lines[here]}).")
                continue
            self._document.lines[here] = _line(key_node)
            found[key] = self._value(value_node, here)
        return found

    def _value(self, node: yaml.Node, path: tuple[str | int, ...]) -> Json:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: yaml.Node, path: tuple[str | int, ...]) -> Json:
        self._document.lines[path] = _line(node)
        return self._value(node, path)

    def _scalar(self, node: yaml.Node, path: tuple[str | int, ...]) -> Json:
        text: str = node.value
        if node.tag == _STR:
            return text
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL and text.lower() in ("true", "false"):
            return text.lower() == "true"
        # YAML 1.1 reads 22:30 as 1350, 010 as 8, 0x1F as 31 and 1_000 as 1000: nobody who writes them is sure.
        if node.tag in (_INT, _FLOAT) and _is_plain_number(text):
            value: int | float = self._scalars.construct_object(node)
            return value
        meant = "write true or false, or " if node.tag == _BOOL else ""
        self._fault(node, f"{_shown(node)} may be read in two ways; {meant}put it in quotes if it is a word.")
        self._document.unread.add(path)
        return None

    def _fault(self, node: yaml.Node, text: str) -> None:
        self._document.faults.append((_line(node), text))


def _is_plain_number(text: str) -> bool:
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1] != ".":
        return False
    return len(digits) < 20 and digits.replace(".", "", 1).isdigit() and digits.isascii()


def _shown(node: yaml.Node) -> str:
    return repr(node.value[:60]) if isinstance(node.value, str) else "a list or mapping"


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1
