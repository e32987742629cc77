"""What the model may take, from the configuration: budgets, and the operator's own prices."""

from typing import Annotated

from pydantic import Field

from opsbot.config_types import Section
from opsbot.spending import NANO, Budgets, Limit, Price, Scope, Unit

_Tokens = Annotated[int, Field(ge=1000, le=1_000_000_000_000)]
_Usd = Annotated[float, Field(gt=0, le=1_000_000)]
_PerMillion = Annotated[float, Field(ge=0, le=100_000)]


class Budget(Section):
    """How many tokens and dollars may be used for a question, a conversation, a person's day, and a day of all."""

    turn_tokens: _Tokens | None = 200_000
    turn_usd: _Usd | None = None
    conversation_tokens: _Tokens | None = 2_000_000
    conversation_usd: _Usd | None = None
    person_day_tokens: _Tokens | None = 5_000_000
    person_day_usd: _Usd | None = None
    day_tokens: _Tokens | None = 20_000_000
    day_usd: _Usd | None = None
    warn_percent: Annotated[int, Field(ge=1, le=99)] = 80


class ModelPrice(Section):
    """Dollars per million tokens of one model; `cached_input` is as `input` unless it is named."""

    input: _PerMillion
    cached_input: _PerMillion | None = None
    output: _PerMillion


def budgets_of(budget: Budget) -> Budgets:
    """Return the budgets that are set, the narrowest first."""
    limits = []
    for scope in Scope:
        tokens: int | None = getattr(budget, f"{scope}_{Unit.TOKENS}")
        usd: float | None = getattr(budget, f"{scope}_{Unit.USD}")
        limits += [Limit(scope, Unit.TOKENS, tokens)] if tokens is not None else []
        limits += [Limit(scope, Unit.USD, max(1, round(usd * NANO)))] if usd is not None else []
    return Budgets(tuple(limits), budget.warn_percent)


def price_of(price: ModelPrice) -> Price:
    """Return a price in billionths of a dollar."""
    cached = price.input if price.cached_input is None else price.cached_input
    return Price(round(price.input * NANO), round(cached * NANO), round(price.output * NANO))
