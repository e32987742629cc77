"""Meters the model: what each call took is noted, stored with the reply, and held against the budgets."""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import structlog

from opsbot import pictures
from opsbot.compaction import tokens_of_text
from opsbot.domain import AssistantMessage, Message, Place, ToolResult, Usage
from opsbot.errors import BudgetSpent
from opsbot.hearing import Heard
from opsbot.ports import Clock, ModelRequest, Prices, UsageLog
from opsbot.spending import (
    Limit,
    ModelCall,
    Scope,
    Spending,
    Total,
    Totals,
    cost_text,
    day_of,
    next_step,
    share_text,
    summed,
)

_REMEMBERED = 1000

log = structlog.get_logger(__name__)

# Tells a place something under a key, once for all replicas and times.
TellOnce = Callable[[str, Place, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Account:
    """What a model call is counted on: a turn, its conversation and the person who asked."""

    place: Place
    turn_id: str
    person: str

    def holds(self, call: ModelCall, scope: Scope) -> bool:
        """Whether a call of today counts for that scope of this account."""
        match scope:
            case Scope.TURN:
                return call.turn_id == self.turn_id
            case Scope.CONVERSATION:
                return call.conversation_id == self.place.key
            case Scope.PERSON_DAY:
                return call.person == self.person
            case Scope.DAY:
                return True


@dataclass(slots=True)
class Meter:
    """Notes calls, and checks budgets before each one. `model`: as the service calls it.

    Calls under way count for nothing yet: turns at work at the same moment may overdraw a budget by one call each.
    """

    usage: UsageLog
    prices: Prices
    clock: Clock
    model: str
    spending: Spending
    tell_once: TellOnce
    _unsaved: list[ModelCall] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def note(self, account: Account, request: ModelRequest, heard: Heard) -> int:
        """Note what one call took, finished or not; return its tokens. Without a model nothing is noted."""
        if self.spending.endpoint == "none" or not heard.anything:
            return 0
        estimated = heard.usage.input_tokens + heard.usage.output_tokens == 0
        usage = estimate(request, heard) if estimated else heard.usage
        now = self.clock.now()
        call = ModelCall(
            id=uuid4().hex,
            at=now,
            turn_id=account.turn_id,
            conversation_id=account.place.key,
            person=account.person,
            model=self.model,
            endpoint=self.spending.endpoint,
            usage=usage,
            estimated=estimated,
            cost_nano_usd=self.prices.cost_nano_usd(self.model, usage, now),
        )
        self._unsaved.append(call)
        log.info(
            "model.used",
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            estimated=estimated,
            cost_usd=None if call.cost_nano_usd is None else call.cost_nano_usd / 1e9,
        )
        return usage.input_tokens + usage.output_tokens

    def footer(self, usages: Sequence[Usage]) -> str:
        """Say who answered, and what these calls of one turn took, as far as the service and the prices tell."""
        now = self.clock.now()
        costs = [self.prices.cost_nano_usd(self.model, usage, now) for usage in usages]
        known = [cost for cost in costs if cost is not None]
        total = Total(len(usages), sum(usages, Usage()), 0, sum(known), len(costs) - len(known))
        if not total.tokens:
            return self.model
        cached = f" ({share_text(total)} read from the cache)" if total.usage.cached_tokens else ""
        cost = "" if total.unpriced else f" · {cost_text(total)}"
        return f"{self.model} · {total.tokens:,} tokens{cached}{cost}"

    def take(self) -> tuple[ModelCall, ...]:
        """Return what was noted and is not stored, to be stored now."""
        taken, self._unsaved = tuple(self._unsaved), []
        return taken

    def give_back(self, calls: Iterable[ModelCall]) -> None:
        """Keep calls that could not be stored for the next time."""
        self._unsaved.extend(calls)

    async def flush(self) -> None:
        """Store what no reply has taken along."""
        calls = self.take()
        try:
            await self.usage.add(calls)
        except BaseException:
            self.give_back(calls)
            raise

    async def check(self, account: Account) -> None:
        """Warn of budgets that are nearly used up, once each.

        Raises:
            BudgetSpent: one is used up; the text says which, and what to do.
        """
        budgets = self.spending.budgets
        if not budgets.limits:
            return
        totals = await self._totals(account)
        if limit := budgets.spent(totals):
            used = limit.said(limit.used(totals[limit.scope]))
            log.warning("budget.spent", budget=limit.setting, used=used, person=account.person)
            raise BudgetSpent(f"{limit.whole} is used up ({used}).", next_step=next_step(limit, self.clock.now()))
        await self._warn(account, totals)

    async def look(self, account: Account) -> None:
        """As `check`, after the last call of a turn: it warns, and stops nothing."""
        if self.spending.budgets.limits:
            await self._warn(account, await self._totals(account))

    async def _warn(self, account: Account, totals: Totals) -> None:
        for limit in self.spending.budgets.nearly_spent(totals):
            key = self._key(limit, account)
            if key in self._told:
                continue
            used = limit.used(totals[limit.scope])
            log.warning("budget.nearly_spent", budget=limit.setting, used=limit.said(used), person=account.person)
            text = (
                f"{used * 100 // limit.most} % of {limit.whole} is used (`{limit.setting}`). At the end of it I stop."
            )
            await self.tell_once(key, account.place, text)
            self._told = {key} if len(self._told) >= _REMEMBERED else self._told | {key}

    async def _totals(self, account: Account) -> Totals:
        totals = await self.usage.spent(
            turn_id=account.turn_id,
            conversation_id=account.place.key,
            person=account.person,
            since=day_of(self.clock.now()),
        )
        return {
            scope: total + summed(call for call in self._unsaved if account.holds(call, scope))
            for scope, total in totals.items()
        }

    def _key(self, limit: Limit, account: Account) -> str:
        day = f"{day_of(self.clock.now()):%Y-%m-%d}"
        whose = {
            Scope.TURN: account.turn_id,
            Scope.CONVERSATION: account.place.key,
            Scope.PERSON_DAY: f"{account.person}:{day}",
            Scope.DAY: day,
        }[limit.scope]
        return f"budget:{limit.scope}:{limit.unit}:{limit.most}:{whose}"


def estimate(request: ModelRequest, heard: Heard) -> Usage:
    """Estimate the tokens of a call whose service does not count them."""
    schemas = [f"{tool.name} {tool.description} {json.dumps(tool.schema)}" for tool in request.tools]
    read = [request.system, *schemas, *(_text_of(message) for message in request.messages)]
    written = [heard.text, *(f"{call.tool} {call.arguments}" for call in heard.calls)]
    seen = pictures.tokens(request.pictures.values())
    return Usage(sum(map(tokens_of_text, read)) + seen, sum(tokens_of_text(text) for text in written if text))


def _text_of(message: Message) -> str:
    match message:
        case ToolResult():
            return message.content
        case AssistantMessage():
            return " ".join([message.text, *(f"{call.tool} {call.arguments}" for call in message.calls)])
        case _:
            return message.text
