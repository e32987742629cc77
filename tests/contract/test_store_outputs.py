"""Outputs of tools and how a history is shown: alike in the fake, SQLite and PostgreSQL, each for its own thread."""

from dataclasses import replace
from datetime import timedelta

import pytest

from opsbot.domain import Compaction, Conversation, Place
from opsbot.errors import Conflict
from opsbot.outputs import KEPT_PER_CONVERSATION, Output
from opsbot.ports import Store
from tests.records import NOON, PLACE, later, said

OTHER = Place("T1", "C1", "1700000000.000999")
FOLDED = Compaction(3, (1,), 5, (4,), 400, "What was: {ü}", "abc", "What was.", 9)


def output(ref: str = "r1", **changes: object) -> Output:
    made = Output(PLACE.key, ref, "service_logs on web-1", later(0.000001), "one\ntwo é 😀\n", untrusted=True)
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_an_output_comes_back_as_it_was(store: Store) -> None:
    await store.outputs.put(output())
    assert await store.outputs.get(PLACE.key, "r1") == output()


async def test_a_large_output_comes_back_whole(store: Store) -> None:
    large = output(text="\n".join(f"line {number} of many" for number in range(200_000)), untrusted=False)
    await store.outputs.put(large)
    assert await store.outputs.get(PLACE.key, "r1") == large


async def test_another_conversation_cannot_read_it(store: Store) -> None:
    await store.outputs.put(output())
    assert await store.outputs.get(OTHER.key, "r1") is None
    assert await store.outputs.get(PLACE.key, "r2") is None
    assert await store.outputs.get(PLACE.key, "r%") is None


async def test_the_oldest_of_a_conversation_make_room_and_no_others(store: Store) -> None:
    await store.outputs.put(output("old", conversation_id=OTHER.key, at=later(-100)))
    for number in range(KEPT_PER_CONVERSATION + 2):
        await store.outputs.put(output(f"r{number}", at=later(number)))
    kept = [number for number in range(KEPT_PER_CONVERSATION + 2) if await store.outputs.get(PLACE.key, f"r{number}")]
    assert kept == list(range(2, KEPT_PER_CONVERSATION + 2))
    assert await store.outputs.get(OTHER.key, "old") is not None


async def test_old_outputs_are_forgotten(store: Store) -> None:
    await store.outputs.put(output("old", at=NOON - timedelta(days=8)))
    await store.outputs.put(output("new", at=NOON))
    assert await store.outputs.prune(NOON - timedelta(days=7)) == 1
    assert await store.outputs.get(PLACE.key, "old") is None
    assert await store.outputs.get(PLACE.key, "new") is not None
    assert await store.outputs.prune(NOON - timedelta(days=7)) == 0


async def test_a_reset_forgets_the_outputs_of_its_thread(store: Store) -> None:
    thread = await store.conversations.append(Conversation(PLACE), [said("hi")], needs_turn=True)
    await store.outputs.put(output())
    await store.outputs.put(output(conversation_id=OTHER.key))
    await store.conversations.reset(thread)
    assert await store.outputs.get(PLACE.key, "r1") is None
    assert await store.outputs.get(OTHER.key, "r1") is not None


async def test_how_a_history_is_shown_is_stored_with_it(store: Store) -> None:
    thread = await store.conversations.append(Conversation(PLACE), [said("hi")], needs_turn=True)
    assert thread.compaction is None
    thread = await store.conversations.append(thread, [], needs_turn=True, compaction=FOLDED)
    assert thread.compaction == FOLDED
    assert await store.conversations.load(PLACE) == thread
    newer = replace(FOLDED, folded=7, summary="More was.")
    thread = await store.conversations.append(thread, [said("on")], needs_turn=True, compaction=newer)
    thread = await store.conversations.append(thread, [said("and on")], needs_turn=True)
    assert await store.conversations.load(PLACE) == thread
    assert thread.compaction == newer
    assert len(thread.messages) == 3


async def test_a_stale_writer_changes_not_how_it_is_shown(store: Store) -> None:
    old = await store.conversations.append(Conversation(PLACE), [said("hi")], needs_turn=True)
    new = await store.conversations.append(old, [], needs_turn=True, compaction=FOLDED)
    with pytest.raises(Conflict):
        await store.conversations.append(old, [], needs_turn=True, compaction=replace(FOLDED, folded=1))
    assert await store.conversations.load(PLACE) == new


async def test_a_reset_history_is_shown_as_it_is(store: Store) -> None:
    thread = await store.conversations.append(Conversation(PLACE), [said("hi")], needs_turn=True, compaction=FOLDED)
    thread = await store.conversations.reset(thread)
    assert thread.compaction is None
    assert (await store.conversations.load(PLACE)).compaction is None
