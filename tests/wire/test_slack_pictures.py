"""Charts to Slack: one message in the thread with the figures in words, never twice, and never in the way."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsbot.adapters.charts import NotDrawn
from opsbot.adapters.slack.pictures import Pictures
from opsbot.domain import Actor, Chart, Place, Series
from opsbot.errors import ChatError
from opsbot.workbench.web_api import methods
from tests.fake_clock import FakeClock
from tests.slack_bot import Stage, stage
from tests.wire.test_slack_chat import HastyClock, drive

TEAM = "T0WORKBENCH"
ALICE = Actor(TEAM, "U0ALICE")
AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ASK, COMPLETE = "files.getUploadURLExternal", "files.completeUploadExternal"


class FakePress:
    """Draws nothing; a chart named `bad` cannot be drawn."""

    async def png(self, chart: Chart) -> bytes:
        if chart.title == "bad":
            raise NotDrawn("there are no figures in it yet")
        return b"\x89PNG\r\n\x1a\n" + chart.title.encode()

    def close(self) -> None: ...


def chart(title: str = "h1: memory used") -> Chart:
    return Chart(title, "percent", (Series("h1", ((AT, 40.0), (AT + timedelta(minutes=5), 63.0))),))


async def thread(on: Stage, channel: str = "C0OPS") -> Place:
    ts = (await on.bench.person("alice").says(channel, "since when?"))["ts"]
    return Place(TEAM, channel, ts, channel.startswith("D"))


def fake_press(on: Stage) -> None:
    chat = on.bot.chat
    chat._pictures = Pictures(chat._web, chat._session, FakePress(), chat._is_slacks)  # type: ignore[arg-type]


async def shared(on: Stage, channel: str = "C0OPS") -> list[dict[str, Any]]:
    async with on.bench.session.get(f"{on.bench.url}/_control/state") as response:
        listed = (await response.json())["messages"].get(channel, [])
    return [m for m in sorted(listed, key=lambda m: m["ts"]) if m.get("files")]


async def test_a_drawn_chart_stands_in_the_thread_with_its_figures_in_words() -> None:
    async with stage() as on:
        place = await thread(on)
        on.bot.chat._press._worker.time_limit_s = 50
        await on.bot.chat.pictures(place, [chart()])
        (message,) = await shared(on)
        (file,) = message["files"]
        async with on.bench.session.get(file["url_private"], headers={"Sec-Fetch-Site": "same-origin"}) as response:
            png = await response.read()
    assert message["thread_ts"] == place.thread_id
    assert (file["title"], file["mimetype"]) == ("h1: memory used", "image/png")
    assert file["alt_txt"] == (
        "h1: memory used, 2026-11-22 10:00 to 2026-11-22 10:05 UTC. h1: 63% now, between 40% and 63%."
    )
    assert png.startswith(b"\x89PNG")
    assert len(png) == file["size"]


async def test_three_charts_are_one_message() -> None:
    async with stage() as on:
        fake_press(on)
        await on.bot.chat.pictures(await thread(on), [chart("a"), chart("b"), chart("c")])
        assert [[f["title"] for f in m["files"]] for m in await shared(on)] == [["a", "b", "c"]]
        assert len(await on.calls(COMPLETE)) == 1


async def test_a_private_answers_picture_goes_to_the_persons_direct_messages() -> None:
    async with stage() as on:
        fake_press(on)
        await on.bot.chat.pictures(Place(TEAM, "C0OPS"), [chart("a <!channel>")], to=ALICE)
        (message,) = await shared(on, "D0ALICE")
        (opening,) = [c for c in await on.calls("chat.postMessage") if c["channel"] == "U0ALICE"]
        assert opening["text"] == "You asked in <#C0OPS>: a &lt;!channel&gt;"
        assert message["thread_ts"] != message["ts"]
        assert await shared(on) == []
        note = await on.bench.wait_for(lambda m: m.get("ephemeral_for") == "U0ALICE")
        assert note["text"] == "The chart is in our direct messages."


async def test_a_private_answer_in_direct_messages_stays_there() -> None:
    async with stage() as on:
        fake_press(on)
        place = await thread(on, "D0ALICE")
        await on.bot.chat.pictures(place, [chart()], to=ALICE)
        (message,) = await shared(on, "D0ALICE")
        assert message["thread_ts"] == place.thread_id
        assert await on.calls("chat.postMessage") == []


async def test_what_cannot_be_drawn_is_said_and_the_rest_is_shown() -> None:
    async with stage() as on:
        fake_press(on)
        with pytest.raises(ChatError, match=r"^bad: there are no figures in it yet\.$"):
            await on.bot.chat.pictures(await thread(on), [chart("bad"), chart("good")])
        assert [f["title"] for f in (await shared(on))[0]["files"]] == ["good"]


@pytest.mark.parametrize("method", [ASK, COMPLETE])
async def test_a_missing_scope_is_said_with_its_remedy(method: str) -> None:
    async with stage() as on:
        fake_press(on)
        await on.bench.control("fault", kind="error", method=method, error="missing_scope")
        with pytest.raises(ChatError, match="files:write"):
            await on.bot.chat.pictures(await thread(on), [chart(), chart()])
        assert await shared(on) == []


async def test_an_upload_in_trouble_is_begun_again_and_shown_once() -> None:
    async with stage(clock=HastyClock()) as on:
        fake_press(on)
        await on.bench.control("fault", kind="upload_error", status=503, count=2)
        await on.bot.chat.pictures(await thread(on), [chart()])
        assert len(await shared(on)) == 1
        assert len(await on.calls(ASK)) == 3


async def test_an_upload_that_is_refused_is_not_repeated() -> None:
    async with stage(clock=HastyClock()) as on:
        fake_press(on)
        await on.bench.control("fault", kind="upload_error", status=403)
        with pytest.raises(ChatError, match="HTTP 403"):
            await on.bot.chat.pictures(await thread(on), [chart()])
        assert len(await on.calls(ASK)) == 1


async def test_a_share_without_an_answer_is_never_repeated() -> None:
    async with stage(clock=HastyClock()) as on:
        fake_press(on)
        await on.bench.control("fault", kind="server_error", method=COMPLETE, status=503)
        with pytest.raises(ChatError, match="did not say"):
            await on.bot.chat.pictures(await thread(on), [chart()])
        await on.bot.chat.drain()
        assert len(await on.calls(COMPLETE)) == 1


async def test_a_rate_limit_is_waited_for_and_the_picture_comes_once() -> None:
    clock = FakeClock()
    async with stage(clock=clock) as on:
        fake_press(on)
        place = await thread(on)
        await on.bench.control("fault", kind="ratelimited", method=COMPLETE, retry_after=7)
        await drive(clock, asyncio.ensure_future(on.bot.chat.pictures(place, [chart()])))
        assert len(await shared(on)) == 1
        assert len(await on.calls(COMPLETE)) == 2


async def test_a_picture_that_was_given_up_is_not_shown_later() -> None:
    clock = FakeClock()
    async with stage(clock=clock) as on:
        fake_press(on)
        place = await thread(on)
        chat = on.bot.chat
        await on.bench.control("fault", kind="ratelimited", method=ASK, retry_after=60)
        waiting = asyncio.create_task(chat.pictures(place, [chart()]))
        async with asyncio.timeout(30):
            while not await on.calls(ASK):
                await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        clock.advance(100)
        await chat.drain()
        assert await shared(on) == []


async def test_figures_go_to_slacks_own_address_only(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = "https://files.slack.com.evil.example/upload"
    monkeypatch.setattr(
        methods, "METHODS", {**methods.METHODS, ASK: lambda call: {"upload_url": foreign, "file_id": "F1"}}
    )
    monkeypatch.setattr("opsbot.workbench.web_api.server.METHODS", methods.METHODS)
    async with stage() as on:
        fake_press(on)
        with pytest.raises(ChatError, match="not its own"):
            await on.bot.chat.pictures(await thread(on), [chart()])
        assert await on.calls(COMPLETE) == []
