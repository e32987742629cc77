"""The Web API answered through the SDK's async client: reading, files, people, errors, faults."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler, AsyncServerErrorRetryHandler
from slack_sdk.webhook.async_client import AsyncWebhookClient

from opsbot.workbench import Channel, World
from tests.wire.workbench_apps import MANIFEST, actions, app_of, button, client_of, over_socket
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST) as bench:
        yield bench


async def test_who_am_i_and_scopes(running: RunningWorkbench) -> None:
    answer = await client_of(running).auth_test()
    assert (answer["user_id"], answer["bot_id"], answer["team_id"]) == ("U0BOT", "B0OPSBOT", "T0WORKBENCH")
    assert "chat:write" in answer.headers["x-oauth-scopes"].split(",")


@pytest.mark.parametrize(
    ("token", "error"),
    [
        ("", "not_authed"),
        ("xoxb-wrong", "invalid_auth"),
        ("xapp-1-A0OPSBOT-workbench", "not_allowed_token_type"),
    ],
)
async def test_tokens_are_checked(running: RunningWorkbench, token: str, error: str) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with running.session.post(f"{running.bench.api_url}users.list", headers=headers) as response:
        assert (response.status, (await response.json())["error"]) == (200, error)


async def test_token_may_be_an_argument(running: RunningWorkbench) -> None:
    form = {"token": running.bench.bot_token, "user": "U0BOB"}
    async with running.session.post(f"{running.bench.api_url}users.info", data=form) as response:
        assert (await response.json())["user"]["name"] == "bob"


async def test_unknown_method_is_http_200(running: RunningWorkbench) -> None:
    async with running.session.post(f"{running.bench.api_url}chat.shout") as response:
        assert (response.status, (await response.json())["error"]) == (200, "unknown_method")


async def test_missing_scope_names_what_is_needed() -> None:
    manifest = {**MANIFEST, "oauth_config": {"scopes": {"bot": ["chat:write"]}}}
    async with running_workbench(manifest=manifest) as running:
        client = client_of(running)
        with pytest.raises(SlackApiError) as refused:
            await client.conversations_replies(channel=OPS, ts="1.1")
        await client.chat_postMessage(channel=OPS, text="allowed")
    assert refused.value.response["error"] == "missing_scope"
    assert refused.value.response["needed"] == "channels:history"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"channel": OPS}, "no_text"),
        ({"channel": OPS, "text": ""}, "no_text"),
        ({"channel": "C0NONE", "text": "x"}, "channel_not_found"),
        ({"channel": "C0RANDOM", "text": "x"}, "not_in_channel"),
        ({"channel": "C0OLD", "text": "x"}, "is_archived"),
        ({"channel": OPS, "text": "x" * 40_001}, "msg_too_long"),
        ({"channel": OPS, "markdown_text": "x" * 12_001}, "msg_too_long"),
        ({"channel": OPS, "markdown_text": "x", "text": "y"}, "markdown_text_conflict"),
        ({"channel": OPS, "text": "x", "thread_ts": "1.000001"}, "thread_not_found"),
        ({"channel": OPS, "text": "x", "metadata": {"event_type": "a"}}, "invalid_metadata_format"),
        ({"channel": OPS, "text": "x", "blocks": [{"type": "nonsense"}]}, "invalid_blocks"),
        ({"channel": OPS, "text": "x", "blocks": "not json"}, "invalid_blocks_format"),
        ({"text": "x"}, "invalid_arguments"),
    ],
)
async def test_post_message_refuses(arguments: dict[str, Any], error: str) -> None:
    world = World()
    archived = Channel("C0OLD", "old", ("U0BOT",), is_archived=True)
    async with running_workbench(world=World(channels=(*world.channels, archived))) as running:
        with pytest.raises(SlackApiError) as refused:
            await client_of(running).api_call("chat.postMessage", json=arguments)
    assert refused.value.response["error"] == error


async def test_people_can_only_be_edited_by_themselves(running: RunningWorkbench) -> None:
    posted = await running.person("alice").says(OPS, "mine")
    client = client_of(running)
    with pytest.raises(SlackApiError, match="cant_update_message"):
        await client.chat_update(channel=OPS, ts=posted["ts"], text="yours")
    with pytest.raises(SlackApiError, match="cant_delete_message"):
        await client.chat_delete(channel=OPS, ts=posted["ts"])


async def test_update_keeps_blocks_unless_told_otherwise(running: RunningWorkbench) -> None:
    client = client_of(running)
    posted = await client.chat_postMessage(channel=OPS, text="one", blocks=[actions(button("a"))])
    kept = await client.chat_update(channel=OPS, ts=posted["ts"], text="two")
    removed = await client.chat_update(channel=OPS, ts=posted["ts"], text="three", blocks=[])
    assert kept["message"]["blocks"] == posted["message"]["blocks"]
    assert posted["message"]["blocks"][0]["block_id"]
    assert "blocks" not in removed["message"]


async def test_history_pages_newest_first_and_hides_replies(running: RunningWorkbench) -> None:
    client = client_of(running)
    roots = [(await client.chat_postMessage(channel=OPS, text=str(n)))["ts"] for n in range(5)]
    await client.chat_postMessage(channel=OPS, text="reply", thread_ts=roots[0])
    texts: list[str] = []
    async for page in await client.conversations_history(channel=OPS, limit=2):
        texts += [message["text"] for message in page["messages"]]
    assert texts == ["4", "3", "2", "1", "0"]
    exact = await client.conversations_history(channel=OPS, latest=roots[2], inclusive=True, limit=1)
    assert [message["ts"] for message in exact["messages"]] == [roots[2]]


async def test_replies_come_oldest_first_with_their_root(running: RunningWorkbench) -> None:
    client = client_of(running)
    root = (await client.chat_postMessage(channel=OPS, text="root"))["ts"]
    replies = [(await client.chat_postMessage(channel=OPS, text=str(n), thread_ts=root))["ts"] for n in range(3)]
    found = await client.conversations_replies(channel=OPS, ts=root)
    later = await client.conversations_replies(channel=OPS, ts=root, oldest=replies[1], inclusive=True)
    nested = await client.chat_postMessage(channel=OPS, text="to a reply", thread_ts=replies[0])
    assert [message["text"] for message in found["messages"]] == ["root", "0", "1", "2"]
    assert [message["text"] for message in later["messages"]] == ["root", "1", "2"]
    assert nested["message"]["thread_ts"] == root
    with pytest.raises(SlackApiError, match="thread_not_found"):
        await client.conversations_replies(channel=OPS, ts="1.000001")


async def test_metadata_is_read_only_when_asked_for(running: RunningWorkbench) -> None:
    client = client_of(running)
    metadata = {"event_type": "approval", "event_payload": {"id": "a1"}}
    root = (await client.chat_postMessage(channel=OPS, text="card", metadata=metadata))["ts"]
    without = await client.conversations_history(channel=OPS)
    with_it = await client.conversations_replies(channel=OPS, ts=root, include_all_metadata=True)
    assert "metadata" not in without["messages"][0]
    assert with_it["messages"][0]["metadata"] == metadata


async def test_people_channels_and_groups(running: RunningWorkbench) -> None:
    client = client_of(running)
    found = await client.users_lookupByEmail(email="bob@example.com")
    groups = await client.usergroups_list(include_users=True)
    channels = await client.conversations_list(types="public_channel,im", limit=2)
    direct = await client.conversations_open(users="U0CAROL")
    members: list[str] = []
    async for page in await client.conversations_members(channel=OPS, limit=2):
        members += page["members"]
    assert found["user"]["id"] == "U0BOB"
    assert {g["handle"]: g["users"] for g in groups["usergroups"]}["sre"] == ["U0ALICE", "U0BOB"]
    assert channels["response_metadata"]["next_cursor"]
    assert direct["channel"]["id"] == "D0CAROL"
    assert members == ["U0ALICE", "U0BOB", "U0CAROL", "U0DAVE", "U0BOT"]
    assert (await client.conversations_info(channel="D0CAROL"))["channel"]["user"] == "U0CAROL"
    with pytest.raises(SlackApiError, match="users_not_found"):
        await client.users_lookupByEmail(email="nobody@example.com")
    with pytest.raises(SlackApiError, match="user_not_found"):
        await client.users_info(user="U0NOBODY")


async def test_posting_to_a_person_reaches_the_direct_message(running: RunningWorkbench) -> None:
    posted = await client_of(running).chat_postMessage(channel="U0ALICE", text="psst")
    assert posted["channel"] == "D0ALICE"


async def test_reactions_are_counted_and_taken_back(running: RunningWorkbench) -> None:
    client = client_of(running)
    ts = (await client.chat_postMessage(channel=OPS, text="x"))["ts"]
    await client.reactions_add(channel=OPS, timestamp=ts, name="eyes")
    with pytest.raises(SlackApiError, match="already_reacted"):
        await client.reactions_add(channel=OPS, timestamp=ts, name="eyes")
    found = await client.reactions_get(channel=OPS, timestamp=ts)
    await client.reactions_remove(channel=OPS, timestamp=ts, name="eyes")
    with pytest.raises(SlackApiError, match="no_reaction"):
        await client.reactions_remove(channel=OPS, timestamp=ts, name="eyes")
    assert found["message"]["reactions"] == [{"name": "eyes", "users": ["U0BOT"], "count": 1}]


async def test_upload_in_three_steps_and_download_with_the_token(running: RunningWorkbench) -> None:
    client = client_of(running)
    root = (await client.chat_postMessage(channel=OPS, text="report follows"))["ts"]
    answer = await client.files_upload_v2(
        channel=OPS, thread_ts=root, filename="report.md", content="# all well", initial_comment="here"
    )
    shared = await running.wait_for(lambda m: m.get("files"))
    url = shared["files"][0]["url_private"]
    async with running.session.get(url) as refused:
        assert refused.status == 403
    async with running.session.get(url, headers={"Authorization": f"Bearer {running.bench.bot_token}"}) as response:
        assert await response.read() == b"# all well"
    assert answer["files"][0]["title"]
    assert (shared["text"], shared["thread_ts"]) == ("here", root)
    assert (await client.files_info(file=shared["files"][0]["id"]))["file"]["size"] == 10


async def test_file_of_a_person_comes_with_the_mention_unless_the_fault_is_on(running: RunningWorkbench) -> None:
    app = app_of(running)
    mentions: list[dict[str, Any]] = []

    @app.event("app_mention")
    async def on_mention(event: dict[str, Any]) -> None:
        mentions.append(event)

    @app.event("message")
    async def on_message() -> None:
        return

    picture = {"name": "graph.png", "mimetype": "image/png", "content_base64": "iVBORw0KGgo="}
    async with over_socket(running, app):
        await running.person("alice").says(OPS, "@opsbot look", files=[picture])
        await running.watcher.until(lambda _: len(mentions) == 1)
        await running.control("fault", kind="mention_without_files")
        posted = await running.person("alice").says(OPS, "@opsbot look again", files=[picture])
        await running.watcher.until(lambda _: len(mentions) == 2)
    assert mentions[0]["files"][0]["mimetype"] == "image/png"
    assert "files" not in mentions[1]
    again = await client_of(running).conversations_history(channel=OPS, latest=posted["ts"], inclusive=True, limit=1)
    assert again["messages"][0]["files"][0]["name"] == "graph.png"


async def response_url(running: RunningWorkbench) -> str:
    app = app_of(running)
    urls: list[str] = []

    @app.command("/ops")
    async def on_command(ack: Any, command: dict[str, Any]) -> None:
        await ack()
        urls.append(command["response_url"])

    async with over_socket(running, app):
        await running.person("alice").command(OPS, "/ops status")
    return urls[0]


async def test_response_url_is_good_five_times(running: RunningWorkbench) -> None:
    webhook = AsyncWebhookClient(await response_url(running), proxy="")
    answers = [await webhook.send(text=str(n)) for n in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert "used_url" in answers[5].body


async def test_response_url_is_good_for_half_an_hour(running: RunningWorkbench) -> None:
    webhook = AsyncWebhookClient(await response_url(running), proxy="")
    await running.control("clock", advance_s=1801)
    answer = await webhook.send(text="late")
    assert (answer.status_code, "expired_url" in answer.body) == (404, True)


async def test_injected_failure_of_a_response_url_is_not_counted(running: RunningWorkbench) -> None:
    webhook = AsyncWebhookClient(await response_url(running), proxy="")
    await running.control("fault", kind="response_url_error", status=503)
    answers = [await webhook.send(text=str(n)) for n in range(6)]
    assert [answer.status_code for answer in answers] == [503] + [200] * 5


async def test_response_url_refuses_faulty_blocks(running: RunningWorkbench) -> None:
    webhook = AsyncWebhookClient(await response_url(running), proxy="")
    answer = await webhook.send(text="x", blocks=[{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}])
    assert (answer.status_code, "invalid_blocks" in answer.body) == (400, True)


async def test_permalink_names_the_message(running: RunningWorkbench) -> None:
    client = client_of(running)
    ts = (await client.chat_postMessage(channel=OPS, text="x"))["ts"]
    answer = await client.chat_getPermalink(channel=OPS, message_ts=ts)
    assert answer["permalink"] == f"{running.url}/archives/C0OPS/p{ts.replace('.', '')}"


async def test_scheduled_message_appears_when_its_time_comes(running: RunningWorkbench) -> None:
    client = client_of(running)
    now = (await running.control("clock"))["now"]
    await client.chat_scheduleMessage(channel=OPS, text="later", post_at=int(now) + 600)
    assert (await client.conversations_history(channel=OPS))["messages"] == []
    await running.control("clock", advance_s=601)
    await running.wait_for(lambda m: m["text"] == "later")
    with pytest.raises(SlackApiError, match="time_in_past"):
        await client.chat_scheduleMessage(channel=OPS, text="too late", post_at=int(now))


async def test_unfurl_attaches_a_preview(running: RunningWorkbench) -> None:
    client = client_of(running)
    async with running_workbench() as open_bench:
        posted = await open_bench.person("alice").says(OPS, "see https://example.com/x")
        await client_of(open_bench).chat_unfurl(
            channel=OPS, ts=posted["ts"], unfurls={"https://example.com/x": {"text": "preview"}}
        )
        shown = await open_bench.wait_for(lambda m: m.get("attachments"))
    assert shown["attachments"][0]["text"] == "preview"
    with pytest.raises(SlackApiError, match="missing_scope"):
        await client.chat_unfurl(channel=OPS, ts="1.1", unfurls={"https://example.com": {"text": "x"}})


# Faults


async def test_rate_limit_is_a_429_with_retry_after_that_the_sdk_honours(running: RunningWorkbench) -> None:
    await running.control("fault", kind="ratelimited", method="chat.postMessage", count=1, retry_after=1)
    client = client_of(running)
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(channel=OPS, text="x")
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "1"
    await running.control("fault", kind="ratelimited", method="chat.postMessage", count=1, retry_after=1)
    patient = client_of(running)
    patient.retry_handlers = [AsyncRateLimitErrorRetryHandler(max_retry_count=1)]
    started = time.monotonic()
    await patient.chat_postMessage(channel=OPS, text="x")
    assert time.monotonic() - started >= 0.9


async def test_server_errors_come_as_asked_for(running: RunningWorkbench) -> None:
    await running.control("fault", kind="server_error", method="chat.update", count=2, status=503)
    client = client_of(running)
    posted = await client.chat_postMessage(channel=OPS, text="other methods work")
    async with running.session.post(f"{running.bench.api_url}chat.update") as response:
        assert response.status == 503
    client.retry_handlers = [AsyncServerErrorRetryHandler(max_retry_count=1)]
    await client.chat_update(channel=OPS, ts=posted["ts"], text="after one retry")


@pytest.mark.parametrize("error", ["missing_scope", "channel_not_found", "is_archived", "internal_error"])
async def test_any_error_code_can_be_injected_once(running: RunningWorkbench, error: str) -> None:
    await running.control("fault", kind="error", method="chat.postMessage", error=error)
    client = client_of(running)
    with pytest.raises(SlackApiError, match=error):
        await client.chat_postMessage(channel=OPS, text="x")
    await client.chat_postMessage(channel=OPS, text="x")


async def test_revoked_token_stays_revoked_until_cleared(running: RunningWorkbench) -> None:
    await running.control("fault", kind="revoked_token", count=None)
    client = client_of(running)
    for _ in range(3):
        with pytest.raises(SlackApiError, match="token_revoked"):
            await client.auth_test()
    await running.control("clear_faults")
    await client.auth_test()


async def test_slow_answer(running: RunningWorkbench) -> None:
    await running.control("fault", kind="slow", method="auth.test", seconds=30)
    client = client_of(running)
    slow = asyncio.create_task(client.auth_test())
    await client.users_info(user="U0BOB")
    assert not slow.done()
    slow.cancel()


async def test_one_message_per_second_and_channel(running: RunningWorkbench) -> None:
    await running.control("fault", kind="channel_rate", count=None)
    client = client_of(running)
    await client.chat_postMessage(channel=OPS, text="1")
    await client.chat_postMessage(channel="C0GENERAL", text="1")
    with pytest.raises(SlackApiError, match="ratelimited"):
        # Far less than a second can pass for real; the third post must come at once.
        await asyncio.gather(*(client.chat_postMessage(channel=OPS, text=str(n)) for n in range(3)))
    await running.control("clock", advance_s=1.1)
    await client.chat_postMessage(channel=OPS, text="2")


async def test_tiers_limit_calls_per_minute(running: RunningWorkbench) -> None:
    await running.control("fault", kind="tiers", count=None)
    client = client_of(running)
    for _ in range(20):
        await client.usergroups_list()
    with pytest.raises(SlackApiError) as refused:
        await client.usergroups_list()
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 60
    await running.control("clock", advance_s=61)
    await client.usergroups_list()


async def test_reset_forgets_messages_and_the_log_tells_what_happened(running: RunningWorkbench) -> None:
    await client_of(running).chat_postMessage(channel=OPS, text="x")
    entry = next(e for e in await running.log() if e["name"] == "chat.postMessage")
    assert (entry["direction"], entry["kind"], entry["body"]["text"]) == ("in", "api", "x")
    assert entry["response"]["ok"]
    assert "token" not in entry["body"]
    await running.control("reset")
    assert await running.log() == []
    await running.watcher.until(lambda w: not w.messages)
