"""Text of other machines, made harmless: no control sequences, no invisible characters, bounded."""

import re
import unicodedata

# ECMA-48 (5th edition, 1991): CSI sequences; OSC, DCS, SOS, PM and APC strings up to BEL or ST; two-byte escapes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Cc controls, Cf direction marks and zero-width characters, Co private use, Cs halves of pairs, Cn unassigned.
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def plain_line(text: str, *, limit: int = 2000) -> str:
    """Return one line without escape sequences and invisible characters, at most `limit` characters long."""
    # Sequences can be long without showing anything: cut first at a multiple, so that the work stays bounded.
    stripped = _ESCAPES.sub("", text[: 8 * limit])
    shown = "".join(" " if c in "\t\n\r" else c for c in stripped if c in "\t\n\r" or _visible(c)).rstrip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _visible(character: str) -> bool:
    return (character.isascii() and character.isprintable()) or unicodedata.category(character) not in _HIDDEN
