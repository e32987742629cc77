"""Pictures that people showed, by key, for as long as there is room."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, select

from opsbot.adapters.store import schema
from opsbot.adapters.store.database import Database
from opsbot.audit import timestamp
from opsbot.pictures import Developed

_rows = schema.pictures.c


class SqlPictures:
    """Implements `ports.Pictures`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, key: str, picture: Developed, at: datetime) -> None:
        """Store it, unless there is one of that key."""
        values = {
            "key": key,
            "kept_at": timestamp(at),
            "media_type": picture.media_type,
            "width": picture.width,
            "height": picture.height,
            "size_bytes": len(picture.content),
            "content": picture.content,
        }

        def work(connection: Connection) -> None:
            connection.execute(schema.insert_new(connection, schema.pictures, values, returning=_rows.key))

        await self._database.write(work)

    async def get(self, keys: Sequence[str]) -> Mapping[str, Developed]:
        """Return those that are kept."""
        if not keys:
            return {}
        columns = (_rows.key, _rows.media_type, _rows.width, _rows.height, _rows.content)
        query = select(*columns).where(_rows.key.in_(keys))
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {row.key: Developed(row.media_type, row.width, row.height, row.content) for row in rows}

    async def prune(self, before: datetime, *, max_bytes: int) -> int:
        """Forget what was stored before that time, and the oldest until the rest is small enough; return how many."""
        sizes = select(_rows.key, _rows.kept_at, _rows.size_bytes).order_by(_rows.kept_at.desc(), _rows.key)

        def work(connection: Connection) -> int:
            left, gone = max_bytes, []
            for row in connection.execute(sizes).all():
                left -= row.size_bytes
                if left < 0 or row.kept_at < timestamp(before):
                    gone.append(row.key)
            if gone:
                connection.execute(delete(schema.pictures).where(_rows.key.in_(gone)))
            return len(gone)

        return await self._database.write(work)
