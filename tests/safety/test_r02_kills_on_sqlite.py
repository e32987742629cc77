"""R02 on SQLite: `kill -9` at random, again and again, while people ask and approve."""

import asyncio

import pytest

from tests.safety.random_kills import LEAST_MEAN_LIFE_S, judge, story

pytestmark = [pytest.mark.timed, pytest.mark.kill, pytest.mark.timeout(2400)]

BOTS = 4


async def test_nothing_is_doubled_and_nothing_vanishes(tmp_path, zygote, figures, scale) -> None:
    kills = scale(8, 200) // BOTS
    stories = (
        story(kills, f"sqlite {n}", tmp_path / str(n), zygote, least_mean_life_s=LEAST_MEAN_LIFE_S) for n in range(BOTS)
    )
    judge(await asyncio.gather(*stories), "sqlite", figures)
