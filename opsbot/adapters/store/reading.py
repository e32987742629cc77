"""Looks into a store beside a running bot, without a lock and without changing anything."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, inspect, select

from opsbot.adapters.store import postgres, schema, sqlite
from opsbot.adapters.store.address import parse_url, path_of
from opsbot.adapters.store.audit_log import read_lines_page, read_page
from opsbot.adapters.store.codec import MESSAGES
from opsbot.adapters.store.endpoints import read_learned_row
from opsbot.adapters.store.faults import FAULTS, store_error
from opsbot.audit import Line
from opsbot.domain import AuditRecord, Message
from opsbot.endpoints import Learned
from opsbot.errors import StoreError

S = TypeVar("S", AuditRecord, Line)


def has_audit(url: str) -> bool:
    """Whether audit records were ever written there, as far as database and sidecar tell. Raises StoreError."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = path_of(parsed)
        if (sqlite.read_head(path) or sqlite.Head(0, "")).seq > 0:
            return True
        if not path.exists() or path.stat().st_size == 0:
            return False
    with _reader(parsed) as connection:
        known = inspect(connection).has_table(schema.audit.name)
        return known and connection.execute(select(schema.audit.c.seq).limit(1)).first() is not None


def noted_head(url: str) -> tuple[int, str] | None:
    """Return the head that an SQLite database's sidecar notes, for `audit.verify`; None if there is none.

    Read it before the records: while the bot runs the log grows, and must contain what was noted earlier.
    """
    parsed = parse_url(url)
    head = sqlite.read_head(path_of(parsed)) if parsed.get_backend_name() == "sqlite" else None
    return (head.seq, head.hash) if head is not None and head.seq > 0 else None


def read_audit(url: str, *, batch: int = 1000) -> Iterator[AuditRecord]:
    """Yield every audit record in order, without locking out a running bot. Raises StoreError."""
    return _paged(url, read_page, batch)


def read_lines(url: str, *, batch: int = 1000, approval_id: str = "") -> Iterator[Line]:
    """Yield every audit record as it is stored, or those of one approval, in order: ten times faster.

    Raises:
        StoreError: the database cannot be read.
    """
    return _paged(url, partial(read_lines_page, approval_id=approval_id), batch)


def _paged(url: str, read: Callable[[Connection, int | None, int], Sequence[S]], batch: int) -> Iterator[S]:
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not path_of(parsed).exists():
        raise StoreError(f"There is no database {path_of(parsed)}.")
    with _reader(parsed) as connection:
        if not inspect(connection).has_table(schema.audit.name):
            return
        after: int | None = None
        while page := read(connection, after, batch):
            yield from page
            after = page[-1].seq


def read_messages(url: str, conversation_ids: Iterable[str]) -> Iterator[Message]:
    """Yield what was said in these conversations, oldest first, also what was forgotten by a reset.

    Raises:
        StoreError: the database cannot be read.
    """
    rows = schema.messages.c
    with _reader(parse_url(url)) as connection:
        for conversation_id in conversation_ids:
            query = select(rows.message).where(rows.conversation_id == conversation_id)
            for text in connection.execute(query.order_by(rows.version, rows.position)).scalars():
                yield MESSAGES.decode(text)


def read_learned(url: str) -> Learned | None:
    """Return what was learned of the model's endpoint; None also where there is no database. Raises StoreError."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not path_of(parsed).exists():
        return None
    with _reader(parsed) as connection:
        return read_learned_row(connection)


@contextmanager
def _reader(url: URL) -> Iterator[Connection]:
    engine: Engine = (
        postgres.make_engine(url) if url.get_backend_name() == "postgresql" else sqlite.make_reader(path_of(url))
    )
    try:
        with engine.connect() as connection:
            yield connection
    except FAULTS as error:
        raise store_error(error) from error
    finally:
        engine.dispose()
