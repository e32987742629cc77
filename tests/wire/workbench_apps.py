"""Unmodified slack-bolt apps pointed at a workbench, for its wire tests."""

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from tests.workbench_fixture import RunningWorkbench, running_workbench

SECRET = "a-signing-secret"

MANIFEST: dict[str, Any] = {
    "display_information": {"name": "opsbot"},
    "features": {
        "app_home": {
            "home_tab_enabled": True,
            "messages_tab_enabled": True,
            "messages_tab_read_only_enabled": False,
        },
        "bot_user": {"display_name": "opsbot"},
        "slash_commands": [{"command": "/ops", "description": "Operate", "usage_hint": "help", "should_escape": True}],
        "shortcuts": [
            {"name": "Investigate", "type": "message", "callback_id": "investigate", "description": "Look into it"},
            {"name": "New incident", "type": "global", "callback_id": "incident", "description": "Open one"},
        ],
    },
    "oauth_config": {
        "scopes": {
            "bot": [
                "app_mentions:read",
                "chat:write",
                "commands",
                "im:history",
                "im:read",
                "im:write",
                "channels:history",
                "channels:read",
                "reactions:write",
                "reactions:read",
                "users:read",
                "users:read.email",
                "usergroups:read",
                "files:write",
                "files:read",
                "assistant:write",
            ]
        }
    },
    "settings": {
        "interactivity": {"is_enabled": True},
        "event_subscriptions": {
            "bot_events": [
                "app_mention",
                "message.im",
                "message.channels",
                "app_home_opened",
                "app_context_changed",
                "agent_session_stopped",
                "reaction_added",
                "subteam_members_changed",
            ]
        },
    },
}


def client_of(running: RunningWorkbench) -> AsyncWebClient:
    """Return the SDK's client with the bot token."""
    # An empty proxy keeps the SDK from taking one out of the environment.
    return AsyncWebClient(token=running.bench.bot_token, base_url=running.bench.api_url, proxy="")


def app_of(running: RunningWorkbench) -> AsyncApp:
    """Return an app that handles nothing yet."""
    return AsyncApp(client=client_of(running), signing_secret=running.bench.signing_secret)


def record_events(app: AsyncApp) -> list[dict[str, Any]]:
    """Make the app take every event; return the list the bodies are collected in."""
    seen: list[dict[str, Any]] = []

    @app.event(re.compile(".*"))
    async def on_event(body: dict[str, Any]) -> None:
        seen.append(body)

    return seen


@contextlib.asynccontextmanager
async def over_socket(running: RunningWorkbench, app: AsyncApp) -> AsyncIterator[AsyncSocketModeHandler]:
    """Connect an app over Socket Mode."""
    handler = AsyncSocketModeHandler(app, running.bench.app_token, ping_interval=5)
    await handler.connect_async()
    await running.wait_online()
    try:
        yield handler
    finally:
        await handler.close_async()


@contextlib.asynccontextmanager
async def over_http(app: AsyncApp, *, wait: bool = True, **arguments: Any) -> AsyncIterator[RunningWorkbench]:
    """Let the app listen on a free port, start a workbench in HTTP mode that calls it, and introduce the two."""
    runner = web.AppRunner(app.server(port=0, path="/slack/events").web_app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    events_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        async with running_workbench(mode="http", events_url=events_url, signing_secret=SECRET, **arguments) as running:
            app.client.base_url = running.bench.api_url
            if wait:
                await running.wait_online()
            yield running
    finally:
        await runner.cleanup()


def http_app(signing_secret: str = SECRET) -> AsyncApp:
    """Return an app for HTTP mode; `over_http` tells it where its Slack is."""
    client = AsyncWebClient(token="xoxb-workbench-bot", base_url="http://127.0.0.1:9/api/", proxy="")
    return AsyncApp(client=client, signing_secret=signing_secret)


def button(action_id: str, value: str = "1") -> dict[str, Any]:
    """Return a button."""
    label = {"type": "plain_text", "text": action_id}
    return {"type": "button", "action_id": action_id, "value": value, "text": label}


def actions(*elements: dict[str, Any], block_id: str = "") -> dict[str, Any]:
    """Return an actions block."""
    block = {"type": "actions", "elements": list(elements)}
    return {**block, "block_id": block_id} if block_id else block
