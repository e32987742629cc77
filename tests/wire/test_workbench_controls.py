"""What each kind of control sends when a person uses it, and who may use what."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.wire.workbench_apps import MANIFEST, actions, app_of, button, client_of, over_socket
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"
Json = dict[str, Any]


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST) as bench:
        yield bench


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


OPTIONS = [{"text": plain(value), "value": value} for value in ("web-1", "web-2")]
GROUPS = [{"label": plain("web"), "options": OPTIONS}]
FEEDBACK = {
    "type": "feedback_buttons",
    "positive_button": {"text": plain("Good"), "value": "good"},
    "negative_button": {"text": plain("Bad"), "value": "bad"},
}


async def use(running: RunningWorkbench, block: Json, **given: Any) -> Json:
    """Post one block, use its control `x` as bob, and return the action the app got."""
    app = app_of(running)
    used: list[Json] = []

    @app.action("x")
    async def on_action(ack: Any, action: Json) -> None:
        await ack()
        used.append(action)

    posted = await client_of(running).chat_postMessage(channel=OPS, text="x", blocks=[block])
    message = await running.wait_for(lambda m: m["ts"] == posted["ts"])
    async with over_socket(running, app):
        await running.person("bob").clicks(message, "x", **given)
    return used[0]


@pytest.mark.parametrize(
    ("element", "given", "key", "value"),
    [
        ({"type": "static_select", "options": OPTIONS}, {"selected_option": "web-1"}, "selected_option", OPTIONS[0]),
        ({"type": "static_select", "option_groups": GROUPS}, {"value": "web-2"}, "selected_option", OPTIONS[1]),
        ({"type": "radio_buttons", "options": OPTIONS}, {"selected_option": OPTIONS[1]}, "selected_option", OPTIONS[1]),
        ({"type": "overflow", "options": OPTIONS}, {"selected_option": OPTIONS[0]}, "selected_option", OPTIONS[0]),
        ({"type": "checkboxes", "options": OPTIONS}, {"selected_options": ["web-2"]}, "selected_options", [OPTIONS[1]]),
        ({"type": "checkboxes", "options": OPTIONS}, {"selected_options": []}, "selected_options", []),
        ({"type": "users_select"}, {"selected_user": "U0CAROL"}, "selected_user", "U0CAROL"),
        ({"type": "multi_users_select"}, {"selected_users": ["U0CAROL"]}, "selected_users", ["U0CAROL"]),
        ({"type": "channels_select"}, {"selected_channel": OPS}, "selected_channel", OPS),
        ({"type": "datepicker"}, {"selected_date": "2026-11-22"}, "selected_date", "2026-11-22"),
        ({"type": "timepicker"}, {"selected_time": "23:50"}, "selected_time", "23:50"),
        ({"type": "datetimepicker"}, {"selected_date_time": 1795390000}, "selected_date_time", 1795390000),
    ],
)
async def test_choice_is_sent_under_its_key(
    running: RunningWorkbench, element: Json, given: Json, key: str, value: Any
) -> None:
    action = await use(running, actions({**element, "action_id": "x"}), **given)
    assert action[key] == value
    assert (action["type"], action["action_id"]) == (element["type"], "x")
    assert action["action_ts"]


async def test_feedback_sends_the_chosen_value(running: RunningWorkbench) -> None:
    block = {"type": "context_actions", "elements": [{**FEEDBACK, "action_id": "x"}]}
    assert (await use(running, block, value="bad"))["value"] == "bad"


async def test_feedback_has_two_values_only(running: RunningWorkbench) -> None:
    block = {"type": "context_actions", "elements": [{**FEEDBACK, "action_id": "x"}]}
    with pytest.raises(AssertionError, match="neither of the two"):
        await use(running, block, value="other")


async def test_control_in_a_section_card_or_container(running: RunningWorkbench) -> None:
    pressed = button("x", "7")
    section = {"type": "section", "text": plain("x"), "accessory": pressed}
    card = {"type": "card", "title": plain("x"), "actions": [pressed]}
    container = {"type": "container", "title": plain("x"), "child_blocks": [{"type": "divider"}, actions(pressed)]}
    carousel = {"type": "carousel", "elements": [card]}
    for block in (section, card, container, carousel):
        assert (await use(running, block))["value"] == "7"


async def test_people_use_only_what_they_see(running: RunningWorkbench) -> None:
    client = client_of(running)
    blocks = [actions(button("x"))]
    await client.chat_postEphemeral(channel=OPS, user="U0CAROL", text="secret", blocks=blocks)
    await client.chat_postMessage(channel="D0ALICE", text="private", blocks=blocks)
    for text in ("secret", "private"):
        message = await running.wait_for(lambda m, wanted=text: m["text"] == wanted)
        with pytest.raises(AssertionError, match="U0BOB sees no message"):
            await running.person("bob").clicks(message, "x")


async def test_refused_view_of_an_acknowledgement_is_told(running: RunningWorkbench) -> None:
    app = app_of(running)
    view = {"type": "modal", "callback_id": "c", "title": plain("x"), "blocks": [{"type": "divider"}]}

    @app.command("/ops")
    async def on_command(ack: Any, client: Any, command: Json) -> None:
        await client.views_open(trigger_id=command["trigger_id"], view=view)
        await ack({"response_type": "ephemeral", "blocks": [{"type": "nonsense"}]})

    @app.view("c")
    async def on_submit(ack: Any) -> None:
        await ack(response_action="update", view={**view, "title": plain("x" * 25)})

    async with over_socket(running, app):
        await running.person("bob").command(OPS, "/ops x")
        opened = (await running.watcher.until(lambda w: w.views.get("U0BOB")))[0]
        await running.person("bob").submits(opened, {})
    texts = [f["text"] for f in running.watcher.frames if f["type"] == "notice"]
    assert await running.watcher.frame(lambda f: "acknowledgement was refused: invalid_blocks" in f.get("text", ""))
    assert await running.watcher.frame(lambda f: "view was refused: invalid_arguments" in f.get("text", "")), texts


async def test_view_is_updated_by_its_own_button(running: RunningWorkbench) -> None:
    app = app_of(running)
    view = {"type": "modal", "callback_id": "c", "title": plain("one"), "blocks": [actions(button("next"))]}

    @app.command("/ops")
    async def on_command(ack: Any, client: Any, command: Json) -> None:
        await ack()
        await client.views_open(trigger_id=command["trigger_id"], view=view)

    @app.action("next")
    async def on_next(ack: Any, body: Json, client: Any) -> None:
        await ack()
        shown = body["view"]
        await client.views_update(view_id=shown["id"], hash=shown["hash"], view={**view, "title": plain("two")})

    async with over_socket(running, app):
        await running.person("bob").command(OPS, "/ops x")
        opened = (await running.watcher.until(lambda w: w.views.get("U0BOB")))[0]
        await running.person("bob").clicks_in_view(opened, "next")
        updated = await running.watcher.until(
            lambda w: next((v for v in w.views["U0BOB"] if v["title"]["text"] == "two"), None)
        )
    assert updated["id"] == opened["id"]
    assert updated["hash"] != opened["hash"]
