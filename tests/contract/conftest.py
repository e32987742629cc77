"""The three stores that every contract test runs on, and SQLite once more with every write undone and run again."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from opsbot.adapters.store import SqlStore, open_store
from opsbot.ports import Store
from tests.fake_store import MemoryStore
from tests.records import KEY


@pytest.fixture(params=["memory", "sqlite", "sqlite, written again", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[Store]:
    opened: Store = _open(request, tmp_path)
    yield opened
    await opened.close()


def _open(request: pytest.FixtureRequest, tmp_path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param.startswith("sqlite"):
        store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
        return store if request.param == "sqlite" else _writing_again(store)
    return open_store(request.getfixturevalue("postgres_url"), audit_key=KEY)


def _writing_again(store: SqlStore) -> SqlStore:
    """Have every write run, undone and run again, as happens to those that share a commit with a faulty one."""
    database = store._database
    write = database.write

    async def again(work: Callable[[Connection], Any]) -> Any:
        def twice(connection: Connection) -> Any:
            with contextlib.suppress(Exception), connection.begin_nested() as first:
                work(connection)
                first.rollback()
            return work(connection)

        return await write(twice)

    database.write = again  # type: ignore[method-assign]
    return store
