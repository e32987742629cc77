"""Secrets out of whatever leaves to the model, to chat or to the log: exact values first, then well-known shapes.

This lowers the damage of a leak; it is not a proof that no secret passes (docs/security.md says what it misses).
"""

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from urllib.parse import quote, quote_plus

HIDDEN = "[redacted]"
# Shorter values are words: hiding them would hide ordinary text.
_SHORTEST = 6

# A value ends where a shell word or a JSON string would; an escaped backslash stays one piece, so that JSON stays JSON.
_WORD = r"(?:[^\s\"'\\,;&<>()\[\]{}]|\\\\)"
# Not `tokens`: that is what models are billed for.
_KEY = r"(?:token|(?:pass(?:word|wd|phrase)|secret|credential|(?:api|access|private|account|encryption)[_-]?key)s?)"
# Values that say a secret is absent or described, not what it is.
_EMPTY = r"(?!(?:none|null|nil|true|false|yes|no|unset|empty|\*+|x+|\[redacted\]|<[^>]*>)(?![\w-]))"

_ASSIGNED = _KEY + r"(?:\\?[\"'])?\s{0,5}[:=]\s{0,5}"
_KEY_WORDS = ("pass", "secret", "token", "credential", "key")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a kind of secret looks like. Only a text with one of the `triggers` (lower case) is searched: it is faster.

    Groups named `keep` and `end` stay; without them the whole match is hidden.
    """

    triggers: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(pattern: str, *triggers: str) -> _Shape:
    return _Shape(triggers, re.compile(pattern))


# Prefixes as their issuers publish them (secret scanning pages of GitHub and GitLab, read 2026-11).
_SHAPES = (
    # PEM (RFC 7468), OpenSSH and PGP private keys; an unfinished block is hidden as far as it goes.
    _shape(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\s:,.]|\\[nr]|-(?!----END))*"
        r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)?",
        "private key",
    ),
    _shape(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", "akia", "asia"),  # AWS access key ids
    _shape(r"\bx(?:ox[abeoprs]|app|wfp)-[A-Za-z0-9][A-Za-z0-9-]{9,}", "xox", "xapp-", "xwfp-"),  # Slack tokens
    _shape(r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}", "hooks.slack.com"),
    _shape(r"\bsk-(?:proj-|svcacct-|admin-|ant-)?[A-Za-z0-9_-]{20,}", "sk-"),  # OpenAI and Anthropic
    _shape(r"\bgh[pousr]_[A-Za-z0-9]{36,}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),  # GitHub
    _shape(r"\bgithub_pat_[A-Za-z0-9_]{22,}", "github_pat_"),
    _shape(
        r"\bgl(?:pat|dt|rt|ptt|cbt|soat)-[A-Za-z0-9_-]{20,}", "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-"
    ),
    _shape(r"\bAIza[0-9A-Za-z_-]{35}", "aiza"),  # Google API keys
    _shape(r"\bya29\.[0-9A-Za-z_-]{20,}", "ya29."),  # Google OAuth
    _shape(
        r"\b(?:sk|rk)_(?:live|test)_[0-9A-Za-z]{16,}|\bwhsec_[0-9A-Za-z]{16,}", "k_live_", "k_test_", "whsec_"
    ),  # Stripe
    _shape(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", "eyj"),  # JSON web tokens
    _shape(r"\bnpm_[A-Za-z0-9]{36}\b", "npm_"),
    _shape(r"\bpypi-AgE[A-Za-z0-9_-]{40,}", "pypi-age"),
    _shape(r"\bdo[opr]_v1_[a-f0-9]{64}\b", "_v1_"),  # DigitalOcean
    _shape(r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}", "sg."),  # SendGrid
    _shape(r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}", "hvs.", "hvb.", "hvr."),  # HashiCorp Vault
    _shape(r"\bhf_[A-Za-z0-9]{30,}", "hf_"),  # Hugging Face
    _shape(r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}", "age-secret-key-1"),
    _shape(r"\$(?:1|2[abxy]|5|6|y|gy|7)\$[./A-Za-z0-9$=,]{20,}", "$"),  # crypt(5) password hashes
    _shape(r"(?P<keep>\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:/@\"'\\]{0,200}:)[^\s@/\"'\\]{1,500}(?P<end>@)", "://"),
    _shape(
        r"(?i)(?P<keep>\bauthorization(?:\\?[\"'])?\s{0,5}[:=]\s{0,5}(?:\\?[\"'])?"
        r"(?:(?:bearer|basic|token|digest)\s{1,5})?+)" + _WORD + "+",
        "authorization",
    ),
    _shape(r"(?i)(?P<keep>\bbearer\s{1,5})[A-Za-z0-9._~+/-]{16,}=*", "bearer"),
    _shape(r"(?i)(?P<keep>\bidentified\s{1,5}by\s{1,5}')[^'\\]+(?P<end>')", "identified"),
    _shape(rf"(?i)(?P<keep>{_ASSIGNED}\"){_EMPTY}(?:[^\"\\]|\\.)+(?P<end>\")", *_KEY_WORDS),
    _shape(rf"(?i)(?P<keep>{_ASSIGNED}'){_EMPTY}[^'\"\\]+(?P<end>')", *_KEY_WORDS),
    _shape(rf"(?i)(?P<keep>{_ASSIGNED}\\[\"']){_EMPTY}(?:[^\"'\\]|\\\\)+(?P<end>\\[\"'])", *_KEY_WORDS),
    _shape(rf"(?i)(?P<keep>{_KEY}=){_EMPTY}{_WORD}{{4,}}", *_KEY_WORDS),
    # After a colon or a space prose is likelier than a value: after a colon the value must have a digit.
    _shape(rf"(?i)(?P<keep>{_KEY}:\s{{0,5}}){_EMPTY}(?=\D{{0,60}}\d){_WORD}{{6,}}", *_KEY_WORDS),
    _shape(rf"(?i)(?P<keep>(?<![\w-])--{_KEY}\s){_EMPTY}(?!-){_WORD}{{4,}}", *_KEY_WORDS),
)
# Joins texts that stand one below the other; `\s` matches it, as it does a line break.
_JOINT = "\x1e"
# A line break with what logs put at the beginning of a line: blanks, a time, the program's name.
_LINE_BREAK = re.compile(
    r"(?:\\r|\\n|[\r\n\x1e])[ \t]*(?:\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*(?: UTC)?[ \t]+)?"
    r"(?:[\w@./-]{1,64}(?:\[\d{1,9}\])?:[ \t]+)?"
    # Where lines were folded into one, a break has become blanks.
    r"|[ \t]+"
)
_SECRET_NAME = re.compile(rf"(?i)[\w.-]*{_KEY}", re.ASCII)
# The end of a text that still grows: a word without its end, so long that it may be a secret's beginning.
_UNFINISHED = re.compile(r"[!-~]{12,400}\Z")
# A beginning shorter than this says nothing of a secret.
_BEGINNING = 4


class Redactor:
    """Hides known secret values in six encodings, and about thirty shapes of other people's secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        values = sorted({value.strip() for value in secrets if len(value.strip()) >= _SHORTEST})
        literals = {literal for value in values for literal in _encodings(value)}
        self._literals = tuple(sorted(literals, key=lambda literal: (-len(literal), literal)))
        # A break inside a value counts like one that was put into it.
        bare = (_LINE_BREAK.sub("", literal) for literal in self._literals)
        self._bare = tuple(value for value in bare if len(value) >= _SHORTEST)

    def exact(self, text: str) -> str:
        """Return the text without the known values; other people's secrets stay."""
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, HIDDEN)
        return self._without_split(text)

    def texts(self, texts: Sequence[str]) -> list[str]:
        """Redact texts that stand one below the other, as lines of a log do: a secret may run over several of them."""
        joined = _JOINT.join(text.replace(_JOINT, " ") for text in texts)
        return self.text(joined).split(_JOINT) if texts else []

    def draft(self, text: str) -> str:
        """Redact a text that still grows, without an end that may become a secret."""
        settled = _UNFINISHED.sub("", text)
        shown = _LINE_BREAK.sub("", settled)
        for literal in self._bare:
            for length in range(min(len(literal) - 1, len(shown)), _BEGINNING - 1, -1):
                if shown.endswith(literal[:length]):
                    return self.text(settled[: max(settled.rfind(literal[:_BEGINNING]), 0)])
        return self.text(settled)

    def text(self, text: str) -> str:
        """Return the text with `[redacted]` in place of secrets. JSON text stays JSON."""
        text = self.exact(text)
        lowered = text.lower()
        for shape in _SHAPES:
            if any(trigger in lowered for trigger in shape.triggers):
                text = shape.pattern.sub(_hidden, text)
        return text

    def _without_split(self, text: str) -> str:
        """Hide values that a line break or blanks cut in two, as wrapping logs do."""
        whole = _LINE_BREAK.sub("", text)
        if not any(value in whole for value in self._bare):
            return text
        breaks = [found.span() for found in _LINE_BREAK.finditer(text)]
        if not breaks:
            return text
        runs = list(zip([0, *(end for _, end in breaks)], [*(start for start, _ in breaks), len(text)], strict=True))
        joined = "".join(text[start:end] for start, end in runs)
        for start, end in reversed(_joint_spans(self._bare, joined, runs)):
            text = f"{text[:start]}{HIDDEN}{_JOINT * text.count(_JOINT, start, end)}{text[end:]}"
        return text


def _joint_spans(values: Iterable[str], joined: str, runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Find values in the joined runs of a text, and return where they stand in it: apart from each other, in order."""
    offsets = list(accumulate((end - start for start, end in runs[:-1]), initial=0))

    def place(index: int) -> int:
        run = bisect_right(offsets, index) - 1
        return runs[run][0] + index - offsets[run]

    found = sorted((at, at + len(value)) for value in values for at in _occurrences(value, joined))
    spans: list[tuple[int, int]] = []
    for first, after in found:
        start, end = place(first), place(after - 1) + 1
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def _occurrences(value: str, text: str) -> Iterator[int]:
    at = text.find(value)
    while at >= 0:
        yield at
        at = text.find(value, at + 1)


def names_secret(name: str) -> bool:
    """Whether what stands under this name is a secret by its name: `password`, `api_key`."""
    return _SECRET_NAME.fullmatch(name) is not None


def _hidden(match: re.Match[str]) -> str:
    groups = match.groupdict(default="")
    keep, end = groups.get("keep", ""), groups.get("end", "")
    # As many texts come out as went in.
    joints = match.group().count(_JOINT) - keep.count(_JOINT) - end.count(_JOINT)
    return f"{keep}{HIDDEN}{_JOINT * joints}{end}"


def _encodings(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogatepass")
    escaped = json.dumps(value)[1:-1]
    found = {
        value,
        raw.hex(),
        raw.hex().upper(),
        quote(value, safe="", errors="replace"),
        quote_plus(value, errors="replace"),
        quote(value, errors="replace"),
        escaped,
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(escaped)[1:-1],
    }
    return found | _base64_forms(raw)


def _base64_forms(raw: bytes) -> set[str]:
    """Return what base64 shows of the value at each of the three offsets it can have in a longer text.

    A character at either edge also depends on the neighbour's bits, so it is left out.
    """
    found = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found.add(encode(raw).decode())
        for offset in range(3):
            first = (offset * 8 + 5) // 6
            last = (offset + len(raw)) * 8 // 6
            found.add(encode(b"\0" * offset + raw).decode()[first:last])
    return found
