"""An unmodified slack-bolt app over Socket Mode, in everything people do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from slack_bolt import App
from slack_bolt.adapter.socket_mode.builtin import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from tests.wire.workbench_apps import MANIFEST, actions, app_of, button, client_of, over_socket, record_events
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST) as bench:
        yield bench


async def test_mention_is_answered_in_its_thread(running: RunningWorkbench) -> None:
    app = app_of(running)

    @app.event("app_mention")
    async def on_mention(event: dict[str, Any], say: Any) -> None:
        await say(text=f"heard {event['text']}", thread_ts=event["ts"])

    @app.event("message")
    async def on_message() -> None:
        return

    async with over_socket(running, app):
        asked = await running.person("alice").says(OPS, "@opsbot how is web-1?")
        answer = await running.wait_for(lambda m: m["text"].startswith("heard"))
        root = await running.wait_for(lambda m: m["ts"] == asked["ts"] and m.get("reply_count"))
    assert answer["text"] == "heard <@U0BOT> how is web-1?"
    assert answer["thread_ts"] == asked["ts"]
    assert answer["bot_id"] == "B0OPSBOT"
    assert (root["reply_count"], root["latest_reply"], root["reply_users"]) == (1, answer["ts"], ["U0BOT"])


async def test_mention_in_a_channel_comes_as_two_events_with_one_ts(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    async with over_socket(running, app):
        posted = await running.person("alice").says(OPS, "hi @opsbot & <all> in #general")
        await running.watcher.until(lambda _: len(seen) == 2)
    mention, message = seen
    assert {mention["event"]["type"], message["event"]["type"]} == {"app_mention", "message"}
    assert mention["event"]["ts"] == message["event"]["ts"] == posted["ts"]
    assert mention["event_id"] != message["event_id"]
    assert mention["event"]["text"] == "hi <@U0BOT> &amp; &lt;all&gt; in <#C0GENERAL>"
    parts = mention["event"]["blocks"][0]["elements"][0]["elements"]
    assert [part["type"] for part in parts] == ["text", "user", "text", "channel"]
    assert parts[2]["text"] == " & <all> in "
    assert mention["authorizations"][0]["user_id"] == "U0BOT"


async def test_direct_message_and_thread_reply(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    alice = running.person("alice")
    async with over_socket(running, app):
        root = await alice.says(alice.dm, "hello")
        await alice.says(alice.dm, "more", thread_ts=root["ts"])
        await running.watcher.until(lambda _: len(seen) == 2)
    first, second = sorted((body["event"] for body in seen), key=lambda event: event["ts"])
    assert (first["type"], first["channel_type"], first["channel"]) == ("message", "im", "D0ALICE")
    assert "thread_ts" not in first
    assert second["thread_ts"] == root["ts"]


async def test_channels_without_the_bot_are_silent(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    alice = running.person("alice")
    async with over_socket(running, app):
        await alice.says("C0RANDOM", "@opsbot are you here?")
        await alice.says(alice.dm, "end")
        await running.watcher.until(lambda _: seen)
    assert [body["event"]["text"] for body in seen] == ["end"]


async def test_slash_command_acknowledged_with_text_is_an_ephemeral_message(running: RunningWorkbench) -> None:
    app = app_of(running)
    commands: list[dict[str, Any]] = []

    @app.command("/ops")
    async def on_command(ack: Any, command: dict[str, Any]) -> None:
        commands.append(command)
        await ack("working on it")

    async with over_socket(running, app):
        answer = await running.person("alice").command(OPS, "/ops status web-1 @bob")
        told = await running.wait_for(lambda m: m["text"] == "working on it")
    assert answer["acknowledged"]
    assert told["ephemeral_for"] == "U0ALICE"
    assert (commands[0]["text"], commands[0]["channel_id"], commands[0]["user_id"]) == (
        "status web-1 <@U0BOB|bob>",
        OPS,
        "U0ALICE",
    )
    assert "thread_ts" not in commands[0]


async def test_undeclared_command_is_refused(running: RunningWorkbench) -> None:
    with pytest.raises(AssertionError, match="/other is not declared in the manifest"):
        await running.person("alice").command(OPS, "/other")


@pytest.mark.parametrize(
    ("switched_off", "operation", "body", "reason"),
    [
        ("features", "message", {"channel": "D0ALICE", "text": "hi"}, "Messages tab"),
        ("features", "home", {"tab": "home"}, "Home tab"),
        ("settings", "shortcut", {"callback_id": "incident"}, "interactivity is off"),
    ],
)
async def test_what_the_manifest_does_not_switch_on_is_refused(
    switched_off: str, operation: str, body: dict[str, Any], reason: str
) -> None:
    part = {key: value for key, value in MANIFEST[switched_off].items() if key not in ("app_home", "interactivity")}
    async with running_workbench(manifest={**MANIFEST, switched_off: part}) as running:
        with pytest.raises(AssertionError, match=reason):
            await running.control(operation, user="U0ALICE", **body)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("ask web-1.example.com", "ask <http://web-1.example.com|web-1.example.com>"),
        ("see https://example.com/x?a=1&b=2.", "see <https://example.com/x?a=1&amp;b=2>."),
        ("@here @sre <@U0BOB> me@example.org", "<!here> <!subteam^S0SRE> <@U0BOB> me@example.org"),
        ("a <b> & @nobody #nowhere", "a &lt;b&gt; &amp; @nobody #nowhere"),
    ],
)
async def test_typed_text_is_stored_as_slack_stores_it(running: RunningWorkbench, typed: str, stored: str) -> None:
    await running.person("alice").says(OPS, typed)
    posted = await running.wait_for(lambda m: m["user"] == "U0ALICE")
    assert posted["text"] == stored


async def test_command_nobody_answers_is_reported_to_the_person(running: RunningWorkbench) -> None:
    answer = await running.person("alice").command(OPS, "/ops status")
    notice = await running.watcher.frame(lambda f: f["type"] == "notice")
    assert not answer["acknowledged"]
    assert notice["user"] == "U0ALICE"
    assert "dispatch_failed" in notice["text"]


async def test_button_press_updates_the_card(running: RunningWorkbench) -> None:
    app = app_of(running)
    pressed: list[dict[str, Any]] = []

    @app.action("approve")
    async def on_approve(ack: Any, body: dict[str, Any], client: Any) -> None:
        await ack()
        pressed.append(body)
        text = f"approved by {body['user']['id']} with {body['actions'][0]['value']}"
        await client.chat_update(channel=body["channel"]["id"], ts=body["message"]["ts"], text=text, blocks=[])

    async with over_socket(running, app):
        await client_of(running).chat_postMessage(channel=OPS, text="card", blocks=[actions(button("approve", "42"))])
        card = await running.wait_for(lambda m: m["text"] == "card")
        await running.person("bob").clicks(card, "approve")
        updated = await running.wait_for(lambda m: m["text"].startswith("approved"))
    assert updated["text"] == "approved by U0BOB with 42"
    assert updated["ts"] == card["ts"]
    assert "blocks" not in updated
    assert updated["edited"]["user"] == "U0BOT"
    assert pressed[0]["container"] == {
        "type": "message",
        "message_ts": card["ts"],
        "channel_id": OPS,
        "is_ephemeral": False,
    }
    assert pressed[0]["message"]["blocks"] == card["blocks"]


async def test_ephemeral_is_changed_only_by_its_response_url(running: RunningWorkbench) -> None:
    app = app_of(running)

    @app.action("close")
    async def on_close(ack: Any, body: dict[str, Any], respond: Any) -> None:
        await ack()
        assert "message" not in body
        await respond(text="closed", replace_original=True, blocks=[])

    client = client_of(running)
    async with over_socket(running, app):
        posted = await client.chat_postEphemeral(
            channel=OPS, user="U0CAROL", text="only you", blocks=[actions(button("close"))]
        )
        shown = await running.person("carol").sees(lambda m: m["text"] == "only you")
        history = await client.conversations_history(channel=OPS)
        with pytest.raises(SlackApiError, match="message_not_found"):
            await client.chat_update(channel=OPS, ts=posted["message_ts"], text="changed")
        await running.person("carol").clicks(shown, "close")
        changed = await running.wait_for(lambda m: m["text"] == "closed")
    assert history["messages"] == []
    assert (changed["ts"], changed["ephemeral_for"]) == (posted["message_ts"], "U0CAROL")


async def test_respond_posts_privately_publicly_and_deletes(running: RunningWorkbench) -> None:
    app = app_of(running)

    @app.action("go")
    async def on_go(ack: Any, respond: Any) -> None:
        await ack()
        await respond(text="for you", replace_original=False)
        await respond(text="for all", replace_original=False, response_type="in_channel")
        await respond(delete_original=True)

    async with over_socket(running, app):
        await client_of(running).chat_postMessage(channel=OPS, text="card", blocks=[actions(button("go"))])
        card = await running.wait_for(lambda m: m["text"] == "card")
        await running.person("alice").clicks(card, "go")
        private = await running.wait_for(lambda m: m["text"] == "for you")
        public = await running.wait_for(lambda m: m["text"] == "for all")
        await running.watcher.until(lambda w: (OPS, card["ts"]) not in w.messages)
    assert private["ephemeral_for"] == "U0ALICE"
    assert "ephemeral_for" not in public


async def test_own_messages_are_echoed_and_ignored_by_bolt(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    client = client_of(running)
    async with over_socket(running, app):
        posted = await client.chat_postMessage(channel=OPS, text="one")
        await client.chat_update(channel=OPS, ts=posted["ts"], text="two")
        await client.reactions_add(channel=OPS, timestamp=posted["ts"], name="eyes")
        await client.chat_delete(channel=OPS, ts=posted["ts"])
        await running.person("alice").says(OPS, "end")
        await running.watcher.until(lambda _: any(b["event"].get("text") == "end" for b in seen))
    sent = [entry for entry in await running.log() if entry["kind"] == "events_api"]
    kinds = [(e["body"]["event"]["type"], e["body"]["event"].get("subtype")) for e in sent]
    assert kinds[:4] == [
        ("message", None),
        ("message", "message_changed"),
        ("reaction_added", None),
        ("message", "message_deleted"),
    ]
    assert [body["event"].get("subtype") for body in seen] in ([None], ["message_deleted", None])


async def test_reaction_of_a_person_is_an_event(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    posted = await client_of(running).chat_postMessage(channel=OPS, text="one")
    async with over_socket(running, app):
        await running.control("reaction", user="U0ALICE", channel=OPS, ts=posted["ts"], name="eyes")
        await running.watcher.until(lambda _: seen)
    event = seen[0]["event"]
    assert (event["type"], event["reaction"], event["item_user"]) == ("reaction_added", "eyes", "U0BOT")
    assert event["item"] == {"type": "message", "channel": OPS, "ts": posted["ts"]}


async def test_group_change_and_context_are_events(running: RunningWorkbench) -> None:
    app = app_of(running)
    seen = record_events(app)
    entity = {"type": "slack#/types/channel_id", "value": OPS}
    alice = running.person("alice")
    async with over_socket(running, app):
        await running.control("group", id="S0SRE", users=["U0BOB", "U0DAVE"])
        await running.control("context", user=alice.id, entities=[entity])
        await alice.says(alice.dm, "what about this?")
        await running.control("home", user=alice.id, tab="messages")
        await running.watcher.until(lambda _: len(seen) == 4)
    by_type = {body["event"]["type"]: body["event"] for body in seen}
    assert by_type["subteam_members_changed"]["added_users"] == ["U0DAVE"]
    assert by_type["subteam_members_changed"]["removed_users"] == ["U0ALICE"]
    assert by_type["app_context_changed"]["context"]["entities"] == [entity]
    assert by_type["message"]["app_context"]["entities"] == [entity]
    assert by_type["app_home_opened"]["context"]["entities"] == [entity]
    users = await client_of(running).usergroups_users_list(usergroup="S0SRE")
    assert users["users"] == ["U0BOB", "U0DAVE"]


async def test_shortcuts_arrive_with_their_message(running: RunningWorkbench) -> None:
    app = app_of(running)
    used: list[dict[str, Any]] = []

    @app.message_shortcut("investigate")
    async def on_message_shortcut(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        used.append(body)

    @app.global_shortcut("incident")
    async def on_global_shortcut(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        used.append(body)

    posted = await running.person("bob").says("C0RANDOM", "disk full")
    async with over_socket(running, app):
        place = {"channel": "C0RANDOM", "message_ts": posted["ts"]}
        await running.control("shortcut", user="U0ALICE", callback_id="investigate", **place)
        await running.control("shortcut", user="U0ALICE", callback_id="incident")
    assert used[0]["message"]["text"] == "disk full"
    assert used[0]["channel"] == {"id": "C0RANDOM", "name": "random"}
    assert used[1]["type"] == "shortcut"


async def test_sync_app_with_the_builtin_socket_client(
    running: RunningWorkbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = running.bench
    # The SDK would take a proxy for loopback too, and ignores NO_PROXY.
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)

    def start() -> SocketModeHandler:
        client = WebClient(token=bench.bot_token, base_url=bench.api_url)
        app = App(client=client, signing_secret="unused")

        @app.event("app_mention")
        def on_mention(event: dict[str, Any], say: Any) -> None:
            say(text="sync answer", thread_ts=event["ts"])

        @app.command("/ops")
        def on_command(ack: Any) -> None:
            ack("sync ack")

        handler = SocketModeHandler(app, bench.app_token, ping_interval=5)
        handler.connect()
        return handler

    handler = await asyncio.to_thread(start)
    try:
        await running.wait_online()
        await running.person("alice").says(OPS, "@opsbot hello")
        await running.wait_for(lambda m: m["text"] == "sync answer")
        await running.person("alice").command(OPS, "/ops help")
        told = await running.wait_for(lambda m: m["text"] == "sync ack")
        assert told["ephemeral_for"] == "U0ALICE"
    finally:
        await asyncio.to_thread(handler.close)
