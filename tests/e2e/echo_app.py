"""A small slack-bolt app in Socket Mode, to see the page and the workbench server together."""

import re
from typing import Any

from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncRespond, AsyncSay
from slack_sdk.web.async_client import AsyncWebClient

from opsbot.workbench import Workbench

Json = dict[str, Any]


def card(decided_by: str = "") -> list[Json]:
    """An approval card: open with buttons, or decided."""
    head: list[Json] = [
        {"type": "header", "text": {"type": "plain_text", "text": "Restart demo.service"}},
        {
            "type": "section",
            "fields": [{"type": "mrkdwn", "text": "*Host*\nweb-1"}, {"type": "mrkdwn", "text": "*PID*\n812"}],
        },
    ]
    if decided_by:
        return [*head, {"type": "context", "elements": [{"type": "mrkdwn", "text": f"approved by <@{decided_by}>"}]}]
    approve = {"type": "button", "action_id": "approve", "style": "primary", "value": "a1", "text": _plain("Approve")}
    approve["confirm"] = {
        "title": _plain("Restart?"),
        "text": _plain("Connections will be dropped."),
        "confirm": _plain("Restart"),
        "deny": _plain("Back"),
    }
    why = {"type": "button", "action_id": "why", "value": "a1", "text": _plain("Say why")}
    return [*head, {"type": "actions", "block_id": "decide", "elements": [approve, why]}]


def echo_app(bench: Workbench) -> AsyncSocketModeHandler:
    """Build the app; start it with `connect_async`, end it with `close_async`."""
    client = AsyncWebClient(token=bench.bot_token, base_url=bench.api_url)
    app = AsyncApp(client=client)
    app.event("app_mention")(_mentioned)
    app.event("message")(_direct)
    app.event("app_home_opened")(_home)
    app.command("/ops")(_command)
    app.action("approve")(_approve)
    app.action("why")(_ask_why)
    app.view("reason")(_reason)
    return AsyncSocketModeHandler(app, bench.app_token)


async def _mentioned(event: Json, say: AsyncSay, client: AsyncWebClient) -> None:
    words = re.sub(r"<@[A-Z0-9]+>\s*", "", event["text"])
    thread_ts = event.get("thread_ts") or event["ts"]
    if words.startswith("restart"):
        await say(text="Approval wanted", blocks=card(), thread_ts=thread_ts)
    elif words.startswith("stream"):
        await _stream(client, event, thread_ts)
    else:
        await say(text=f"You said: {words}", thread_ts=thread_ts)


async def _stream(client: AsyncWebClient, event: Json, thread_ts: str) -> None:
    stream = await client.chat_stream(
        channel=event["channel"],
        thread_ts=thread_ts,
        recipient_team_id=event["team"],
        recipient_user_id=event["user"],
        buffer_size=1,
    )
    await stream.append(markdown_text="One **two** ")
    await stream.append(markdown_text="three")
    await stream.stop()


async def _direct(event: Json, say: AsyncSay) -> None:
    if event.get("channel_type") == "im" and "subtype" not in event:
        await say(text=f"Privately: {event['text']}", thread_ts=event["ts"])


async def _home(event: Json, client: AsyncWebClient) -> None:
    if event["tab"] == "home":
        blocks = [{"type": "header", "text": _plain("Your fleet")}]
        await client.views_publish(user_id=event["user"], view={"type": "home", "blocks": blocks})


async def _command(ack: AsyncAck, command: Json) -> None:
    await ack(f"Command heard: {command['text']}")


async def _approve(ack: AsyncAck, body: Json, client: AsyncWebClient, respond: AsyncRespond) -> None:
    await ack()
    user, message = body["user"]["id"], body["message"]
    if user == "U0ALICE":
        await respond(text="You cannot approve your own request.", replace_original=False, response_type="ephemeral")
        return
    await client.chat_update(channel=body["channel"]["id"], ts=message["ts"], text="Done", blocks=card(user))


async def _ask_why(ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
    await ack()
    element = {"type": "plain_text_input", "action_id": "text"}
    block = {"type": "input", "block_id": "why", "label": _plain("Reason"), "element": element}
    place = f"{body['channel']['id']} {body['message'].get('thread_ts', body['message']['ts'])}"
    view = {"type": "modal", "callback_id": "reason", "title": _plain("Why?"), "submit": _plain("Tell")}
    await client.views_open(trigger_id=body["trigger_id"], view={**view, "private_metadata": place, "blocks": [block]})


async def _reason(ack: AsyncAck, view: Json, client: AsyncWebClient) -> None:
    text = view["state"]["values"]["why"]["text"]["value"]
    if len(text) < 5:
        await ack(response_action="errors", errors={"why": "Say a little more."})
        return
    await ack()
    channel, thread_ts = view["private_metadata"].split()
    await client.chat_postMessage(channel=channel, thread_ts=thread_ts, text=f"Reason given: {text}")


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}
