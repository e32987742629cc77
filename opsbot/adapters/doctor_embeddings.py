"""`opsbot doctor` on the service that makes vectors of runbooks: two texts, and vectors that are not the same."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from opsbot.adapters.doctor_edges import run_async
from opsbot.adapters.embedding_openai import EmbeddingSettings, OpenAIEmbedder
from opsbot.diagnosis import Area, Check, Finding, Subject
from opsbot.errors import ModelError

_TEXTS = ("a full disk", "an expired certificate")
_REMEDY = "Check `runbooks.model`, `runbooks.base_url` and `runbooks.api_key`; meanwhile runbooks are found by words."


@dataclass(frozen=True, slots=True)
class EmbeddingDoctor:
    """Checks one endpoint and one model."""

    settings: EmbeddingSettings

    @property
    def subject(self) -> Subject:
        """The model and where it is."""
        embedder = OpenAIEmbedder(self.settings)
        return Subject(Area.MODEL, embedder.name)

    def check(self, timeout_s: float) -> Iterator[Finding]:
        """Yield what is found, within about `timeout_s`; it costs some 10 tokens."""
        yield run_async(self._asked(timeout_s))

    async def _asked(self, timeout_s: float) -> Finding:
        subject, started = self.subject, time.monotonic()
        embedder = OpenAIEmbedder(replace(self.settings, timeout_s=timeout_s + 1))
        try:
            async with asyncio.timeout(timeout_s):
                one, other = await embedder.embed(_TEXTS)
        except TimeoutError:
            return subject.fail(Check.EMBEDDINGS, f"no answer within {timeout_s:g} s", _REMEDY)
        except ModelError as error:
            return subject.fail(Check.EMBEDDINGS, str(error), _REMEDY, took_s=time.monotonic() - started)
        finally:
            await embedder.close()
        if one == other:
            said = "it answers different texts with the same vector, so nothing can be found by meaning"
            return subject.fail(Check.EMBEDDINGS, said, "Use another `runbooks.model`.")
        return subject.ok(
            Check.EMBEDDINGS, f"vectors of {embedder.dimensions} numbers", took_s=time.monotonic() - started
        )
