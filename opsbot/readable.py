"""Figures as people read them (`3.2 GiB`, `12d 4h`); text of other machines made harmless. Standard library only."""

import re
import unicodedata
from datetime import UTC, datetime

_SIZES = ("KiB", "MiB", "GiB", "TiB", "PiB")
# ECMA-48 (5th edition, 1991): CSI sequences; OSC, DCS, SOS, PM and APC strings up to BEL or ST; two-byte escapes.
# A string without an end is not one: what follows its beginning stays visible.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\n\x07\x1b\x90\x98\x9c-\x9f]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
# Cc controls, Cf direction marks and zero-width characters, Co private use, Cs halves of pairs, Cn unassigned.
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def size_text(size_bytes: float | None) -> str:
    """Spell bytes in binary units with three significant digits at most; None is `unknown`."""
    if size_bytes is None:
        return "unknown"
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    size, unit = float(size_bytes), "B"
    for name in _SIZES:
        size, unit = size / 1024, name
        if size < 1023.5:
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"


def percent_text(share_percent: float | None) -> str:
    """Spell a percentage without decimals; None is `unknown`."""
    return "unknown" if share_percent is None else f"{share_percent:.0f}%"


def duration_text(seconds: float | None) -> str:
    """Spell a duration by its two largest units: `12d 4h`, `3h 5m`, `42s`; None is `unknown`."""
    if seconds is None:
        return "unknown"
    left = max(0, int(seconds))
    days, hours, minutes = left // 86400, left % 86400 // 3600, left % 3600 // 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {left % 60}s" if minutes else f"{left}s"


def time_text(at: datetime | None) -> str:
    """Spell a time in UTC to the second; None is `unknown`."""
    return "unknown" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plain_line(text: str, *, limit: int = 2000) -> str:
    """Return one line without escape sequences and invisible characters, at most `limit` characters long."""
    # Sequences can be long without showing anything: cut first at a multiple, so that the work stays bounded.
    stripped = _ESCAPES.sub("", text[: 8 * limit])
    shown = "".join(" " if c in "\t\n\r" else c for c in stripped if c in "\t\n\r" or _visible(c)).rstrip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def plain_text(text: str) -> str:
    """Return the text without escape sequences and invisible characters; line feeds and tabs stay."""
    shown = _ESCAPES.sub("", text) if not text.isascii() or "\x1b" in text else text
    hidden = {ord(c): None for c in set(shown) if c not in "\t\n\r" and not _visible(c)}
    return shown.translate(hidden | {ord("\r"): "\n"}) if hidden or "\r" in shown else shown


def _visible(character: str) -> bool:
    return (character.isascii() and character.isprintable()) or unicodedata.category(character) not in _HIDDEN


def unit_in_cgroup(path: str) -> str:
    """Return the unit whose control group this is, "" for none: the outermost, so `user@1.service` for all below it."""
    names = (name for name in path.split("/") if name.endswith((".service", ".scope")))
    return plain_line(next(names, ""), limit=255)
