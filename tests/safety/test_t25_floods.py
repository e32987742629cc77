"""T25: one person floods the bot: model calls stay within the limit, and others are answered about as fast as ever."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store
from opsbot.domain import Actor, IncomingCommand, IncomingMessage, Place, Text
from opsbot.ports import Done, ModelEvent, ModelRequest, Store, TextDelta
from opsbot.spending import Budgets, Limit, Scope, Spending, Unit
from opsbot.throttle import Rates
from opsbot.turn_limits import Limits
from tests.records import KEY
from tests.safety.conftest import Figures, Scale
from tests.scenario.house import ALICE, BOB, CHANNEL, RULES, House, World
from tests.scripted_model import ScriptedModel, call

RATES = Rates(messages=120, messages_per_person=20, turns=16, turns_per_person=4, waiting=50)
THINKS_S = 0.3
MANY = replace(RULES, asker_users=frozenset({"*"}))
pytestmark = pytest.mark.timeout(300)


class Thinker:
    """A model that takes its time; counts whom it answered."""

    name = "thinker"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    async def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.asked[request.asker] += 1
        await asyncio.sleep(THINKS_S)
        yield TextDelta(f"Answer {sum(self.asked.values())}.")
        yield Done("stop")

    async def close(self) -> None:
        return


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store: Store = await asyncio.to_thread(open_store, f"sqlite:///{tmp_path}/x.db", audit_key=KEY)
    made = House(World(store=store, rules=MANY, rates=RATES, model=Thinker()))  # type: ignore[arg-type]
    await made.start()
    yield made
    await made.stop()
    await store.close()


def mention(actor: Actor, thread: str) -> IncomingMessage:
    return IncomingMessage(Place("T1", "C1", thread), actor, "how is web-1?", thread)


async def asks(house: House, actor: Actor, thread: str) -> float:
    """Ask in a thread of one's own; return how long the answer took."""
    began_s = time.monotonic()
    await house.send(mention(actor, thread), key=f"m:{thread}")
    async with asyncio.timeout(60):
        while not any(posted.place.thread_id == thread for posted in house.world.chat.messages):
            await asyncio.sleep(0.005)
    return time.monotonic() - began_s


def p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95) - 1 if len(seconds) > 1 else 0]


async def flood(house: House, count: int, within_s: float) -> None:
    """Mention the bot so often, evenly, each time in a new thread."""
    began_s = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began_s + number * within_s / count - time.monotonic()))
        await house.send(mention(ALICE, f"flood.{number}"), key=f"flood:{number}")


async def test_a_flood_of_one_person_costs_little_and_others_are_served(
    house: House, figures: Figures, scale: Scale
) -> None:
    count, within_s, questions = scale(200, 1000), scale(2, 10), scale(5, 20)
    model = house.world.model
    usual = [await asks(house, BOB, f"before.{n}") for n in range(questions // 2)]
    house.world.clock.advance(60)
    usual += [await asks(house, BOB, f"again.{n}") for n in range(questions - questions // 2)]
    house.world.clock.advance(60)
    flooding = asyncio.create_task(flood(house, count, within_s))
    await asyncio.sleep(0.2)
    during = [await asks(house, BOB, f"during.{n}") for n in range(questions - 1)]
    await flooding
    await house.quiet(60)
    assert isinstance(model, Thinker)
    assert model.asked[ALICE.key] == RATES.messages_per_person
    told = [w for w in house.world.chat.whispers if w.actor == ALICE and isinstance(w.content, Text)]
    assert len(told) == 1, "the answer to a flood is not another one"
    assert "Not read: more than 20 messages of yours in a minute" in told[0].content.markdown
    ratio = p95(during) / p95(usual)
    assert ratio < 2, f"p95 {p95(during):.3f} s during the flood, {p95(usual):.3f} s else"
    refused = [r for r in await house.world.store.audit.read(limit=10_000) if r.entry.kind == "event.refused"]
    assert [r.entry.actor for r in refused] == [ALICE.key]
    figures.note(
        mentions_of_one_person=f"{count:,} in {within_s} s",
        model_calls_for_them=f"{model.asked[ALICE.key]} (the limit)",
        p95_of_another_person=f"{p95(during):.2f} s, {p95(usual):.2f} s without the flood",
        ratio=f"{ratio:.2f}",
    )


async def test_many_people_together_are_limited_and_who_waits_too_long_is_told(house: House) -> None:
    people = [Actor("T1", f"U{n:03}") for n in range(300)]
    await asyncio.gather(*(house.send(mention(who, f"m.{who.user_id}"), key=who.user_id) for who in people))
    await house.quiet(60)
    model = house.world.model
    assert isinstance(model, Thinker)
    answered = sum(model.asked.values())
    said = Counter(
        str(whisper.content.markdown).split(":")[1][:14]
        for whisper in house.world.chat.whispers
        if isinstance(whisper.content, Text)
    )
    assert answered <= RATES.turns + RATES.waiting
    assert answered + sum(said.values()) == 300, "everybody is answered or told"


async def test_a_flood_of_commands_is_kept_out_and_stopping_is_not(house: House, figures: Figures) -> None:
    for number in range(200):
        await house.send(IncomingCommand(CHANNEL, ALICE, "status web-1", reply_to="r"), key=f"c{number}")
    await house.send(IncomingCommand(CHANNEL, ALICE, "stop-all the flood", reply_to="r"), key="stop")
    await house.quiet(60)
    looked = sum(1 for _, argv in house.world.machines.commands if argv == ("facts",))
    assert looked == RATES.messages_per_person
    assert len(await house.world.store.holds.standing()) == 1
    figures.note(commands_of_one_person=f"200, {looked} carried out, the stop among them taken in")


async def test_a_loop_of_calls_ends_at_the_limits_of_a_turn(house: House, figures: Figures) -> None:
    looping = ScriptedModel(*(call("server_status", f"c{n}", hosts=["web-1"]) for n in range(100)))
    world = replace(house.world, model=looping, limits=Limits(rounds=8, calls=20, tokens=60_000))
    again = House(world)
    await again.says(ALICE, "look again and again")
    assert len(looping.requests) == 8
    greedy = ScriptedModel(*(call("server_status", f"t{n}", hosts=["web-1"]) for n in range(100)))
    frugal = House(replace(world, model=greedy, limits=Limits(rounds=50, calls=200, tokens=1000)))
    await frugal.says(ALICE, "and again", Place("T1", "C1", "1700.9"))
    assert len(greedy.requests) * 120 <= 1000 + 120
    assert any("limit of 1000 tokens" in line for line in frugal.seen)
    figures.note(rounds_of_a_looping_model=8, its_tokens=f"{len(greedy.requests) * 120} of 1,000 allowed")


async def test_a_day_ends_at_its_budget_over_restarts_and_another_person_goes_on(
    house: House, figures: Figures
) -> None:
    most, each = 1000, 120
    budgets = Budgets((Limit(Scope.PERSON_DAY, Unit.TOKENS, most),))
    model = ScriptedModel(*["Fine."] * 30)
    world = replace(house.world, model=model, rates=Rates(), spending=Spending("openai", budgets))
    for number in range(12):
        again = House(world)  # another process each time, on the same database
        await again.says(ALICE, "and now?", Place("T1", "C1", f"1800.{number}"))
    calls = len(model.requests)
    assert most <= calls * each < most + each
    assert any(line.startswith("Stopped at the budget: the budget of 1,000 tokens") for line in again.seen)
    await again.says(BOB, "and for me?", Place("T1", "C1", "1801.1"))
    assert len(model.requests) == calls + 1
    figures.note(a_budget_over_twelve_processes=f"{calls * each:,} tokens of {most:,}, one call over at most")
