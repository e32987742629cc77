"""Asking for what code reads: one repair round, and an end that says what was wrong."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel

from opsbot.answer_format import AnswerFormat
from opsbot.assembly import NoPrices
from opsbot.domain import Actor, Place, ToolCall, UserMessage
from opsbot.errors import BudgetSpent, ModelError, ModelMisbehaved, ModelUnavailable
from opsbot.metering import Account, Meter
from opsbot.ports import ModelRequest
from opsbot.spending import Budgets, Limit, Scope, Spending, Unit
from opsbot.typed_answers import Asking, read_object
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore
from tests.scripted_model import Cut, Say, ScriptedModel

PLACE = Place("T1", "C1", "1700.1")
REQUEST = ModelRequest(
    system="s",
    messages=(UserMessage("go", Actor("T1", "UANN"), datetime(2026, 11, 28, tzinfo=UTC)),),
    tools=(),
    answer_format=AnswerFormat("thing", {"type": "object"}),
)
GOOD = '{"name": "x"}'


class Thing(BaseModel):
    name: str


async def ask(model: ScriptedModel, spending: Spending | None = None, store: MemoryStore | None = None) -> str:
    async def tell(key: str, place: Place, text: str) -> None:
        pass

    meter = Meter((store or MemoryStore()).usage, NoPrices(), FakeClock(), "m", spending or Spending(), tell)
    read: Callable[[str], Thing] = lambda text: read_object(Thing, text)  # noqa: E731
    return (await Asking(model, meter).ask(REQUEST, Account(PLACE, "turn", "T1/UANN"), read)).name


async def refused(model: ScriptedModel) -> str:
    with pytest.raises(ModelError) as error:
        await ask(model)
    return str(error.value)


async def test_a_good_answer_is_asked_for_once():
    model = ScriptedModel(GOOD)
    assert await ask(model) == "x"
    assert len(model.requests) == 1


async def test_an_unfit_answer_is_asked_for_once_more_with_its_faults_and_the_form():
    model = ScriptedModel("Sure! The name is x.", GOOD)
    assert await ask(model) == "x"
    said, told = model.requests[1].messages[-2:]
    assert said.text == "Sure! The name is x."  # type: ignore[union-attr]
    assert "not one JSON object" in told.text  # type: ignore[union-attr]
    assert '{"type":"object"}' in told.text  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", ["<html></html>", "{}", '{"name": 7}', "x" * 200_000])
async def test_a_second_unfit_answer_is_the_end_and_says_why(bad):
    model = ScriptedModel(bad, bad)
    said = await refused(model)
    assert said.startswith("The model's answer was not usable, also when asked again: ")
    assert len(said) < 600
    assert not model.left


async def test_an_answer_cut_at_its_limit_is_asked_for_in_fewer_words():
    model = ScriptedModel(Say('{"name": "x', reason="length"), GOOD)
    assert await ask(model) == "x"
    assert "fewer words" in model.requests[1].messages[-1].text  # type: ignore[union-attr]


async def test_an_answer_that_was_cut_is_never_read_even_if_it_could_be():
    assert "length limit" in await refused(ScriptedModel(*[Say(GOOD, reason="length")] * 2))


async def test_an_answer_that_was_filtered_is_not_asked_for_again():
    model = ScriptedModel(Say(GOOD, reason="content_filter"))
    assert "content filter" in await refused(model)
    assert len(model.requests) == 1


async def test_a_refusal_is_told_and_not_asked_for_again():
    model = ScriptedModel(Say("I will not.", refused=True))
    assert await refused(model) == "The model refused to answer: “I will not.”"
    assert len(model.requests) == 1


async def test_calls_in_place_of_an_answer_run_nothing():
    assert "Nothing was run" in await refused(ScriptedModel(ToolCall("c1", "disk_usage", "{}")))


async def test_an_outage_is_told_as_it_is():
    assert await refused(ScriptedModel(ModelUnavailable("Down."))) == "Down."
    assert "broke off" in await refused(ScriptedModel(Cut(GOOD)))


async def test_both_answers_are_counted_and_stored():
    store = MemoryStore()
    await ask(ScriptedModel("no", GOOD), store=store)
    assert len(store.usage.calls) == 2


async def test_a_used_up_budget_stops_before_the_second_answer():
    spending = Spending(budgets=Budgets((Limit(Scope.DAY, Unit.TOKENS, 100),)))
    with pytest.raises(BudgetSpent):
        await ask(ScriptedModel("no", GOOD), spending)


async def test_the_words_of_the_second_fault_name_the_field():
    with pytest.raises(ModelMisbehaved, match="name: Input should be a valid string"):
        await ask(ScriptedModel("no", '{"name": 7}'))
