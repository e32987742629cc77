"""Long Markdown in parts that each stand alone: cut at paragraphs or lines, code fences closed and opened again."""

import re
from dataclasses import dataclass

# Marks are repeated in every part, so absurdly long ones do not count as a fence.
_FENCE = re.compile(r"^ {0,3}(`{3,20}(?!`)|~{3,20}(?!~))(.*)$")
# An opening line is repeated in the next part; a longer info string than this is not one.
_MAX_INFO = 40


@dataclass(slots=True)
class _Part:
    """A part under construction; `used` counts its characters with line feeds, `gap` is its last good place to cut."""

    lines: list[str]
    used: int = 0
    gap: int = 0

    def add(self, line: str, *, fence: str) -> None:
        self.lines.append(line)
        self.used += len(line) + 1
        if not fence and not line.strip():
            self.gap = len(self.lines)

    def cut_at_gap(self, room: int) -> list[str]:
        """Give back the lines after the last blank one, if that leaves half of the part and they fit into `room`."""
        kept = self.lines[self.gap :]
        if self.gap <= len(self.lines) // 2 or sum(len(line) + 1 for line in kept) > room:
            return []
        self.lines = self.lines[: self.gap]
        return kept


def split(text: str, limit: int) -> list[str]:
    """Split `text` into parts of at most `limit` (at least 200) characters.

    Joined, the parts have the same lines of text; a fence that a cut runs through is closed and reopened.
    """
    if len(text) <= limit:
        return [text]
    room = limit - _MAX_INFO - 10
    parts: list[str] = []
    part = _Part([])
    fence = ""
    for line in _short_lines(text, room):
        if part.used + len(line) + 1 > room and part.lines:
            kept = [] if fence else part.cut_at_gap(room - len(line) - 1)
            parts.append(_closed(part.lines, fence))
            part = _Part([])
            for earlier in [fence] if fence else kept:
                part.add(earlier, fence=fence)
        fence = _fence_after(line, fence)
        part.add(line, fence=fence)
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
