"""An unmodified slack-bolt app over Socket Mode, in everything people do."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.wire.workbench_apps import MANIFEST, app_of, client_of, over_socket
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
    assert answer["text"] == "heard <@U0BOT> how is web-1?"
    assert answer["thread_ts"] == asked["ts"]
    assert answer["bot_id"] == "B0OPSBOT"


async def test_button_press_updates_the_card(running: RunningWorkbench) -> None:
    app = app_of(running)

    @app.action("approve")
    async def on_approve(ack: Any, body: dict[str, Any], client: Any) -> None:
        await ack()
        text = f"approved by {body['user']['id']} with {body['actions'][0]['value']}"
        await client.chat_update(channel=body["channel"]["id"], ts=body["message"]["ts"], text=text, blocks=[])

    button = {
        "type": "button",
        "action_id": "approve",
        "value": "42",
        "text": {"type": "plain_text", "text": "Approve"},
    }
    async with over_socket(running, app):
        await client_of(running).chat_postMessage(
            channel=OPS, text="card", blocks=[{"type": "actions", "elements": [button]}]
        )
        card = await running.wait_for(lambda m: m["text"] == "card")
        await running.person("bob").clicks(card, "approve")
        updated = await running.wait_for(lambda m: m["text"].startswith("approved"))
    assert updated["text"] == "approved by U0BOB with 42"
    assert updated["ts"] == card["ts"]
    assert "blocks" not in updated
    assert updated["edited"]["user"] == "U0BOT"
