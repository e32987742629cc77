"""The table of what the model took: newest or largest first, bounded, and honest about what is unknown."""

from datetime import UTC, datetime, timedelta

import pytest

from opsbot.domain import Usage
from opsbot.spending import Split, Sum, Total
from opsbot.usage import person_text, since_of, total_text, usage_table

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def one(key: str, tokens: int = 10, days: int = 0, **rest: int) -> Sum:
    return Sum(key, NOON - timedelta(days=days), Total(1, Usage(tokens, 1), **rest))


def test_days_and_turns_come_newest_first_people_and_conversations_largest_first() -> None:
    sums = [one("T1/C1/1@2026-11-18T12:00:00.0", 5, 2), one("T1/C2/1@2026-11-20T12:00:00.0", 1)]
    assert [row[0] for row in usage_table(Split.TURN, sums).rows] == ["C2 1", "C1 1"]
    assert [row[1] for row in usage_table(Split.TURN, sums).rows] == ["2026-11-20 12:00", "2026-11-18 12:00"]
    sums = [one("t1/ualice", 5), one("person:bob", 9), one("terminal/root", 1)]
    assert [row[0] for row in usage_table(Split.PERSON, sums).rows] == ["bob", "UALICE", "root (terminal)"]
    assert [row[0] for row in usage_table(Split.DAY, [one("", days=1), one("")]).rows] == ["2026-11-20", "2026-11-19"]


def test_a_long_table_is_cut_and_says_so() -> None:
    table = usage_table(Split.CONVERSATION, [one(f"T1/C1/{n}", n) for n in range(25)])
    assert len(table.rows) == 20
    assert table.title == "By conversation; 5 more are not shown"
    assert table.rows[0][0] == "C1 24"


def test_unknown_cost_and_estimates_are_marked() -> None:
    (mixed,) = usage_table(Split.DAY, [Sum("", NOON, Total(2, Usage(10, 5), cost_nano_usd=5_000_000, unpriced=1))]).rows
    assert mixed == ("2026-11-20", "2", "10", "0%", "5", "≥ $0.0050")
    (unknown,) = usage_table(Split.DAY, [one("", unpriced=1, estimated=1)]).rows
    assert unknown == ("2026-11-20", "1", "~10", "0%", "~1", "unknown")
    assert total_text(Total(3, Usage(10, 5, 5), estimated=1, cost_nano_usd=10**9, unpriced=1)) == (
        "3 model calls, 15 tokens, 50% of what was read came from the cache, of 1 the tokens are estimated, "
        "cost $1.00 + 1 of unknown cost"
    )


@pytest.mark.parametrize(("days", "since"), [(1, "2026-11-20"), (7, "2026-11-14")])
def test_days_are_counted_with_today(days: int, since: str) -> None:
    assert f"{since_of(NOON, days):%Y-%m-%d %H:%M}" == f"{since} 00:00"


def test_people_are_named_without_calling_them() -> None:
    assert "<@" not in person_text("t1/ualice")
