"""What the bot sends to Slack: paced, once each, never lost, never fetching or calling anybody by itself."""

import asyncio
from typing import Any

import pytest

from opsbot.domain import Actor, Card, Place, Text
from opsbot.errors import ChatError
from tests import records
from tests.fake_clock import FakeClock, HastyClock
from tests.slack_bot import Stage, stage

TEAM = "T0WORKBENCH"
OPS = Place(TEAM, "C0OPS")
ALICE, BOB = Actor(TEAM, "U0ALICE"), Actor(TEAM, "U0BOB")


def text_of(call: dict[str, Any]) -> str:
    return next((b["text"] for b in call.get("blocks") or [] if b["type"] == "markdown"), call.get("text", ""))


async def standing(on: Stage, channel: str = "C0OPS") -> list[dict[str, Any]]:
    """The bot's messages as they stand, oldest first."""
    async with on.bench.session.get(f"{on.bench.url}/_control/state") as response:
        listed = (await response.json())["messages"].get(channel, [])
    return [m for m in sorted(listed, key=lambda m: m["ts"]) if m["user"] == "U0BOT" and not m.get("ephemeral_for")]


async def test_every_call_keeps_links_folded_and_people_uncalled() -> None:
    async with stage(clock=HastyClock()) as on:
        ref = await on.bot.chat.post(OPS, Text("see https://evil.example/?d=s and <!channel>"), key="k")
        await on.bot.chat.edit(OPS, ref, Text("more"))
        await on.bot.chat.whisper(OPS, ALICE, Text("psst"))
        answer = await on.bench.person("alice").command("C0OPS", "/ops hosts")
        assert answer["acknowledged"]
        await on.bot.chat.whisper(OPS, ALICE, Text("by handle"), reply_to=on.handler.accepted[0].reply_to)
        log = await on.bench.log()
    sent = [e for e in log if e["direction"] == "in" and (e["name"].startswith("chat.") or e["kind"] == "response_url")]
    assert {e["name"] for e in sent} >= {"chat.postMessage", "chat.update", "chat.postEphemeral"}
    assert len(sent) == 4
    for entry in sent:
        body = entry["body"]
        assert (body["unfurl_links"], body["unfurl_media"], body["link_names"]) == (False, False, False), entry
        assert body["parse"] == "none"
    assert "https://" not in str(sent)


async def test_rate_limit_is_waited_for_and_loses_nothing() -> None:
    clock = FakeClock()
    async with stage(clock=clock) as on:
        await on.bench.control("fault", kind="ratelimited", method="chat.postMessage", count=1, retry_after=7)
        posts = [asyncio.create_task(on.bot.chat.post(OPS, Text(f"number {n}"), key=f"k{n}")) for n in range(3)]
        await until_asleep(clock, 7)
        clock.advance(6.9)
        await asyncio.sleep(0.2)
        assert len(await on.calls("chat.postMessage")) == 1
        assert await standing(on) == []
        clock.advance(0.2)
        await drive(clock, asyncio.gather(*posts))
        assert [m["blocks"][0]["text"] for m in await standing(on)] == ["number 0", "number 1", "number 2"]


async def until_asleep(clock: FakeClock, seconds: float) -> None:
    """Wait until somebody sleeps for about that long."""

    def sleeping() -> bool:
        return any(abs(at - clock.monotonic() - seconds) < 0.5 for at, _ in clock._sleepers)

    async with asyncio.timeout(30):
        while not sleeping():
            await asyncio.sleep(0.01)


async def drive(clock: FakeClock, work: "asyncio.Future[Any]") -> Any:
    """Let virtual time pass until the work is done."""
    async with asyncio.timeout(30):
        while not work.done():
            clock.advance(0.5)
            await asyncio.sleep(0.02)
    return work.result()


async def test_cards_go_first_and_a_threads_order_is_kept() -> None:
    clock = FakeClock()
    async with stage(clock=clock) as on:
        threads = [
            Place(TEAM, "C0OPS", (await on.bench.person("alice").says("C0OPS", f"t{n}"))["ts"]) for n in range(2)
        ]
        chat = on.bot.chat
        burst = [asyncio.create_task(chat.post(OPS, Text(f"burst {n}"), key=f"b{n}")) for n in range(3)]
        await asyncio.gather(*burst)
        later = [asyncio.create_task(chat.post(threads[0], Text(f"text {n}"), key=f"t{n}")) for n in range(3)]
        await asyncio.sleep(0)
        later.append(asyncio.create_task(chat.post(threads[1], Card(records.approval()), key="card")))
        later.append(asyncio.create_task(chat.post(threads[0], Text("text 3"), key="t3")))
        await asyncio.sleep(0)
        await drive(clock, asyncio.gather(*later))
        order = [text_of(call)[:15] for call in (await on.calls("chat.postMessage"))[3:]]
    assert order == ["Approval needed", "text 0", "text 1", "text 2", "text 3"]


async def test_channel_pace_is_about_one_message_per_second() -> None:
    clock = FakeClock()
    async with stage(clock=clock) as on:
        posts = asyncio.gather(*(on.bot.chat.post(OPS, Text(f"n{n}"), key=f"k{n}") for n in range(10)))
        started = clock.monotonic()
        await drive(clock, posts)
        took_s = clock.monotonic() - started
    assert 6.0 <= took_s <= 12.0


async def test_waiting_edits_of_one_message_become_one() -> None:
    clock = FakeClock()
    async with stage(clock=clock) as on:
        ref = await on.bot.chat.post(OPS, Text("0"), key="k")
        await asyncio.gather(*(on.bot.chat.post(OPS, Text("x"), key=f"x{n}") for n in range(2)))
        edits = asyncio.gather(*(on.bot.chat.edit(OPS, ref, Text(str(n))) for n in range(1, 30)))
        await drive(clock, edits)
        assert len(await on.calls("chat.update")) == 1
        assert (await standing(on))[0]["blocks"][0]["text"] == "29"


@pytest.mark.parametrize("fault", ["server_error", "lost answer"])
async def test_message_whose_answer_was_lost_is_posted_once(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(clock=HastyClock()) as on:
        if fault == "server_error":
            await on.bench.control("fault", kind="server_error", method="chat.postMessage", count=2)
        else:
            lose_next_answer(on, monkeypatch)
        ref = await on.bot.chat.post(OPS, Text("only once"), key="k")
        assert [m["ts"] for m in await standing(on)] == [ref.message_id]


def lose_next_answer(on: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next chat.postMessage arrive, and cut the connection before its answer is read."""
    client = on.bot.chat._web._client
    real = client.api_call
    lost: list[str] = []

    async def call(method: str, **arguments: Any) -> Any:
        answer = await real(method, **arguments)
        if method == "chat.postMessage" and not lost:
            lost.append(method)
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(client, "api_call", call)


async def test_lasting_trouble_is_an_error_not_a_hang() -> None:
    async with stage(clock=HastyClock()) as on:
        await on.bench.control("fault", kind="server_error", method="chat.postMessage", count=None)
        with pytest.raises(ChatError):
            await on.bot.chat.post(OPS, Text("?"), key="k")
        await on.bench.control("clear_faults")
        assert (await on.bot.chat.post(OPS, Text("!"), key="k2")).message_id


async def test_refused_blocks_are_sent_as_plain_text() -> None:
    async with stage(clock=HastyClock()) as on:
        await on.bench.control("fault", kind="error", method="chat.postMessage", count=1, error="invalid_blocks")
        await on.bot.chat.post(OPS, Text("a <b> & c\n" + "word " * 1200), key="k")
        messages = await standing(on)
        assert len(messages) > 1
        assert all(not message.get("blocks") for message in messages)
        assert messages[0]["text"].startswith("a &lt;b&gt; &amp; c")
        assert sum(message["text"].count("word") for message in messages) == 1200
        await on.bench.control("fault", kind="error", method="chat.update", count=1, error="msg_too_long")
        ref = await on.bot.chat.post(OPS, Text("before"), key="k2")
        await on.bot.chat.edit(OPS, ref, Text("after"))
        assert (await standing(on))[-1]["text"] == "after"


async def test_long_answer_arrives_whole_and_in_order() -> None:
    async with stage(clock=HastyClock()) as on:
        asked = await on.bench.person("alice").says("C0OPS", "<@U0BOT> tell all")
        place = Place(TEAM, "C0OPS", asked["ts"])
        numbers = [f"line {n} of the answer" for n in range(2000)]
        await on.bot.chat.post(place, Text("\n".join(numbers)), key="k")
        shown = "\n".join(m["blocks"][0]["text"] for m in await standing(on))
        assert shown.split("\n") == numbers


async def test_long_final_text_of_a_draft_arrives_whole() -> None:
    async with stage(clock=HastyClock()) as on:
        asked = await on.bench.person("alice").says("C0OPS", "<@U0BOT> tell all")
        place = Place(TEAM, "C0OPS", asked["ts"])
        live = await on.bot.chat.live(place, key="k", asker=ALICE)
        numbers = [f"line {n} of the answer" for n in range(1000)]
        await live.show("\n".join(numbers[:3]))
        await live.finish(Text("\n".join(numbers)))
        shown = "\n".join(m["blocks"][0]["text"] for m in await standing(on))
        assert shown.split("\n") == numbers


async def test_draft_in_a_channel_can_be_stopped_and_then_loses_the_button() -> None:
    async with stage(clock=HastyClock()) as on:
        asked = await on.bench.person("alice").says("C0OPS", "<@U0BOT> look")
        place = Place(TEAM, "C0OPS", asked["ts"])
        live = await on.bot.chat.live(place, key="k", asker=ALICE)
        await live.show("looking at ")
        draft = await on.bench.wait_for(lambda m: "looking at" in str(m.get("blocks")))
        await on.bench.person("bob").clicks(draft, "opsbot.stop")
        assert on.handler.accepted[-1].place == place
        await live.finish(Text("Stopped by <@U0BOB>.", trusted=True))
        [final] = await standing(on)
        assert "opsbot.stop" not in str(final)
        assert "<@U0BOB>" in final["blocks"][0]["text"]


async def test_deleted_draft_is_posted_anew() -> None:
    async with stage(clock=HastyClock()) as on:
        asked = await on.bench.person("alice").says("C0OPS", "<@U0BOT> look")
        place = Place(TEAM, "C0OPS", asked["ts"])
        live = await on.bot.chat.live(place, key="k", asker=ALICE)
        await live.show("looking at ")
        draft = await on.bench.wait_for(lambda m: "looking at" in str(m.get("blocks")))
        await on.bot.chat._web.call("chat.delete", {"channel": "C0OPS", "ts": draft["ts"]})
        ref = await live.finish(Text("All is well."))
        assert [m["ts"] for m in await standing(on)] == [ref.message_id]


async def test_direct_message_is_streamed_in_pieces() -> None:
    async with stage(clock=HastyClock()) as on:
        place = await direct_place(on)
        live = await on.bot.chat.live(place, key="k", asker=ALICE)
        text = ""
        for n in range(5):
            text += f"piece {n} "
            await live.show(text)
            await on.bench.wait_for(lambda m, n=n: f"piece {n}" in str(m) and m["channel"] == "D0ALICE")
        ref = await live.finish(Text(text + "end"))
        assert len(await on.calls("chat.startStream")) == 1
        assert len(await on.calls("chat.appendStream")) >= 2
        assert len(await on.calls("chat.stopStream")) == 1
        assert await on.calls("chat.update") == []
        assert await on.bot.chat.find(place, "k") == ref


async def direct_place(on: Stage) -> Place:
    asked = await on.bench.person("alice").says("D0ALICE", "look")
    return Place(TEAM, "D0ALICE", asked["ts"], direct=True)


async def test_expired_stream_is_finished_by_an_edit() -> None:
    async with stage(clock=HastyClock()) as on:
        place = await direct_place(on)
        live = await on.bot.chat.live(place, key="k", asker=ALICE)
        await live.show("the first words ")
        await on.bench.wait_for(lambda m: "first words" in str(m))
        await on.bench.control("clock", advance_s=400)
        ref = await live.finish(Text("the first words and the last"))
        [final] = await standing(on, "D0ALICE")
        assert final["ts"] == ref.message_id
        assert "the first words and the last" in str(final["blocks"])


async def test_refused_stream_becomes_an_edited_message() -> None:
    async with stage(clock=HastyClock()) as on:
        place = await direct_place(on)
        await on.bench.control("fault", kind="error", method="chat.startStream", count=1, error="unknown_method")
        live = await on.bot.chat.live(place, key="k", asker=ALICE)
        await live.show("some ")
        await live.show("some words ")
        await live.finish(Text("some words, then the end"))
        [final] = await standing(on, "D0ALICE")
        assert "then the end" in str(final["blocks"])


async def test_whisper_falls_back_when_the_handle_is_used_up() -> None:
    async with stage(clock=HastyClock()) as on:
        await on.bench.person("alice").command("C0OPS", "/ops hosts")
        handle = on.handler.accepted[0].reply_to
        for n in range(7):
            await on.bot.chat.whisper(OPS, ALICE, Text(f"whisper {n}"), reply_to=handle)
        for n in range(7):
            told = await on.bench.wait_for(lambda m, n=n: f"whisper {n}" in str(m))
            assert told["ephemeral_for"] == "U0ALICE"
        assert len(await on.calls("chat.postEphemeral")) == 2


async def test_handle_that_leads_elsewhere_is_not_used() -> None:
    visits: list[str] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append((await reader.readline()).decode())
        writer.close()

    elsewhere = await asyncio.start_server(visited, "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]
    async with elsewhere, stage(clock=HastyClock()) as on:
        urls = (
            f"http://localhost:{port}/latest",
            "https://slack.com.evil.example/x",
            "file:///etc/passwd",
            "https://[::",
        )
        for url in urls:
            await on.bot.chat.whisper(OPS, ALICE, Text("psst"), reply_to=url)
        assert len(await on.calls("chat.postEphemeral")) == 4
    assert visits == []


async def test_status_is_shown_refreshed_and_cleared() -> None:
    clock = FakeClock()
    async with stage(clock=clock) as on:
        place = await direct_place(on)
        await on.bot.chat.status(place, "is looking…")
        await until_asleep(clock, 90)
        clock.advance(91)
        await until_asleep(clock, 90)
        await on.bot.chat.status(place, "")
        said = [call["status"] for call in await on.calls("assistant.threads.setStatus")]
        assert said == ["is looking…", "is looking…", ""]
        sessions = [call["status"] for call in await on.calls("agents.sessions.setStatus")]
        assert sessions == ["processing", "processing", "active"]


async def test_groups_are_cached_then_usable_for_ten_minutes_then_refused() -> None:
    clock = FakeClock()
    async with stage(clock=clock, groups=["S0SRE"]) as on:
        groups_of = on.bot.directory.groups_of
        assert await groups_of(ALICE) == {"S0SRE"}
        assert await groups_of(BOB) == {"S0SRE"}
        assert len(await on.calls("usergroups.users.list")) == 1
        await on.bench.control("fault", kind="server_error", method="usergroups.users.list", count=None)
        clock.advance(61)
        assert await groups_of(ALICE) == {"S0SRE"}
        clock.advance(600)
        with pytest.raises(ChatError, match="S0SRE"):
            await groups_of(ALICE)


async def test_unknown_group_has_nobody() -> None:
    async with stage(groups=["S0NONE"]) as on:
        assert await on.bot.directory.groups_of(ALICE) == frozenset()


async def test_what_is_queued_is_sent_before_the_end() -> None:
    async with stage(clock=HastyClock()) as on:
        posts = [asyncio.create_task(on.bot.chat.post(OPS, Text(f"n{n}"), key=f"k{n}")) for n in range(8)]
        await asyncio.sleep(0)
        await on.bot.chat.drain()
        assert len(await standing(on)) == 8
        await asyncio.gather(*posts)


async def test_what_cannot_be_sent_before_the_end_is_an_error_not_a_cancellation() -> None:
    async with stage(clock=FakeClock()) as on:
        posts = [asyncio.create_task(on.bot.chat.post(OPS, Text(f"n{n}"), key=f"k{n}")) for n in range(8)]
        await asyncio.wait(posts[:3])
        await on.bot.chat.close()
        ends = await asyncio.gather(*posts, return_exceptions=True)
    assert [type(end) for end in ends[3:]] == [ChatError] * 5
