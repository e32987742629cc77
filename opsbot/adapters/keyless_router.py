"""The nearest example of what people say: by static word vectors if they are installed, else by shared words."""

import math
import re
from collections import Counter
from typing import Any, Protocol

from opsbot.adapters.keyless_examples import EXAMPLES, Intent
from opsbot.adapters.wordllama_weights import load_weights, wheel_folder


class Router(Protocol):
    """Finds out what a person wants."""

    def route(self, text: str) -> Intent:
        """Return the intent of the nearest example, or UNCLEAR if none is near."""
        ...


class LexicalRouter:
    """Cosine of word sets, rare words weighing more (inverse document frequency over the examples)."""

    THRESHOLD = 0.5

    def __init__(self) -> None:
        self._examples = [(intent, _words(text)) for intent, texts in EXAMPLES.items() for text in texts]
        seen = Counter(word for _, words in self._examples for word in words)
        total = len(self._examples)
        self._weights = {word: math.log(1 + total / count) for word, count in seen.items()}
        # A word no example has is as telling as the rarest one that some example has.
        self._unknown = math.log(1 + total)

    def route(self, text: str) -> Intent:
        words = _words(text)
        score, intent = max((self._likeness(words, example), intent) for intent, example in self._examples)
        return intent if score >= self.THRESHOLD else Intent.UNCLEAR

    def _likeness(self, one: frozenset[str], other: frozenset[str]) -> float:
        size = math.sqrt(self._weight(one) * self._weight(other))
        return self._weight(one & other) / size if size else 0.0

    def _weight(self, words: frozenset[str]) -> float:
        return sum(self._weights.get(word, self._unknown) ** 2 for word in words)


class VectorRouter:
    """Cosine of WordLlama's sentence vectors; the weights are in its wheel, the network is never asked."""

    THRESHOLD = 0.6

    def __init__(self, vectors: Any) -> None:
        self._vectors = vectors
        self._intents = [intent for intent, texts in EXAMPLES.items() for _ in texts]
        self._examples = self._embed([text for texts in EXAMPLES.values() for text in texts])

    def route(self, text: str) -> Intent:
        scores = (self._examples @ self._embed([text])[0]).tolist()
        best = max(range(len(scores)), key=scores.__getitem__)
        return self._intents[best] if scores[best] >= self.THRESHOLD else Intent.UNCLEAR

    def _embed(self, texts: list[str]) -> Any:
        return self._vectors.embed([text.lower() for text in texts], norm=True)


def best_router() -> Router:
    """Return the vector router if the extra `router` is installed, else the lexical one."""
    return wordllama_router() or LexicalRouter()


def wordllama_router() -> Router | None:
    """Load WordLlama (0.8 s of CPU) from its own wheel; None if it is not installed."""
    return VectorRouter(load_weights()) if wheel_folder() is not None else None


def _words(text: str) -> frozenset[str]:
    spelled = text.lower().replace("what's", "what is").replace("how's", "how is").replace("hows ", "how is ")
    return frozenset(_stem(word) for word in re.findall(r"[a-z']+", spelled))


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
