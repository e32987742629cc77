"""The form an answer of the model must have, where code reads it: a JSON object of a schema."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from opsbot.domain import Json


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """`name` is for the wire: at most 64 letters, digits, `_` and `-`. `schema` is a JSON schema of type object."""

    name: str
    schema: Mapping[str, Json]

    @property
    def in_words(self) -> str:
        """Ask for the form in plain words, for endpoints that know no other way."""
        schema = json.dumps(dict(self.schema), ensure_ascii=False, separators=(",", ":"))
        return (
            "Answer with one JSON object and nothing else: no words before or after it, no code fence. "
            f"It must fit this JSON schema:\n{schema}"
        )
