"""R01 on PostgreSQL: a flood of events, a fifth of them delivered again, in any order, buttons pressed three times."""

import asyncio

import pytest

from opsbot.adapters.store import open_store
from tests.fake_store import TEST_KEY
from tests.safety.event_flood import stands


@pytest.mark.timed
@pytest.mark.timeout(1800)
async def test_nothing_is_doubled_and_nothing_is_lost(postgres_url, figures, scale) -> None:
    store = await asyncio.to_thread(open_store, postgres_url, audit_key=TEST_KEY)
    await stands("postgres", store, figures, events=scale(160, 10_000), buttons=scale(5, 100))
