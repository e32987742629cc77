"""The three stores that every contract test runs on."""

from collections.abc import AsyncIterator

import pytest

from opsbot.adapters.store import open_store
from opsbot.ports import Store
from tests.fake_store import MemoryStore
from tests.records import KEY


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path) -> AsyncIterator[Store]:
    opened: Store = _open(request, tmp_path)
    yield opened
    await opened.close()


def _open(request: pytest.FixtureRequest, tmp_path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "sqlite":
        return open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
    return open_store(request.getfixturevalue("postgres_url"), audit_key=KEY)
