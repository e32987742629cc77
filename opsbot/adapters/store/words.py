"""The full-text index of passages, in each database's own kind: FTS5 in SQLite, tsvector in PostgreSQL."""

import re
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, TextClause, bindparam, text

# Words in the title, the headings and the labels say more about a passage than words in its text.
_LITE_SCORE = "-bm25(passage_words, 3.0, 1.0)"
_POSTGRES_SCORE = "ts_rank('{0.3, 0.4, 0.6, 1.0}', words.words, asked.query, 1)"
_COLUMNS = "p.id, p.kind, p.document, p.title, p.heading, p.line, p.text"
_LITE = text(
    f"SELECT {_COLUMNS}, {_LITE_SCORE} AS score FROM passage_words JOIN passages p ON p.id = passage_words.rowid "  # noqa: S608 constants
    "WHERE passage_words MATCH :query AND p.kind = :kind ORDER BY score DESC, p.id LIMIT :limit"
)
_POSTGRES = text(
    f"SELECT {_COLUMNS}, {_POSTGRES_SCORE} AS score FROM passage_words words JOIN passages p ON p.id = words.id, "  # noqa: S608 constants
    "to_tsquery('english', :query) AS asked (query) "
    "WHERE words.words @@ asked.query AND p.kind = :kind ORDER BY score DESC, p.id LIMIT :limit"
)
# Split as a question is: PostgreSQL would take `web-1` for a word and a negative number.
_NO_WORD = re.compile(r"[\W_]+")


def matching(connection: Connection, kind: str, words: Sequence[str], *, every: bool, limit: int) -> Sequence[object]:
    """Return rows of the passages that hold every one of these words, or any of them; the best first."""
    if connection.dialect.name == "postgresql":
        query = (" & " if every else " | ").join(words)
        return _asked(connection, _POSTGRES, query, kind, limit)
    return _asked(connection, _LITE, (" AND " if every else " OR ").join(f'"{word}"' for word in words), kind, limit)


def _asked(connection: Connection, statement: TextClause, query: str, kind: str, limit: int) -> Sequence[object]:
    return connection.execute(statement, {"query": query, "kind": kind, "limit": limit}).all()


def put(connection: Connection, passage_id: int, *, subject: str, body: str) -> None:
    """Enter a passage."""
    values = {"id": passage_id, "subject": _NO_WORD.sub(" ", subject), "body": _NO_WORD.sub(" ", body)}
    if connection.dialect.name == "postgresql":
        vector = "setweight(to_tsvector('english', :subject), 'A') || to_tsvector('english', :body)"
        connection.execute(text(f"INSERT INTO passage_words (id, words) VALUES (:id, {vector})"), values)  # noqa: S608 constants
    else:
        connection.execute(
            text("INSERT INTO passage_words (rowid, subject, body) VALUES (:id, :subject, :body)"), values
        )


def remove(connection: Connection, passage_ids: Iterable[int]) -> None:
    """Take passages out."""
    ids = list(passage_ids)
    if ids:
        column = "id" if connection.dialect.name == "postgresql" else "rowid"
        statement = text(f"DELETE FROM passage_words WHERE {column} IN :ids")  # noqa: S608 constants
        connection.execute(statement.bindparams(bindparam("ids", expanding=True)), {"ids": ids})
