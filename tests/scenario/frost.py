"""Two replicas in one process, on one world: one can freeze at any step and thaw later; what must hold then."""

import asyncio
from collections import Counter
from dataclasses import replace

from opsbot.domain import (
    ApprovalState,
    AssistantMessage,
    Card,
    IncomingMessage,
    Result,
)
from tests.scenario.house import ALICE, BOB, THREAD, House, World
from tests.scenario.mortal import Frost, Mortal
from tests.scenario.test_crash_everywhere import Reflex

WEB_1 = ("web-1", "nginx.service")


async def settle(world: World, seconds: float, step_s: float = 0.5) -> None:
    """Let time pass for everybody, without waiting for the frozen."""
    for _ in range(round(seconds / step_s)):
        world.clock.advance(step_s)
        for _ in range(40):
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)  # worker threads


async def until(world: World, holds, seconds: float = 60) -> None:
    """Let time pass until something holds."""
    for _ in range(round(seconds / 0.5)):
        if holds():
            return
        await settle(world, 0.5)
    raise AssertionError("it did not come about")


async def end(*houses: House) -> None:
    """Drop processes where they stand."""
    for house in houses:
        house.service._life.background.cancel()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def one_frost(at: int) -> tuple[World, Frost]:
    """Do the main job by a process that freezes at step `at`; another takes over, and then the first one thaws."""
    world, frost = World(model=Reflex()), Frost(at)
    world.store.beside()
    cold_world = replace(
        world,
        store=Mortal(world.store, frost, "store"),
        chat_of=lambda replica: Mortal(world.chat, frost, "chat", replica.check_sure),
    )
    cold = House(cold_world)
    warm = House(replace(world, store=world.store.beside()))
    await warm.start()
    starting = asyncio.create_task(cold.start())
    await until(world, lambda: starting.done() or frost.dead.is_set())
    asked = asyncio.create_task(cold.send(IncomingMessage(THREAD, ALICE, "restart nginx", "17.1"), key="ask"))
    await until(world, lambda: asked.done() or frost.dead.is_set())
    if not asked.done():  # never acknowledged, so it comes again, and by the other way
        await warm.send(IncomingMessage(THREAD, ALICE, "restart nginx", "17.1"), key="ask")
    await until(world, lambda: bool(warm.cards()))
    click = warm.click(BOB, "approve", warm.cards()[-1])
    clicked = asyncio.create_task(cold.send(click, key="click"))
    await until(world, lambda: clicked.done() or frost.dead.is_set())
    if not clicked.done():
        await warm.send(click, key="click")
    await until(world, lambda: _answered(world))
    await settle(world, 8)
    frost.thawed.set()
    await settle(world, 12)
    await end(cold, warm)
    return world, frost


def _answered(world: World) -> bool:
    return any(message.key.startswith("answer:") for message in world.chat.messages)


async def check(world: World, frost: Frost) -> ApprovalState:
    """Whatever happened, it happened once, and people see it."""
    where = f"frozen {frost.last} (step {frost.dies_at})"
    conversation = await world.store.conversations.load(THREAD)
    (approval,) = await world.store.approvals.of_conversation(THREAD.key)
    done = [outcome.host for outcome in approval.outcomes if outcome.result is Result.DONE]
    assert approval.state in (ApprovalState.DONE, ApprovalState.FAILED), where
    assert world.machines.restarts[WEB_1] == len(done), where
    assert conversation.open_calls == (), where
    assert isinstance(conversation.messages[-1], AssistantMessage), where
    assert Counter(type(message).__name__ for message in conversation.messages)["UserMessage"] == 1, where
    doubled = [key for key, n in Counter(message.key for message in world.chat.messages).items() if n > 1]
    assert not doubled, f"{where}: posted twice: {doubled}"
    card = next(message for message in world.chat.messages if message.key.startswith("card:"))
    assert isinstance(card.content, Card)
    assert card.content.approval.state is approval.state, f"{where}: the card shows {card.content.approval.state}"
    return approval.state
