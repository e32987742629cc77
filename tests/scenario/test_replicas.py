"""Two replicas in one process: orders and stops find who runs what, dead turns are gone on with, poison is given up."""

import asyncio
from dataclasses import replace

import pytest

from opsbot.domain import (
    ApprovalState,
    AssistantMessage,
    IncomingCommand,
    IncomingMessage,
    IncomingStop,
    Text,
    UserMessage,
    event_lease,
    turn_lease,
)
from opsbot.replica import MAX_ATTEMPTS
from tests.fake_chat import lines
from tests.records import later
from tests.scenario.frost import end, settle, until
from tests.scenario.house import ALICE, BOB, CHANNEL, THREAD, House, World
from tests.scenario.test_crash_everywhere import Reflex
from tests.scenario.test_rollout import WEBS, six


@pytest.fixture
async def world():
    world = six()
    yield world
    for name in WEBS:
        world.machines.hold_restarts(name).set()


async def two(world: World) -> tuple[House, House]:
    """Two living processes on one world."""
    first = House(world)
    second = House(replace(world, store=world.store.beside()))
    await first.start()
    await second.start()
    return first, second


def whispered(world: World) -> str:
    return "\n".join(line for whisper in world.chat.whispers for line in lines(whisper.content))


async def test_an_order_pressed_at_the_other_replica_counts_where_the_action_runs(world) -> None:
    one, other = await two(world)
    gate = world.machines.hold_restarts("web-1")
    await one.send(_asks(one))
    await until(world, lambda: bool(one.cards()))
    await one.send(one.click(BOB, "approve", one.cards()[-1]))
    await until(world, lambda: "running" in str(one.cards()[-1].content.steps))
    await other.send(other.click(BOB, "halt", one.cards()[-1]))
    await until(world, lambda: "It is being stopped." in whispered(world))
    gate.set()
    await until(world, lambda: one.approval.state is ApprovalState.FAILED)
    assert [name for name in WEBS if world.machines.restarts[name, "nginx.service"]] == ["web-1"]
    assert one.approval.halted.actor == BOB
    await until(world, lambda: not world.store.leases.register.holders)
    assert await world.store.inbox.waiting() == ()
    await end(one, other)


async def test_who_ends_in_order_leaves_though_its_last_figures_cannot_be_written(world, monkeypatch) -> None:
    one, other = await two(world)

    async def never(**_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(one.service._life.organs.recorder, "write", never)
    monkeypatch.setattr("opsbot.life._LAST_WRITE_S", 0.05)
    living = world.store.leases.register.beats
    before = len(living)
    await one.stop()
    assert len(living) == before - 1
    await end(other)


def _asks(house: House):
    return IncomingCommand(CHANNEL, ALICE, f"restart nginx {' '.join(WEBS)} because of it", reply_to="https://reply")


async def test_a_stop_at_the_other_replica_ends_the_turn_where_it_runs(world) -> None:
    silent = asyncio.Event()

    class Silent(Reflex):
        async def reply(self, request):
            await silent.wait()
            yield Text("never")

    world.model = Silent()
    one, other = await two(world)
    await one.send(IncomingMessage(THREAD, ALICE, "restart nginx", "17.1"))
    await until(world, lambda: one.service._parts.dialogue.runs(THREAD))
    await other.send(IncomingStop(THREAD, BOB))
    await until(world, lambda: any("Stopped by <@UBOB>" in line for line in one.seen))
    await other.send(IncomingStop(THREAD, BOB))
    await until(world, lambda: "Nothing is running in this thread." in whispered(world))
    await end(one, other)


async def test_a_message_at_the_other_replica_waits_for_the_threads_turn(world) -> None:
    """One at a time, in one thread, over all replicas; and none is lost."""
    world.model = Reflex()
    one, other = await two(world)
    for number, house in enumerate((one, other, one, other), 1):
        await house.send(IncomingMessage(THREAD, ALICE, f"restart nginx {number}", f"17.{number}"))
    await settle(world, 20)
    conversation = await world.store.conversations.load(THREAD)
    said = [message.text for message in conversation.messages if type(message).__name__ == "UserMessage"]
    assert sorted(said) == [f"restart nginx {number}" for number in range(1, 5)]
    await end(one, other)


async def _attempted(world: World, name: str, times: int) -> None:
    """Let so many processes, one after the other, have died holding a lease."""
    register = world.store.leases.register
    register.holders[name] = "one that died"
    register.attempts[name] = times


async def test_an_event_that_ends_every_process_is_given_up_with_a_message(world) -> None:
    item_id = await world.store.inbox.accept(["k"], IncomingStop(THREAD, ALICE), later(0))
    await _attempted(world, event_lease(item_id), MAX_ATTEMPTS)
    house = House(world)
    await house.start()
    await house.quiet()
    assert any("I gave this up" in line for line in house.seen)
    assert await world.store.inbox.waiting() == ()
    kinds = [record.entry.kind for record in await world.store.audit.read()]
    assert kinds.count("event.abandoned") == 1
    await house.stop()


async def test_an_event_is_tried_again_as_often_as_it_says(world) -> None:
    item_id = await world.store.inbox.accept(["k"], IncomingStop(THREAD, ALICE), later(0))
    await _attempted(world, event_lease(item_id), MAX_ATTEMPTS - 1)
    house = House(world)
    await house.start()
    await house.quiet()
    assert "Nothing is running in this thread." in house.whispered
    await house.stop()


async def test_a_turn_that_ends_every_process_is_closed_with_a_message_and_stays_closed(world) -> None:
    world.model = Reflex()
    dead = House(world)
    await dead.start()
    item_id = await world.store.inbox.accept(["k"], IncomingMessage(THREAD, ALICE, "restart nginx", "17.1"), later(0))
    conversation = await world.store.conversations.load(THREAD)
    await world.store.conversations.append(
        conversation, [UserMessage("restart nginx", ALICE, later(0))], needs_turn=True
    )
    await end(dead)
    await _attempted(world, event_lease(item_id), MAX_ATTEMPTS)
    await _attempted(world, turn_lease(THREAD.key), MAX_ATTEMPTS)
    house = House(world)
    await house.start()
    await house.quiet()
    assert sum("I gave this up" in line for line in house.seen) == 1
    closed = await world.store.conversations.load(THREAD)
    assert isinstance(closed.messages[-1], AssistantMessage)
    assert await world.store.conversations.needing_turn() == ()
    assert not house.cards()
    await house.stop()


async def test_an_outage_in_mid_turn_only_delays(world) -> None:
    world.model = Reflex()
    house = House(world)
    await house.start()
    await house.send(IncomingMessage(THREAD, ALICE, "restart nginx on web-1", "17.1"))
    world.store.outage.reason = "PostgreSQL is away"
    await settle(world, 19)
    world.store.outage.reason = ""
    await until(world, lambda: bool(house.cards()), 120)
    await house.send(house.click(BOB, "approve", house.cards()[-1]))
    await until(world, lambda: any(message.key.startswith("answer:") for message in world.chat.messages))
    assert world.machines.restarts["web-1", "nginx.service"] == 1
    await house.stop()
