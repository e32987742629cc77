"""Searches runbooks and past incidents: by meaning where there are vectors, by words where there are none."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from opsbot.errors import ModelError
from opsbot.passage_ports import Embedder, Incidents, Library, Passages
from opsbot.passages import Found, Incident, Kind, Searched, Vector, words_of

log = structlog.get_logger(__name__)

# What is looked at of each ranking before they are made one.
_CANDIDATES = 50
# Reciprocal rank fusion (Cormack, Clarke, Büttcher 2009). A ranking by words counts only where every word of the
# question is there, as with host names and error texts, and then more than the meaning: one shared common word must not
# outrank it. Chosen by benchmarks/runbooks.py, its held-out cases aside.
_K = 60.0
_EVERY_WEIGHT = 2.0
# A question is not kept waiting longer than this for its vector.
_EMBED_S = 6.0
_QUESTION_CHARS = 2000


class Shelves(Library):
    """Implements `ports.Library` over the store; `embedder` None: by words alone.

    Blocking, for worker threads; vectors are made in the event loop that `open_in` was called from.
    """

    def __init__(self, passages: Passages, incidents: Incidents, embedder: Embedder | None = None) -> None:
        self._passages = passages
        self._incidents = incidents
        self._embedder = embedder
        self._loop: asyncio.AbstractEventLoop | None = None

    def open_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let questions be turned into vectors, in this loop; before, words alone count."""
        self._loop = loop

    def search(self, kind: Kind, question: str, *, limit: int, timeout_s: float) -> Searched:
        """Return the passages that fit best."""
        question = question[:_QUESTION_CHARS]
        words = words_of(question)
        shelf = self._passages.shelf(kind, self._embedder.name if self._embedder else "")
        every = self._passages.matching(kind, words, every=True, limit=_CANDIDATES)
        vector, note = self._vector(question, timeout_s) if shelf.passages else (None, "")
        if vector is None or self._embedder is None or not shelf.embedded:
            some = self._passages.matching(kind, words, every=False, limit=_CANDIDATES)
            waiting = f"{shelf.passages} passages have no vector yet, so only words were compared."
            note = note or (waiting if vector is not None and shelf.passages else "")
            return Searched(_first(every, some)[:limit], shelf.documents, note=note)
        near = self._passages.nearest(kind, vector, model=self._embedder.name, limit=_CANDIDATES)
        missing = shelf.passages - shelf.embedded
        note = f"{missing} of {shelf.passages} passages have no vector yet; only their words were compared."
        ranked = fused([each for each in near if each.score >= self._embedder.floor], every)
        return Searched(tuple(ranked[:limit]), shelf.documents, by_meaning=True, note=note if missing else "")

    def incident(self, incident_id: str) -> Incident | None:
        """Return a past incident."""
        return self._incidents.get(incident_id)

    def _vector(self, question: str, timeout_s: float) -> tuple[Vector | None, str]:
        """Return the question's vector, or None and why there is none ("": there is no backend for it)."""
        if self._embedder is None or self._loop is None:
            return None, ""
        making = asyncio.run_coroutine_threadsafe(_one(self._embedder, question), self._loop)
        try:
            return making.result(min(_EMBED_S, timeout_s)), ""
        except TimeoutError:
            making.cancel()
            return None, "The embedding service did not answer in time, so only words were compared."
        except ModelError as error:
            log.warning("runbooks.embedding_failed", error=str(error))
            return None, f"Only words were compared: {error}"


async def _one(embedder: Embedder, question: str) -> Vector:
    (vector,) = await embedder.embed([question])
    return vector


def _first(every: Sequence[Found], some: Sequence[Found]) -> tuple[Found, ...]:
    """Put the passages that hold every word before those that hold some."""
    known = {found.id for found in every}
    return (*every, *(found for found in some if found.id not in known))


def fused(near: Sequence[Found], every: Sequence[Found]) -> list[Found]:
    """Make one ranking of what is near and what holds every word; a passage that only words found has score 0."""
    points: dict[int, float] = {}
    for ranking, weight in ((near, 1.0), (every, _EVERY_WEIGHT)):
        for rank, found in enumerate(ranking, 1):
            points[found.id] = points.get(found.id, 0.0) + weight / (_K + rank)
    known = {found.id: replace(found, score=0.0) for found in every} | {found.id: found for found in near}
    return sorted(known.values(), key=lambda found: (-points[found.id], -found.score, found.id))
