"""What requests for vectors took is counted on the bot, in its own line, and keeps nobody from searching."""

from collections.abc import Sequence

import pytest

from opsbot.domain import Usage
from opsbot.embedding_usage import EmbeddingUsage
from opsbot.errors import StoreError
from opsbot.ports import UsageLog
from opsbot.spending import ModelCall, Split
from opsbot.usage import usage_table
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore


class Cents:
    """A cent for a token."""

    def cost_nano_usd(self, model: str, usage: Usage, at: object) -> int | None:
        return usage.input_tokens * 10_000_000


class Away:
    async def add(self, calls: Sequence[ModelCall]) -> None:
        raise StoreError("The database is away.")


def kept(log: UsageLog) -> EmbeddingUsage:
    return EmbeddingUsage(log, Cents(), FakeClock(), "text-embedding-3-small", "openai")


async def test_it_stands_in_lists_as_the_bots_own_with_its_cost() -> None:
    log, clock = MemoryStore().usage, FakeClock()
    await kept(log).took(8, estimated=False)
    await kept(log).took(5, estimated=True)
    since = clock.now().replace(hour=0)
    (row,) = usage_table(Split.PERSON, await log.sums(Split.PERSON, since=since)).rows
    assert row == ("opsbot (runbooks)", "2", "~13", "0%", "~0", "$0.1300")
    (row,) = usage_table(Split.CONVERSATION, await log.sums(Split.CONVERSATION, since=since)).rows
    assert row[0] == "outside of threads"


async def test_it_counts_for_the_day_of_all_and_for_no_person() -> None:
    log = MemoryStore().usage
    await kept(log).took(8, estimated=False)
    (call,) = [found for found in (await log.sums(Split.DAY, since=FakeClock().now().replace(hour=0)))]
    assert call.total.tokens == 8


@pytest.mark.parametrize("estimated", [True, False])
async def test_a_store_that_is_away_keeps_nobody_from_searching(estimated: bool) -> None:
    await kept(Away()).took(8, estimated=estimated)
