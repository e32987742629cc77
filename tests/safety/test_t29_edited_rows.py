"""T29: rows edited, put back or removed by hand: none of them makes anything run, on SQLite and on PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Table, create_engine, delete, insert, select, update

from opsbot.adapters.store import open_store, schema
from opsbot.approvals import entry
from opsbot.domain import Approval, ApprovalState, Operation
from opsbot.errors import StoreError
from tests.records import CAPS, KEY
from tests.safety.conftest import Figures
from tests.safety.decided import approved_only
from tests.scenario.house import ALICE, BOB, House, World

NGINX = ("web-1", "nginx.service")
Row = dict[str, Any]


@dataclass
class Editor:
    """Somebody with the database, but without the key."""

    engine: Engine

    def rows(self, table: Table) -> list[Row]:
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(select(table))]

    def put(self, table: Table, rows: list[Row]) -> None:
        """Let the table hold exactly these rows."""
        with self.engine.begin() as connection:
            connection.execute(delete(table))
            if rows:
                connection.execute(insert(table), rows)

    @contextmanager
    def edited(self, table: Table, **values: object) -> Iterator[None]:
        """Let every row of the table have these values meanwhile."""
        before = self.rows(table)
        with self.engine.begin() as connection:
            connection.execute(update(table).values(**values))
        yield
        self.put(table, before)


@dataclass
class Scene:
    """A house on a real database, and the editor beside it."""

    house: House
    editor: Editor

    @property
    def restarts(self) -> int:
        return self.house.world.machines.restarts[NGINX]

    async def everything_is_tried(self) -> None:
        """Let the bot do all it does by itself, and let people click."""
        desk = self.house.service._parts.desk
        for work in (desk.sweep, desk.recover):
            try:
                await work()
            except StoreError:
                continue
        for posted in self.house.cards():
            await self.house.send(self.house.click(BOB, "approve", posted))
        await self.house.quiet()


@pytest.fixture(params=["sqlite", "postgresql"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    url = f"sqlite:///{tmp_path}/x.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    store = await asyncio.to_thread(open_store, url, audit_key=KEY)
    house = House(World(store=store))
    await house.types(ALICE, "restart nginx web-1")
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield Scene(house, Editor(engine))
    engine.dispose()
    house.die()
    await store.close()


def other(column: Column[Any], value: Any) -> Any:
    """Something else of the same kind."""
    if isinstance(value, int | float):
        return value + 1
    return "OTHER234" if column.name == "id" else f"{value}x" if value else "x"


async def test_a_waiting_request_cannot_be_made_approved_by_hand(scene: Scene) -> None:
    (row,) = scene.editor.rows(schema.approvals)
    record = json.loads(row["record"])
    for each in ("approved", "executing", "done"):
        record["value"]["state"] = each
        for values in ({"state": each}, {"record": json.dumps(record)}, {"state": each, "record": json.dumps(record)}):
            with scene.editor.edited(schema.approvals, **values):
                await scene.everything_is_tried()
            assert scene.restarts == 0


async def test_every_edited_column_of_an_approved_request_is_refused(scene: Scene, figures: Figures) -> None:
    await approved_only(scene.house)
    (row,) = scene.editor.rows(schema.approvals)
    tried = 0
    for column in schema.approvals.columns:
        for value in {other(column, row[column.name]), *_worth_a_try(column.name, row)}:
            with scene.editor.edited(schema.approvals, **{column.name: value}):
                await scene.everything_is_tried()
            assert scene.restarts == 0, column.name
            tried += 1
    await scene.everything_is_tried()
    assert scene.restarts == 1, "as it was it runs"
    figures.note(edited_approvals_refused=f"{tried} of {tried}, {len(schema.approvals.columns)} columns")


def _worth_a_try(name: str, row: Row) -> list[Any]:
    """Edits that somebody would really make."""
    if name != "record":
        return [str(state) for state in ApprovalState if str(state) != row[name]] if name == "state" else []
    record = row["record"]
    later = record.replace('"expires_at":"2026', '"expires_at":"2036')
    other_unit = record.replace("nginx.service", "brittle.service")
    fewer = record.replace('"needed":1', '"needed":0')
    return [each for each in (later, other_unit, fewer) if each != record]


async def test_a_row_sealed_for_another_request_is_refused(scene: Scene) -> None:
    """Record and seal of one request in the row of another: both genuine, but not together."""
    await approved_only(scene.house)
    await scene.house.types(ALICE, "restart nginx web-2")
    first, second = sorted(scene.editor.rows(schema.approvals), key=lambda row: row["state"])
    swapped = {**second, "record": first["record"], "seal": first["seal"], "state": first["state"]}
    scene.editor.put(schema.approvals, [swapped])
    await scene.everything_is_tried()
    assert scene.restarts == 0
    assert scene.house.world.machines.restarts["web-2", "nginx.service"] == 0


async def test_an_old_row_put_back_runs_nothing_again(scene: Scene) -> None:
    """The whole row as it was, with its genuine seal: the journal, and behind it the audit, know that it was begun."""
    await approved_only(scene.house)
    before = scene.editor.rows(schema.approvals)
    scene.house.world.machines.unit("web-1", "nginx").on_restart = "stays"
    await scene.everything_is_tried()
    done = scene.restarts
    for remove in (False, True):
        scene.editor.put(schema.approvals, before)
        if remove:
            scene.editor.put(schema.operations, [])
        await scene.everything_is_tried()
        assert scene.restarts == done


async def test_every_edited_column_of_the_journal_is_refused(scene: Scene, figures: Figures) -> None:
    """A process ended right after it recorded what it would do: whoever edits that does not make it run again."""
    running = await _begun(scene)
    (row,) = scene.editor.rows(schema.operations)
    operations = scene.house.world.store.operations
    for column in schema.operations.columns:
        with scene.editor.edited(schema.operations, **{column.name: other(column, row[column.name])}):
            with pytest.raises(StoreError, match="changed by something other"):
                await operations.started(running.id)
            with pytest.raises(StoreError):
                await _claim(scene, running)
            await scene.everything_is_tried()
        assert scene.restarts == 0
    figures.note(edited_journal_rows_refused=f"{len(schema.operations.columns)} columns")


async def test_a_removed_row_of_the_journal_is_missed(scene: Scene) -> None:
    running = await _begun(scene)
    scene.editor.put(schema.operations, [])
    with pytest.raises(StoreError, match="changed by something other"):
        await scene.house.world.store.operations.started(running.id)
    with pytest.raises(StoreError, match="changed by something other"):
        await _claim(scene, running)
    await scene.everything_is_tried()
    assert scene.restarts == 0


async def _begun(scene: Scene) -> Approval:
    """Let the intent be recorded, and nothing more happen."""
    approval = await approved_only(scene.house)
    executor = scene.house.service._parts.executor
    executing = replace(approval, state=ApprovalState.EXECUTING)
    running = await executor.save(executing, approval, "execution.started")
    assert await _claim(scene, running)
    return running


async def _claim(scene: Scene, running: Approval) -> bool:
    clock = scene.house.world.clock
    intent = entry(running, "execution.intent", clock.now(), facts={"host": "web-1"})
    operation = Operation(running, "web-1", ("nginx.service",), clock.moment(), running.requester.key)
    return await scene.house.world.store.operations.claim(operation, intent, caps=CAPS)
