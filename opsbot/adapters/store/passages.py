"""Passages of runbooks and incidents: written a document at a time, found by their words and by their vectors."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, delete, exists, func, insert, select

from opsbot.adapters.store import schema, words
from opsbot.adapters.store.database import Database
from opsbot.passages import Document, Found, Kind, Shelf, Vector, digest_of

_documents = schema.documents.c
_passages = schema.passages.c
_vectors = schema.passage_vectors.c


class SqlPassages:
    """Implements `ports.Passages`. `reader` has connections of its own, so that no search is in the way of a write."""

    def __init__(self, database: Database, reader: Database) -> None:
        self._database = database
        self._reader = reader

    async def documents(self, kind: Kind) -> Mapping[str, str]:
        """Return the digest of each document by its name."""
        query = select(_documents.name, _documents.digest).where(_documents.kind == kind)
        return await self._database.read(lambda connection: {row.name: row.digest for row in connection.execute(query)})

    async def put(self, document: Document) -> None:
        """Store a document in place of the one of its name; passages that are as before keep their vectors."""
        await self._database.write(lambda connection: put_document(connection, document))

    async def remove(self, kind: Kind, names: Sequence[str]) -> None:
        """Forget documents."""

        def work(connection: Connection) -> None:
            for name in names:
                _forget(connection, kind, name)
            _forget_vectors(connection)

        await self._database.write(work)

    # --- vectors -----------------------------------------------------------------------------------------------------

    async def unembedded(self, model: str, *, dimensions: int, limit: int) -> Mapping[str, str]:
        """Return texts without a vector of this model and size (0: any size), by digest."""
        has_one = (_vectors.digest == _passages.digest) & (_vectors.model == model)
        if dimensions:
            has_one &= _vectors.dimensions == dimensions
        query = select(_passages.digest, _passages.embedded_text).where(~exists().where(has_one))
        query = query.order_by(_passages.id).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {row.digest: row.embedded_text for row in rows}

    async def embed(self, model: str, vectors: Mapping[str, Vector]) -> None:
        """Store vectors by the digest of their text, in place of those of other models."""

        def work(connection: Connection) -> None:
            connection.execute(delete(schema.passage_vectors).where(_vectors.digest.in_([*vectors])))
            rows = [
                {"digest": digest, "model": model, "dimensions": len(vector), "vector": packed(vector)}
                for digest, vector in vectors.items()
            ]
            if rows:
                connection.execute(insert(schema.passage_vectors), rows)

        await self._database.write(work)

    # --- searches ----------------------------------------------------------------------------------------------------

    def matching(self, kind: Kind, terms: Sequence[str], *, every: bool, limit: int) -> tuple[Found, ...]:
        """Return passages that hold every one of these words, or any of them; the best first. Blocks."""
        if not terms:
            return ()

        def work(connection: Connection) -> tuple[Found, ...]:
            return tuple(map(_found, words.matching(connection, kind, terms, every=every, limit=limit)))

        return self._reader.read_blocking(work)

    def nearest(self, kind: Kind, vector: Vector, *, model: str, limit: int) -> tuple[Found, ...]:
        """Return the passages whose vectors are most like this one, the nearest first. Blocks."""
        near = (_vectors.model == model) & (_vectors.dimensions == len(vector)) & (_passages.kind == kind)
        joined = schema.passages.join(schema.passage_vectors, _vectors.digest == _passages.digest)
        query = select(_passages.id, _vectors.vector).select_from(joined).where(near).order_by(_passages.id)

        def work(connection: Connection) -> tuple[Found, ...]:
            scores = _cosines(connection.execute(query).all(), vector, limit)
            rows = connection.execute(select(schema.passages).where(_passages.id.in_([*scores])))
            found = [_found(row, score=scores[row.id]) for row in rows]
            return tuple(sorted(found, key=lambda each: (-each.score, each.id)))

        return self._reader.read_blocking(work)

    def shelf(self, kind: Kind, model: str) -> Shelf:
        """Return how many there are. Blocks."""
        has_one = exists().where((_vectors.digest == _passages.digest) & (_vectors.model == model))
        of_kind = select(func.count()).select_from(schema.passages).where(_passages.kind == kind)
        queries = (
            select(func.count()).select_from(schema.documents).where(_documents.kind == kind),
            of_kind,
            of_kind.where(has_one),
        )
        return self._reader.read_blocking(
            lambda connection: Shelf(*(connection.execute(query).scalar_one() for query in queries))
        )


def put_document(connection: Connection, document: Document) -> None:
    """Store a document within a transaction, as `SqlPassages.put`."""
    _forget(connection, document.kind, document.name)
    values = {"kind": document.kind, "name": document.name, "digest": document.digest}
    connection.execute(insert(schema.documents).values(**values))
    for passage in document.passages:
        heading, embedded = document.heading(passage), document.embedded_text(passage)
        row = {
            "kind": document.kind,
            "document": document.name,
            "title": document.title,
            "heading": heading,
            "line": passage.line,
            "text": passage.text,
            "embedded_text": embedded,
            "digest": digest_of(embedded),
        }
        new_id = connection.execute(insert(schema.passages).values(**row).returning(_passages.id)).scalar_one()
        subject = " ".join((document.title, heading, *document.labels, document.name))
        words.put(connection, new_id, subject=subject, body=passage.text)
    _forget_vectors(connection)


def _forget(connection: Connection, kind: Kind, name: str) -> None:
    here = (_passages.kind == kind) & (_passages.document == name)
    gone = connection.execute(delete(schema.passages).where(here).returning(_passages.id)).scalars().all()
    words.remove(connection, gone)
    there = (_documents.kind == kind) & (_documents.name == name)
    connection.execute(delete(schema.documents).where(there))


def _forget_vectors(connection: Connection) -> None:
    """Delete the vectors of texts that are nowhere any more."""
    used = exists().where(_passages.digest == _vectors.digest)
    connection.execute(delete(schema.passage_vectors).where(~used))


def _found(row: Any, score: float | None = None) -> Found:
    return Found(
        id=row.id,
        kind=Kind(row.kind),
        document=row.document,
        title=row.title,
        heading=row.heading,
        line=row.line,
        text=row.text,
        score=float(row.score) if score is None else score,
    )


# --- vectors as bytes ------------------------------------------------------------------------------------------------


def packed(vector: Vector) -> bytes:
    """Return the vector as it is stored."""
    return struct.pack(f"<{len(vector)}f", *vector)


def _cosines(rows: Iterable[Any], vector: Vector, limit: int) -> dict[int, float]:
    """Return the highest products with the vector by id; numpy is loaded by the first search that needs it."""
    found = list(rows)
    if not found:
        return {}
    numpy = import_module("numpy")
    stored = numpy.frombuffer(b"".join(row.vector for row in found), dtype="<f4").reshape(len(found), len(vector))
    scores = stored @ numpy.asarray(vector, dtype="<f4")
    best = numpy.argsort(-scores, kind="stable")[:limit]
    return {found[at].id: float(scores[at]) for at in best.tolist()}
