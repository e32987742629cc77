"""What each Web API method refuses, in Slack's words, and the smaller methods doing their work."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError

from tests.wire.workbench_apps import MANIFEST, client_of
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"
VIEW = {"type": "home", "blocks": [{"type": "divider"}]}


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench() as bench:
        yield bench


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.update", {"channel": OPS, "ts": "1.1", "text": "x"}, "message_not_found"),
        ("chat.update", {"channel": OPS, "text": "x"}, "invalid_arguments"),
        ("chat.postEphemeral", {"channel": OPS, "user": "U0NOBODY", "text": "x"}, "user_not_found"),
        ("chat.postEphemeral", {"channel": "D0ALICE", "user": "U0BOB", "text": "x"}, "user_not_in_channel"),
        ("chat.postEphemeral", {"channel": OPS, "text": "x"}, "invalid_arguments"),
        ("chat.scheduleMessage", {"channel": OPS, "text": "x", "post_at": 99999999999}, "time_too_far"),
        ("chat.scheduleMessage", {"channel": OPS, "text": "x", "post_at": "soon"}, "invalid_arguments"),
        ("chat.unfurl", {"channel": OPS, "ts": "1.1"}, "invalid_arguments"),
        (
            "chat.postMessage",
            {"channel": OPS, "text": "x", "metadata": {"event_payload": {}}},
            "invalid_metadata_format",
        ),
        ("chat.postMessage", {"channel": OPS, "attachments": [{}] * 101}, "too_many_attachments"),
        ("chat.postMessage", {"channel": OPS, "blocks": [1]}, "invalid_arguments"),
        ("chat.startStream", {"channel": "D0ALICE"}, "invalid_arguments"),
        ("chat.startStream", {"channel": "D0ALICE", "thread_ts": "1.1", "task_display_mode": "x"}, "invalid_arguments"),
        ("conversations.history", {"channel": OPS, "cursor": "bad"}, "invalid_cursor"),
        ("conversations.history", {"channel": OPS, "latest": "x"}, "invalid_ts_latest"),
        ("conversations.history", {"channel": OPS, "oldest": "x"}, "invalid_ts_oldest"),
        ("conversations.history", {"channel": "C0RANDOM"}, "not_in_channel"),
        ("conversations.open", {"users": "U0ALICE,U0BOB"}, "user_not_found"),
        ("reactions.add", {"channel": OPS, "timestamp": "1.1", "name": "eyes"}, "message_not_found"),
        ("reactions.add", {"channel": OPS, "timestamp": "1.1", "name": ":"}, "invalid_arguments"),
        ("usergroups.users.list", {"usergroup": "S0NONE"}, "no_such_subteam"),
        ("bots.info", {"bot": "B0OTHER"}, "bot_not_found"),
        ("files.info", {"file": "F0NONE"}, "file_not_found"),
        ("files.getUploadURLExternal", {"filename": "x", "length": 0}, "invalid_arguments"),
        ("files.completeUploadExternal", {"files": []}, "invalid_arguments"),
        ("files.completeUploadExternal", {"files": [{"id": "F0NONE"}]}, "file_not_found"),
        ("views.open", {"trigger_id": "x"}, "invalid_arguments"),
        ("views.open", {"trigger_id": "x", "view": VIEW}, "invalid_arguments"),
        ("views.update", {"view_id": "V0NONE", "view": VIEW}, "not_found"),
        ("views.publish", {"user_id": "U0NOBODY", "view": VIEW}, "user_not_found"),
        ("views.publish", {"user_id": "U0BOB", "view": {**VIEW, "private_metadata": "x" * 250_000}}, "view_too_large"),
        ("assistant.threads.setStatus", {"channel_id": OPS, "thread_ts": "1.1"}, "invalid_arguments"),
        ("assistant.threads.setStatus", {"channel_id": OPS, "status": "x"}, "invalid_arguments"),
        (
            "assistant.threads.setStatus",
            {"channel_id": OPS, "thread_ts": "1.1", "status": "x", "loading_messages": ["x"] * 11},
            "invalid_arguments",
        ),
        ("assistant.threads.setSuggestedPrompts", {"channel_id": "D0BOB", "prompts": []}, "invalid_arguments"),
        ("assistant.threads.setSuggestedPrompts", {"channel_id": "D0BOB", "prompts": [{}]}, "invalid_arguments"),
        ("agents.sessions.setStatus", {"channel_id": OPS, "status": "busy"}, "invalid_arguments"),
        ("agents.sessions.rename", {"channel_id": OPS, "title": "x" * 201}, "title_too_long"),
        ("blocks.validate", {"blocks": [{"type": "nonsense"}]}, "invalid_blocks"),
        ("blocks.validate", {"view": {"type": "modal", "blocks": []}}, "invalid_blocks"),
    ],
)
async def test_method_refuses(running: RunningWorkbench, method: str, arguments: dict[str, Any], error: str) -> None:
    with pytest.raises(SlackApiError) as refused:
        await client_of(running).api_call(method, json=arguments)
    assert refused.value.response["error"] == error


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"{", "application/json", "invalid_json"),
        (b"[]", "application/json", "json_not_object"),
        (b"x", "multipart/form-data; boundary=y", "invalid_form_data"),
    ],
)
async def test_unreadable_bodies_are_refused(running: RunningWorkbench, body: bytes, kind: str, error: str) -> None:
    headers = {"Authorization": f"Bearer {running.bench.bot_token}", "Content-Type": kind}
    async with running.session.post(f"{running.bench.api_url}chat.postMessage", data=body, headers=headers) as response:
        assert (response.status, (await response.json())["error"]) == (200, error)


@pytest.mark.parametrize("as_query", [True, False])
async def test_forms_and_queries_carry_json_text(running: RunningWorkbench, as_query: bool) -> None:
    blocks = json.dumps([{"type": "divider"}])
    fields = {"token": running.bench.bot_token, "channel": OPS, "text": "x", "blocks": blocks, "team_id": "ignored"}
    where: dict[str, Any] = {"params": fields} if as_query else {"data": fields}
    async with running.session.post(f"{running.bench.api_url}chat.postMessage", **where) as response:
        answer = await response.json()
    assert answer["message"]["blocks"][0]["type"] == "divider"


async def test_multipart_arguments_and_joined_lists(running: RunningWorkbench) -> None:
    form = aiohttp.FormData({"token": running.bench.bot_token, "channel_id": OPS, "thread_ts": "1.1", "status": "busy"})
    form.add_field("loading_messages", "one,two", content_type="text/plain")
    async with running.session.post(f"{running.bench.api_url}assistant.threads.setStatus", data=form) as response:
        assert (await response.json())["ok"]
    shown = await running.watcher.frame(lambda f: f["type"] == "status")
    assert shown["loading_messages"] == ["one", "two"]


async def test_who_is_who(running: RunningWorkbench) -> None:
    client = client_of(running)
    names: list[str] = []
    async for page in await client.users_list(limit=2):
        names += [member["name"] for member in page["members"]]
    assert names == ["alice", "bob", "carol", "dave", "opsbot"]
    assert (await client.team_info())["team"]["domain"] == "workbench"
    assert (await client.bots_info(bot="B0OPSBOT"))["bot"]["user_id"] == "U0BOT"
    assert (await client.users_info(user="U0BOT"))["user"]["is_bot"]
    assert (await client.conversations_info(channel=OPS))["channel"]["is_member"]
    assert not (await client.conversations_info(channel="C0RANDOM"))["channel"]["is_member"]
    assert (await client.conversations_open(channel="D0BOB", return_im=True))["channel"]["is_im"]


async def test_titles_and_names_are_kept(running: RunningWorkbench) -> None:
    client = client_of(running)
    await client.agents_sessions_setStatus(channel_id=OPS, thread_ts="1.1", status="processing", title="Disk")
    await client.agents_sessions_rename(channel_id=OPS, thread_ts="1.1", title="Disk on web-1")
    renamed = await running.watcher.frame(lambda f: f["type"] == "session" and f["title"] == "Disk on web-1")
    await client.assistant_threads_setTitle(channel_id=OPS, thread_ts="1.1", title="web-1")
    await running.watcher.frame(lambda f: f["type"] == "session" and f["title"] == "web-1")
    assert renamed["status"] == "processing"
    await running.control("clock", advance_s=3601)
    ended = await running.watcher.frame(lambda f: f["type"] == "session" and f["status"] == "active")
    assert ended["title"] == "web-1"


async def test_message_may_look_like_another_sender(running: RunningWorkbench) -> None:
    posted = await client_of(running).chat_postMessage(channel="#ops", text="x", username="pager", icon_emoji=":bell:")
    assert (posted["message"]["username"], posted["message"]["icon_emoji"]) == ("pager", ":bell:")


async def test_reply_permalink_names_its_thread(running: RunningWorkbench) -> None:
    client = client_of(running)
    root = (await client.chat_postMessage(channel=OPS, text="x"))["ts"]
    reply = (await client.chat_postMessage(channel=OPS, text="y", thread_ts=root))["ts"]
    answer = await client.chat_getPermalink(channel=OPS, message_ts=reply)
    assert answer["permalink"].endswith(f"?thread_ts={root}&cid=C0OPS")
    await client.chat_delete(channel=OPS, ts=reply)
    left = (await client.conversations_replies(channel=OPS, ts=root))["messages"]
    assert ("reply_count" in left[0], len(left)) == (False, 1)


async def test_upload_as_a_form_with_blocks(running: RunningWorkbench) -> None:
    client = client_of(running)
    step = await client.files_getUploadURLExternal(filename="a.txt", length=3)
    async with running.session.post(step["upload_url"], data={"file": io.BytesIO(b"abc")}) as response:
        assert await response.text() == "OK - 3"
    blocks = [{"type": "divider"}]
    await client.api_call(
        "files.completeUploadExternal",
        json={"files": [{"id": step["file_id"]}], "channel_id": OPS, "blocks": blocks},
    )
    shared = await running.wait_for(lambda m: m.get("files"))
    assert shared["blocks"][0]["type"] == "divider"
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await client.files_completeUploadExternal(files=[{"id": step["file_id"]}], channel_id="C0RANDOM")


@pytest.mark.parametrize("path", ["/upload/F0NONE", "/response/R0NONE"])
async def test_unknown_doors_are_404(running: RunningWorkbench, path: str) -> None:
    async with running.session.post(running.url + path, json={"text": "x"}) as response:
        assert response.status == 404


async def test_page_may_show_files_and_nobody_else(running: RunningWorkbench) -> None:
    picture = {"name": "a.png", "content_base64": "iVBORw0KGgo="}
    await running.person("alice").says(OPS, "look", files=[picture])
    url = (await running.wait_for(lambda m: m.get("files")))["files"][0]["url_private"]
    for site, status in (("same-origin", 200), ("cross-site", 403)):
        async with running.session.get(url, headers={"Sec-Fetch-Site": site}) as response:
            assert response.status == status
    with pytest.raises(AssertionError, match="not base64"):
        await running.person("alice").says(OPS, "x", files=[{"name": "a", "content_base64": "?"}])


async def test_home_tab_must_be_declared() -> None:
    features = {**MANIFEST["features"], "app_home": {}}
    async with running_workbench(manifest={**MANIFEST, "features": features}) as running:
        with pytest.raises(SlackApiError, match="not_enabled"):
            await client_of(running).views_publish(user_id="U0BOB", view=VIEW)
