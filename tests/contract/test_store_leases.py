"""Leases and replicas: one suite for the fake and PostgreSQL with two of them, and SQLite with one after another."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from opsbot.adapters.store import open_store
from opsbot.domain import ApprovalState, Lease, MessageRef, Text, event_lease, message_lease
from opsbot.errors import Conflict, Fenced
from opsbot.ports import Store
from tests.fake_store import MemoryStore
from tests.records import CAPS, KEY, NOON, PLACE, entry, event, executing, operation

REF = MessageRef("C1", "17.1")
Pair = tuple[Store, Store]


@pytest.fixture(params=["memory", "postgres"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Two replicas on one database."""
    if request.param == "memory":
        first = MemoryStore()
        yield first, first.beside()
        return
    url = request.getfixturevalue("postgres_url")
    stores = [await asyncio.to_thread(open_store, url, audit_key=KEY) for _ in range(2)]
    yield stores[0], stores[1]
    for store in stores:
        await store.close()


async def bury(dead: Store, alive: Store) -> None:
    """Let the living replica give the other one up."""
    me = (await dead.replicas.beat()).me
    beats = (await alive.replicas.beat()).others
    assert await alive.replicas.give_up(me, beats[me])


# --- who lives -------------------------------------------------------------------------------------------------------


async def test_replicas_see_each_others_beats_grow(pair: Pair) -> None:
    one, two = pair
    assert one.replicas.shared
    assert two.replicas.shared
    first = await one.replicas.beat()
    await two.replicas.beat()
    second = await one.replicas.beat()
    assert len(second.others) == 1
    assert [*second.others.values()] > [*first.others.values()]
    assert (await two.replicas.beat()).others == {first.me: 2}


async def test_a_replica_that_showed_life_meanwhile_is_not_given_up(pair: Pair) -> None:
    one, two = pair
    me = (await one.replicas.beat()).me
    seen = (await two.replicas.beat()).others[me]
    await one.replicas.beat()
    assert not await two.replicas.give_up(me, seen)
    assert not await two.replicas.give_up("nobody", 1)
    await one.replicas.beat()


async def test_a_replica_given_up_is_refused_wherever_it_could_do_harm(pair: Pair) -> None:
    one, two = pair
    made = await one.approvals.add(executing(), entry())
    item_id = await one.inbox.accept(["k"], event(), NOON)
    await one.outbox.put("m", PLACE, Text("x"))
    await bury(one, two)
    for attempt in (
        one.replicas.beat(),
        one.leases.take("turn:x"),
        one.inbox.accept(["k2"], event(), NOON),
        one.operations.claim(operation(made, "web-1"), entry(), caps=CAPS),
        one.outbox.put("m2", PLACE, Text("x")),
        one.outbox.sent("m", REF, version=1),
    ):
        with pytest.raises(Fenced):
            await attempt
    assert await two.operations.started(made.id) == frozenset()
    assert [item.id for item in await two.inbox.waiting()] == [item_id]


async def test_a_replica_may_join_anew_after_it_was_given_up(pair: Pair) -> None:
    one, two = pair
    await bury(one, two)
    await one.replicas.join()
    await one.replicas.join()
    assert await one.leases.take("x") == Lease("x")


# --- leases ----------------------------------------------------------------------------------------------------------


async def test_a_living_replicas_lease_is_nobody_elses(pair: Pair) -> None:
    one, two = pair
    assert await one.leases.take("turn:x") == Lease("turn:x", 1)
    assert await one.leases.take("turn:x") == Lease("turn:x", 1)
    assert await two.leases.take("turn:x") is None
    await two.leases.drop("turn:x")
    assert await two.leases.take("turn:x") is None
    await one.leases.drop("turn:x")
    assert await two.leases.take("turn:x") == Lease("turn:x", 1)


async def test_a_lapsed_lease_is_taken_over_and_the_attempt_counted_once(pair: Pair) -> None:
    one, two = pair
    await one.leases.take("turn:x")
    await bury(one, two)
    assert (await two.replicas.beat()).lapsed == ("turn:x",)
    taken = await asyncio.gather(*(two.leases.take("turn:x") for _ in range(10)))
    assert Counter(taken) == {Lease("turn:x", 2, taken_over=True): 1, Lease("turn:x", 2): 9}
    assert (await two.replicas.beat()).lapsed == ()


async def test_one_of_two_survivors_takes_a_lapsed_lease(postgres_url: str) -> None:
    stores = [await asyncio.to_thread(open_store, postgres_url, audit_key=KEY) for _ in range(3)]
    for n in range(10):
        await stores[0].leases.take(f"turn:{n}")
    await bury(stores[0], stores[1])
    for n in range(10):
        taken = await asyncio.gather(*(stores[1 + i % 2].leases.take(f"turn:{n}") for i in range(6)))
        assert Counter(taken) == {None: 3, Lease(f"turn:{n}", 2, taken_over=True): 1, Lease(f"turn:{n}", 2): 2}
    for store in stores:
        await store.close()


async def test_what_a_replica_leaves_in_good_order_lapses_at_once_and_is_no_attempt(pair: Pair) -> None:
    one, two = pair
    await one.leases.take("turn:x")
    await one.replicas.leave()
    seen = await two.replicas.beat()
    assert (seen.others, seen.lapsed) == ({}, ("turn:x",))
    assert await two.leases.take("turn:x") == Lease("turn:x", 1, taken_over=True)


async def test_a_lease_is_handed_to_the_living_holder_of_another_who_hears_of_it_once(pair: Pair) -> None:
    one, two = pair
    await one.leases.take("run:x")
    await two.leases.take("event:1")
    assert await two.leases.hand_over("event:1", to_holder_of="run:x")
    assert not await two.leases.hand_over("event:1", to_holder_of="run:x")
    assert (await one.replicas.beat()).handed == ("event:1",)
    assert (await one.replicas.beat()).handed == ()
    assert await two.leases.take("event:1") is None


async def test_nothing_is_handed_to_oneself_to_nobody_or_to_the_dead(pair: Pair) -> None:
    one, two = pair
    await two.leases.take("event:1")
    await two.leases.take("run:mine")
    assert not await two.leases.hand_over("event:1", to_holder_of="run:mine")
    assert not await two.leases.hand_over("event:1", to_holder_of="run:none")
    await one.leases.take("run:x")
    await bury(one, two)
    assert not await two.leases.hand_over("event:1", to_holder_of="run:x")
    assert await two.leases.take("event:1") == Lease("event:1")


async def test_what_was_handed_to_a_replica_that_died_lapses(pair: Pair) -> None:
    one, two = pair
    await one.leases.take("run:x")
    await two.leases.take("event:1")
    await two.leases.hand_over("event:1", to_holder_of="run:x")
    await bury(one, two)
    assert (await two.replicas.beat()).lapsed == ("event:1", "run:x")


# --- events and messages ---------------------------------------------------------------------------------------------


async def test_an_accepted_event_is_leased_and_only_its_holder_finishes_it(pair: Pair) -> None:
    one, two = pair
    item_id = await one.inbox.accept(["k"], event(), NOON)
    assert await two.leases.take(event_lease(item_id)) is None
    await two.inbox.finish(item_id)
    assert (await two.inbox.get(item_id)).event == event()
    await bury(one, two)
    assert await two.leases.take(event_lease(item_id)) == Lease(event_lease(item_id), 2, taken_over=True)
    await one.inbox.finish(item_id)
    assert await two.inbox.get(item_id) is not None
    await two.inbox.finish(item_id)
    assert await two.inbox.get(item_id) is None
    assert (await two.replicas.beat()).lapsed == ()


async def test_a_message_is_sent_by_one_replica_which_brings_the_others_content_too(pair: Pair) -> None:
    one, two = pair
    mine = await one.outbox.put("m", PLACE, Text("one"))
    assert (mine.ours, mine.version) == (True, 1)
    theirs = await two.outbox.put("m", PLACE, Text("two"))
    assert (theirs.ours, theirs.ref) == (False, None)
    newer = await one.outbox.sent("m", REF, version=1)
    assert (newer.content, newer.ref, newer.version, newer.ours) == (Text("two"), REF, 2, True)
    assert [item.key for item in await two.outbox.waiting()] == ["m"]
    assert await one.outbox.sent("m", REF, version=2) is None
    assert await two.outbox.waiting() == ()
    again = await two.outbox.put("m", PLACE, Text("three"))
    assert (again.ours, again.ref, again.version) == (True, REF, 3)


async def test_a_message_of_a_dead_replica_lapses(pair: Pair) -> None:
    one, two = pair
    await one.outbox.put("m", PLACE, Text("one"))
    await bury(one, two)
    assert (await two.replicas.beat()).lapsed == (message_lease("m"),)
    mine = await two.outbox.put("m", PLACE, Text("one"))
    assert (mine.ours, mine.doubtful) == (True, True)
    assert not (await two.outbox.put("m", PLACE, Text("one"))).doubtful


async def test_a_frozen_replica_cannot_begin_what_another_has_settled(pair: Pair) -> None:
    one, two = pair
    made = await one.approvals.add(executing(), entry())
    settled = replace(made, state=ApprovalState.FAILED)
    await two.approvals.change(settled, expected=(made.state, made.version), entries=[entry()])
    with pytest.raises(Conflict):
        await one.operations.claim(operation(made, "web-1"), entry(), caps=CAPS)


# --- one after another -----------------------------------------------------------------------------------------------


async def test_what_an_earlier_process_held_on_sqlite_has_lapsed_from_the_start(tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/opsbot.db"
    first = open_store(url, audit_key=KEY)
    assert not first.replicas.shared
    await first.leases.take("turn:x")
    item_id = await first.inbox.accept(["k"], event(), NOON)
    await first.close()
    second = open_store(url, audit_key=KEY)
    seen = await second.replicas.beat()
    assert (seen.others, seen.lapsed) == ({}, (event_lease(item_id), "turn:x"))
    assert await second.leases.take("turn:x") == Lease("turn:x", 2, taken_over=True)
    await second.close()
