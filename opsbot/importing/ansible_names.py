"""Ansible's host patterns: `web[01:50].example.net:2222` as names and a port, counted before they are made."""

import math
import re
import string
from collections.abc import Sequence

from opsbot.importing.findings import check_count
from opsbot.inventory import is_address

_MAX_CHARS = 400
_PORT = re.compile(r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<host>(?:[^:\[\]]|\[[^\]]*\])*)):(?P<port>[0-9]{1,5})", re.ASCII)
_RANGE = re.compile(r"\[([0-9]*|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]+))?\]", re.ASCII)


def names_of(pattern: str, where: str) -> tuple[list[str], int | None]:
    """Return the host names a pattern stands for, and the port it gives.

    Raises:
        ValueError: it is no pattern; the text says why.
        ConfigError: these are too many hosts.
    """
    if len(pattern) > _MAX_CHARS:
        raise ValueError("is too long for a host's name")
    found = None if is_address(pattern) else _PORT.fullmatch(pattern)
    name = (found["bracketed"] or found["host"]) if found else pattern
    port = int(found["port"]) if found else None
    pieces = _RANGE.split(name)
    texts, ranges = pieces[::4], [_range(*pieces[at : at + 3]) for at in range(1, len(pieces), 4)]
    if any(mark in text for text in texts for mark in "[]"):
        raise ValueError("has a range that cannot be read")
    check_count(math.prod(count for count, _ in ranges), where)
    names = [texts[0]]
    for (_, values), text in zip(ranges, texts[1:], strict=True):
        names = [f"{name}{value}{text}" for name in names for value in _strings(values)]
    return names, port


_Values = tuple[range, str, int]


def _range(begin: str, end: str, step: str | None) -> tuple[int, _Values]:
    """Return how many values a range has, and how to make them."""
    begin = begin or "0"
    by = int(step) if step and len(step) < 10 else 1 if step is None else 0
    letters = string.ascii_letters
    if by < 1 or len(begin) > 18 or len(end) > 18 or begin.isdecimal() != end.isdecimal():
        raise ValueError("has a range that cannot be read")
    if begin.isdecimal():
        width = len(begin) if begin[0] == "0" and len(begin) > 1 else 0
        if width and width != len(end):
            raise ValueError("has a range whose ends differ in length")
        values = range(int(begin), int(end) + 1, by)
        symbols = ""
    else:
        width = 0
        values = range(letters.index(begin), letters.index(end) + 1, by)
        symbols = letters
    if not values:
        raise ValueError("has a range that ends before it begins")
    return len(values), (values, symbols, width)


def _strings(values: _Values) -> Sequence[str]:
    numbers, symbols, width = values
    return [symbols[number] if symbols else str(number).zfill(width) for number in numbers]
