"""Tokens, money and budgets: sums are exact, unknown stays unknown, a budget is warned of before it is used up."""

from datetime import UTC, datetime

import pytest

from opsbot.config_budget import Budget, ModelPrice, budgets_of, price_of
from opsbot.domain import Usage
from opsbot.spending import (
    NANO,
    Budgets,
    Limit,
    Price,
    Scope,
    Total,
    Unit,
    cost_text,
    day_of,
    money,
    next_step,
    share_text,
    turn_id,
)

NOON = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
TOKENS = Limit(Scope.PERSON_DAY, Unit.TOKENS, 1000)
DOLLARS = Limit(Scope.DAY, Unit.USD, NANO)


def totals(used: int = 0, cost_nano_usd: int = 0, unpriced: int = 0) -> dict[Scope, Total]:
    return dict.fromkeys(Scope, Total(1, Usage(used, 0), cost_nano_usd=cost_nano_usd, unpriced=unpriced))


@pytest.mark.parametrize(("used", "warned", "spent"), [(799, False, False), (800, True, False), (1000, False, True)])
def test_a_budget_is_warned_of_from_its_share_on_and_spent_at_its_end(used: int, warned: bool, spent: bool) -> None:
    budgets = Budgets((TOKENS, DOLLARS), warn_percent=80)
    assert bool(budgets.nearly_spent(totals(used))) is warned
    assert (budgets.spent(totals(used)) is TOKENS) is spent


def test_unknown_cost_uses_up_the_budget_of_tokens_and_none_of_money() -> None:
    unknown = totals(1000, unpriced=1)
    assert Budgets((DOLLARS,)).spent(unknown) is None
    assert Budgets((DOLLARS, TOKENS)).spent(unknown) is TOKENS
    assert Budgets((DOLLARS,)).spent(totals(cost_nano_usd=NANO)) is DOLLARS


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("unit", Unit)
def test_what_to_do_names_the_setting_and_what_works_meanwhile(scope: Scope, unit: Unit) -> None:
    said = next_step(Limit(scope, unit, 1000), NOON)
    assert f"`budget.{scope}_{unit}`" in said
    assert "`/ops help`" in said


def test_a_daily_budget_says_when_it_begins_anew() -> None:
    assert "at 00:00 UTC, in 11 h 30 min" in next_step(TOKENS, NOON)
    assert "in 24 h 00 min" in next_step(TOKENS, day_of(NOON))


@pytest.mark.parametrize(
    ("total", "text"),
    [
        (Total(), "$0.00"),
        (Total(2, unpriced=2), "unknown"),
        (Total(2, cost_nano_usd=1_500_000_000), "$1.50"),
        (Total(3, cost_nano_usd=114_000, unpriced=1), "$0.0001 + 1 of unknown cost"),
        (Total(1, cost_nano_usd=10), "<$0.0001"),
    ],
)
def test_unknown_cost_is_never_written_as_nothing(total: Total, text: str) -> None:
    assert cost_text(total) == text


def test_amounts_show_cents_or_what_can_be_seen() -> None:
    assert [money(n) for n in (0, 1, 12_345_678, 999_000_000, 1_234_000_000_000)] == [
        "$0.00",
        "<$0.0001",
        "$0.0123",
        "$0.9990",
        "$1,234.00",
    ]


def test_the_cached_share_is_of_what_was_read() -> None:
    assert share_text(Total(1, Usage(1000, 500, 640))) == "64%"
    assert share_text(Total()) == "-"


def test_an_own_price_counts_cached_tokens_once_and_rounds_up() -> None:
    price = price_of(ModelPrice(input=1.0, cached_input=0.1, output=5.0))
    assert price == Price(NANO, NANO // 10, 5 * NANO)
    assert price.cost_nano_usd(Usage(1000, 100, 400)) == 600_000 + 40_000 + 500_000
    assert price_of(ModelPrice(input=0.000001, output=0)).cost_nano_usd(Usage(1, 0)) == 1
    assert price_of(ModelPrice(input=2, output=1)).cached_input == 2 * NANO


def test_the_configuration_has_budgets_of_tokens_and_takes_budgets_of_money() -> None:
    usual = budgets_of(Budget())
    assert {(limit.scope, limit.unit) for limit in usual.limits} == {(scope, Unit.TOKENS) for scope in Scope}
    own = budgets_of(Budget(turn_tokens=None, day_usd=2.5, warn_percent=50))
    assert Limit(Scope.DAY, Unit.USD, 2_500_000_000) in own.limits
    assert Scope.TURN not in {limit.scope for limit in own.limits}
    assert own.warn_percent == 50


def test_a_turn_is_named_alike_after_a_restart() -> None:
    again = datetime.fromisoformat("2026-11-20T13:30:00+01:00")
    assert turn_id("T1/C1/1", NOON, 4) == turn_id("T1/C1/1", again, 4)
    assert turn_id("T1/C1/1", NOON, 4) != turn_id("T1/C1/1", NOON, 6)
