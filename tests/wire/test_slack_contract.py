"""One suite for ports.Chat and ports.Directory, run on the fakes and on Slack's adapters against the workbench."""

from collections.abc import AsyncIterator
from typing import Protocol

import pytest
import pytest_asyncio

from opsbot.domain import Actor, Card, Membership, MessageRef, Place, Report, Table, Text
from opsbot.errors import ChatError, MessageGone
from opsbot.ports import Chat, Directory
from tests import records
from tests.fake_chat import FakeChat, FakeDirectory, lines
from tests.slack_bot import Stage, stage

TEAM = "T0WORKBENCH"
ALICE, BOB = Actor(TEAM, "U0ALICE"), Actor(TEAM, "U0BOB")
CHANNEL = Place(TEAM, "C0OPS")


class Screen(Protocol):
    """A chat, and what people see of it."""

    chat: Chat
    directory: Directory

    async def thread(self, *, direct: bool = False) -> Place:
        """Begin a thread in which a person has spoken."""
        ...

    async def seen(self, ref: MessageRef) -> str:
        """The text that a message shows now."""
        ...

    async def count(self) -> int:
        """How many messages of the bot stand in the channel and its threads."""
        ...

    async def whispered(self, actor: Actor) -> list[str]:
        """What this person was told privately."""
        ...


class FakeScreen:
    def __init__(self) -> None:
        self.chat = FakeChat()
        groups = {"S0SRE": frozenset({ALICE.key, BOB.key})}
        strangers = {"T0OTHER/U0ALICE": Membership.FOREIGN, f"{TEAM}/U0NOBODY": Membership.GONE}
        self.directory = FakeDirectory(groups, memberships=strangers)

    async def thread(self, *, direct: bool = False) -> Place:
        return Place(TEAM, "D0ALICE" if direct else "C0OPS", "1690.000001", direct)

    async def seen(self, ref: MessageRef) -> str:
        return "\n".join(lines(next(m.content for m in self.chat.messages if m.ref == ref)))

    async def count(self) -> int:
        return len(self.chat.messages)

    async def whispered(self, actor: Actor) -> list[str]:
        return ["\n".join(lines(w.content)) for w in self.chat.whispers if w.actor == actor]


class SlackScreen:
    def __init__(self, on: Stage) -> None:
        self._on = on
        self.chat = on.bot.chat
        self.directory = on.bot.directory

    async def thread(self, *, direct: bool = False) -> Place:
        channel = "D0ALICE" if direct else "C0OPS"
        said = await self._on.bench.person("alice").says(channel, "hello")
        return Place(TEAM, channel, said["ts"], direct)

    async def seen(self, ref: MessageRef) -> str:
        return words(next(m for m in await self._messages() if m["ts"] == ref.message_id))

    async def count(self) -> int:
        return len([m for m in await self._messages() if m["user"] == "U0BOT" and not m.get("ephemeral_for")])

    async def whispered(self, actor: Actor) -> list[str]:
        return [words(m) for m in await self._messages() if m.get("ephemeral_for") == actor.user_id]

    async def _messages(self) -> list[dict[str, object]]:
        async with self._on.bench.session.get(f"{self._on.bench.url}/_control/state") as response:
            state = await response.json()
        return [message for listed in state["messages"].values() for message in listed]


def words(value: object) -> str:
    """All text in a message, wherever its blocks hold it."""
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return "\n".join([*own, *(words(inner) for key, inner in value.items() if key != "metadata")])
    return "\n".join(map(words, value)) if isinstance(value, list) else ""


@pytest_asyncio.fixture(params=["fake", "slack"])
async def screen(request: pytest.FixtureRequest) -> AsyncIterator[Screen]:
    if request.param == "fake":
        yield FakeScreen()
        return
    async with stage(groups=["S0SRE"]) as on:
        yield SlackScreen(on)


async def test_posted_text_is_seen(screen: Screen) -> None:
    ref = await screen.chat.post(CHANNEL, Text("web-1 is well", footer="took 1 s"), key="k1")
    assert "web-1 is well" in await screen.seen(ref)
    assert "took 1 s" in await screen.seen(ref)


async def test_posted_message_is_found_by_its_key_and_no_other(screen: Screen) -> None:
    for place in (CHANNEL, await screen.thread()):
        first = await screen.chat.post(place, Text("one"), key=f"{place.key}:1")
        await screen.chat.post(place, Text("two"), key=f"{place.key}:2")
        assert await screen.chat.find(place, f"{place.key}:1") == first
        assert await screen.chat.find(place, "never used") is None


async def test_edit_replaces_what_is_seen(screen: Screen) -> None:
    ref = await screen.chat.post(CHANNEL, Text("first"), key="k1")
    await screen.chat.edit(CHANNEL, ref, Text("second"))
    assert "second" in await screen.seen(ref)
    assert "first" not in await screen.seen(ref)
    assert await screen.count() == 1


async def test_edited_message_keeps_its_key(screen: Screen) -> None:
    ref = await screen.chat.post(CHANNEL, Text("first"), key="k1")
    await screen.chat.edit(CHANNEL, ref, Text("second"))
    assert await screen.chat.find(CHANNEL, "k1") == ref


async def test_editing_what_is_not_there_is_an_error(screen: Screen) -> None:
    with pytest.raises(MessageGone):
        await screen.chat.edit(CHANNEL, MessageRef("C0OPS", "1600.000001"), Text("?"))


async def test_posting_where_the_bot_is_not_is_an_error() -> None:
    async with stage() as on:
        with pytest.raises(ChatError, match="channel_not_found"):
            await on.bot.chat.post(Place(TEAM, "C0NOWHERE"), Text("?"), key="k")


async def test_card_and_report_are_seen(screen: Screen) -> None:
    card = await screen.chat.post(CHANNEL, Card(records.approval()), key="card")
    assert "restart_service" in await screen.seen(card)
    table = Table(("host", "load"), (("web-1", "0.42"),))
    report = await screen.chat.post(CHANNEL, Report("1 host", (table,), errors=(("web-9", "no connection"),)), key="r")
    for word in ("web-1", "0.42", "web-9", "no connection"):
        assert word in await screen.seen(report)


async def test_whisper_reaches_one_person(screen: Screen) -> None:
    await screen.chat.whisper(CHANNEL, ALICE, Text("not your turn"))
    assert any("not your turn" in said for said in await screen.whispered(ALICE))
    assert await screen.whispered(BOB) == []
    assert await screen.count() == 0


@pytest.mark.parametrize("direct", [False, True])
async def test_live_answer_becomes_one_message(screen: Screen, direct: bool) -> None:
    place = await screen.thread(direct=direct)
    live = await screen.chat.live(place, key="answer", asker=ALICE)
    for so_far in ("All ", "All hosts ", "All hosts are ", "All hosts are well, load is low"):
        await live.show(so_far)
    ref = await live.finish(Text("All hosts are well, load is low.", footer="3 tools"))
    shown = await screen.seen(ref)
    assert "All hosts are well, load is low." in shown
    assert "3 tools" in shown
    assert await screen.count() == 1
    assert await screen.chat.find(place, "answer") == ref


@pytest.mark.parametrize("direct", [False, True])
async def test_live_answer_may_end_differently(screen: Screen, direct: bool) -> None:
    place = await screen.thread(direct=direct)
    live = await screen.chat.live(place, key="answer", asker=ALICE)
    await live.show("I think that maybe ")
    ref = await live.finish(Report("The model failed; here is what the hosts say."))
    assert "here is what the hosts say" in await screen.seen(ref)
    assert await screen.count() == 1


@pytest.mark.parametrize("direct", [False, True])
async def test_live_answer_may_never_have_begun(screen: Screen, direct: bool) -> None:
    live = await screen.chat.live(await screen.thread(direct=direct), key="answer", asker=ALICE)
    ref = await live.finish(Text("Short."))
    assert "Short." in await screen.seen(ref)


async def test_status_never_raises(screen: Screen) -> None:
    await screen.chat.status(await screen.thread(), "is looking…")
    await screen.chat.status(Place(TEAM, "C0NOWHERE", "1600.000001"), "is looking…")
    await screen.chat.status(Place(TEAM, "C0NOWHERE", "1600.000001"), "")


async def test_groups_of_a_person(screen: Screen) -> None:
    assert await screen.directory.groups_of(ALICE) == {"S0SRE"}
    assert await screen.directory.groups_of(Actor(TEAM, "U0CAROL")) == frozenset()
    assert await screen.directory.groups_of(Actor("T0OTHER", "U0ALICE")) == frozenset()


async def test_membership_of_a_person(screen: Screen) -> None:
    assert await screen.directory.membership_of(ALICE) is Membership.MEMBER
    assert await screen.directory.membership_of(Actor("T0OTHER", "U0ALICE")) is Membership.FOREIGN
    assert await screen.directory.membership_of(Actor(TEAM, "U0NOBODY")) is Membership.GONE
