"""The outbox: messages to deliver once."""

from dataclasses import replace

from sqlalchemy import Connection, Row, Select, select, update

from opsbot.adapters.store import schema
from opsbot.adapters.store.codec import CONTENTS, PLACES, REFS
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.leases import Membership
from opsbot.domain import Content, MessageRef, OutboxItem, OutboxState, Place, message_lease
from opsbot.errors import StoreError

_rows = schema.outbox.c
_all = select(_rows.key, _rows.place, _rows.content, _rows.ref, _rows.waiting, _rows.version)
WAITING = _all.where(_rows.waiting).order_by(_rows.seq)

OutboxRow = Row[str, str, str, str | None, bool, int]


class SqlOutbox:
    """Implements `ports.Outbox`."""

    def __init__(self, database: Database, membership: Membership) -> None:
        self._database = database
        self._me = membership

    async def put(self, key: str, place: Place, content: Content) -> OutboxItem:
        """Store a message to send, leased; for a known key only the content is replaced, and it waits again."""
        text = CONTENTS.encode(content)

        def work(connection: Connection) -> OutboxItem:
            values = {"key": key, "place": PLACES.encode(place), "content": text, "waiting": True, "version": 1}
            new = connection.execute(schema.insert_new(connection, schema.outbox, values, returning=_rows.key))
            if new.first() is None:
                newer = {"content": text, "waiting": True, "version": _rows.version + 1}
                connection.execute(update(schema.outbox).where(_rows.key == key).values(newer))
            lease = self._me.take(connection, message_lease(key))
            item = _item(connection.execute(_all.where(_rows.key == key)).one())
            return replace(item, ours=lease is not None, doubtful=lease is not None and lease.taken_over)

        return await self._database.write(work)

    async def sent(self, key: str, ref: MessageRef, *, version: int, settled: bool = True) -> OutboxItem | None:
        """Record where it stands; unless `settled`, it stays among those to look at again.

        Returns the message as it is now if its content changed meanwhile: it is still this replica's to send.

        Raises:
            StoreError: there is no such message, or (Fenced) it is another replica's by now.
        """

        def work(connection: Connection) -> OutboxItem | None:
            self._me.check(connection)
            here = _rows.key == key
            standing = update(schema.outbox).where(here).values(ref=REFS.encode(ref)).returning(_rows.version)
            newest = connection.execute(standing).scalar_one_or_none()
            if newest is None:
                raise StoreError(f"There is no outgoing message {key!r}.")
            if newest != version:
                return replace(_item(connection.execute(_all.where(here)).one()), ours=True)
            connection.execute(update(schema.outbox).where(here).values(waiting=not settled))
            self._me.drop(connection, message_lease(key))
            return None

        return await self._database.write(work)

    async def waiting(self) -> tuple[OutboxItem, ...]:
        """Return messages whose newest content was not confirmed, oldest first."""
        return await self._items(WAITING)

    async def get(self, key: str) -> OutboxItem | None:
        """Return one row."""
        found = await self._items(_all.where(_rows.key == key))
        return found[0] if found else None

    async def _items(self, query: Select[str, str, str, str | None, bool, int]) -> tuple[OutboxItem, ...]:
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return tuple(_item(row) for row in rows)


def _item(row: OutboxRow) -> OutboxItem:
    ref = None if row.ref is None else REFS.decode(row.ref)
    state = OutboxState.WAITING if row.waiting else OutboxState.SENT
    place, content = PLACES.decode(row.place), CONTENTS.decode(row.content)
    return OutboxItem(row.key, place, content, state, ref, version=row.version)
