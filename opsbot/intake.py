"""The one way in for text of others: cut, cleaned of what is invisible, redacted, and fenced off for the model.

Everything that hosts, files and people say passes here before the model, the store, chat or a log sees it.
"""

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date
from enum import Enum
from functools import partial
from typing import Any

from opsbot.domain import Chart, HostOutcome, Impact, Json, Series, ToolResult
from opsbot.readable import plain_line, plain_text
from opsbot.redact import HIDDEN, Redactor, names_secret
from opsbot.vocabulary import Vocabulary

# What the model reads of one result (about 4,000 tokens).
MAX_RESULT_CHARS = 12_000
# Of what one tool returned of one host, in all; more is not even kept (see `outputs`).
_VALUE_MAX = 4 * 1024 * 1024
# Far above what other texts have: whatever is larger was made to be.
_STRING_MAX = 65_536
_KEY_MAX = 200
_DEPTH_MAX = 12
_LEAVES_MAX = 100_000
_FACT_MAX = 500
_EVIDENCE_MAX = 8_000


# `<@U1>` names a person to us, to the model and to chat: only opsbot itself writes it.
_MENTION = re.compile(r"<(?=[@!#])")


@dataclass(frozen=True, slots=True)
class Taken:
    """A value as it may go on. `untrusted`: it holds free text. `left_out`: items too many or too deep."""

    value: Any
    untrusted: bool = False
    left_out: int = 0


@dataclass(slots=True)
class _Slot:
    """The place of a text in a value, filled after all texts that belong together were redacted as one."""

    text: str


@dataclass(slots=True)
class _Walk:
    """A value on its way through: its texts by the place they stand at, list positions aside."""

    line: Callable[[str], str]
    streams: dict[tuple[str, ...], list[_Slot]] = field(default_factory=lambda: defaultdict(list))
    leaves: int = 0
    left_out: int = 0
    named_freely: bool = False
    room: int = _VALUE_MAX

    def into(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return the value with a slot for each text. What is neither data nor a time becomes its text."""
        if value is None or isinstance(value, bool | int | float | Enum | date):
            return value
        if len(path) > _DEPTH_MAX:
            self.left_out += 1
            return None
        if isinstance(value, Mapping):
            return {self._key(name): self.into(item, (*path, str(name))) for name, item in self._some(value.items())}
        if isinstance(value, list | tuple):
            return self._items(value, path)
        if isinstance(value, set | frozenset):
            return self._items(sorted(value, key=repr), path)
        if is_dataclass(value) and not isinstance(value, type):
            parts = {part.name: self.into(getattr(value, part.name), (*path, part.name)) for part in fields(value)}
            return replace(value, **parts)
        return self._slot(value if isinstance(value, str) else str(value), path)

    def _items(self, value: list[Any] | tuple[Any, ...], path: tuple[str, ...]) -> Any:
        items = [self.into(item, (*path, "")) for item in self._some(value)]
        if isinstance(value, list):
            return items
        return value._make(items) if hasattr(value, "_make") else tuple(items)

    def _some(self, items: Iterable[Any]) -> Iterable[Any]:
        for item in items:
            self.leaves += 1
            if self.leaves > _LEAVES_MAX:
                self.left_out += 1
            else:
                yield item

    def _key(self, name: object) -> str:
        key = str(name)
        if key.isidentifier() and key.isascii() and len(key) <= _KEY_MAX:
            return key
        # It was not written by the tool's author.
        self.named_freely = True
        return self.line(key)

    def _slot(self, text: str, path: tuple[str, ...]) -> _Slot:
        self.left_out += bool(text) and not self.room
        slot = _Slot(_readable(_ends(text, self.room)))
        self.room -= min(self.room, len(slot.text))
        self.streams[path].append(slot)
        return slot


def _out(value: Any) -> Any:
    """Return the value with its texts in their places again."""
    match value:
        case _Slot(text):
            return text
        case dict():
            return {name: _out(item) for name, item in value.items()}
        case list():
            return [_out(item) for item in value]
        case tuple():
            items = [_out(item) for item in value]
            return value._make(items) if hasattr(value, "_make") else tuple(items)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{part.name: _out(getattr(value, part.name)) for part in fields(value)})
    return value


class Intake:
    """Takes text in. `vocabulary` returns the words that are not free text, as of now."""

    def __init__(self, redactor: Redactor, vocabulary: Callable[[], Vocabulary] = Vocabulary) -> None:
        self._redactor = redactor
        self._vocabulary = vocabulary

    def line(self, text: str, *, limit: int = _FACT_MAX) -> str:
        """Return one line, visible and redacted."""
        # Redacted before line breaks become blanks: a secret may be wrapped.
        shown = plain_line(self._redactor.text(_readable(text[: 8 * limit])), limit=8 * limit)
        return shortened(shown, limit, of=len(text))

    def text(self, text: str, *, limit: int = _STRING_MAX) -> str:
        """Return the text, visible and redacted."""
        return shortened(self._redactor.text(_readable(text)), limit)

    def exact(self, text: str) -> str:
        """Return the text without the bot's own secrets, and otherwise as it is: for what is read to the letter."""
        return self._redactor.exact(text)

    def value(self, value: Any) -> Taken:
        """Take in what a tool returned. Texts at the same place of a list are redacted as one: a secret may be wrapped.

        Dataclasses stay what they are, sets become lists, and what is not data becomes its text.
        """
        walk = _Walk(partial(self.line, limit=_KEY_MAX))
        shaped = walk.into(value, ())
        vocabulary = self._vocabulary()
        untrusted = bool(walk.left_out) or walk.named_freely
        for path, slots in walk.streams.items():
            untrusted = untrusted or not all(vocabulary.holds(slot.text) for slot in slots)
            self._hide(slots, named=next((part for part in reversed(path) if part), ""))
        return Taken(_out(shaped), untrusted, walk.left_out)

    def _hide(self, slots: Sequence[_Slot], *, named: str) -> None:
        texts = [slot.text for slot in slots]
        shown = [HIDDEN if text else "" for text in texts] if names_secret(named) else self._redactor.texts(texts)
        for slot, text in zip(slots, shown, strict=True):
            slot.text = text

    def impact(self, impact: Impact) -> Impact:
        """Take in what an action would hit; the fingerprint is compared, not shown, and stays."""
        return replace(impact, facts=self._facts(impact.facts))

    def outcome(self, outcome: HostOutcome) -> HostOutcome:
        """Take in how an action ended on a host."""
        return replace(
            outcome,
            summary=self.line(outcome.summary),
            evidence=self.text(outcome.evidence, limit=_EVIDENCE_MAX),
            facts=self._facts(outcome.facts),
        )

    def chart(self, chart: Chart) -> Chart:
        """Take in the words of a chart."""
        lines = tuple(Series(self.line(line.name), line.points) for line in chart.series)
        return replace(chart, title=self.line(chart.title), series=lines)

    def result(self, call_id: str, content: str, *, failed: bool = False, untrusted: bool = True) -> ToolResult:
        """Make the result of a call for the model: redacted once more as a whole, cut, with a nonce it cannot hold."""
        text = capped(self._redactor.text(content))
        return ToolResult(call_id, text, failed, _nonce(text), untrusted)

    def note(self, note_id: str, text: str) -> ToolResult:
        """Make what opsbot itself tells the model of others' words (see `notes`): redacted, not cut, fenced off."""
        text = self._redactor.text(text)
        return ToolResult(note_id, text, nonce=_nonce(text), untrusted=True)

    def whole(self, text: str) -> str:
        """Return a text that was taken in already once more redacted, now that all of it stands together."""
        return self._redactor.text(text)

    def _facts(self, facts: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple((self.line(name, limit=_KEY_MAX), self.line(value)) for name, value in facts)


def _nonce(text: str) -> str:
    """Return marks that the text does not hold."""
    nonce = secrets.token_hex(6)
    while nonce in text:
        nonce = secrets.token_hex(6)
    return nonce


def _ends(text: str, limit: int) -> str:
    """Leave out the middle of what is longer, whole lines if there are some: the end of a log tells most."""
    if len(text) <= limit or not limit:
        return text[:limit]
    head, tail = text[: limit // 4], text[len(text) - limit * 3 // 4 :]
    head, tail = head[: head.rfind("\n") + 1 or None], tail[tail.find("\n") + 1 :]
    return f"{head}…[{len(text) - len(head) - len(tail)} characters left out]…\n{tail}"


def _readable(text: str) -> str:
    return _MENTION.sub("‹", plain_text(text))


def as_json(value: object) -> str:
    """Write what was taken in as JSON for the model."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def error_json(text: str) -> str:
    """Write why a call failed as JSON for the model."""
    return json.dumps({"error": text}, ensure_ascii=False)


def _plain(value: object) -> Json:
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name) for part in fields(value)}
    return str(value)


def capped(text: str) -> str:
    """Cut a result to what the model reads, from the middle, and say how much is missing."""
    if len(text) <= MAX_RESULT_CHARS:
        return text
    kept = MAX_RESULT_CHARS * 3 // 4, MAX_RESULT_CHARS // 4
    missing = len(text) - sum(kept)
    return f"{text[: kept[0]]} …[{missing} characters left out]… {text[-kept[1] :]}"


def shortened(text: str, limit: int, *, of: int | None = None) -> str:
    """Cut a text at its end and say how much is missing; `of`: how long it was, if it was cut before."""
    missing = max(len(text), of or 0) - limit
    return text if len(text) <= limit else f"{text[:limit]}…[{missing} characters left out]"


def fenced(result: ToolResult) -> str:
    """Return a result as the model reads it: data between two marks that name its nonce, which it does not contain."""
    if not result.nonce:
        return result.content
    return f"<data {result.nonce}>\n{result.content}\n</data {result.nonce}>"
