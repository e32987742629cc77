"""Streams, status lines and agent sessions, through the SDK's own stream helper."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError
from slack_sdk.models.messages.chunk import MarkdownTextChunk, PlanUpdateChunk, TaskUpdateChunk

from tests.wire.workbench_apps import MANIFEST, actions, app_of, button, client_of, over_socket, record_events
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"
RECIPIENT = {"recipient_team_id": "T0WORKBENCH", "recipient_user_id": "U0ALICE"}


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST) as bench:
        yield bench


async def test_stream_grows_and_ends_with_blocks(running: RunningWorkbench) -> None:
    client = client_of(running)
    asked = await running.person("alice").says(OPS, "status?")
    stream = await client.chat_stream(channel=OPS, thread_ts=asked["ts"], buffer_size=5, **RECIPIENT)
    await stream.append(markdown_text="**load** ")
    first = await running.wait_for(lambda m: m["text"] == "**load** ")
    await stream.append(markdown_text="is fine")
    await running.wait_for(lambda m: m["text"] == "**load** is fine")
    await stream.stop(blocks=[actions(button("more"))], markdown_text=".")
    last = await running.wait_for(lambda m: m["text"] == "**load** is fine.")
    assert first["streaming"]
    assert first["stream_recipient"] == "U0ALICE"
    assert not last["streaming"]
    assert last["ts"] == stream.ts == first["ts"]
    assert last["blocks"][0]["elements"][0]["action_id"] == "more"
    with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
        await client.chat_appendStream(channel=OPS, ts=stream.ts, markdown_text="late")


async def test_tasks_are_replaced_in_place_and_their_details_grow(running: RunningWorkbench) -> None:
    client = client_of(running)
    alice = running.person("alice")
    asked = await alice.says(alice.dm, "go")
    stream = await client.chat_stream(channel=alice.dm, thread_ts=asked["ts"], task_display_mode="plan")
    await stream.append(
        chunks=[
            PlanUpdateChunk(title="Looking"),
            TaskUpdateChunk(id="1", title="ask web-1", status="in_progress", details="a"),
            MarkdownTextChunk(text="so "),
        ]
    )
    await stream.append(chunks=[TaskUpdateChunk(id="1", title="asked web-1", status="complete", details="b")])
    await stream.append(markdown_text="far")
    await stream.stop()
    done = await running.wait_for(lambda m: m.get("chunks") and not m["streaming"])
    assert done["chunks"] == [
        {"type": "plan_update", "title": "Looking"},
        {"type": "task_update", "id": "1", "title": "asked web-1", "status": "complete", "details": "ab"},
        {"type": "markdown_text", "text": "so far"},
    ]
    assert done["task_display_mode"] == "plan"


async def test_stream_in_a_channel_needs_a_recipient(running: RunningWorkbench) -> None:
    client = client_of(running)
    asked = await running.person("alice").says(OPS, "go")
    with pytest.raises(SlackApiError, match="missing_recipient_user_id"):
        await client.chat_startStream(channel=OPS, thread_ts=asked["ts"])
    with pytest.raises(SlackApiError, match="missing_recipient_team_id"):
        await client.chat_startStream(channel=OPS, thread_ts=asked["ts"], recipient_user_id="U0ALICE")


async def test_stream_expires_and_only_update_still_works(running: RunningWorkbench) -> None:
    client = client_of(running)
    alice = running.person("alice")
    asked = await alice.says(alice.dm, "go")
    started = await client.chat_startStream(channel=alice.dm, thread_ts=asked["ts"], markdown_text="half")
    with pytest.raises(SlackApiError, match="streaming_state_conflict"):
        await client.chat_update(channel=alice.dm, ts=started["ts"], text="too early")
    await running.control("clock", advance_s=300)
    await client.chat_appendStream(channel=alice.dm, ts=started["ts"], markdown_text=" more")
    await running.control("clock", advance_s=7)
    for call in (client.chat_appendStream, client.chat_stopStream):
        with pytest.raises(SlackApiError, match="message_not_in_streaming_state"):
            await call(channel=alice.dm, ts=started["ts"], markdown_text="!")
    await client.chat_update(channel=alice.dm, ts=started["ts"], text="whole")
    updated = await running.wait_for(lambda m: m["text"] == "whole")
    assert "chunks" not in updated


async def test_invalid_chunks_are_refused_with_their_place(running: RunningWorkbench) -> None:
    client = client_of(running)
    alice = running.person("alice")
    asked = await alice.says(alice.dm, "go")
    chunks = [{"type": "task_update", "id": "1", "title": "t", "status": "done"}]
    with pytest.raises(SlackApiError) as refused:
        await client.chat_startStream(channel=alice.dm, thread_ts=asked["ts"], chunks=chunks)
    assert refused.value.response["error"] == "invalid_chunks"
    assert "[json-pointer:/chunks/0/status]" in refused.value.response["response_metadata"]["messages"][0]


async def test_stop_button_ends_the_text_and_tells_the_app(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    client = client_of(running)
    alice = running.person("alice")
    async with over_socket(running, app):
        asked = await alice.says(alice.dm, "go")
        await client.agents_sessions_setStatus(channel_id=alice.dm, thread_ts=asked["ts"], status="processing")
        started = await client.chat_startStream(channel=alice.dm, thread_ts=asked["ts"], markdown_text="half")
        await running.control("stop", user=alice.id, channel=alice.dm, thread_ts=asked["ts"])
        await running.watcher.until(lambda _: any(b["event"]["type"] == "agent_session_stopped" for b in seen))
        with pytest.raises(SlackApiError, match="stopped_by_user"):
            await client.chat_appendStream(channel=alice.dm, ts=started["ts"], markdown_text="more")
        await client.chat_stopStream(channel=alice.dm, ts=started["ts"], session_status="active")
    event = next(b["event"] for b in seen if b["event"]["type"] == "agent_session_stopped")
    assert event["streaming_message_ts"] == [started["ts"]]
    assert event["thread_ts"] == asked["ts"]
    session = await running.watcher.frame(lambda f: f["type"] == "session" and f["status"] == "active")
    assert session["thread_ts"] == asked["ts"]
    with pytest.raises(AssertionError, match="nothing to stop"):
        await running.control("stop", user=alice.id, channel=alice.dm, thread_ts=asked["ts"])


async def test_sessions_warn_without_the_stop_subscription() -> None:
    events = {"bot_events": ["app_mention"]}
    async with running_workbench(manifest={**MANIFEST, "settings": {"event_subscriptions": events}}) as running:
        answer = await client_of(running).agents_sessions_setStatus(channel_id="D0ALICE", status="processing")
    assert answer["warning"] == "missing_agent_session_stopped_event_subscription"


async def statuses(running: RunningWorkbench) -> list[dict[str, Any]]:
    async with running.session.get(f"{running.url}/_control/state") as response:
        found: list[dict[str, Any]] = (await response.json())["statuses"]
    return found


async def test_status_goes_with_a_reply_or_after_two_minutes(running: RunningWorkbench) -> None:
    client = client_of(running)
    asked = await running.person("alice").says(OPS, "go")
    place = {"channel_id": OPS, "thread_ts": asked["ts"]}
    await client.assistant_threads_setStatus(**place, status="is looking", loading_messages=["one", "two"])
    shown = await statuses(running)
    assert (shown[0]["status"], shown[0]["loading_messages"]) == ("is looking", ["one", "two"])
    await client.chat_postMessage(channel=OPS, thread_ts=asked["ts"], text="done")
    assert await statuses(running) == []
    await client.assistant_threads_setStatus(**place, status="again")
    await running.control("clock", advance_s=100)
    assert len(await statuses(running)) == 1
    await running.control("clock", advance_s=25)
    assert await statuses(running) == []


async def test_prompts_are_offered(running: RunningWorkbench) -> None:
    await client_of(running).assistant_threads_setSuggestedPrompts(
        channel_id="D0ALICE", prompts=[{"title": "Status", "message": "how are the hosts?"}]
    )
    offered = await running.watcher.frame(lambda f: f["type"] == "prompts")
    assert offered["prompts"] == [{"title": "Status", "message": "how are the hosts?"}]
