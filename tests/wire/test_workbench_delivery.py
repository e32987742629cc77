"""Socket Mode as a wire: tickets, connections, acknowledgements, retries, faults of delivery."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from opsbot.workbench import Limits
from tests.wire.workbench_apps import MANIFEST, actions, app_of, button, client_of, over_socket, record_events
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"
_PATIENCE_S = 20.0


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST, limits=Limits()) as bench:
        yield bench


async def ticket_url(running: RunningWorkbench) -> str:
    async with running.session.post(
        f"{running.bench.api_url}apps.connections.open",
        headers={"Authorization": f"Bearer {running.bench.app_token}", "Content-Type": "application/json"},
    ) as response:
        answer = await response.json()
    assert answer["ok"]
    return str(answer["url"])


async def connect(running: RunningWorkbench) -> aiohttp.ClientWebSocketResponse:
    socket = await running.session.ws_connect(await ticket_url(running))
    hello = await receive(socket)
    assert hello["type"] == "hello"
    return socket


async def receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    frame: dict[str, Any] = await socket.receive_json(timeout=_PATIENCE_S)
    return frame


async def acknowledge(socket: aiohttp.ClientWebSocketResponse, frame: dict[str, Any]) -> None:
    await socket.send_json({"envelope_id": frame["envelope_id"]})


async def test_envelope_has_the_documented_keys(running: RunningWorkbench) -> None:
    socket = await connect(running)
    await running.person("alice").says(OPS, "hello")
    frame = await receive(socket)
    assert set(frame) == {
        "envelope_id",
        "type",
        "payload",
        "accepts_response_payload",
        "retry_attempt",
        "retry_reason",
    }
    assert (frame["type"], frame["accepts_response_payload"], frame["retry_attempt"]) == ("events_api", False, 0)
    assert frame["payload"]["type"] == "event_callback"


async def test_ticket_opens_one_connection(running: RunningWorkbench) -> None:
    url = await ticket_url(running)
    await running.session.ws_connect(url)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await running.session.ws_connect(url)
    assert refused.value.status == 403


async def test_bot_token_opens_no_socket(running: RunningWorkbench) -> None:
    async with running.session.post(
        f"{running.bench.api_url}apps.connections.open",
        headers={"Authorization": f"Bearer {running.bench.bot_token}"},
    ) as response:
        assert (await response.json())["error"] == "not_allowed_token_type"


async def test_unacknowledged_event_comes_again_three_times_with_the_same_id(running: RunningWorkbench) -> None:
    socket = await connect(running)
    await running.person("alice").says(OPS, "hello")
    frames = [await receive(socket)]
    for seconds in (3.1, 61, 301):
        await running.control("clock", advance_s=seconds)
        frames.append(await receive(socket))
    assert [frame["retry_attempt"] for frame in frames] == [0, 1, 2, 3]
    assert [frame["retry_reason"] for frame in frames] == ["", "http_timeout", "http_timeout", "http_timeout"]
    assert len({frame["payload"]["event_id"] for frame in frames}) == 1
    assert len({frame["envelope_id"] for frame in frames}) == 4
    await running.control("clock", advance_s=4000)
    await running.person("alice").says(OPS, "next")
    assert (await receive(socket))["payload"]["event"]["text"] == "next"


async def test_acknowledged_event_does_not_come_again(running: RunningWorkbench) -> None:
    socket = await connect(running)
    await running.person("alice").says(OPS, "hello")
    await acknowledge(socket, await receive(socket))
    await running.watcher.frame(lambda f: f["type"] == "log" and f["entry"]["summary"] == "acknowledged")
    await running.control("clock", advance_s=4000)
    await running.person("alice").says(OPS, "next")
    assert (await receive(socket))["payload"]["event"]["text"] == "next"


async def test_acknowledgement_counts_on_any_connection(running: RunningWorkbench) -> None:
    first, second = await connect(running), await connect(running)
    await running.person("alice").says(OPS, "hello")
    readers = {asyncio.create_task(receive(socket)): socket for socket in (first, second)}
    done, waiting = await asyncio.wait(readers, return_when=asyncio.FIRST_COMPLETED, timeout=_PATIENCE_S)
    receiver, other = readers[done.pop()], readers[next(iter(waiting))]
    frame = next(task.result() for task in readers if task.done())
    assert receiver is not other
    await acknowledge(other, frame)
    await running.watcher.frame(lambda f: f["type"] == "log" and f["entry"]["summary"] == "acknowledged")
    for task in waiting:
        task.cancel()


async def test_events_go_round_the_connections(running: RunningWorkbench) -> None:
    sockets = [await connect(running) for _ in range(3)]
    for number in range(3):
        await running.person("alice").says(OPS, f"message {number}")
    frames = [await receive(socket) for socket in sockets]
    assert {frame["payload"]["event"]["text"] for frame in frames} == {"message 0", "message 1", "message 2"}


async def test_eleventh_connection_is_refused(running: RunningWorkbench) -> None:
    held = [await connect(running) for _ in range(10)]
    socket = await running.session.ws_connect(await ticket_url(running))
    frame = await receive(socket)
    assert (frame["type"], frame["reason"]) == ("disconnect", "too_many_websockets")
    assert (await socket.receive(timeout=_PATIENCE_S)).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert not any(other.closed for other in held)


async def test_bolt_comes_back_after_a_disconnect(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    async with over_socket(running, app):
        await running.control("disconnect", reason="refresh_requested")
        await running.watcher.until(lambda w: len([f for f in w.frames if f["type"] == "bot" and f["online"]]) >= 2)
        await running.person("alice").says(OPS, "after the refresh")
        await running.watcher.until(lambda _: seen)
    assert seen[0]["event"]["text"] == "after the refresh"


async def test_work_survives_a_disconnect_in_mid_handler(running: RunningWorkbench) -> None:
    app = app_of(running)

    @app.event("app_mention")
    async def on_mention(event: dict[str, Any], say: Any) -> None:
        await say(text="answer", thread_ts=event["ts"])

    @app.event("message")
    async def on_message() -> None:
        return

    async with over_socket(running, app):
        await running.control("fault", kind="disconnect_on_delivery")
        await running.person("alice").says(OPS, "@opsbot hello")
        await running.wait_for(lambda m: m["text"] == "answer")


async def test_duplicate_delivery_runs_a_listener_twice_with_one_event_id(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    async with over_socket(running, app):
        await running.control("fault", kind="duplicate")
        await running.person("alice").says(OPS, "hello")
        await running.watcher.until(lambda _: len(seen) >= 2)
    assert seen[0]["event_id"] == seen[1]["event_id"]


async def test_dropped_acknowledgement_brings_the_event_again(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    async with over_socket(running, app):
        await running.control("fault", kind="dropped_ack")
        await running.person("alice").says(OPS, "hello")
        await running.watcher.until(lambda _: len(seen) == 1)
        # The acknowledgement must have been taken and thrown away before time moves on.
        while len(seen) < 2:
            await running.control("clock", advance_s=3.1)
    assert seen[0]["event_id"] == seen[1]["event_id"]


async def test_out_of_order_delivery(running: RunningWorkbench) -> None:
    socket = await connect(running)
    await running.control("fault", kind="out_of_order", batch=3)
    for number in range(3):
        await running.person("alice").says(OPS, str(number))
    texts = [(await receive(socket))["payload"]["event"]["text"] for _ in range(3)]
    assert texts == ["2", "1", "0"]


async def test_interaction_without_acknowledgement_times_out_and_is_not_repeated(running: RunningWorkbench) -> None:
    await client_of(running).chat_postMessage(channel=OPS, text="card", blocks=[actions(button("go"))])
    card = await running.wait_for(lambda m: m["text"] == "card")
    socket = await connect(running)
    pressing = asyncio.create_task(running.person("bob").clicks(card, "go"))
    frame = await receive(socket)
    assert (frame["type"], frame["accepts_response_payload"]) == ("interactive", False)
    assert "retry_attempt" not in frame
    await running.control("clock", advance_s=3.1)
    assert (await pressing)["acknowledged"] is False
    notice = await running.watcher.frame(lambda f: f["type"] == "notice")
    assert "operation_timeout" in notice["text"]
    await running.control("clock", advance_s=4000)
    await running.person("alice").says(OPS, "next")
    assert (await receive(socket))["type"] == "events_api"


async def test_ping_payload_is_echoed(running: RunningWorkbench) -> None:
    session = aiohttp.ClientSession(trust_env=False)
    socket = await session.ws_connect(await ticket_url(running), autoping=False)
    assert (await receive(socket))["type"] == "hello"
    await socket.ping(b"sdk-ping-pong:1700000000")
    pong = await socket.receive(timeout=_PATIENCE_S)
    await session.close()
    assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"sdk-ping-pong:1700000000")


async def test_event_waits_for_an_app_that_is_away(running: RunningWorkbench) -> None:
    await running.person("alice").says(OPS, "anybody there?")
    socket = await connect(running)
    await running.control("clock", advance_s=3.1)
    frame = await receive(socket)
    assert (frame["retry_attempt"], frame["retry_reason"]) == (1, "connection_failed")
    assert frame["payload"]["event"]["text"] == "anybody there?"


async def test_plain_close_is_survived(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    async with over_socket(running, app):
        await running.control("disconnect", plainly=True)
        await running.watcher.until(lambda w: len([f for f in w.frames if f["type"] == "bot" and f["online"]]) >= 2)
        await running.person("alice").says(OPS, "after the close")
        await running.watcher.until(lambda _: seen)
    assert seen[0]["event"]["text"] == "after the close"


async def test_first_delivery_may_come_without_a_number() -> None:
    async with running_workbench(manifest=MANIFEST, limits=Limits(first_delivery_is_numbered=False)) as running:
        socket = await connect(running)
        await running.person("alice").says(OPS, "hello")
        assert "retry_attempt" not in await receive(socket)


async def test_undeclared_events_stay_home() -> None:
    events = {"bot_events": ["app_mention"]}
    async with running_workbench(manifest={**MANIFEST, "settings": {"event_subscriptions": events}}) as running:
        socket = await connect(running)
        await running.person("alice").says(OPS, "not for you")
        await running.person("alice").says(OPS, "@opsbot for you")
        frame = await receive(socket)
        log = [entry["name"] for entry in await running.log() if entry["direction"] == "out"]
    assert frame["payload"]["event"]["type"] == "app_mention"
    assert log == ["app_mention"]


async def test_frames_that_are_no_acknowledgement_are_ignored(running: RunningWorkbench) -> None:
    socket = await connect(running)
    for text in ('{"envelope_id": "unknown"}', "[]", "not json", json.dumps({"type": "x"})):
        await socket.send_str(text)
    await running.person("alice").says(OPS, "still here")
    assert (await receive(socket))["payload"]["event"]["text"] == "still here"
