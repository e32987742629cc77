"""An unmodified slack-bolt app over HTTP: signatures, retries, every kind of request."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from opsbot.workbench import Limits, Workbench
from opsbot.workbench.http_mode import sign
from tests.wire.workbench_apps import MANIFEST, actions, button, client_of, http_app, over_http, record_events
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"


async def test_mention_command_and_button() -> None:
    app = http_app()

    @app.event("app_mention")
    async def on_mention(event: dict[str, Any], client: Any) -> None:
        await client.chat_postMessage(channel=OPS, text="card", thread_ts=event["ts"], blocks=[actions(button("go"))])

    @app.event("message")
    async def on_message() -> None:
        return

    @app.command("/ops")
    async def on_command(ack: Any, command: dict[str, Any]) -> None:
        await ack(f"command {command['text']}")

    @app.action("go")
    async def on_go(ack: Any, respond: Any) -> None:
        await ack()
        await respond(text="pressed", replace_original=True)

    async with over_http(app, manifest=MANIFEST) as running:
        asked = await running.person("alice").says(OPS, "@opsbot go")
        card = await running.wait_for(lambda m: m["text"] == "card")
        await running.person("bob").clicks(card, "go")
        changed = await running.wait_for(lambda m: m["text"] == "pressed")
        await running.person("alice").command(OPS, "/ops status")
        told = await running.wait_for(lambda m: m["text"] == "command status")
    assert card["thread_ts"] == asked["ts"]
    assert changed["ts"] == card["ts"]
    assert told["ephemeral_for"] == "U0ALICE"


async def test_failing_app_is_called_again_with_retry_headers() -> None:
    app = http_app()
    headers: list[dict[str, Any]] = []
    event_ids: list[str] = []

    @app.middleware
    async def remember(req: Any, body: dict[str, Any], next_: Any) -> Any:
        if body.get("type") == "event_callback":
            headers.append(req.headers)
            event_ids.append(body["event_id"])
        return await next_()

    async with over_http(app, manifest=MANIFEST, limits=Limits(ack_timeout_s=20.0)) as running:
        # No listener: Bolt answers 404, as to a request nobody handles.
        await running.person("alice").says(OPS, "hello")
        await running.watcher.until(lambda _: len(headers) == 1)
        for seconds, count in ((4, 2), (61, 3), (301, 4)):
            await running.control("clock", advance_s=seconds)
            await running.watcher.until(lambda _, n=count: len(headers) >= n)
        await running.control("clock", advance_s=4000)
    assert len(set(event_ids)) == 1
    assert [h.get("x-slack-retry-num") for h in headers] == [None, ["1"], ["2"], ["3"]]
    assert headers[1]["x-slack-retry-reason"] == ["http_error"]


async def test_wrong_secret_never_comes_online() -> None:
    app = http_app("another-secret")
    async with over_http(app, manifest=MANIFEST, wait=False) as running:
        answer = await running.control("verify")
    assert answer["verified"] is False


@pytest.mark.parametrize(
    ("secret", "age_s", "status"),
    [("a-signing-secret", 0, 200), ("other", 0, 401), ("a-signing-secret", 301, 401), ("a-signing-secret", 290, 200)],
)
async def test_signature_is_what_bolt_checks(secret: str, age_s: int, status: int) -> None:
    app = http_app()
    seen = record_events(app)
    async with over_http(app, manifest=MANIFEST) as running:
        event = {"type": "message", "channel": OPS, "user": "U0ALICE", "text": "x", "ts": "1.000001"}
        body = json.dumps({"type": "event_callback", "team_id": "T", "event": event, "event_id": "Ev1"}).encode()
        timestamp = str(int(time.time()) - age_s)
        headers = {
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": sign(secret, timestamp, body),
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(running.bench.events_url, data=body, headers=headers) as response,
        ):
            assert response.status == status
        if status == 200:
            await running.watcher.until(lambda _: seen)


class RawApp:
    """An app that answers events as told, and keeps their headers."""

    def __init__(self, answer: Callable[[], Awaitable[web.Response]]) -> None:
        self._answer = answer
        self.headers: list[Any] = []

    async def serve(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if body["type"] == "url_verification":
            return web.json_response({"challenge": body["challenge"]})
        self.headers.append(request.headers)
        return await self._answer()


@contextlib.asynccontextmanager
async def raw(answer: Callable[[], Awaitable[web.Response]]) -> AsyncIterator[tuple[RawApp, RunningWorkbench]]:
    served = RawApp(answer)
    application = web.Application()
    application.router.add_post("/events", served.serve)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/events"
    try:
        async with running_workbench(mode="http", events_url=url, limits=Limits()) as running:
            await running.wait_online()
            yield served, running
    finally:
        await runner.cleanup()


async def test_silent_app_is_called_again_for_a_timeout() -> None:
    never = asyncio.Event()

    async def silent() -> web.Response:
        await never.wait()
        return web.Response()

    async with raw(silent) as (served, running):
        await running.person("alice").says(OPS, "hello")
        await running.watcher.until(lambda _: len(served.headers) == 1)
        await running.control("clock", advance_s=3.1)
        await running.watcher.frame(lambda f: f["type"] == "log" and "retry 1" in f["entry"]["summary"])
        await running.control("clock", advance_s=70)
        await running.watcher.frame(lambda f: f["type"] == "log" and "retry 2" in f["entry"]["summary"])
        never.set()
    reasons = {headers.get("X-Slack-Retry-Reason") for headers in served.headers[1:]}
    assert reasons == {"http_timeout"}


async def test_app_may_refuse_retries() -> None:
    async def refusing() -> web.Response:
        return web.Response(status=500, headers={"X-Slack-No-Retry": "1"})

    async with raw(refusing) as (served, running):
        await running.person("alice").says(OPS, "hello")
        await running.watcher.frame(lambda f: f["type"] == "log" and f["entry"]["summary"] == "http_error")
        await running.control("clock", advance_s=4000)
        await running.person("alice").says(OPS, "next")
        await running.watcher.until(lambda _: len(served.headers) == 2)
    assert not any("X-Slack-Retry-Num" in headers for headers in served.headers)


async def test_plain_text_acknowledgement_is_an_ephemeral_message() -> None:
    app = http_app()

    @app.command("/ops")
    async def on_command(ack: Any) -> None:
        await ack("just text")

    async with over_http(app, manifest=MANIFEST) as running:
        await running.person("alice").command(OPS, "/ops x")
        told = await running.wait_for(lambda m: m["text"] == "just text")
    assert told["ephemeral_for"] == "U0ALICE"


async def test_app_that_is_not_there_is_reported() -> None:
    async with running_workbench(mode="http", events_url="http://127.0.0.1:9/slack/events") as running:
        answer = await running.person("alice").command(OPS, "/ops x")
        notice = await running.watcher.frame(lambda f: f["type"] == "notice")
        assert running.bench.environment["SLACK_SIGNING_SECRET"]
    assert answer["acknowledged"] is False
    assert "dispatch_failed" in notice["text"]


async def test_socket_mode_is_off_in_http_mode() -> None:
    app = http_app()
    async with over_http(app, manifest=MANIFEST) as running:
        client = client_of(running)
        answer = await running.session.post(
            f"{client.base_url}apps.connections.open",
            headers={"Authorization": f"Bearer {running.bench.app_token}"},
        )
        assert (await answer.json())["error"] == "socket_mode_disabled"


def test_http_mode_needs_a_url() -> None:
    with pytest.raises(ValueError, match="events_url"):
        Workbench(mode="http")
