"""Files of people are fetched with the bot's token from Slack's own hosts, bounded, and from nowhere else."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from opsbot.adapters.slack.attachments import SlackAttachments
from opsbot.domain import Attachment, IncomingMessage, Place
from opsbot.errors import ChatError
from opsbot.pictures import MAX_BYTES
from tests.hostile_pictures import encoded, picture
from tests.slack_bot import Stage, stage

TEAM = "T0WORKBENCH"
SHOT = encoded(picture(), "PNG")
FILE = {"name": "shot.png", "mimetype": "image/png", "content_base64": base64.b64encode(SHOT).decode()}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def shown(on: Stage, **where: Any) -> IncomingMessage:
    """A person posts a picture; return the event that the bot took in."""
    before = len(on.handler.accepted)
    await on.bench.person("alice").says(where.pop("channel", "C0OPS"), "<@U0BOT> look", files=[FILE], **where)
    await on.handler.until(lambda handler: len(handler.accepted) > before)
    event = on.handler.accepted[before]
    assert isinstance(event, IncomingMessage)
    return event


async def test_a_picture_in_a_channel_and_in_direct_messages_is_fetched() -> None:
    async with stage() as on:
        for channel in ("C0OPS", "D0ALICE"):
            event = await shown(on, channel=channel)
            (attachment,) = event.files
            assert (attachment.name, attachment.mimetype, attachment.size_bytes) == ("shot.png", "image/png", len(SHOT))
            assert await on.bot.attachments.download(attachment) == SHOT


async def test_files_missing_from_a_mention_are_asked_for() -> None:
    async with stage() as on:
        await on.bench.control("fault", kind="mention_without_files", count=None)
        root = await shown(on)
        assert (root.files, root.files_told) == ((), False)
        (attachment,) = await on.bot.attachments.of_message(root.place, root.message_id)
        reply = await shown(on, thread_ts=root.message_id)
        (other,) = await on.bot.attachments.of_message(reply.place, reply.message_id)
        assert attachment.file_id != other.file_id
        assert await on.bot.attachments.download(other) == SHOT


async def test_pictures_of_a_thread_are_those_that_people_showed_before() -> None:
    async with stage() as on:
        root = await on.bench.person("alice").says("C0OPS", "it is broken", files=[FILE])
        await on.bench.person("bob").says("C0OPS", "here too", thread_ts=root["ts"], files=[FILE])
        called = await on.bench.person("alice").says("C0OPS", "<@U0BOT> why?", thread_ts=root["ts"], files=[FILE])
        place = Place(TEAM, "C0OPS", root["ts"])
        found = await on.bot.attachments.of_thread(place, before=called["ts"])
        assert [each.name for each in found] == ["shot.png", "shot.png"]


async def test_a_file_that_is_only_named_is_asked_for() -> None:
    async with stage() as on:
        (attachment,) = (await shown(on)).files
        assert await on.bot.attachments.download(Attachment(attachment.file_id)) == SHOT


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"status": 404}, "not there any more"),
        ({"status": 403}, "files:read"),
        ({"status": 500}, "did not give it to me"),
        ({"location": "http://127.0.0.1:1/elsewhere"}, "where I do not go"),
    ],
)
async def test_what_slack_does_not_give_is_said(fault: dict[str, object], why: str) -> None:
    async with stage() as on:
        (attachment,) = (await shown(on)).files
        await on.bench.control("fault", kind="download_error", **fault)
        with pytest.raises(ChatError, match=why):
            await on.bot.attachments.download(attachment)


async def test_without_the_scope_slack_shows_a_login_page_and_the_scope_is_named() -> None:
    async with stage() as on:
        (attachment,) = (await shown(on)).files
        manifest = on.bench.bench.workspace.manifest
        object.__setattr__(manifest, "scopes", frozenset(manifest.scopes or ()) - {"files:read"})
        for named in (attachment, Attachment(attachment.file_id)):
            with pytest.raises(ChatError, match="files:read"):
                await on.bot.attachments.download(named)


# --- where the token goes --------------------------------------------------------------------------------------------


@asynccontextmanager
async def files_host(answer: Answer) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A host that gives what the test says; it notes every request."""
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return await answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def give(_: web.Request) -> web.Response:
    return web.Response(body=SHOT, content_type="image/png")


async def test_the_token_goes_to_no_other_address() -> None:
    async with files_host(give) as (elsewhere, asked), stage() as on:
        api = on.bench.bench.api_url.removesuffix("/api/")
        port = elsewhere.rpartition(":")[2]
        for url in (
            f"{elsewhere}/F1",
            f"http://localhost:{port}/F1",
            f"{api.replace('//', '//user@')}/files/F1",
            f"{api.replace('//', '//127.0.0.1@')}/files/F1",
            "https://files.slack.com.evil.example/F1",
            "https://evil.example/files.slack.com",
            "https://files.slack.com@evil.example/F1",
            "https://[::1/F1",
            "file:///etc/passwd",
            "gopher://files.slack.com/1",
            "https://files.slack.com:99999/F1",
        ):
            with pytest.raises(ChatError, match="not one of Slack's own"):
                await on.bot.attachments.download(Attachment("F1", url=url))
        assert asked == []


async def test_a_redirect_is_not_followed() -> None:
    async with files_host(give) as (elsewhere, asked), stage() as on:
        (attachment,) = (await shown(on)).files
        await on.bench.control("fault", kind="download_error", location=f"{elsewhere}/F1")
        with pytest.raises(ChatError, match="302"):
            await on.bot.attachments.download(attachment)
        assert asked == []


@pytest.mark.parametrize(
    ("api_url", "url", "known"),
    [
        ("https://slack.com/api/", "https://files.slack.com/files-pri/T1-F1/a.png", True),
        ("https://slack.com/api/", "https://slack.com/files/F1", True),
        ("https://slack-gov.com/api/", "https://files.slack-gov.com/F1", True),
        ("https://slack.com/api/", "http://files.slack.com/F1", False),
        ("https://slack.com/api/", "https://files.slack.com:8443/F1", False),
        ("https://slack.com/api/", "https://evil.slack.com/F1", False),
        ("https://slack.com/api/", "https://FILES.slack.com/F1", True),
        ("http://127.0.0.1:4000/api/", "https://files.slack.com/F1", False),
    ],
)
def test_slacks_own_hosts_are_that_of_the_api_and_that_of_its_files(api_url: str, url: str, known: bool) -> None:
    attachments = SlackAttachments(None, None, api_url=api_url, token="xoxb-1")  # type: ignore[arg-type]
    assert attachments._is_slacks(url) is known


@asynccontextmanager
async def slack_that_gives(on: Stage, answer: Answer) -> AsyncIterator[tuple[SlackAttachments, Attachment]]:
    """Attachments whose Slack is the test's own host."""
    async with files_host(answer) as (address, _):
        ours = on.bot.attachments
        made = SlackAttachments(ours._web, ours._session, api_url=f"{address}/api/", token="xoxb-1")
        yield made, Attachment("F1", "shot.png", "image/png", 10, f"{address}/F1")


async def test_the_token_is_sent_as_bearer_and_the_bytes_come_back() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return await give(request)

    async with stage() as on, slack_that_gives(on, answer) as (attachments, attachment):
        assert await attachments.download(attachment) == SHOT
    assert seen == ["Bearer xoxb-1"]


async def test_a_file_larger_than_announced_is_cut_off_while_it_comes() -> None:
    sent = 0

    async def without_end(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "image/png"})
        await response.prepare(request)
        for _ in range(800):  # 50 MB
            try:
                await response.write(bytes(65536))
            except ConnectionError:
                break
            sent += 65536
        return response

    async with stage() as on, slack_that_gives(on, without_end) as (attachments, attachment):
        with pytest.raises(ChatError, match="I take up to 10 MB"):
            await attachments.download(attachment)
    assert sent < 3 * MAX_BYTES


async def test_a_file_announced_as_too_large_is_not_read() -> None:
    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(MAX_BYTES + 1), content_type="image/png")

    async with stage() as on, slack_that_gives(on, large) as (attachments, attachment):
        with pytest.raises(ChatError, match="I take up to 10 MB"):
            await attachments.download(attachment)


async def test_a_compressed_answer_is_refused() -> None:
    async def squeezed(_: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "Content-Type": "image/png"}
        return web.Response(body=b"\x1f\x8b" + bytes(100), headers=headers)

    async with stage() as on, slack_that_gives(on, squeezed) as (attachments, attachment):
        with pytest.raises(ChatError, match="compressed"):
            await attachments.download(attachment)


async def test_a_connection_that_breaks_is_told_plainly() -> None:
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"\x89PNG")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with stage() as on, slack_that_gives(on, breaking) as (attachments, attachment):
        with pytest.raises(ChatError, match="could not be fetched from Slack"):
            await asyncio.wait_for(attachments.download(attachment), 60)
