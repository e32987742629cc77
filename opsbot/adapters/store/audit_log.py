"""The audit log: records appended outside any other change, and reading."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from opsbot.adapters.store import schema
from opsbot.adapters.store.chain import LAST, SELECT, AuditChain, AuditRow, line_of, record_of
from opsbot.adapters.store.database import Database
from opsbot.audit import Line
from opsbot.domain import AuditEntry, AuditRecord


class SqlAuditLog:
    """Implements `ports.AuditLog`."""

    def __init__(self, database: Database, chain: AuditChain) -> None:
        self._database = database
        self._chain = chain

    async def append(self, entry: AuditEntry) -> AuditRecord:
        """Chain and store one record, synced. Raises StoreError when it cannot be written."""
        return (await self._database.write(lambda connection: self._chain.append(connection, [entry])))[0]

    async def read(self, *, after: int = 0, limit: int = 1000) -> tuple[AuditRecord, ...]:
        """Return records with seq > after, in order."""
        return await self._database.read(lambda connection: read_page(connection, after, limit))

    async def about(self, approval_id: str) -> tuple[AuditRecord, ...]:
        """Return the records of one approval, in order."""
        query = SELECT.where(schema.audit.c.approval_id == approval_id)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return tuple(record_of(row) for row in rows)

    async def of_conversation(self, conversation_id: str, *, limit: int) -> tuple[AuditRecord, ...]:
        """Return the newest records of a conversation, in order."""
        # As it stands in an entry's canonical JSON, whose names are sorted; other places are left out by reading it.
        named = f'"conversation_id":{json.dumps(conversation_id, ensure_ascii=False)},"facts":'
        query = LAST.limit(None).where(schema.audit.c.entry.contains(named, autoescape=True)).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        found = [record_of(row) for row in reversed(rows)]
        return tuple(record for record in found if record.entry.conversation_id == conversation_id)

    async def newest(self, kind: str) -> AuditRecord | None:
        """Return the newest record of this kind, read from the end on."""
        # The kind is the last thing in an entry's canonical JSON.
        query = LAST.where(schema.audit.c.entry.endswith(f'"kind":"{kind}"}}', autoescape=True))
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else record_of(row)


def read_page(connection: Connection, after: int | None, limit: int) -> tuple[AuditRecord, ...]:
    """Return up to `limit` records with seq > after (None: from the very first), in order."""
    return tuple(record_of(row) for row in _page(connection, after, limit))


def read_lines_page(
    connection: Connection, after: int | None, limit: int, *, approval_id: str = ""
) -> tuple[Line, ...]:
    """As `read_page`, without making sense of what the records say; those of one approval, if it is named."""
    return tuple(line_of(row) for row in _page(connection, after, limit, approval_id))


def _page(connection: Connection, after: int | None, limit: int, approval_id: str = "") -> Sequence[AuditRow]:
    query = SELECT if after is None else SELECT.where(schema.audit.c.seq > after)
    if approval_id:
        query = query.where(schema.audit.c.approval_id == approval_id)
    return connection.execute(query.limit(limit)).all()
