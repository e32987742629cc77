"""Unmodified slack-bolt apps pointed at a workbench, for its wire tests."""

import contextlib
import re
import socket
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from tests.workbench_fixture import RunningWorkbench

MANIFEST: dict[str, Any] = {
    "display_information": {"name": "opsbot"},
    "features": {
        "bot_user": {"display_name": "opsbot"},
        "slash_commands": [{"command": "/ops", "description": "Operate", "usage_hint": "help"}],
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
        }
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
async def over_http(app: AsyncApp, port: int) -> AsyncIterator[None]:
    """Listen with the app on a port of 127.0.0.1, at the path Slack calls."""
    runner = web.AppRunner(app.server(port=port, path="/slack/events").web_app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def button(action_id: str, value: str = "1") -> dict[str, Any]:
    """Return a button."""
    label = {"type": "plain_text", "text": action_id}
    return {"type": "button", "action_id": action_id, "value": value, "text": label}


def actions(*elements: dict[str, Any], block_id: str = "") -> dict[str, Any]:
    """Return an actions block."""
    block = {"type": "actions", "elements": list(elements)}
    return {**block, "block_id": block_id} if block_id else block
