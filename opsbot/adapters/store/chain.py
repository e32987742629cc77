"""Appends to the audit's hash chain inside the transaction of the change it records."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, Row, func, insert, select

from opsbot import audit
from opsbot.adapters.store import schema
from opsbot.adapters.store.database import note_head
from opsbot.domain import AuditEntry, AuditRecord, Json
from opsbot.errors import StoreError

# Names the lock under which one PostgreSQL session at a time extends the chain; any fixed number does.
_CHAIN_LOCK = 0x6F70_7362_6F74_0001

UNREADABLE = "audit.unreadable"

# So many of the newest records are checked whenever a store is opened; it takes some hundredths of a second.
_CHECKED_AT_START = 2000

AuditRow = Row[int, str, str, str, str]
_rows = schema.audit.c
SELECT = select(_rows.seq, _rows.prev, _rows.entry, _rows.hash, _rows.approval_id).order_by(_rows.seq)
LAST = SELECT.order_by(None).order_by(_rows.seq.desc()).limit(1)


class AuditChain:
    """Knows the key. Every audit record of the database is written here."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def append(self, connection: Connection, entries: Sequence[AuditEntry]) -> tuple[AuditRecord, ...]:
        """Chain and insert the entries. Take row locks before, never after: that order excludes deadlocks.

        Raises:
            StoreError: an entry has no canonical form.
        """
        if not entries:
            return ()
        if connection.dialect.name == "postgresql":
            # On SQLite every write transaction holds the one write lock already.
            connection.execute(select(func.pg_advisory_xact_lock(_CHAIN_LOCK)))
        last = last_record(connection)
        records: list[AuditRecord] = []
        for entry in entries:
            last = audit.chain(last, entry, self._key)
            records.append(last)
        connection.execute(insert(schema.audit), [_row(record) for record in records])
        note_head(connection, records[-1])
        return tuple(records)

    def check_end(self, connection: Connection) -> None:
        """Raise StoreError if this key did not sign the last record, or what comes before is damaged."""
        last = last_record(connection)
        if last is None:
            return
        if not audit.genuine(last, self._key):
            raise StoreError(
                f"The last audit record ({last.seq}) does not fit the audit key: either the key is not the one this "
                "database was written with, or the record was changed. Restore the right key or a backup; "
                "`opsbot audit verify` tells where the log breaks."
            )
        newest = connection.execute(SELECT.order_by(None).order_by(_rows.seq.desc()).limit(_CHECKED_AT_START)).all()
        first, *rest = (line_of(row) for row in reversed(newest))
        found = audit.verify(rest, self._key, after=(first.seq, first.hash))
        if not found.ok:
            raise StoreError(
                f"Audit record {found.broken_seq} is {found.fault}: the database was damaged or changed by something "
                "else. Keep a copy and restore the latest backup; `opsbot audit verify` checks all of the log."
            )


def _row(record: AuditRecord) -> dict[str, object]:
    return {
        "seq": record.seq,
        "prev": record.prev,
        "entry": audit.entry_json(record.entry).decode(),
        "hash": record.hash,
        "approval_id": record.entry.approval_id,
    }


def last_record(connection: Connection) -> AuditRecord | None:
    """Return the newest record."""
    row = connection.execute(LAST).one_or_none()
    return None if row is None else record_of(row)


def record_of(row: AuditRow) -> AuditRecord:
    """Rebuild a record. A row that is not exactly what was written becomes an `audit.unreadable` record.

    Such a record never fits its hash, so that a check of the chain names it instead of failing on it.
    """
    try:
        document = audit.parse_json(row.entry)
        entry = audit.parse_entry(document)
        if not _as_written(row.entry, document, entry) or entry.approval_id != row.approval_id:
            raise ValueError("not as written")
    except (ValueError, TypeError, RecursionError, StoreError):
        entry = AuditEntry(UNREADABLE, datetime.min.replace(tzinfo=UTC), facts={"stored": str(row.entry)[:2000]})
    return AuditRecord(row.seq, row.prev, entry, row.hash)


def line_of(row: AuditRow) -> audit.Line:
    """Return the stored line. One whose columns contradict each other, or hold no text, loses its text."""
    text: object = row.entry
    try:
        known = isinstance(text, str) and json.loads(text)["approval_id"] == row.approval_id
    except (ValueError, TypeError, KeyError, RecursionError):
        known = False
    return audit.Line(row.seq, str(row.prev), row.entry if known else "", str(row.hash))


def _as_written(text: str, document: Json, entry: AuditEntry) -> bool:
    # Python's own encoder writes the canonical form of all but floats and odd names, five times faster. It says
    # nothing about the time, which can be spelled in several ways.
    quick = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    spelled = f'"at":"{audit.timestamp(entry.at)}"'
    return (text == quick and spelled in text) or text == audit.entry_json(entry).decode()
