"""What the core asks of the world about runbooks and past incidents; each adapter implements one of these."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

from opsbot.passages import Document, Found, Incident, Kind, Searched, Shelf, Shelved, Vector

# --- the store -------------------------------------------------------------------------------------------------------


class Passages(Protocol):
    """Runbooks and incidents in passages, found by words and by vectors. Searches block: for worker threads."""

    async def documents(self, kind: Kind) -> Mapping[str, str]:
        """Return the digest of each document by its name."""
        ...

    async def put(self, document: Document) -> None:
        """Store a document in place of the one of its name; passages that are as before keep their vectors."""
        ...

    async def remove(self, kind: Kind, names: Sequence[str]) -> None:
        """Forget documents."""
        ...

    async def unembedded(self, model: str, *, dimensions: int, limit: int) -> Mapping[str, str]:
        """Return texts without a vector of this model and size (0: any size), by digest."""
        ...

    async def embed(self, model: str, vectors: Mapping[str, Vector]) -> None:
        """Store vectors by the digest of their text, in place of those of other models."""
        ...

    def matching(self, kind: Kind, terms: Sequence[str], *, every: bool, limit: int) -> tuple[Found, ...]:
        """Return passages that hold every one of these words, or any of them; the best first. Raises StoreError."""
        ...

    def nearest(self, kind: Kind, vector: Vector, *, model: str, limit: int) -> tuple[Found, ...]:
        """Return the passages whose vectors are most like this one, the nearest first. Raises StoreError."""
        ...

    def shelf(self, kind: Kind, model: str) -> Shelf:
        """Return how many there are. Raises StoreError."""
        ...


class Incidents(Protocol):
    """Reports of incidents that are over. Whoever publishes one writes it here; what is written can be searched."""

    async def put(self, incident: Incident) -> None:
        """Store a report in place of the one of its id, in one transaction with what finds it."""
        ...

    def get(self, incident_id: str) -> Incident | None:
        """Return a report. Blocks: for worker threads. Raises StoreError."""
        ...


# --- what was written for people, as tools see it --------------------------------------------------------------------


class Folder(Protocol):
    """Where runbooks come from; blocking."""

    def stamp(self) -> Hashable:
        """Return what differs as soon as a file does; it reads none of them."""
        ...

    def read(self) -> Shelved:
        """Read every file."""
        ...


class Took(Protocol):
    """Is told how many tokens a request for vectors took."""

    async def __call__(self, tokens: int, *, estimated: bool) -> None: ...


class Embedder(Protocol):
    """Turns texts into vectors, so that what means the same is near."""

    @property
    def name(self) -> str:
        """Backend, model and size asked for: vectors of different names have nothing to do with each other."""
        ...

    @property
    def floor(self) -> float:
        """The cosine below which a passage has nothing to do with the question."""
        ...

    @property
    def dimensions(self) -> int:
        """The size of the vectors it made last; 0 before the first."""
        ...

    async def embed(self, texts: Sequence[str]) -> tuple[Vector, ...]:
        """Return a vector of unit length for each text. Raises ModelError, with words for whoever asked."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Library(Protocol):
    """Runbooks and past incidents; blocking, called from worker threads."""

    def search(self, kind: Kind, question: str, *, limit: int, timeout_s: float) -> Searched:
        """Return the passages that fit best. Raises StoreError."""
        ...

    def incident(self, incident_id: str) -> Incident | None:
        """Return a past incident. Raises StoreError."""
        ...
