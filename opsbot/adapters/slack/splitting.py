"""Long Markdown in parts that each stand alone: cut at paragraphs or lines, code fences closed and opened again."""

import re
from dataclasses import dataclass

# Marks are repeated in every part, so absurdly long ones do not count as a fence.
_FENCE = re.compile(r"^ {0,3}(`{3,20}(?!`)|~{3,20}(?!~))(.*)$")
# An opening line is repeated in the next part; a longer info string than this is not one.
_MAX_INFO = 40


@dataclass(slots=True)
class _Part:
    """A part under construction; `used` counts its characters with line feeds."""

    lines: list[str]
    used: int

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.used += len(line) + 1

    def take_from_last_blank(self) -> list[str]:
        """Give back the lines after the last blank one, if that leaves at least half of the part."""
        for index in range(len(self.lines) - 1, len(self.lines) // 2, -1):
            if not self.lines[index].strip():
                rest = self.lines[index + 1 :]
                self.lines = self.lines[:index]
                return rest
        return []


def split(text: str, limit: int) -> list[str]:
    """Split `text` into parts of at most `limit` (at least 200) characters.

    Joined, the parts have the same lines of text; a fence that a cut runs through is closed and reopened.
    """
    if len(text) <= limit:
        return [text]
    room = limit - _MAX_INFO - 10
    parts: list[str] = []
    part = _Part([], 0)
    fence = ""
    for line in _short_lines(text, room):
        if part.used + len(line) + 1 > room and part.lines:
            kept = [] if fence else part.take_from_last_blank()
            parts.append(_closed(part.lines, fence))
            part = _Part([], 0)
            for earlier in ([fence] if fence else []) + kept:
                part.add(earlier)
        part.add(line)
        fence = _fence_after(line, fence)
    parts.append("\n".join(part.lines))
    return [piece for piece in parts if piece.strip()] or [""]


def _short_lines(text: str, limit: int) -> list[str]:
    lines: list[str] = []
    for line in text.split("\n"):
        lines += [line[start : start + limit] for start in range(0, len(line), limit)] or [""]
    return lines


def _fence_after(line: str, fence: str) -> str:
    """Return the opening line of the fence that is open after `line`, or ""."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    marks, info = match.group(1), match.group(2)
    if not fence:
        return "" if marks[0] == "`" and "`" in info else marks + (info if len(info) <= _MAX_INFO - 10 else "")
    opened = _FENCE.match(fence)
    closes = opened is not None and marks.startswith(opened.group(1)) and not info.strip()
    return "" if closes else fence


def _closed(lines: list[str], fence: str) -> str:
    opened = _FENCE.match(fence) if fence else None
    return "\n".join([*lines, opened.group(1)] if opened else lines)
