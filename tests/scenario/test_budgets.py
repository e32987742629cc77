"""Usage and budgets in whole conversations: warned once, stopped gracefully, counted over restarts and replicas."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store
from opsbot.domain import IncomingMessage, IncomingStop, Place, Report, Usage
from opsbot.errors import ModelMisbehaved
from opsbot.policy import ApproverRule
from opsbot.ports import ModelRequest
from opsbot.spending import KEPT_FOR, NANO, Budgets, Limit, Scope, Spending, Split, Unit, day_of
from tests.fake_store import MemoryStore
from tests.records import KEY
from tests.scenario.house import ALICE, BOB, CAROL, CHANNEL, RULES, THREAD, House, World
from tests.scripted_model import Cut, Say, call

ELSEWHERE = Place("T1", "C1", "1700.2")
LOOK = call("server_status", "c1", hosts=["web-1"])


def spending(scope: Scope, most: int, unit: Unit = Unit.TOKENS) -> Spending:
    return Spending("openai", Budgets((Limit(scope, unit, most),)))


class Dear:
    """A price of a thousandth of a dollar per token; `known=False`: none."""

    def __init__(self, *, known: bool = True) -> None:
        self._known = known

    def cost_nano_usd(self, model: str, usage: Usage, at: datetime) -> int | None:
        return (usage.input_tokens + usage.output_tokens) * NANO // 1000 if self._known else None


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = await live(World())
    yield made
    await made.stop()


async def live(world: World) -> House:
    made = House(world)
    await made.start()
    return made


def said(house: House, place: Place = THREAD) -> str:
    return "\n".join(
        getattr(posted.content, "markdown", "") for posted in house.world.chat.messages if posted.place == place
    )


async def used(house: House, by: Split = Split.DAY) -> list[tuple[str, int]]:
    sums = await house.world.store.usage.sums(by, since=day_of(house.world.clock.now()) - timedelta(days=1))
    return [(one.key, one.total.tokens) for one in sums]


# --- what is kept ----------------------------------------------------------------------------------------------------


async def test_each_call_is_kept_with_its_turn_conversation_person_model_and_tokens(house: House) -> None:
    house.world.model.add(Say(calls=(LOOK,), usage=Usage(100, 20, 64, 8)), Say("Fine.", usage=Usage(300, 10, 200)))
    await house.says(ALICE, "how is web-1?")
    store = house.world.store
    assert isinstance(store, MemoryStore)
    first, second = store.usage.calls.values()
    assert (first.usage, second.usage) == (Usage(100, 20, 64, 8), Usage(300, 10, 200))
    assert (first.conversation_id, first.person, first.model) == (THREAD.key, "t1/ualice", "scripted")
    assert first.turn_id == second.turn_id
    assert not first.estimated


async def test_two_accounts_of_one_person_are_one_and_turns_are_told_apart(house: House) -> None:
    rules = replace(RULES, people={"UALICE": "alice", "UBOB": "alice"})
    other = await live(replace(house.world, rules=rules))
    other.world.model.add("one", "two")
    await other.says(ALICE, "one?")
    await other.says(BOB, "two?")
    assert await used(other, Split.PERSON) == [("person:alice", 240)]
    assert len(await used(other, Split.TURN)) == 2
    await other.stop()


async def test_an_answer_that_could_not_be_used_is_counted_and_one_that_never_came_is_not(house: House) -> None:
    cut = Cut("Half an answ", error=ModelMisbehaved("It broke off."))
    house.world.model.add(cut, ModelMisbehaved("Nothing came."))
    await house.says(ALICE, "how is web-1?")
    assert len(await used(house)) == 1
    before = await used(house)
    await house.says(ALICE, "again?")
    assert await used(house) == before


async def test_tokens_a_service_does_not_count_are_estimated_and_marked(house: House) -> None:
    house.world.model.add(Say("x" * 3000, usage=Usage()))
    await house.says(ALICE, "how is web-1?")
    (one,) = await house.world.store.usage.sums(Split.DAY, since=day_of(house.world.clock.now()))
    total = one.total
    assert total.estimated == 1
    assert total.usage.output_tokens == 1004
    assert total.usage.input_tokens > 1000
    await house.types(BOB, "usage")
    assert "of 1 the tokens are estimated" in house.whispered
    assert "~" in house.whispered


async def test_without_a_model_nothing_is_counted() -> None:
    house = await live(World(spending=Spending("none")))
    house.world.model.add("I am no model.")
    await house.says(ALICE, "hello")
    assert await used(house) == []
    await house.stop()


async def test_a_stopped_turn_is_counted_as_far_as_it_came(house: House) -> None:
    gate = asyncio.Event()
    house.world.model.add(Say("a long story", gate=gate))
    await house.send(IncomingMessage(THREAD, ALICE, "tell me", "17.6"))
    while not house.world.model.requests:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    await house.send(IncomingStop(THREAD, BOB))
    await house.quiet()
    assert len(await used(house)) == 1


@pytest.mark.parametrize("reply", [Say("Fine."), Say(calls=(LOOK,))], ids=["answer", "call"])
async def test_what_could_not_be_stored_with_its_reply_is_stored_later(house: House, reply: Say) -> None:
    def outage(_: ModelRequest) -> Say:
        house.world.store.outage.reason = "the disk is full"  # type: ignore[attr-defined]
        return reply

    house.world.model.add(outage, "Fine again.")
    await house.says(ALICE, "how is web-1?")
    house.world.store.outage.reason = ""  # type: ignore[attr-defined]
    await house.passes(6)
    await house.passes(6)
    assert sum(tokens for _, tokens in await used(house)) == 240


async def test_old_figures_are_forgotten(house: House) -> None:
    house.world.model.add("Fine.")
    await house.says(ALICE, "how is web-1?")
    await house.passes(KEPT_FOR.total_seconds() + 86_400)
    await house.passes(60)
    assert isinstance(house.world.store, MemoryStore)
    assert house.world.store.usage.calls == {}


# --- budgets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "words", "way_out"),
    [
        (Scope.TURN, "the budget of 200 tokens for one question is used up (240 tokens).", "as a new question"),
        (Scope.CONVERSATION, "the budget of 200 tokens for one conversation is used up", "in a new thread"),
        (Scope.PERSON_DAY, "the budget of 200 tokens for one person a day is used up", "at 00:00 UTC, in "),
        (Scope.DAY, "the budget of 200 tokens for all people a day is used up", "at 00:00 UTC, in "),
    ],
)
async def test_a_budget_stops_the_turn_and_says_what_was_found_and_what_to_do(
    scope: Scope, words: str, way_out: str
) -> None:
    house = await live(World(spending=spending(scope, 200)))
    house.world.model.add(LOOK, call("disk_usage", "c2", hosts=["web-1"]))
    await house.says(ALICE, "how is web-1?")
    told = said(house)
    assert told.count("Stopped at the budget: ") == 1
    assert words in told
    assert "Established so far:\n• `server_status`: web-1: load_1m 0.21" in told
    assert "• `disk_usage`: web-1: " in told
    assert way_out in told
    assert f"`budget.{scope}_tokens`" in told
    assert len(house.world.model.requests) == 2, "the words of the end cost nothing"
    conversation = await house.world.store.conversations.load(THREAD)
    assert not conversation.open_calls
    await house.types(ALICE, "status web-1")
    assert "load" in house.whispered, "commands need no model"
    await house.stop()


async def test_a_used_up_budget_is_said_without_asking_the_model() -> None:
    house = await live(World(spending=spending(Scope.PERSON_DAY, 100)))
    house.world.model.add("Fine.")
    await house.says(ALICE, "how is web-1?")
    await house.says(ALICE, "and web-2?", ELSEWHERE)
    assert "nothing; no tool was run for this question" in said(house, ELSEWHERE)
    assert len(house.world.model.requests) == 1
    house.world.model.add("For Bob.")
    await house.says(BOB, "and for me?", ELSEWHERE)
    assert "For Bob." in said(house, ELSEWHERE), "another person has a budget of their own"
    await house.stop()


async def test_a_new_question_thread_or_day_has_a_budget_of_its_own() -> None:
    for scope, again in (
        (Scope.TURN, lambda house: house.says(ALICE, "again?")),
        (Scope.CONVERSATION, lambda house: house.says(ALICE, "again?", ELSEWHERE)),
    ):
        house = await live(World(spending=spending(scope, 100)))
        house.world.model.add("one", "two")
        await house.says(ALICE, "first?")
        await again(house)
        assert len(house.world.model.requests) == 2
        await house.stop()
    house = await live(World(spending=spending(Scope.DAY, 100)))
    house.world.model.add("one", "two")
    await house.says(ALICE, "first?")
    await house.passes(86_400)
    await house.says(ALICE, "again?")
    assert len(house.world.model.requests) == 2
    await house.stop()


async def test_people_are_warned_once_before_the_end_also_by_another_process() -> None:
    world = World(spending=spending(Scope.DAY, 400))
    house = await live(world)
    world.model.add("one", "two", "three")
    await house.says(ALICE, "one?")
    assert "budget" not in said(house)
    await house.says(ALICE, "two?")
    await house.stop()
    house = await live(world)
    world.model.add("four")
    await house.says(ALICE, "three?")
    warning = (
        "90 % of the budget of 400 tokens for all people a day is used (`budget.day_tokens`). At the end of it I stop."
    )
    assert said(house).count("% of the budget") == 1
    assert warning in said(house)
    await house.says(ALICE, "four?")
    assert said(house).count("% of the budget") == 1
    assert "Stopped at the budget" not in said(house)
    await house.says(ALICE, "five?")
    assert "Stopped at the budget: the budget of 400 tokens for all people a day is used up (480 tokens)." in said(
        house
    )
    await house.stop()


async def test_money_is_a_budget_where_the_cost_is_known_and_tokens_hold_where_it_is_not() -> None:
    both = Budgets((Limit(Scope.DAY, Unit.USD, NANO // 10), Limit(Scope.DAY, Unit.TOKENS, 300)))
    known = await live(World(spending=Spending("openai", both), prices=Dear()))
    known.world.model.add("one")
    await known.says(ALICE, "one?")
    await known.says(ALICE, "two?")
    assert "the budget of $0.1000 for all people a day is used up ($0.1200)." in said(known)
    await known.stop()
    unknown = await live(World(spending=Spending("compatible", both), prices=Dear(known=False)))
    unknown.world.model.add("one", "two", "three")
    for text in ("one?", "two?", "three?", "four?"):
        await unknown.says(ALICE, text)
    assert "the budget of 300 tokens for all people a day is used up (360 tokens)." in said(unknown)
    await unknown.stop()


async def test_replicas_on_one_database_share_the_budgets(tmp_path: Path) -> None:
    store = MemoryStore()
    worlds = [World(store=store, spending=spending(Scope.PERSON_DAY, 200))]
    worlds.append(replace(worlds[0], store=store.beside()))
    houses = [await live(world) for world in worlds]
    worlds[0].model.add("one", "two")
    await houses[0].says(ALICE, "one?")
    await houses[1].says(ALICE, "two?", ELSEWHERE)
    await houses[0].says(ALICE, "three?", Place("T1", "C1", "1700.3"))
    assert "(240 tokens)" in said(houses[0], Place("T1", "C1", "1700.3"))
    for house in houses:
        await house.stop()


async def test_the_budget_is_counted_over_a_restart_on_a_real_database(tmp_path: Path) -> None:
    world = World(spending=spending(Scope.CONVERSATION, 100))
    for number, expected in enumerate(("one", "Stopped at the budget")):
        store = await asyncio.to_thread(open_store, f"sqlite:///{tmp_path}/x.db", audit_key=KEY)
        house = await live(replace(world, store=store))
        world.model.add("one")
        await house.says(ALICE, f"question {number}?")
        assert expected in said(house)
        await house.stop()
        await store.close()


async def test_an_approved_action_ends_well_although_the_budget_is_used_up() -> None:
    house = await live(World(spending=spending(Scope.TURN, 100)))
    house.world.model.add(call("restart_service", "c1", hosts=["web-1"], unit="nginx"))
    await house.says(ALICE, "restart nginx on web-1 because it leaks")
    await house.clicks(BOB, "approve")
    assert house.approval.state == "done"
    assert "Stopped at the budget" in said(house)
    assert "• `restart_service`: " in said(house)
    await house.stop()


# --- who sees what ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def told() -> AsyncIterator[House]:
    """A house in which two people asked, and only Bob may approve."""
    rules = replace(RULES, approvers=(ApproverRule(("production",), users=frozenset({"UBOB"})),))
    budgets = Budgets((Limit(Scope.PERSON_DAY, Unit.TOKENS, 1000), Limit(Scope.DAY, Unit.TOKENS, 2000)))
    house = await live(World(rules=rules, prices=Dear(), spending=Spending("openai", budgets)))
    house.world.model.add(Say("one", usage=Usage(100, 20, 50)), Say("two", usage=Usage(200, 80)))
    await house.says(ALICE, "one?")
    await house.says(BOB, "two?", ELSEWHERE)
    yield house
    await house.stop()


async def test_people_see_their_own_usage_and_approvers_everybodys(told: House) -> None:
    for split in Split:
        await told.types(ALICE, f"usage {split} 7")
        own = told.whispered
        assert "You in the last 7 days: 1 model call, 120 tokens, 50% of what was read came from the cache" in own
        assert "1700.2" not in own
        assert "UBOB" not in own
        assert "all people" not in own
        await told.types(BOB, f"usage {split} 7")
        assert "All people in the last 7 days: 2 model calls, 400 tokens, 17% of what was read" in told.whispered
        assert "cost $0.4000" in told.whispered
    await told.types(BOB, "usage person")
    rows = told.whispered.splitlines()
    assert "UBOB | 1 | 200 | 0% | 80 | $0.2800" in rows
    assert "UALICE | 1 | 100 | 50% | 20 | $0.1200" in rows
    assert "you, today | 280 tokens | 1,000 tokens | 28%" in rows
    assert "all people, today | 400 tokens | 2,000 tokens | 20%" in rows


async def test_who_may_not_ask_sees_no_usage(told: House) -> None:
    await told.types(CAROL, "usage person")
    assert "tokens" not in told.whispered


async def test_usage_has_a_chart_of_every_day_or_hour(told: House) -> None:
    for words, points, lines in (("usage", 7, 3), ("usage day 30", 30, 3), ("usage person 2", None, 2)):
        await told.types(BOB, words)
        (chart,) = told.world.chat.pictured[-1].charts
        assert len(chart.series) == lines
        assert points is None or {len(line.points) for line in chart.series} == {points}
        assert sum(value for _, value in chart.series[0].points) > 0
    await told.types(ALICE, "usage person")
    (chart,) = told.world.chat.pictured[-1].charts
    assert [line.name for line in chart.series] == ["UALICE"]


async def test_usage_is_answered_in_a_thread_and_plainly_while_the_store_is_down(told: House) -> None:
    await told.types(ALICE, "usage", THREAD)
    assert any(isinstance(posted.content, Report) for posted in told.world.chat.messages)
    told.world.store.outage.reason = "the disk is full"  # type: ignore[attr-defined]
    await told.types(ALICE, "usage")
    assert "the disk is full" in told.whispered
    told.world.store.outage.reason = ""  # type: ignore[attr-defined]


async def test_nothing_used_is_said_without_a_chart(house: House) -> None:
    await house.types(ALICE, "usage conversation 1", CHANNEL)
    assert house.whispered == "All people used nothing of the model today."


async def test_below_an_answer_stands_what_its_turn_took() -> None:
    house = await live(World(prices=Dear()))
    house.world.model.add(Say(calls=(LOOK,), usage=Usage(100, 20)), Say("Fine.", usage=Usage(300, 10, 240)), "Yes.")
    await house.says(ALICE, "how is web-1?")
    assert house.seen[-1] == "(scripted · 430 tokens (60% read from the cache) · $0.4300 · changed nothing)"
    await house.says(ALICE, "sure?")
    assert house.seen[-1] == "(scripted · 120 tokens · $0.1200 · changed nothing)"
    await house.stop()


# --- the prefix ------------------------------------------------------------------------------------------------------


async def test_system_prompt_tools_and_keys_are_the_same_in_every_turn(house: House) -> None:
    """A service caches a prefix only if it is the same to the byte; time and person are no part of it."""
    house.world.model.add(LOOK, "Fine.", "Yes.", "Also.")
    await house.says(ALICE, "how is web-1?")
    house.world.clock.advance(86_400)
    await house.says(BOB, "sure?")
    await house.says(ALICE, "and here?", ELSEWHERE)
    requests = house.world.model.requests
    prefixes = [(request.system, request.tools, request.prefix_key) for request in requests]
    assert prefixes == prefixes[:1] * 4
    for before, after in pairwise(requests[:3]):
        assert after.messages[: len(before.messages)] == before.messages
    assert requests[0].prefix_key.startswith("opsbot-T1-")
    assert requests[0].asker == ALICE.key
