"""What the model took: kept once, summed alike by the fake, SQLite and PostgreSQL, and never without its reply."""

from dataclasses import replace
from datetime import timedelta

import pytest

from opsbot.domain import AssistantMessage, Conversation, Place, Usage
from opsbot.errors import Conflict
from opsbot.ports import Store
from opsbot.spending import KEPT_FOR, ModelCall, Scope, Split, Total, summed
from tests.records import NOON

THREAD = Place("T1", "C1", "1700.1")
HERE = THREAD.key
MIDNIGHT = NOON.replace(hour=0, minute=0, second=0, microsecond=0)


def model_call(number: int, /, **changes: object) -> ModelCall:
    made = ModelCall(
        f"m{number}",
        NOON + timedelta(seconds=number),
        f"{HERE}@1",
        HERE,
        "t1/ualice",
        "gpt-6-luna",
        "openai",
        Usage(1000, 100, 400, 50),
        cost_nano_usd=114_000,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def spent(store: Store, **changes: object) -> dict[Scope, Total]:
    wanted = {"turn_id": f"{HERE}@1", "conversation_id": HERE, "person": "t1/ualice", "since": MIDNIGHT} | changes
    return dict(await store.usage.spent(**wanted))  # type: ignore[arg-type]


async def test_nothing_used_is_nothing(store: Store) -> None:
    assert set((await spent(store)).values()) == {Total()}
    assert await store.usage.sums(Split.DAY, since=MIDNIGHT) == ()
    assert await store.usage.sums(Split.PERSON, since=MIDNIGHT, slot_s=3600) == ()


async def test_each_scope_sums_what_is_its_own(store: Store) -> None:
    mine = model_call(1)
    other_turn = model_call(2, turn_id=f"{HERE}@2")
    other_person = model_call(3, turn_id=f"{HERE}@2", person="t1/ubob")
    elsewhere = model_call(4, conversation_id="T1/C2/1", turn_id="T1/C2/1@1")
    yesterday = model_call(5, at=MIDNIGHT - timedelta(seconds=1))
    await store.usage.add([mine, other_turn, other_person, elsewhere, yesterday])
    assert await spent(store) == {
        Scope.TURN: summed([mine, yesterday]),
        Scope.CONVERSATION: summed([mine, other_turn, other_person, yesterday]),
        Scope.PERSON_DAY: summed([mine, other_turn, elsewhere]),
        Scope.DAY: summed([mine, other_turn, other_person, elsewhere]),
    }


async def test_a_call_is_counted_once_however_often_it_is_stored(store: Store) -> None:
    await store.usage.add([model_call(1)])
    await store.usage.add([model_call(1, usage=Usage(9, 9)), model_call(2)])
    assert (await spent(store))[Scope.DAY] == summed([model_call(1), model_call(2)])


async def test_an_unknown_cost_is_counted_as_unknown_and_an_estimate_as_an_estimate(store: Store) -> None:
    await store.usage.add([model_call(1), model_call(2, cost_nano_usd=None, estimated=True)])
    await store.usage.add([model_call(3, cost_nano_usd=0)])
    total = (await spent(store))[Scope.TURN]
    assert (total.calls, total.unpriced, total.estimated, total.cost_nano_usd) == (3, 1, 1, 114_000)
    assert total.usage == Usage(3000, 300, 1200, 150)


async def test_sums_are_told_apart_by_key_and_slot_oldest_first(store: Store) -> None:
    await store.usage.add(
        [
            model_call(1),
            model_call(2, person="t1/ubob"),
            model_call(3, at=NOON + timedelta(hours=3)),
            model_call(4, at=MIDNIGHT - timedelta(days=2)),
        ]
    )
    by_person = await store.usage.sums(Split.PERSON, since=MIDNIGHT)
    assert [(one.key, one.total.calls) for one in by_person] == [("t1/ubob", 1), ("t1/ualice", 2)]
    assert by_person[-1].at == NOON + timedelta(hours=3)
    by_hour = await store.usage.sums(Split.DAY, since=MIDNIGHT, slot_s=3600)
    assert [(one.key, one.at, one.total.calls) for one in by_hour] == [
        ("", NOON, 2),
        ("", NOON + timedelta(hours=3), 1),
    ]
    by_day = await store.usage.sums(Split.DAY, since=MIDNIGHT - timedelta(days=7), slot_s=86_400)
    assert [(one.at, one.total.calls) for one in by_day] == [(MIDNIGHT - timedelta(days=2), 1), (MIDNIGHT, 3)]
    of_bob = await store.usage.sums(Split.TURN, since=MIDNIGHT, person="t1/ubob")
    assert [(one.key, one.total.calls) for one in of_bob] == [(f"{HERE}@1", 1)]
    by_both = await store.usage.sums(Split.CONVERSATION, since=MIDNIGHT, slot_s=3600, person="t1/ualice")
    assert [(one.key, one.total.calls) for one in by_both] == [(HERE, 1), (HERE, 1)]


async def test_figures_of_millions_of_calls_fit(store: Store) -> None:
    large = Usage(2**40, 2**40, 2**39, 2**38)
    await store.usage.add([model_call(n, usage=large, cost_nano_usd=2**50) for n in range(3)])
    total = (await spent(store))[Scope.DAY]
    assert total.tokens == 6 * 2**40
    assert total.cost_nano_usd == 3 * 2**50


async def test_a_reply_and_what_it_took_are_stored_together_or_not_at_all(store: Store) -> None:
    before = Conversation(THREAD)
    reply = AssistantMessage("Hello.")
    await store.conversations.append(before, [reply], needs_turn=False, model_calls=[model_call(1)])
    with pytest.raises(Conflict):
        await store.conversations.append(before, [reply], needs_turn=False, model_calls=[model_call(2)])
    assert (await spent(store))[Scope.DAY].calls == 1


async def test_old_calls_are_forgotten(store: Store) -> None:
    await store.usage.add([model_call(1), model_call(2, at=NOON - KEPT_FOR - timedelta(seconds=1))])
    assert await store.usage.prune(NOON - KEPT_FOR) == 1
    assert await store.usage.prune(NOON - KEPT_FOR) == 0
    assert (await spent(store, since=NOON - 2 * KEPT_FOR))[Scope.DAY].calls == 1
