"""Outputs: answers of tools too long for the model, compressed, each readable by its conversation alone."""

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from opsbot.adapters.store import schema
from opsbot.adapters.store.database import Database
from opsbot.outputs import KEPT_PER_CONVERSATION, Output

_rows = schema.outputs.c
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Logs shrink to a tenth at any level; the quickest will do.
_LEVEL = 1


class SqlOutputs:
    """Implements `ports.Outputs`. `reader` has connections of its own: an output is large."""

    def __init__(self, database: Database, reader: Database) -> None:
        self._database = database
        self._reader = reader

    async def put(self, output: Output) -> None:
        """Keep an output; the oldest of its conversation go where there are too many."""

        def work(connection: Connection) -> None:
            connection.execute(insert(schema.outputs).values(**_row(output)))
            here = _rows.conversation_id == output.conversation_id
            refs = connection.execute(newest(output.conversation_id)).scalars().all()
            for ref in refs[KEPT_PER_CONVERSATION:]:
                connection.execute(delete(schema.outputs).where(here, _rows.ref == ref))

        await self._database.write(work)

    async def get(self, conversation_id: str, ref: str) -> Output | None:
        """Return an output of this conversation."""
        query = select(schema.outputs).where(_rows.conversation_id == conversation_id, _rows.ref == ref)

        def work(connection: Connection) -> Output | None:
            row = connection.execute(query).one_or_none()
            return _output(row) if row is not None else None

        return await self._reader.read(work)

    async def prune(self, before: datetime) -> int:
        """Forget outputs made before that time; return how many."""
        old = _rows.at_us < _microseconds(before)

        def work(connection: Connection) -> int:
            return len(connection.execute(delete(schema.outputs).where(old).returning(_rows.ref)).all())

        return await self._database.write(work)


def newest(conversation_id: str) -> Select[tuple[str]]:
    """Return the query for a conversation's outputs, the newest first."""
    return select(_rows.ref).where(_rows.conversation_id == conversation_id).order_by(_rows.at_us.desc())


def _row(output: Output) -> dict[str, object]:
    return {
        "conversation_id": output.conversation_id,
        "ref": output.ref,
        "at_us": _microseconds(output.at),
        "answers": output.of,
        "untrusted": output.untrusted,
        "body": zlib.compress(output.text.encode("utf-8", "replace"), _LEVEL),
    }


def _output(row: Any) -> Output:
    text = zlib.decompress(row.body).decode()
    at = _EPOCH + row.at_us * _MICROSECOND
    return Output(row.conversation_id, row.ref, row.answers, at, text, row.untrusted)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
