"""What people do in the workbench reaches the handler once, in both modes, and only after it is in the inbox."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from opsbot.domain import Actor, Card, IncomingCommand, IncomingDecision, IncomingMessage, IncomingStop, Place
from tests import records
from tests.slack_bot import Stage, stage

OPS = "C0OPS"
TEAM = "T0WORKBENCH"
ALICE = Actor(TEAM, "U0ALICE")


@pytest_asyncio.fixture(params=["socket", "http"])
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with stage(request.param) as made:
        yield made


async def say_goodbye(on: Stage) -> None:
    """Everything sent before this was dealt with when it arrives."""
    await on.bench.person("bob").says("D0BOB", "that is all")
    await on.handler.until(lambda h: h.accepted and getattr(h.accepted[-1], "text", "") == "that is all")


async def test_mention_is_accepted_once_although_two_events_arrive(on: Stage) -> None:
    posted = await on.bench.person("alice").says(OPS, "<@U0BOT> how is web-1?")
    await on.handler.until(lambda h: h.duplicates == 1)
    place = Place(TEAM, OPS, posted["ts"])
    assert on.handler.accepted == [IncomingMessage(place, ALICE, "how is web-1?", posted["ts"])]


async def test_same_event_delivered_again_and_again_is_accepted_once(on: Stage) -> None:
    await on.bench.control("fault", kind="duplicate", count=1)
    await on.bench.control("fault", kind="dropped_ack", count=3)
    await on.bench.person("alice").says("D0ALICE", "hello")
    await on.handler.until(lambda h: h.calls >= 2)
    for _ in range(4):
        await on.bench.control("clock", advance_s=70)
    await on.handler.until(lambda h: h.calls >= 4)
    await on.bench.control("clear_faults")
    await say_goodbye(on)
    assert [getattr(event, "text", "") for event in on.handler.accepted] == ["hello", "that is all"]


async def test_event_that_could_not_be_written_is_not_acknowledged_and_comes_again(on: Stage) -> None:
    on.handler.failures = 1
    await on.bench.person("alice").says("D0ALICE", "do not lose me")
    await on.handler.until(lambda h: h.accepted)
    outcomes = await eventually(on, lambda log: acks if len(acks := acks_in(log)) == 2 else None)
    assert getattr(on.handler.accepted[0], "text", "") == "do not lose me"
    assert outcomes[0] != "acknowledged"
    assert outcomes[1] == "acknowledged"


def acks_in(log: list[dict[str, Any]]) -> list[str]:
    return [entry["summary"] for entry in log if entry["kind"] == "ack"]


async def eventually(on: Stage, found: Callable[[list[dict[str, Any]]], Any]) -> Any:
    """Return the first true value of `found(log)`; the log tells nobody when it grows."""
    async with asyncio.timeout(30):
        while not (value := found(await on.bench.log())):
            await asyncio.sleep(0.05)
    return value


async def test_thread_reply_without_mention_is_for_us_only_where_a_conversation_is(on: Stage) -> None:
    alice = on.bench.person("alice")
    asked = await alice.says(OPS, "<@U0BOT> how is web-1?")
    await on.handler.until(lambda h: h.duplicates == 1)
    other = await alice.says(OPS, "lunch?")
    await alice.says(OPS, "pizza", thread_ts=other["ts"])
    await alice.says(OPS, "and web-2?", thread_ts=asked["ts"])
    await say_goodbye(on)
    assert [getattr(event, "text", "") for event in on.handler.accepted] == [
        "how is web-1?",
        "and web-2?",
        "that is all",
    ]
    assert getattr(on.handler.accepted[1], "addressed", True) is False


async def test_slash_command_is_acknowledged_without_text(on: Stage) -> None:
    answer = await on.bench.person("alice").command(OPS, "/ops restart nginx.service web-1 because it leaks")
    assert answer["acknowledged"]
    [event] = on.handler.accepted
    assert isinstance(event, IncomingCommand)
    assert (event.place, event.text) == (Place(TEAM, OPS), "restart nginx.service web-1 because it leaks")
    assert event.reply_to.startswith(on.bench.url)
    assert [m for m in on.bench.watcher.messages.values() if m["channel"] == OPS and m.get("ephemeral_for")] == []


async def test_slash_command_that_could_not_be_written_is_not_acknowledged(on: Stage) -> None:
    on.handler.failures = 1
    answer = await on.bench.person("alice").command(OPS, "/ops hosts")
    assert not answer["acknowledged"]
    assert on.handler.accepted == []


async def test_button_click_carries_who_where_and_which_approval(on: Stage) -> None:
    place = Place(TEAM, OPS)
    ref = await on.bot.chat.post(place, Card(records.approval(place=place)), key="card:1")
    card = await on.bench.wait_for(lambda m: m["ts"] == ref.message_id)
    answer = await on.bench.person("bob").clicks(card, "opsbot.approve")
    assert answer["acknowledged"]
    [event] = on.handler.accepted
    assert isinstance(event, IncomingDecision)
    assert (event.approval_id, event.verb, event.message_id) == ("7KQ2M4", "approve", ref.message_id)
    assert (event.place, event.actor) == (place, Actor(TEAM, "U0BOB"))
    assert event.reply_to


async def test_click_in_a_thread_has_the_threads_place(on: Stage) -> None:
    asked = await on.bench.person("alice").says(OPS, "<@U0BOT> restart it")
    place = Place(TEAM, OPS, asked["ts"])
    ref = await on.bot.chat.post(place, Card(records.approval(place=place)), key="card:2")
    card = await on.bench.wait_for(lambda m: m["ts"] == ref.message_id)
    await on.bench.person("bob").clicks(card, "opsbot.deny")
    assert on.handler.accepted[-1].place == place


async def test_session_stop_reaches_the_handler(on: Stage) -> None:
    asked = await on.bench.person("alice").says("D0ALICE", "look at everything")
    await on.handler.until(lambda h: h.accepted)
    await on.bot.chat.status(on.handler.accepted[0].place, "is looking…")
    await on.bench.control("stop", user="U0ALICE", channel="D0ALICE", thread_ts=asked["ts"])
    await on.handler.until(lambda h: len(h.accepted) == 2)
    assert on.handler.accepted[1] == IncomingStop(Place(TEAM, "D0ALICE", asked["ts"], True), ALICE)
    await on.bot.chat.status(on.handler.accepted[0].place, "")


async def test_the_bots_own_words_are_not_heard(on: Stage) -> None:
    await on.bot.chat.post(Place(TEAM, OPS), Card(records.approval(place=Place(TEAM, OPS))), key="own")
    await say_goodbye(on)
    assert len(on.handler.accepted) == 1


async def test_changed_user_group_is_read_anew() -> None:
    async with stage(groups=["S0SRE"]) as on:
        bob = Actor(TEAM, "U0BOB")
        assert await on.bot.directory.groups_of(bob) == {"S0SRE"}
        await on.bench.control("group", id="S0SRE", users=["U0ALICE"])
        await say_goodbye(on)
        assert await on.bot.directory.groups_of(bob) == frozenset()


async def test_reconnects_after_every_kind_of_disconnection() -> None:
    async with stage() as on:
        for number, how in enumerate([{"reason": "refresh_requested"}, {"reason": "warning"}, {"plainly": True}]):
            await on.bench.control("disconnect", **how)
            await on.bench.person("alice").says("D0ALICE", f"message {number}")
            await reconnected(on)
            await on.bench.control("clock", advance_s=70)
            await on.handler.until(lambda h, wanted=number + 1: len(h.accepted) == wanted)
        assert [getattr(event, "text", "") for event in on.handler.accepted] == [f"message {n}" for n in range(3)]


async def reconnected(on: Stage) -> None:
    async def online() -> Any:
        async with on.bench.session.get(f"{on.bench.url}/_control/state") as response:
            return (await response.json())["bot"]["online"]

    async with asyncio.timeout(30):
        while not await online():
            await asyncio.sleep(0.1)


async def test_bolt_leaves_the_level_of_our_own_log_alone() -> None:
    async with stage():
        assert logging.getLogger("opsbot").level == logging.NOTSET
