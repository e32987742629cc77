"""Vectors of texts by an endpoint of the OpenAI kind, with the retries and the circuit breaker of model calls."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx2
import structlog
from openai import OpenAIError, omit
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from opsbot.adapters.embedding_settings import EmbeddingSettings
from opsbot.adapters.openai_breaker import MAX_FAILURES, Breaker
from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.openai_errors import MAX_TRIES, TryFailed, backoff_s, misbehaved, translated
from opsbot.adapters.openai_http import client
from opsbot.adapters.openai_sse import TooLong
from opsbot.compaction import tokens_of_text
from opsbot.errors import ModelUnavailable
from opsbot.passage_ports import Took
from opsbot.passages import Vector

__all__ = ["EmbeddingSettings", "OpenAIEmbedder"]

log = structlog.get_logger(__name__)

# Texts of one request; a passage has at most some 700 tokens, and a request may hold 300,000.
BATCH = 64
_DIMENSIONS_MAX = 8192
# text-embedding-3 gives what has nothing to do with a question less than this; of other models nothing is known.
OPENAI_FLOOR = 0.2


class OpenAIEmbedder:
    """Implements `passage_ports.Embedder`. `took` is told what each request took.

    `sleep`, `monotonic` and `transport` exist for tests.
    """

    def __init__(
        self,
        settings: EmbeddingSettings,
        *,
        took: Took | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._took = took
        self._endpoint = ModelSettings(
            settings.model, settings.base_url, settings.api_key, read_timeout_s=settings.timeout_s, embeds=True
        )
        self._sleep = sleep
        self._breaker = Breaker(monotonic)
        self._client = client(self._endpoint, transport)
        self._dimensions = 0

    @property
    def name(self) -> str:
        where = "" if self._settings.backend == "openai" else f" at {self._endpoint.host}"
        size = f", {self._settings.dimensions} dimensions" if self._settings.dimensions else ""
        return f"{self._settings.model}{where}{size}"

    @property
    def floor(self) -> float:
        if self._settings.floor is not None:
            return self._settings.floor
        return OPENAI_FLOOR if self._settings.backend == "openai" else -1.0

    @property
    def dimensions(self) -> int:
        return self._dimensions

    async def close(self) -> None:
        await self._client.close()

    async def embed(self, texts: Sequence[str]) -> tuple[Vector, ...]:
        """Return a vector for each text, in batches; each batch is tried again as a model call is."""
        vectors: list[Vector] = []
        for begin in range(0, len(texts), BATCH):
            vectors += await self._batch(texts[begin : begin + BATCH])
        return tuple(vectors)

    async def _batch(self, texts: Sequence[str]) -> tuple[Vector, ...]:
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, TryFailed) and error.retry),
            stop=stop_after_attempt(MAX_TRIES),
            wait=backoff_s,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            vectors: tuple[Vector, ...] = await retrying(self._try, texts)
        except TryFailed as failed:
            said = failed.said
            log.warning(
                "embedding.failed", host=self._endpoint.host, text=str(failed.error), status=said.status or None
            )
            raise failed.error from failed
        return vectors

    async def _try(self, texts: Sequence[str]) -> tuple[Vector, ...]:
        """One request behind the circuit breaker, with every error as TryFailed."""
        if wait_s := self._breaker.wait_s():
            raise TryFailed(_resting(self._endpoint.host, wait_s))
        judged = False
        try:
            answer = await self._ask(texts)
            await self._count(answer, texts)
            vectors = self._read(answer, len(texts))
            judged = True
            self._breaker.succeeded()
            return vectors
        except (OpenAIError, httpx2.HTTPError, OSError, ValueError, TooLong, TryFailed) as error:
            judged = True
            failed = translated(error, self._endpoint)
            if failed.outage:
                self._breaker.failed()
            else:
                self._breaker.succeeded()
            raise failed from (None if failed is error else error)
        finally:
            if not judged:
                self._breaker.dropped()

    async def _ask(self, texts: Sequence[str]) -> Any:
        # As plain numbers: not every server knows the SDK's own choice, base64.
        return await self._client.embeddings.create(
            model=self._settings.model,
            input=list(texts),
            dimensions=self._settings.dimensions or omit,
            encoding_format="float",
        )

    async def _count(self, answer: Any, texts: Sequence[str]) -> None:
        """Tell what a request took; a service that does not say so is estimated."""
        said = getattr(getattr(answer, "usage", None), "prompt_tokens", None)
        counted = said if isinstance(said, int) and said > 0 else None
        if self._took is not None:
            await self._took(counted or sum(map(tokens_of_text, texts)), estimated=counted is None)

    def _read(self, answer: Any, count: int) -> tuple[Vector, ...]:
        """Check an answer; 200 is no promise of vectors. Raises TryFailed."""
        items = getattr(answer, "data", None)
        if not isinstance(items, list) or len(items) != count:
            raise misbehaved(f"The embedding service at {self._endpoint.host} did not answer with one vector a text.")
        vectors: list[Vector | None] = [None] * count
        for item in items:
            index, numbers = getattr(item, "index", None), getattr(item, "embedding", None)
            if isinstance(index, int) and 0 <= index < count:
                vectors[index] = unit(numbers)
        found = [vector for vector in vectors if vector is not None]
        sizes = {len(vector) for vector in found}
        if len(found) != count or len(sizes) != 1:
            raise misbehaved(f"The embedding service at {self._endpoint.host} sent vectors that cannot be used.")
        self._dimensions = sizes.pop()
        return tuple(found)


def unit(numbers: Any) -> Vector | None:
    """Return the vector with length 1; None for what is no vector."""
    if not isinstance(numbers, list) or not 1 <= len(numbers) <= _DIMENSIONS_MAX:
        return None
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        return None
    length = math.sqrt(math.fsum(number * number for number in numbers))
    return [number / length for number in numbers] if 0 < length < math.inf else None


def _resting(host: str, wait_s: float) -> ModelUnavailable:
    return ModelUnavailable(
        f"The embedding service at {host} failed {MAX_FAILURES} times in a row and is left alone for now.",
        retry_after_s=wait_s,
    )
