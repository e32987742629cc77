"""The process dies at every single step of the main job; the next one finishes it: never twice, never forgotten."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from opsbot.domain import (
    ApprovalState,
    AssistantMessage,
    IncomingMessage,
    Result,
    Rollout,
    ToolResult,
    Usage,
    UserMessage,
)
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta
from tests.scenario.house import ALICE, BOB, THREAD, House, World
from tests.scenario.mortal import Life, Mortal
from tests.scripted_model import call

TWO = ("web-1", "web-2")


class Reflex:
    """A model without a script: it asks for the restart, and tells the outcome once there is one."""

    name = "reflex"

    def __init__(self, hosts: tuple[str, ...] = ("web-1",)) -> None:
        self._hosts = hosts

    async def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        if isinstance(request.messages[-1], UserMessage):
            yield call("restart_service", "c1", hosts=[*self._hosts], unit="nginx")
            yield Done("tool_calls")
            return
        result = next(m for m in reversed(request.messages) if isinstance(m, ToolResult))
        yield TextDelta(f"The end: {result.content}")
        yield Usage(1, 1)
        yield Done("stop")

    async def close(self) -> None:
        return


def mortal_house(world: World, life: Life, hosts: tuple[str, ...]) -> House:
    """A process that dies at `life.dies_at`, on the world's immortal database, hosts and Slack."""
    inside = World(
        store=Mortal(world.store, life, "store"),
        machines=world.machines,
        chat=Mortal(world.chat, life, "chat"),
        clock=world.clock,
        model=Reflex(hosts),
        ids=world.ids,
        rules=world.rules,
    )
    house = House(inside)
    house.world.chat.messages  # noqa: B018 - the people's view goes to the same Slack
    return house


async def play(house: House, life: Life, acknowledged: set[str]) -> None:
    """Do the main job until it is done or the process is dead; an event counts as acknowledged once accepted."""
    if "ask" not in acknowledged:
        await house.send(IncomingMessage(THREAD, ALICE, "restart nginx on web-1", "17.1"), key="ask")
        acknowledged.add("ask")
    await house.quiet()
    cards = house.cards()
    if cards and cards[-1].content.approval.state is ApprovalState.PENDING and "click" not in acknowledged:
        await house.send(house.click(BOB, "approve", cards[-1]), key="click")
        acknowledged.add("click")
    await house.quiet()
    await house.passes(6)


async def until_dead(life: Life, work) -> None:
    """Run until done or dead, then drop every task of the dead process where it stands."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(work)
    death = asyncio.create_task(life.dead.wait())
    await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
    life.buried = life.dead.is_set()
    others = asyncio.all_tasks() - before
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def one_life(
    dies_at: int, hosts: tuple[str, ...] = ("web-1",), rollout: Rollout | None = None
) -> tuple[World, Life]:
    """Live once up to step `dies_at` (0: to the end), then once more as an immortal, and finish the job."""
    world, life, acknowledged = World(), Life(dies_at), set()
    world.rules = replace(world.rules, rollout=rollout or Rollout())
    first = mortal_house(world, life, hosts)

    async def first_life() -> None:
        await first.start()
        await play(first, life, acknowledged)

    await until_dead(life, first_life())
    world.model = Reflex(hosts)
    second = House(world)
    await second.start()
    await second.quiet()
    await play(second, Life(), acknowledged)
    await second.stop()
    return world, life


def check(world: World, life: Life, conversation, approvals) -> None:
    where = f"died {life.last} (step {life.dies_at})"
    assert len(approvals) == 1, where
    (approval,) = approvals
    done = {outcome.host for outcome in approval.outcomes if outcome.result is Result.DONE}
    assert approval.state in (ApprovalState.DONE, ApprovalState.FAILED), where
    for host in approval.action.hosts:
        assert world.machines.restarts[host, "nginx.service"] == (host in done), where
        assert host in done or approval.state is ApprovalState.FAILED, where
        assert (host in approval.untouched) is (host not in {outcome.host for outcome in approval.outcomes}), where
    assert conversation.open_calls == (), where
    assert isinstance(conversation.messages[-1], AssistantMessage), where
    assert Counter(type(m).__name__ for m in conversation.messages)["UserMessage"] == 1, where
    replies = [m for m in conversation.messages if isinstance(m, AssistantMessage) and not m.by_code]
    assert len(world.store.usage.calls) == len(replies), f"{where}: a reply is stored with what it took, or not at all"
    doubled = [key for key, n in Counter(m.key for m in world.chat.messages).items() if n > 1]
    assert not doubled, f"{where}: posted twice: {doubled}"
    final_texts = [m for m in world.chat.messages if m.key.startswith("answer:")]
    assert len(final_texts) == 1, where
    card = next(m for m in world.chat.messages if m.key.startswith("card:"))
    assert card.content.approval.state is approval.state, f"{where}: the card still shows {card.content.approval.state}"


async def test_without_a_crash_the_job_is_done():
    world, life = await one_life(0)
    (approval,) = await world.store.approvals.of_conversation(THREAD.key)
    assert approval.state is ApprovalState.DONE
    assert life.steps > 60


async def test_dying_at_every_step_never_doubles_and_never_forgets():
    _, whole = await one_life(0)
    ends = Counter()
    for step in range(1, whole.steps + 1):
        world, life = await one_life(step)
        approvals = await world.store.approvals.of_conversation(THREAD.key)
        check(world, life, await world.store.conversations.load(THREAD), approvals)
        ends[approvals[0].state] += 1
    # Only a death between "executing" and the recorded intent leaves an approved action undone, and says so.
    assert ends[ApprovalState.DONE] > ends[ApprovalState.FAILED] * 5


@pytest.mark.parametrize("rollout", [Rollout(), Rollout(canary=2, max_unavailable=2)], ids=["in turn", "side by side"])
async def test_dying_at_every_step_of_two_hosts_neither_doubles_nor_forgets_one(rollout: Rollout):
    _, whole = await one_life(0, TWO, rollout)
    ends = Counter()
    for step in range(1, whole.steps + 1):
        world, life = await one_life(step, TWO, rollout)
        approvals = await world.store.approvals.of_conversation(THREAD.key)
        check(world, life, await world.store.conversations.load(THREAD), approvals)
        ends[approvals[0].state, approvals[0].untouched] += 1
    assert ends[ApprovalState.DONE, ()] > 20
    named = ends[ApprovalState.FAILED, ("web-2",)] + ends[ApprovalState.FAILED, TWO]
    assert named >= 2
