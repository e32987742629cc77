"""What was learned of the model's endpoint: one row."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, inspect, select

from opsbot.adapters.store import schema
from opsbot.adapters.store.database import Database
from opsbot.audit import timestamp
from opsbot.endpoints import Learned

_rows = schema.endpoints.c


class SqlEndpoints:
    """Implements `endpoints.EndpointMemory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self) -> Learned | None:
        """Return what is kept."""
        return await self._database.read(read_learned_row)

    async def keep(self, learned: Learned) -> None:
        """Keep it, in place of what was kept before."""
        values = {"endpoint": learned.endpoint, "learned_at": timestamp(learned.at), "facts": learned.facts}

        def work(connection: Connection) -> None:
            connection.execute(delete(schema.endpoints))
            connection.execute(insert(schema.endpoints).values(**values))

        await self._database.write(work)


def read_learned_row(connection: Connection) -> Learned | None:
    """Return what is kept; None also where the table is not there yet."""
    if not inspect(connection).has_table(schema.endpoints.name):
        return None
    row = connection.execute(select(_rows.endpoint, _rows.learned_at, _rows.facts).limit(1)).first()
    return Learned(row.endpoint, datetime.fromisoformat(row.learned_at), row.facts) if row else None
