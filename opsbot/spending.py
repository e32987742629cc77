"""What the model takes: tokens and money of its calls, sums of them, and the budgets over the sums. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from opsbot.domain import Usage

# Money is counted in billionths of a dollar: one cached token of the cheapest model costs ten of them.
NANO = 1_000_000_000
# What is kept of model calls, and no longer.
KEPT_FOR = timedelta(days=90)


class Scope(StrEnum):
    """What a budget is for. A turn here is one question, with all that follows from it."""

    TURN = "turn"
    CONVERSATION = "conversation"
    PERSON_DAY = "person_day"
    DAY = "day"


class Split(StrEnum):
    """By what sums are told apart."""

    TURN = "turn"
    CONVERSATION = "conversation"
    PERSON = "person"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to the model as it is kept: whose it was, and what it took.

    `endpoint`: openai, azure or compatible. `estimated`: the service did not say how many tokens it were.
    `cost_nano_usd`: None is unknown, which is never the same as 0.
    """

    id: str
    at: datetime
    turn_id: str
    conversation_id: str
    person: str
    model: str
    endpoint: str
    usage: Usage
    estimated: bool = False
    cost_nano_usd: int | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of some calls. `unpriced`: calls whose cost is unknown; `cost_nano_usd` is that of the others."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    estimated: int = 0
    cost_nano_usd: int = 0
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        """In and out together."""
        return self.usage.input_tokens + self.usage.output_tokens

    @property
    def cached_share(self) -> float | None:
        """The share of the tokens read that came from the service's cache; None: nothing was read."""
        read = self.usage.input_tokens
        return self.usage.cached_tokens / read if read else None

    def __add__(self, other: "Total") -> "Total":
        return Total(
            self.calls + other.calls,
            self.usage + other.usage,
            self.estimated + other.estimated,
            self.cost_nano_usd + other.cost_nano_usd,
            self.unpriced + other.unpriced,
        )

    @staticmethod
    def of(call: ModelCall) -> "Total":
        """Return the total of one call."""
        unknown = call.cost_nano_usd is None
        return Total(1, call.usage, int(call.estimated), call.cost_nano_usd or 0, int(unknown))


Totals: TypeAlias = Mapping[Scope, Total]


@dataclass(frozen=True, slots=True)
class Sum:
    """A total of what has one `key` (a turn, a conversation, a person; "" for all). `at`: begin of the slot, or the
    newest call."""

    key: str
    at: datetime
    total: Total


def summed(calls: Iterable[ModelCall]) -> Total:
    """Return the sum of these calls."""
    return sum(map(Total.of, calls), Total())


def turn_id(conversation_id: str, asked_at: datetime, number: int) -> str:
    """Name a question and all that follows from it: the same after a restart and for every replica.

    `number`: the position of the question in the history, for those that were asked at the same moment.
    """
    return f"{conversation_id}@{asked_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{number}"


def day_of(now: datetime) -> datetime:
    """Return the beginning of the day, which is one of UTC for everybody."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


# --- budgets ---------------------------------------------------------------------------------------------------------


class Unit(StrEnum):
    """What a budget counts; money is in billionths of a dollar."""

    TOKENS = "tokens"
    USD = "usd"


@dataclass(frozen=True, slots=True)
class Limit:
    """So much may be used within a scope; `most` is in tokens or billionths of a dollar."""

    scope: Scope
    unit: Unit
    most: int

    @property
    def setting(self) -> str:
        """The setting it comes from."""
        return f"budget.{self.scope}_{self.unit}"

    def used(self, total: Total) -> int:
        """Return how much of it these calls use. Money of unknown cost cannot be counted: their tokens are."""
        return total.tokens if self.unit is Unit.TOKENS else total.cost_nano_usd

    def said(self, amount: int) -> str:
        """Write an amount of it."""
        return f"{amount:,} tokens" if self.unit is Unit.TOKENS else money(amount)

    @property
    def whole(self) -> str:
        """Name the budget: `the budget of 5,000,000 tokens for one person a day`."""
        return f"the budget of {self.said(self.most)} for {_OF[self.scope]}"


_OF = {
    Scope.TURN: "one question",
    Scope.CONVERSATION: "one conversation",
    Scope.PERSON_DAY: "one person a day",
    Scope.DAY: "all people a day",
}


@dataclass(frozen=True, slots=True)
class Budgets:
    """The operator's budgets. People are warned once when `warn_percent` of one is used."""

    limits: tuple[Limit, ...] = ()
    warn_percent: int = 80

    def spent(self, totals: Totals) -> Limit | None:
        """Return the first budget that is used up."""
        return next((limit for limit in self.limits if limit.used(totals[limit.scope]) >= limit.most), None)

    def nearly_spent(self, totals: Totals) -> Sequence[Limit]:
        """Return those of which the asker has to be warned."""
        return [
            limit
            for limit in self.limits
            if limit.used(totals[limit.scope]) * 100 >= limit.most * self.warn_percent
            and limit.used(totals[limit.scope]) < limit.most
        ]


def next_step(limit: Limit, now: datetime) -> str:
    """Say what can be done about a budget that is used up."""
    raised = f"The operator can raise `{limit.setting}`. Commands need no model: `/ops help`, or `!help` in a thread."
    match limit.scope:
        case Scope.TURN:
            return f"Ask the rest as a new question, which has a budget of its own. {raised}"
        case Scope.CONVERSATION:
            return f"Go on in a new thread, which has a budget of its own. {raised}"
        case Scope.PERSON_DAY | Scope.DAY:
            left = day_of(now) + timedelta(days=1) - now
            hours, minutes = divmod(int(left.total_seconds()) // 60, 60)
            return f"It begins anew at 00:00 UTC, in {hours} h {minutes:02} min. {raised}"


# --- words -----------------------------------------------------------------------------------------------------------


def money(nano_usd: int) -> str:
    """Write an amount of money: cents from a dollar on, else as many digits as it takes to see something."""
    dollars = nano_usd / NANO
    if dollars >= 1 or not nano_usd:
        return f"${dollars:,.2f}"
    return f"${dollars:.4f}" if dollars >= 0.0001 else "<$0.0001"


def cost_text(total: Total) -> str:
    """Write what calls cost: `unknown`, an amount, or an amount beside what is unknown."""
    if total.unpriced == total.calls:
        return "unknown" if total.calls else money(0)
    known = money(total.cost_nano_usd)
    return f"{known} + {total.unpriced:,} of unknown cost" if total.unpriced else known


def share_text(total: Total) -> str:
    """Write the share of cached tokens."""
    share = total.cached_share
    return "-" if share is None else f"{share:.0%}"


# --- prices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """The operator's own price of a model, in billionths of a dollar per million tokens."""

    input: int
    cached_input: int
    output: int

    def cost_nano_usd(self, usage: Usage) -> int:
        """Return what these tokens cost, rounded up: a budget is never overdrawn by rounding."""
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        whole = fresh * self.input + usage.cached_tokens * self.cached_input + usage.output_tokens * self.output
        return -(-whole // 1_000_000)


@dataclass(frozen=True, slots=True)
class Spending:
    """How the core meters its model: what answers behind which endpoint (none: no model), and the budgets."""

    endpoint: str = "compatible"
    budgets: Budgets = field(default_factory=Budgets)
