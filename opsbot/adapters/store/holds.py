"""Stops and freezes: few rows, changed by compare-and-swap, each change with its audit record."""

from dataclasses import replace

from sqlalchemy import Connection, insert, select, update

from opsbot.adapters.store import schema
from opsbot.adapters.store.chain import AuditChain
from opsbot.adapters.store.codec import HOLDS
from opsbot.adapters.store.database import Database
from opsbot.domain import AuditEntry
from opsbot.errors import Conflict
from opsbot.holds import Hold

_rows = schema.holds.c
STANDING = select(_rows.record).where(_rows.ended == False)  # noqa: E712 a SQL expression


class SqlHolds:
    """Implements `ports.Holds`."""

    def __init__(self, database: Database, chain: AuditChain) -> None:
        self._database = database
        self._chain = chain

    async def add(self, hold: Hold, entry: AuditEntry) -> None:
        """Insert with its audit record in one transaction."""

        def work(connection: Connection) -> None:
            connection.execute(insert(schema.holds).values(id=hold.id, **_columns(hold)))
            self._chain.append(connection, [entry])

        await self._database.write(work)

    async def change(self, hold: Hold, entry: AuditEntry) -> Hold:
        """Write with the audit record if the stored version is the same; return it with version + 1.

        Raises:
            Conflict: it is not; nothing is written.
        """
        after = replace(hold, version=hold.version + 1)

        def work(connection: Connection) -> Hold:
            here = (_rows.id == hold.id) & (_rows.version == hold.version)
            swapped = connection.execute(update(schema.holds).where(here).values(_columns(after)).returning(_rows.id))
            if swapped.first() is None:
                raise Conflict(f"{hold.kind} {hold.id} was changed by somebody else; look again.")
            self._chain.append(connection, [entry])
            return after

        return await self._database.write(work)

    async def standing(self) -> tuple[Hold, ...]:
        """Return those that nobody ended, oldest first."""
        return await self._database.read(standing_rows)

    def standing_now(self) -> tuple[Hold, ...]:
        """As `standing`, in the calling thread."""
        return self._database.read_blocking(standing_rows)


def _columns(hold: Hold) -> dict[str, object]:
    return {"ended": hold.ended_at is not None, "version": hold.version, "record": HOLDS.encode(hold)}


def standing_rows(connection: Connection) -> tuple[Hold, ...]:
    """Return those that nobody ended, oldest first."""
    found = (HOLDS.decode(record) for record in connection.execute(STANDING).scalars())
    return tuple(sorted(found, key=lambda hold: (hold.at, hold.id)))
