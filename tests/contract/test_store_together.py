"""Writes that share a commit: each whole or not at all, told the truth, in one chain of audit records."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, text

from opsbot import audit
from opsbot.adapters.store import schema, sqlite
from opsbot.adapters.store.audit_log import read_page
from opsbot.adapters.store.chain import AuditChain
from opsbot.adapters.store.database import Database
from opsbot.domain import AuditRecord
from opsbot.errors import Conflict, StoreError
from tests.records import KEY, entry

CHAIN = AuditChain(KEY)
TABLES = """
CREATE TABLE noted (number INTEGER PRIMARY KEY);
CREATE TABLE orphans (parent INTEGER REFERENCES noted (number) DEFERRABLE INITIALLY DEFERRED)
"""


class Scene:
    """A database whose commits, refusals and anchored records are counted."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.anchored: list[AuditRecord] = []
        self.checks = self.commits = 0
        self.refusal = ""
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys = ON"))
        self.database = Database(engine, threads=1, check=self._check, anchor=self.anchored.append, together=True)
        self.database.write_now(self._create)
        self.checks = 0
        event.listen(engine, "commit", self._count)

    def _create(self, connection: Connection) -> None:
        schema.metadata.create_all(connection)
        for statement in TABLES.strip().split(";"):
            connection.exec_driver_sql(statement)

    def _check(self) -> None:
        self.checks += 1
        if self.refusal:
            raise StoreError(self.refusal)

    def _count(self, connection: Connection) -> None:
        self.commits += 1

    def noted(self) -> list[int]:
        return self.database.read_now(lambda c: list(c.execute(text("SELECT number FROM noted ORDER BY 1")).scalars()))

    def records(self) -> Sequence[AuditRecord]:
        return self.database.read_now(lambda connection: read_page(connection, 0, 1000))

    async def at_once(self, *works: Callable[[Connection], Any]) -> list[Any]:
        """Have them all wait for the same commit; return what each returned or raised."""
        async with self.busy():
            waiting = await self.begun(*(self.database.write(work) for work in works))
        return await asyncio.gather(*waiting, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def busy(self):
        """Keep the store's thread busy, so that whatever is written in the block waits; count from its end on."""
        go_on, busy = threading.Event(), threading.Event()
        task = asyncio.create_task(self.database.read(lambda connection: (busy.set(), go_on.wait())))
        await asyncio.to_thread(busy.wait)
        try:
            yield
            self.commits = self.checks = 0
        finally:
            go_on.set()
            await task
            self.commits -= 1  # that of the reading

    @staticmethod
    async def begun(*writes: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
        tasks = [asyncio.create_task(write) for write in writes]
        await asyncio.sleep(0)
        return tasks


@pytest.fixture
def scene(tmp_path):
    made = Scene(sqlite.make_engine(tmp_path / "opsbot.db"))
    yield made
    made.database.close_now()


def note(number: int) -> Callable[[Connection], int]:
    """Insert a number and an audit record of it; a number that is there already is the database's own error."""

    def work(connection: Connection) -> int:
        CHAIN.append(connection, [entry("noted", number=number)])
        connection.execute(text("INSERT INTO noted VALUES (:n)"), {"n": number})
        return number

    return work


def changes_its_mind(number: int) -> Callable[[Connection], int]:
    """Write, and refuse afterwards."""

    def work(connection: Connection) -> int:
        note(number)(connection)
        raise Conflict(f"not {number}")

    return work


def refuses_at_once(connection: Connection) -> None:
    raise Conflict("never")


def without_parent(connection: Connection) -> None:
    """Insert what the database takes, and refuses only at its commit."""
    connection.execute(text("INSERT INTO orphans VALUES (-1)"))


async def test_writes_that_wait_share_one_commit(scene) -> None:
    assert await scene.at_once(*map(note, range(20))) == list(range(20))
    assert (scene.commits, scene.checks) == (1, 1)
    assert scene.noted() == list(range(20))


async def test_a_write_alone_is_a_transaction_of_its_own(scene) -> None:
    for number in range(3):
        assert await scene.database.write(note(number)) == number
    assert [record.seq for record in scene.anchored] == [1, 2, 3]


async def test_no_more_than_64_share_a_commit(scene) -> None:
    await scene.at_once(*map(note, range(130)))
    assert (scene.commits, len(scene.noted())) == (3, 130)


async def test_a_refusal_undoes_only_its_own_write(scene) -> None:
    told = await scene.at_once(note(1), changes_its_mind(2), refuses_at_once, note(3))
    assert [told[0], str(told[1]), str(told[2]), told[3]] == [1, "not 2", "never", 3]
    assert (scene.commits, scene.noted()) == (1, [1, 3])
    assert audit.verify(scene.records(), KEY).ok


async def test_every_write_that_was_kept_is_anchored_in_order_and_no_other(scene) -> None:
    """An intent has to be noted elsewhere at once, whatever is committed with it."""
    await scene.at_once(note(1), changes_its_mind(2), note(3), note(4))
    assert scene.anchored == list(scene.records())
    await scene.at_once(changes_its_mind(5), refuses_at_once)
    assert [record.seq for record in scene.anchored] == [1, 2, 3]


async def test_a_fault_of_the_database_in_one_write_is_told_only_to_its_caller(scene) -> None:
    await scene.database.write(note(2))
    told = await scene.at_once(note(1), note(2), note(3))
    assert [told[0], type(told[1]), told[2]] == [1, StoreError, 3]
    assert scene.noted() == [1, 2, 3]
    assert len(scene.records()) == 3


async def test_after_a_fault_at_the_commit_everybody_is_told_and_nothing_is_written(scene) -> None:
    told = await scene.at_once(note(1), without_parent, note(2))
    assert [type(each) for each in told] == [StoreError] * 3
    assert (scene.noted(), scene.records(), scene.anchored) == ([], (), [])
    assert await scene.database.write(note(1)) == 1


async def test_a_refused_commit_is_refused_once_for_all_who_wait(scene) -> None:
    scene.refusal = "the file was removed"
    told = await scene.at_once(note(1), note(2), note(3))
    assert [str(each) for each in told] == [scene.refusal] * 3
    assert (scene.checks, scene.noted()) == (1, [])


async def test_a_write_nobody_waits_for_any_more_is_not_begun(scene) -> None:
    async with scene.busy():
        tasks = await scene.begun(*(scene.database.write(note(number)) for number in range(4)))
        tasks[1].cancel()
        tasks[3].cancel()
        await asyncio.sleep(0)
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert [told[0], told[2]] == [0, 2]
    assert scene.noted() == [0, 2]


async def test_a_closing_database_finishes_what_waits_and_takes_nothing_more(scene) -> None:
    async with scene.busy():
        tasks = await scene.begun(*(scene.database.write(note(number)) for number in range(4)))
        closing = asyncio.create_task(scene.database.close())
        await asyncio.sleep(0)
        with pytest.raises(StoreError, match="is closed"):
            await scene.database.write(note(9))
    await closing
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
    assert scene.noted() == [0, 1, 2, 3]


async def test_an_anchor_that_fails_does_not_make_a_write_run_again(tmp_path) -> None:
    engine = sqlite.make_engine(tmp_path / "opsbot.db")
    scene, runs = Scene(engine), []

    def counted(connection: Connection) -> None:
        runs.append(1)
        CHAIN.append(connection, [entry("counted")])

    def cannot(record: AuditRecord) -> None:
        raise StoreError("nowhere to note it")

    scene.database = Database(engine, threads=1, check=lambda: None, anchor=cannot, together=True)
    told = await scene.at_once(counted, counted)
    assert [str(each) for each in told] == ["nowhere to note it"] * 2
    assert (len(runs), len(scene.records())) == (2, 2)
    scene.database.close_now()


WRITES = {
    "note": note,
    "mind": changes_its_mind,
    "refuse": lambda _: refuses_at_once,
    "orphan": lambda _: without_parent,
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([*WRITES, "note"]), st.integers(0, 9)), min_size=1, max_size=8), max_size=4
    )
)
def test_what_is_told_is_what_is_written(tmp_path_factory, batches) -> None:
    """In any mixture: told as written means written with its record, told anything else means not a trace."""
    scene = Scene(sqlite.make_engine(tmp_path_factory.mktemp("together") / "opsbot.db"))

    async def all_of_them() -> list[Any]:
        told: list[Any] = []
        for batch in batches:
            told += await scene.at_once(*(WRITES[kind](number) for kind, number in batch))
        return told

    told = asyncio.run(all_of_them())
    written = [each for each in told if isinstance(each, int)]
    records = scene.records()
    assert scene.noted() == sorted(written)
    assert sorted(record.entry.facts["number"] for record in records) == sorted(written)
    assert audit.verify(records, KEY).ok
    assert scene.anchored == list(records)
    scene.database.close_now()
