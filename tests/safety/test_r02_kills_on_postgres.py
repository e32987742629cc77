"""R02 on PostgreSQL: `kill -9` at random, again and again, while people ask and approve."""

import pytest

from tests.safety.random_kills import survive

pytestmark = [pytest.mark.timed, pytest.mark.kill, pytest.mark.timeout(2400)]


async def test_nothing_is_doubled_and_nothing_vanishes(tmp_path, zygote, postgres_url, figures, scale) -> None:
    await survive(scale(8, 200), "postgres", tmp_path, zygote, figures, postgres_url)
