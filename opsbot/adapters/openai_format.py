"""How an answer's form is asked for on the wire: as far as the endpoint takes it, else in plain words."""

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from opsbot.answer_format import AnswerFormat

# Words by which endpoints refuse a form (OpenAI, Azure, vLLM, llama.cpp, LM Studio; November 2026).
_REFUSES = re.compile(r"response_?format|text\.format|json_schema|json_object|structured[ _-]outputs?", re.IGNORECASE)


class FormatWay(IntEnum):
    """The ways to ask for a form, the best first; a refusal leads to the next."""

    JSON_SCHEMA = 0
    JSON_OBJECT = 1
    WORDS = 2

    @property
    def next(self) -> "FormatWay":
        return FormatWay(min(self + 1, FormatWay.WORDS))


def chat_format(wanted: AnswerFormat | None, way: FormatWay, *, strict: bool) -> dict[str, Any]:
    """Return what a chat completion carries; {} for nothing."""
    if wanted is None or way is FormatWay.WORDS:
        return {}
    if way is FormatWay.JSON_OBJECT:
        return {"response_format": {"type": "json_object"}}
    schema: dict[str, Any] = {"name": wanted.name, "schema": dict(wanted.schema)}
    return {"response_format": {"type": "json_schema", "json_schema": schema | ({"strict": True} if strict else {})}}


def responses_format(wanted: AnswerFormat | None, way: FormatWay, *, strict: bool) -> dict[str, Any]:
    """Return what a response is asked with; {} for nothing."""
    if wanted is None or way is FormatWay.WORDS:
        return {}
    if way is FormatWay.JSON_OBJECT:
        return {"text": {"format": {"type": "json_object"}}}
    asked: dict[str, Any] = {"type": "json_schema", "name": wanted.name, "schema": dict(wanted.schema)}
    # False when left out is not said everywhere, so it is said here.
    return {"text": {"format": asked | {"strict": strict}}}


def instructions(system: str, wanted: AnswerFormat | None, way: FormatWay) -> str:
    """Return the system prompt, with the form in words where the wire does not carry the schema."""
    return system if wanted is None or way is FormatWay.JSON_SCHEMA else f"{system}\n\n{wanted.in_words}"


def carries_format(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for a form by more than words."""
    return "response_format" in body or "format" in (body.get("text") or {})


def refuses_format(text: str) -> bool:
    """Whether words of a refusal are about the form."""
    return bool(_REFUSES.search(text)) or text == "text"
