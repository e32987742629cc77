"""Vectors of texts by WordLlama, on this machine: static word vectors, no network, a fraction of a millisecond each."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opsbot.adapters.wordllama_weights import check_weights, load_weights
from opsbot.passages import Vector

DIMENSIONS = 256
# Below it nothing has to do with the question (benchmarks/runbooks.py, the cases that are not held out).
FLOOR = 0.2


class WordLlamaEmbedder:
    """Implements `passage_ports.Embedder`; the weights are loaded by the first text."""

    def __init__(self, folder: Path | None = None, floor: float | None = None) -> None:
        """`folder`: where the weights are, None: in the wheel. Raises ConfigError: they are not."""
        self._folder = check_weights(folder)
        self._floor = floor
        self._loading = asyncio.Lock()
        self._loaded: Any = None

    @property
    def name(self) -> str:
        return "wordllama l2_supercat 256"

    @property
    def floor(self) -> float:
        return FLOOR if self._floor is None else self._floor

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    async def close(self) -> None:
        """Nothing is held."""

    async def embed(self, texts: Sequence[str]) -> tuple[Vector, ...]:
        async with self._loading:
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(load_weights, self._folder)
        return await asyncio.to_thread(self._embedded, [text.lower() for text in texts])

    def _embedded(self, texts: list[str]) -> tuple[Vector, ...]:
        return tuple(self._loaded.embed(texts, norm=True).tolist())
