"""A late mention against the workbench: the thread is read over the wire, and a busy Slack keeps nobody waiting."""

import pytest

from opsbot.domain import Place
from opsbot.errors import ChatError
from tests.fake_clock import HastyClock
from tests.slack_bot import Stage, stage

TEAM = "T0WORKBENCH"


async def thread_of(on: Stage, replies: int) -> tuple[Place, str]:
    alice, bob = on.bench.person("alice"), on.bench.person("bob")
    root = (await alice.says("C0OPS", "the shop is slow"))["ts"]
    for number in range(replies):
        await (alice, bob)[number % 2].says("C0OPS", f"reply {number}", thread_ts=root)
    question = (await alice.says("C0OPS", "<@U0BOT> what is wrong?", thread_ts=root))["ts"]
    return Place(TEAM, "C0OPS", root), question


async def test_a_thread_of_people_is_read_in_pages() -> None:
    async with stage(clock=HastyClock()) as on:
        place, question = await thread_of(on, 230)
        thread = await on.bot.chat.earlier(place, before=question)
        calls = await on.calls("conversations.replies")
    assert [said.text for said in thread.messages] == ["the shop is slow", *(f"reply {n}" for n in range(230))]
    assert {said.author for said in thread.messages} == {"U0ALICE", "U0BOB"}
    assert (thread.missing, thread.failure, len(calls)) == (0, "", 2)


async def test_a_slack_that_wants_to_be_asked_later_ends_the_reading_not_the_question() -> None:
    async with stage(clock=HastyClock()) as on:
        place, question = await thread_of(on, 3)
        await on.bench.control("fault", kind="ratelimited", method="conversations.replies", count=1, retry_after=120)
        with pytest.raises(ChatError, match="limits conversations"):
            await on.bot.chat.earlier(place, before=question)
