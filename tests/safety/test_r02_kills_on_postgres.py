"""R02 on PostgreSQL: `kill -9` at random, again and again, while people ask and approve."""

import asyncio
from contextlib import ExitStack

import pytest

from opsbot.replica import SILENT_S
from tests.safety.random_kills import judge, story

pytestmark = [pytest.mark.timed, pytest.mark.kill, pytest.mark.timeout(2400)]

# Another replica may be alive, so what a dead one left is taken over only when it has been silent for SILENT_S. Lives
# are as long, and several bots, each on its own database, are killed at a time.
BOTS = 4


async def test_nothing_is_doubled_and_nothing_vanishes(tmp_path, zygote, postgres, figures, scale) -> None:
    kills = scale(8, 200) // BOTS
    with ExitStack() as databases:
        urls = [databases.enter_context(postgres.database()) for _ in range(BOTS)]
        stories = (
            story(kills, f"postgres {n}", tmp_path / str(n), zygote, store_url=url, least_mean_life_s=SILENT_S)
            for n, url in enumerate(urls)
        )
        judge(await asyncio.gather(*stories), "postgres", figures)
