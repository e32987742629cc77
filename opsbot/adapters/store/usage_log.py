"""What the model took: one row per call, added in the transaction that stores the reply, summed by the database."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    cast,
    delete,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from opsbot.adapters.store import schema
from opsbot.adapters.store.database import Database
from opsbot.domain import Usage
from opsbot.spending import ModelCall, Scope, Split, Sum, Total, Totals

_rows = schema.model_calls.c
_KEYS: dict[Split, Column[str] | None] = {
    Split.TURN: _rows.turn_id,
    Split.CONVERSATION: _rows.conversation_id,
    Split.PERSON: _rows.person,
    Split.DAY: None,
}
_FIGURES = (_rows.input_tokens, _rows.output_tokens, _rows.cached_tokens, _rows.reasoning_tokens)


class SqlUsageLog:
    """Implements `ports.UsageLog`. `reader` has connections of its own: sums of months are in nobody's way."""

    def __init__(self, database: Database, reader: Database) -> None:
        self._database = database
        self._reader = reader

    async def add(self, calls: Sequence[ModelCall]) -> None:
        """Store them; those that are there already stay as they are."""
        if calls:
            await self._database.write(lambda connection: insert_calls(connection, calls))

    async def spent(self, *, turn_id: str, conversation_id: str, person: str, since: datetime) -> Totals:
        """Return what was used in this turn and conversation, and by this person and everybody since that time."""
        since_s = int(since.timestamp())
        wanted = {
            Scope.TURN: in_turn(conversation_id, turn_id),
            Scope.CONVERSATION: _rows.conversation_id == conversation_id,
            Scope.PERSON_DAY: of_person(person, since_s),
            Scope.DAY: _rows.at_s >= since_s,
        }

        def work(connection: Connection) -> Totals:
            return {scope: _total(connection.execute(totals(here)).one()) for scope, here in wanted.items()}

        return await self._database.read(work)

    async def sums(self, by: Split, *, since: datetime, slot_s: int = 0, person: str = "") -> tuple[Sum, ...]:
        """Return what was used since that time by `by`, and for each slot of so many seconds; oldest first."""
        query = sums_by(by, since_s=int(since.timestamp()), slot_s=slot_s, person=person)
        rows = await self._reader.read(lambda connection: connection.execute(query).all())
        return tuple(Sum(row.key, datetime.fromtimestamp(int(row.at_s), UTC), _total(row)) for row in rows)

    async def prune(self, before: datetime) -> int:
        """Forget calls made before that time; return how many."""
        old = _rows.at_s < int(before.timestamp())

        def work(connection: Connection) -> int:
            return len(connection.execute(delete(schema.model_calls).where(old).returning(_rows.id)).all())

        return await self._database.write(work)


def insert_calls(connection: Connection, calls: Sequence[ModelCall]) -> None:
    """Add calls within a transaction; those that are there already stay as they are."""
    rows = [_row(call) for call in calls]
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(postgresql.insert(schema.model_calls).on_conflict_do_nothing(), rows)
    else:
        connection.execute(sqlite.insert(schema.model_calls).on_conflict_do_nothing(), rows)


def in_turn(conversation_id: str, turn_id: str) -> ColumnElement[bool]:
    """Select the calls of one turn."""
    return (_rows.conversation_id == conversation_id) & (_rows.turn_id == turn_id)


def of_person(person: str, since_s: int) -> ColumnElement[bool]:
    """Select one person's calls from that second on."""
    return (_rows.person == person) & (_rows.at_s >= since_s)


def totals(here: ColumnElement[bool]) -> Select[Any]:
    """Return the query for the total of some calls."""
    return select(*_figures()).where(here)


def sums_by(by: Split, *, since_s: int, slot_s: int, person: str) -> Select[Any]:
    """Return the query for sums by key and slot."""
    key = _KEYS[by]
    slot = _rows.at_s // literal_column(str(slot_s), BigInteger) * literal_column(str(slot_s), BigInteger)
    at_s = slot.label("at_s") if slot_s else func.max(_rows.at_s).label("at_s")
    here = of_person(person, since_s) if person else _rows.at_s >= since_s
    groups = [*([] if key is None else [key]), *([slot] if slot_s else [])]
    named = (literal("") if key is None else key).label("key")
    found = select(named, at_s, *_figures()).where(here).group_by(*groups).order_by("at_s", "key")
    return found.having(func.count() > 0)


def _figures() -> list[ColumnElement[Any]]:
    sums = [cast(func.coalesce(func.sum(figure), 0), BigInteger).label(figure.name) for figure in _FIGURES]
    return [
        func.count().label("calls"),
        *sums,
        func.count(_rows.cost_nano_usd).label("priced"),
        cast(func.coalesce(func.sum(_rows.cost_nano_usd), 0), BigInteger).label("cost_nano_usd"),
        func.count().filter(_rows.estimated).label("estimated"),
    ]


def _total(row: Row[Any]) -> Total:
    found = row._mapping
    usage = Usage(*(int(found[figure.name]) for figure in _FIGURES))
    calls = int(found["calls"])
    unpriced = calls - int(found["priced"])
    return Total(calls, usage, int(found["estimated"]), int(found["cost_nano_usd"]), unpriced)


def _row(call: ModelCall) -> dict[str, object]:
    return {
        "id": call.id,
        "at_s": int(call.at.timestamp()),
        "turn_id": call.turn_id,
        "conversation_id": call.conversation_id,
        "person": call.person,
        "model": call.model,
        "endpoint": call.endpoint,
        "input_tokens": call.usage.input_tokens,
        "cached_tokens": call.usage.cached_tokens,
        "output_tokens": call.usage.output_tokens,
        "reasoning_tokens": call.usage.reasoning_tokens,
        "estimated": call.estimated,
        "cost_nano_usd": call.cost_nano_usd,
    }
