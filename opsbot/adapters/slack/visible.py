"""Text from elsewhere made safe to look at: nothing invisible, nothing that reorders what people read."""

import unicodedata

# Cf: bidi controls, zero-width and tag characters. Cc: controls. Co, Cs, Cn: no agreed shape. Zl, Zp: hidden line ends.
_HIDDEN = frozenset({"Cf", "Cc", "Co", "Cs", "Cn", "Zl", "Zp"})


def spelled_out(text: str) -> str:
    """Show hidden characters as `\\u202e`; line feeds stay, tabs become blanks. For evidence and typed reasons."""
    return "".join(_spell(char) for char in _normal(text))


def stripped(text: str) -> str:
    """Drop hidden characters; line feeds stay, tabs become blanks. For running text."""
    return "".join(char for char in _normal(text) if char == "\n" or not _hidden(char))


def one_line(text: str, limit: int) -> str:
    """Spell out everything that is not printable ASCII, line feeds too, and cut to `limit` characters. For facts."""
    return cut("".join(char if " " <= char <= "~" else _code(char) for char in _normal(text)), limit)


def cut(text: str, limit: int) -> str:
    """Cut to at most `limit` characters, the last one saying so."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\t", "    "))


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN


def _spell(char: str) -> str:
    return _code(char) if char != "\n" and _hidden(char) else char


def _code(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"
