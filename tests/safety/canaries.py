"""Secrets of the bot's own that must not leave, in every encoding a secret was seen to leave in."""

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

# As the bot's own look: Slack's tokens, a signing secret, a model's key, a database's password with odd characters.
CANARIES = (
    "xoxb-0000-1111-canarybottoken000000",
    "xapp-1-A0CANARY-2222-canaryapptoken",
    "8f742231b10e8888abcd99yyyzzz85a5",
    "sk-proj-canaryModelKey1234567890abcdef",
    'pg "canary" p\\ss/w+rd&%ö',
)
ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": lambda value: value,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "hex": lambda value: value.encode().hex(),
    "url": lambda value: quote(value, safe=""),
    "json": lambda value: json.dumps(value)[1:-1],
    "lines": lambda value: f"{value[: len(value) // 2]}\n{value[len(value) // 2 :]}",
}
_BLANK = re.compile(r"\s+|\\n")


def leaks(text: str) -> list[str]:
    """Name what stands in a text: `0:base64`. Line breaks do not hide anything from the one who looks."""
    joined = _BLANK.sub("", text)
    found = []
    for number, value in enumerate(CANARIES):
        forms = {name: encode(value) for name, encode in ENCODINGS.items()} | {"plus": quote_plus(value)}
        for name, form in forms.items():
            if form in text or _BLANK.sub("", form) in joined:
                found.append(f"{number}:{name}")
    return found
