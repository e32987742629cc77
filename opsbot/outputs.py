"""Answers of tools that are too long for the model: kept whole for a while, read by lines. Pure but for the port."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from opsbot.domain import Json

# More of one answer is not kept: its beginning and, thrice as much, its end are.
KEPT_MAX_CHARS = 4 * 1024 * 1024
# Of one conversation; older ones make room.
KEPT_PER_CONVERSATION = 50
KEPT_FOR = timedelta(days=7)

# A longer line goes on in the next one.
LINE_CHARS = 1000
# What one reading brings at most.
LINES_MAX = 200
PIECE_CHARS = 8_000
# A value that fits is laid out on one line.
_ON_ONE_LINE = 300


@dataclass(frozen=True, slots=True)
class Output:
    """One answer of a tool: taken in, redacted, laid out in lines. `of`: the call it answered; `at`: aware UTC.

    `ref` is what the model calls it by; together with the conversation it is unique.
    """

    conversation_id: str
    ref: str
    of: str
    at: datetime
    text: str
    untrusted: bool = True


class Outputs(Protocol):
    """Outputs in the store. Only the conversation that made one can read it."""

    async def put(self, output: Output) -> None:
        """Keep an output; the oldest of its conversation go where there are too many."""
        ...

    async def get(self, conversation_id: str, ref: str) -> Output | None:
        """Return an output of this conversation."""
        ...

    async def prune(self, before: datetime) -> int:
        """Forget outputs made before that time; return how many."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of an output: from `line` on (from 1; below 0: so many before the end), at most `lines`.

    `grep`: only those that hold one of these texts, case ignored.
    """

    grep: tuple[str, ...] = ()
    line: int = 1
    lines: int = 50


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines of an output with their numbers. `next_line`: where to go on, 0: at the end. `matches`: in the whole."""

    shown: tuple[tuple[int, str], ...]
    next_line: int
    matches: int


# --- laying out ------------------------------------------------------------------------------------------------------


def laid_out(content: str) -> str:
    """Lay a tool's answer (JSON) out in lines that can be searched; each item of a list stands on its own."""
    try:
        value: Json = json.loads(content)
        return "\n".join(_lines(value, "", ""))
    except (ValueError, RecursionError):
        return content


def bounded(text: str, limit: int = KEPT_MAX_CHARS) -> str:
    """Leave out the middle of what is longer, and say so."""
    if len(text) <= limit:
        return text
    head, tail = limit // 4, limit * 3 // 4
    return f"{text[:head]}\n[{len(text) - head - tail:,} characters left out: more than is kept]\n{text[-tail:]}"


def numbered(text: str) -> list[str]:
    """Return the lines of an output, as they are counted."""
    return [part for line in text.split("\n") for part in _wrapped(line)]


def ends(lines: Sequence[str], limit: int) -> tuple[list[str], list[str]]:
    """Return the first and the last lines that fit, half of the characters each."""
    head = _fitting(lines, limit // 2)
    tail = _fitting(lines[: len(head) - 1 if head else None : -1], limit // 2)
    return head, tail[::-1]


def _fitting(lines: Sequence[str], limit: int) -> list[str]:
    kept: list[str] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > limit:
            break
        kept.append(line)
    return kept


def _lines(value: Json, indent: str, name: str) -> Iterator[str]:
    label = f"{indent}{name}: " if name else indent
    match value:
        case str() if "\n" in value:
            yield label.rstrip() or "-"
            yield from (f"{indent}  {line}" for line in value.split("\n"))
        case str():
            yield f"{label}{value}"
        case dict() | list() if value and not _is_short(value):
            if name:
                yield f"{indent}{name}:"
            inner = f"{indent}  " if name else indent
            items = value.items() if isinstance(value, dict) else (("", item) for item in value)
            for key, item in items:
                yield from _lines(item, inner, key)
        case _:
            yield f"{label}{json.dumps(value, ensure_ascii=False)}"


def _is_short(value: "dict[str, Json] | list[Json]") -> bool:
    # A list of texts is one text by lines, however short.
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return False
    if len(value) > _ON_ONE_LINE:
        return False
    written = json.dumps(value, ensure_ascii=False)
    return len(written) <= _ON_ONE_LINE and "\\n" not in written


def _wrapped(line: str) -> Iterator[str]:
    if not line:
        yield line
    for start in range(0, len(line), LINE_CHARS):
        yield line[start : start + LINE_CHARS]


# --- reading ---------------------------------------------------------------------------------------------------------


def piece(text: str, wanted: Wanted) -> Piece:
    """Return the lines asked for, as many as one reading brings."""
    lines = numbered(text)
    first = wanted.line if wanted.line > 0 else max(1, len(lines) + 1 + wanted.line)
    found = _matching(lines, wanted.grep) if wanted.grep else range(1, len(lines) + 1)
    ahead = [number for number in found if number >= first]
    shown: list[tuple[int, str]] = []
    size = 0
    for number in ahead[: min(wanted.lines, LINES_MAX)]:
        size += len(lines[number - 1]) + 8
        if size > PIECE_CHARS and shown:
            break
        shown.append((number, lines[number - 1]))
    following = ahead[len(shown)] if len(shown) < len(ahead) else 0
    return Piece(tuple(shown), following, len(found) if wanted.grep else 0)


def _matching(lines: Sequence[str], texts: Sequence[str]) -> list[int]:
    """Return the numbers of lines that hold one of the texts, by plain comparison: the time never explodes."""
    wanted = [text.lower() for text in texts]
    lowered = [line.lower() for line in lines]
    found = []
    for at, line in enumerate(lowered):
        # What goes on in the next line is found also across the break.
        joined = line + lowered[at + 1][:LINE_CHARS] if len(lines[at]) == LINE_CHARS and at + 1 < len(lines) else line
        if any(_begins_in(text, line, joined) for text in wanted):
            found.append(at + 1)
    return found


def _begins_in(text: str, line: str, joined: str) -> bool:
    return text in line or (joined is not line and text in joined[: len(line) + len(text) - 1])
