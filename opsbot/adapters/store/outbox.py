"""The outbox: messages to deliver once."""

from sqlalchemy import Connection, Row, Select, select, update

from opsbot.adapters.store import schema
from opsbot.adapters.store.codec import CONTENTS, PLACES, REFS
from opsbot.adapters.store.database import Database
from opsbot.domain import Content, MessageRef, OutboxItem, OutboxState, Place
from opsbot.errors import StoreError

_rows = schema.outbox.c
_all = select(_rows.key, _rows.place, _rows.content, _rows.ref, _rows.waiting)
WAITING = _all.where(_rows.waiting).order_by(_rows.seq)

OutboxRow = Row[str, str, str, str | None, bool]


class SqlOutbox:
    """Implements `ports.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, key: str, place: Place, content: Content) -> OutboxItem:
        """Store a message to send; for a known key only the content is replaced, and it waits again."""
        text = CONTENTS.encode(content)

        def work(connection: Connection) -> OutboxItem:
            values = {"key": key, "place": PLACES.encode(place), "content": text, "waiting": True}
            new = connection.execute(schema.insert_new(connection, schema.outbox, values, returning=_rows.key))
            if new.first() is None:
                connection.execute(update(schema.outbox).where(_rows.key == key).values(content=text, waiting=True))
            return _item(connection.execute(_all.where(_rows.key == key)).one())

        return await self._database.write(work)

    async def sent(self, key: str, ref: MessageRef, *, settled: bool = True) -> None:
        """Record where it stands; unless `settled`, it stays among those to look at again. Raises StoreError."""
        values = {"ref": REFS.encode(ref), "waiting": not settled}

        def work(connection: Connection) -> None:
            statement = update(schema.outbox).where(_rows.key == key).values(values).returning(_rows.key)
            if connection.execute(statement).first() is None:
                raise StoreError(f"There is no outgoing message {key!r}.")

        await self._database.write(work)

    async def waiting(self) -> tuple[OutboxItem, ...]:
        """Return messages whose newest content was not confirmed, oldest first."""
        return await self._items(WAITING)

    async def get(self, key: str) -> OutboxItem | None:
        """Return one row."""
        found = await self._items(_all.where(_rows.key == key))
        return found[0] if found else None

    async def _items(self, query: Select[str, str, str, str | None, bool]) -> tuple[OutboxItem, ...]:
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return tuple(_item(row) for row in rows)


def _item(row: OutboxRow) -> OutboxItem:
    ref = None if row.ref is None else REFS.decode(row.ref)
    state = OutboxState.WAITING if row.waiting else OutboxState.SENT
    return OutboxItem(row.key, PLACES.decode(row.place), CONTENTS.decode(row.content), state, ref)
