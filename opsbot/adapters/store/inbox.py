"""The inbox: events, written before they are acknowledged."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, delete, insert, select, update

from opsbot.adapters.store import schema
from opsbot.adapters.store.codec import EVENTS
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.leases import Membership, insert_lease
from opsbot.audit import timestamp
from opsbot.domain import InboxItem, Incoming, event_lease

_rows = schema.inbox.c
WAITING = select(_rows.id, _rows.event, _rows.received_at).where(~_rows.finished).order_by(_rows.seq)


class SqlInbox:
    """Implements `ports.Inbox`."""

    def __init__(self, database: Database, membership: Membership) -> None:
        self._database = database
        self._me = membership

    async def accept(self, keys: Sequence[str], event: Incoming, at: datetime) -> str | None:
        """Store the event, leased, unless a key is known. The other keys of a duplicate become known with it."""
        item_id = secrets.token_hex(8)

        def work(connection: Connection) -> str | None:
            # In sorted order, so that two replicas with the same keys wait for each other instead of deadlocking.
            mine = [_claim_key(connection, key, item_id) for key in sorted(set(keys))]
            if not all(mine):
                _give_keys_to_first(connection, item_id, keys)
                return None
            values = {"id": item_id, "event": EVENTS.encode(event), "received_at": timestamp(at), "finished": False}
            connection.execute(insert(schema.inbox).values(values))
            insert_lease(connection, self._me, event_lease(item_id))
            return item_id

        return await self._database.write(work)

    async def waiting(self) -> tuple[InboxItem, ...]:
        """Return events not finished, oldest first."""
        rows = await self._database.read(lambda connection: connection.execute(WAITING).all())
        return tuple(_item(row) for row in rows)

    async def get(self, item_id: str) -> InboxItem | None:
        """Return an event that is not finished."""
        query = WAITING.where(_rows.id == item_id)
        row = await self._database.read(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else _item(row)

    async def finish(self, item_id: str) -> None:
        """Mark an event as handled, if its lease is still this replica's; harmless to repeat."""
        statement = update(schema.inbox).where(_rows.id == item_id).values(finished=True)

        def work(connection: Connection) -> None:
            if self._me.drop(connection, event_lease(item_id)):
                connection.execute(statement)

        await self._database.write(work)

    async def prune(self, before: datetime) -> int:
        """Delete finished events received before that time, with their keys; return how many."""

        def work(connection: Connection) -> int:
            old = select(_rows.id).where(_rows.finished, _rows.received_at < timestamp(before)).scalar_subquery()
            connection.execute(delete(schema.inbox_keys).where(schema.inbox_keys.c.item_id.in_(old)))
            gone = connection.execute(delete(schema.inbox).where(_rows.id.in_(old)).returning(_rows.id))
            return len(gone.all())

        return await self._database.write(work)


def _item(row: Row[str, str, str]) -> InboxItem:
    return InboxItem(row.id, EVENTS.decode(row.event), datetime.fromisoformat(row.received_at))


def _claim_key(connection: Connection, key: str, item_id: str) -> bool:
    values = {"key": key, "item_id": item_id}
    claimed = connection.execute(
        schema.insert_new(connection, schema.inbox_keys, values, returning=schema.inbox_keys.c.key)
    )
    return claimed.first() is not None


def _give_keys_to_first(connection: Connection, item_id: str, keys: Sequence[str]) -> None:
    """Let the keys just claimed point to the event they duplicate, so that they live as long as it does."""
    table = schema.inbox_keys
    first = (
        connection.execute(
            select(table.c.item_id).where(table.c.key.in_(keys), table.c.item_id != item_id).order_by(table.c.key)
        )
        .scalars()
        .first()
    )
    connection.execute(update(table).where(table.c.item_id == item_id).values(item_id=first))
