"""Modals, the App Home and external selects over Socket Mode."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError

from opsbot.workbench import Limits
from tests.wire.workbench_apps import MANIFEST, actions, app_of, button, client_of, over_socket
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST) as bench:
        yield bench


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def modal(title: str = "Deny", **more: Any) -> dict[str, Any]:
    block = {
        "type": "input",
        "block_id": "why",
        "label": plain("Why"),
        "element": {"type": "plain_text_input", "action_id": "reason"},
    }
    frame = {"type": "modal", "callback_id": "deny", "title": plain(title), "submit": plain("Deny")}
    return {**frame, "private_metadata": "approval-1", "blocks": [block], **more}


async def open_modal(running: RunningWorkbench, app: Any, view: dict[str, Any]) -> dict[str, Any]:
    @app.command("/ops")
    async def on_command(ack: Any, client: Any, command: dict[str, Any]) -> None:
        await ack()
        await client.views_open(trigger_id=command["trigger_id"], view=view)

    await running.person("bob").command(OPS, "/ops deny")
    opened: dict[str, Any] = (await running.watcher.until(lambda w: w.views.get("U0BOB")))[0]
    return opened


async def test_modal_is_submitted_with_errors_then_closes(running: RunningWorkbench) -> None:
    app = app_of(running)
    bodies: list[dict[str, Any]] = []

    @app.view("deny")
    async def on_submit(ack: Any, body: dict[str, Any]) -> None:
        bodies.append(body)
        reason = body["view"]["state"]["values"]["why"]["reason"]["value"]
        if len(reason) < 3:
            await ack(response_action="errors", errors={"why": "say more"})
        else:
            await ack()

    async with over_socket(running, app):
        view = await open_modal(running, app, modal())
        bob = running.person("bob")
        first = await bob.submits(view, {"why": {"reason": {"type": "plain_text_input", "value": "no"}}})
        shown = await running.watcher.until(lambda w: next((v for v in w.views["U0BOB"] if v.get("errors")), None))
        await bob.submits(view, {"why": {"reason": {"type": "plain_text_input", "value": "too risky"}}})
        await running.watcher.until(lambda w: w.views["U0BOB"] == [])
    assert first["response"]["response_action"] == "errors"
    assert shown["errors"] == {"why": "say more"}
    assert bodies[1]["type"] == "view_submission"
    assert bodies[1]["view"]["private_metadata"] == "approval-1"
    assert bodies[1]["view"]["hash"]


async def test_modal_answers_update_push_and_clear(running: RunningWorkbench) -> None:
    app = app_of(running)
    answers = iter(["update", "push", "clear"])

    @app.view("deny")
    async def on_submit(ack: Any) -> None:
        action = next(answers)
        if action == "clear":
            await ack(response_action="clear")
        else:
            await ack(response_action=action, view=modal(title=action))

    values = {"why": {"reason": {"type": "plain_text_input", "value": "x"}}}
    async with over_socket(running, app):
        bob = running.person("bob")
        await bob.submits(await open_modal(running, app, modal()), values)
        updated = await running.watcher.until(
            lambda w: w.views["U0BOB"][0]["title"]["text"] == "update" and w.views["U0BOB"]
        )
        assert len(updated) == 1
        await bob.submits(updated[0], values)
        pushed = await running.watcher.until(lambda w: len(w.views["U0BOB"]) == 2 and w.views["U0BOB"])
        assert pushed[1]["previous_view_id"] == pushed[1]["root_view_id"] == pushed[0]["id"]
        await bob.submits(pushed[1], values)
        await running.watcher.until(lambda w: w.views["U0BOB"] == [])


async def test_closing_tells_the_app_when_asked_to(running: RunningWorkbench) -> None:
    app = app_of(running)
    closed: list[dict[str, Any]] = []

    @app.view_closed("deny")
    async def on_close(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        closed.append(body)

    async with over_socket(running, app):
        view = await open_modal(running, app, modal(notify_on_close=True))
        await running.control("view_close", user="U0BOB", view_id=view["id"])
    assert closed[0]["view"]["id"] == view["id"]
    assert closed[0]["is_cleared"] is False
    assert running.watcher.views["U0BOB"] == []


class Triggers:
    """An app's button that does nothing but keep the trigger it came with."""

    def __init__(self, running: RunningWorkbench, app: Any) -> None:
        self._running = running
        self._kept: list[str] = []

        @app.action("open")
        async def on_open(ack: Any, body: dict[str, Any]) -> None:
            self._kept.append(body["trigger_id"])
            await ack()

    async def fresh(self) -> str:
        """Press the button and return the trigger."""
        posted = await client_of(self._running).chat_postMessage(
            channel=OPS, text="card", blocks=[actions(button("open"))]
        )
        card = await self._running.wait_for(lambda m: m["ts"] == posted["ts"])
        await self._running.person("bob").clicks(card, "open")
        return self._kept.pop()


async def test_trigger_is_good_once(running: RunningWorkbench) -> None:
    app, client = app_of(running), client_of(running)
    async with over_socket(running, app):
        trigger_id = await Triggers(running, app).fresh()
    await client.views_open(trigger_id=trigger_id, view=modal())
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await client.views_open(trigger_id=trigger_id, view=modal())
    with pytest.raises(SlackApiError, match="invalid_trigger_id"):
        await client.views_open(trigger_id="made.up", view=modal())


async def test_trigger_expires_after_three_seconds() -> None:
    async with running_workbench(manifest=MANIFEST, limits=Limits()) as running:
        app = app_of(running)
        async with over_socket(running, app):
            trigger_id = await Triggers(running, app).fresh()
        await running.control("clock", advance_s=3.1)
        with pytest.raises(SlackApiError, match="expired_trigger_id"):
            await client_of(running).views_open(trigger_id=trigger_id, view=modal())


async def test_injected_expiry_hits_the_next_trigger(running: RunningWorkbench) -> None:
    app = app_of(running)
    async with over_socket(running, app):
        trigger_id = await Triggers(running, app).fresh()
    await running.control("fault", kind="expired_trigger")
    with pytest.raises(SlackApiError, match="expired_trigger_id"):
        await client_of(running).views_open(trigger_id=trigger_id, view=modal())


async def test_stack_holds_three_modals(running: RunningWorkbench) -> None:
    app, client = app_of(running), client_of(running)
    triggers = Triggers(running, app)
    async with over_socket(running, app):
        await client.views_open(trigger_id=await triggers.fresh(), view=modal())
        for _ in range(2):
            await client.views_push(trigger_id=await triggers.fresh(), view=modal())
        with pytest.raises(SlackApiError, match="push_limit_reached"):
            await client.views_push(trigger_id=await triggers.fresh(), view=modal())


async def test_hash_protects_against_a_lost_update(running: RunningWorkbench) -> None:
    client = client_of(running)
    home = {"type": "home", "blocks": [{"type": "section", "text": plain("one")}]}
    first = (await client.views_publish(user_id="U0BOB", view=home))["view"]
    await client.views_publish(user_id="U0BOB", view=home, hash=first["hash"])
    with pytest.raises(SlackApiError, match="hash_conflict"):
        await client.views_publish(user_id="U0BOB", view=home, hash=first["hash"])


async def test_home_tab_is_published_when_opened_and_its_buttons_work(running: RunningWorkbench) -> None:
    app = app_of(running)
    used: list[dict[str, Any]] = []

    @app.event("app_home_opened")
    async def on_home(event: dict[str, Any], client: Any) -> None:
        view = {"type": "home", "blocks": [actions(button("refresh", "all"))]}
        await client.views_publish(user_id=event["user"], view=view)

    @app.action("refresh")
    async def on_refresh(ack: Any, body: dict[str, Any]) -> None:
        await ack()
        used.append(body)

    async with over_socket(running, app):
        await running.control("home", user="U0BOB", tab="home")
        home = await running.watcher.until(lambda w: w.homes.get("U0BOB"))
        await running.person("bob").clicks_in_view(home, "refresh")
    assert used[0]["container"] == {"type": "view", "view_id": home["id"]}
    assert used[0]["actions"][0]["value"] == "all"
    assert "channel" not in used[0]
    assert "response_url" not in used[0]


async def test_external_select_suggests_and_chooses(running: RunningWorkbench) -> None:
    app = app_of(running)
    chosen: list[dict[str, Any]] = []

    @app.options("host")
    async def on_options(ack: Any, payload: dict[str, Any]) -> None:
        await ack(options=[{"text": plain(f"{payload['value']}-1"), "value": "web-1"}])

    @app.action("host")
    async def on_choice(ack: Any, action: dict[str, Any]) -> None:
        await ack()
        chosen.append(action)

    select = {"type": "external_select", "action_id": "host", "min_query_length": 1}
    await client_of(running).chat_postMessage(channel=OPS, text="pick", blocks=[actions(select, block_id="b")])
    message = await running.wait_for(lambda m: m["text"] == "pick")
    place = {"channel": OPS, "message_ts": message["ts"], "block_id": "b", "action_id": "host"}
    async with over_socket(running, app):
        found = await running.control("options", user="U0BOB", value="web", **place)
        await running.control("action", user="U0BOB", selected_option=found["options"][0], **place)
    assert found["options"][0]["text"]["text"] == "web-1"
    assert chosen[0]["selected_option"]["value"] == "web-1"


async def test_static_select_takes_only_its_own_options(running: RunningWorkbench) -> None:
    select = {"type": "static_select", "action_id": "h", "options": [{"text": plain("a"), "value": "a"}]}
    await client_of(running).chat_postMessage(channel=OPS, text="pick", blocks=[actions(select, block_id="b")])
    message = await running.wait_for(lambda m: m["text"] == "pick")
    with pytest.raises(AssertionError, match="not an option"):
        await running.person("bob").clicks(message, "h", selected_option={"value": "b"})
    with pytest.raises(AssertionError, match="no control"):
        await running.control(
            "action", user="U0BOB", channel=OPS, message_ts=message["ts"], block_id="b", action_id="other"
        )
