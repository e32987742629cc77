"""Block validation: takes what Slack documents, refuses what it would refuse, and says where."""

import copy
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from opsbot.workbench import Limits
from opsbot.workbench.validation import check_chunks, check_message, check_view
from tests.wire.workbench_apps import client_of
from tests.workbench_fixture import running_workbench

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def rich(text: str) -> Json:
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text, "style": {"bold": True}}]}
    return {"type": "rich_text", "elements": [section]}


def option(value: str) -> Json:
    return {"text": plain(value), "value": value}


BUTTON: Json = {"type": "button", "action_id": "a", "text": plain("Go"), "value": "1", "style": "primary"}
CONFIRM: Json = {"title": plain("Sure?"), "text": mrkdwn("*really*"), "confirm": plain("Yes"), "deny": plain("No")}
SELECT: Json = {"type": "static_select", "action_id": "s", "options": [option("a"), option("b")]}
FEEDBACK: Json = {
    "type": "feedback_buttons",
    "action_id": "f",
    "positive_button": {"text": plain("Good"), "value": "good"},
    "negative_button": {"text": plain("Bad"), "value": "bad"},
}
TASK: Json = {"type": "task_card", "task_id": "1", "title": "look", "status": "complete", "output": rich("done")}
CELL: Json = {"type": "raw_text", "text": "web-1"}
INPUT: Json = {"type": "input", "label": plain("Why"), "element": {"type": "plain_text_input", "action_id": "r"}}

GOOD: dict[str, Json] = {
    "section": {"type": "section", "text": mrkdwn("*hi*"), "accessory": BUTTON},
    "fields": {"type": "section", "fields": [mrkdwn("a"), plain("b")]},
    "header": {"type": "header", "text": plain("Title")},
    "divider": {"type": "divider"},
    "context": {
        "type": "context",
        "elements": [mrkdwn("x"), {"type": "image", "image_url": "https://example.com/i.png", "alt_text": "i"}],
    },
    "actions": {"type": "actions", "block_id": "b", "elements": [{**BUTTON, "confirm": CONFIRM}, SELECT]},
    "overflow": {
        "type": "section",
        "text": plain("x"),
        "accessory": {"type": "overflow", "action_id": "o", "options": [option("a")]},
    },
    "context_actions": {"type": "context_actions", "elements": [FEEDBACK]},
    "input": INPUT,
    "image": {"type": "image", "image_url": "https://example.com/i.png", "alt_text": "i", "title": plain("t")},
    "rich_text": rich("hi"),
    "rich_text_list": {
        "type": "rich_text",
        "elements": [{"type": "rich_text_list", "style": "bullet", "elements": rich("x")["elements"]}],
    },
    "preformatted": {
        "type": "rich_text",
        "elements": [{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "x"}]}],
    },
    "markdown": {"type": "markdown", "text": "**hi**"},
    "table": {
        "type": "table",
        "rows": [[CELL, {"type": "raw_number", "value": 3, "text": "3"}]],
        "column_settings": [{"align": "right"}],
    },
    "task_card": TASK,
    "plan": {"type": "plan", "title": "Plan", "tasks": [{**TASK, "status": "pending"}]},
    "card": {"type": "card", "title": mrkdwn("t"), "body": mrkdwn("b"), "actions": [BUTTON]},
    "carousel": {"type": "carousel", "elements": [{"type": "card", "title": mrkdwn("t")}]},
    "container": {
        "type": "container",
        "title": plain("t"),
        "width": "wide",
        "child_blocks": [{"type": "divider"}, {"type": "actions", "elements": [BUTTON]}],
    },
}


@pytest.mark.parametrize("name", GOOD)
def test_good_block_is_taken(name: str) -> None:
    assert check_message([copy.deepcopy(GOOD[name])], Limits()) == []


def test_good_message_with_many_blocks_is_taken() -> None:
    assert check_message([copy.deepcopy(block) for block in GOOD.values()], Limits()) == []


def many(count: int, **element: Any) -> list[Json]:
    return [{**element, "action_id": f"a{n}"} for n in range(count)]


BAD: dict[str, tuple[Json, str]] = {
    "unknown block": ({"type": "nonsense"}, "/blocks/0"),
    "no type": ({"text": "x"}, "/blocks/0"),
    "unknown key": ({"type": "divider", "colour": "red"}, "/blocks/0/colour"),
    "unknown key in a button": (
        {"type": "actions", "elements": [{**BUTTON, "colour": "red"}]},
        "/blocks/0/elements/0/colour",
    ),
    "section without content": ({"type": "section"}, "/blocks/0"),
    "section text too long": ({"type": "section", "text": mrkdwn("x" * 3001)}, "/blocks/0/text/text"),
    "empty text": ({"type": "section", "text": mrkdwn("")}, "/blocks/0/text/text"),
    "text of the wrong kind": ({"type": "section", "text": "hi"}, "/blocks/0/text"),
    "text no string": ({"type": "section", "text": {"type": "mrkdwn", "text": 5}}, "/blocks/0/text/text"),
    "verbatim on plain_text": (
        {"type": "section", "text": {**plain("x"), "verbatim": True}},
        "/blocks/0/text/verbatim",
    ),
    "eleven fields": ({"type": "section", "fields": [mrkdwn("x")] * 11}, "/blocks/0/fields"),
    "field too long": ({"type": "section", "fields": [mrkdwn("x" * 2001)]}, "/blocks/0/fields/0/text"),
    "header in mrkdwn": ({"type": "header", "text": mrkdwn("x")}, "/blocks/0/text"),
    "header too long": ({"type": "header", "text": plain("x" * 151)}, "/blocks/0/text/text"),
    "no elements": ({"type": "actions", "elements": []}, "/blocks/0/elements"),
    "26 actions": ({"type": "actions", "elements": many(26, type="button", text=plain("x"))}, "/blocks/0/elements"),
    "11 context elements": ({"type": "context", "elements": [mrkdwn("x")] * 11}, "/blocks/0/elements"),
    "button in context": ({"type": "context", "elements": [BUTTON]}, "/blocks/0/elements/0"),
    "text input in actions": (
        {"type": "actions", "elements": [{"type": "plain_text_input", "action_id": "x"}]},
        "/blocks/0/elements/0",
    ),
    "button text too long": (
        {"type": "actions", "elements": [{**BUTTON, "text": plain("x" * 76)}]},
        "/blocks/0/elements/0/text/text",
    ),
    "button text in mrkdwn": (
        {"type": "actions", "elements": [{**BUTTON, "text": mrkdwn("x")}]},
        "/blocks/0/elements/0/text",
    ),
    "button value too long": (
        {"type": "actions", "elements": [{**BUTTON, "value": "x" * 2001}]},
        "/blocks/0/elements/0/value",
    ),
    "button style": ({"type": "actions", "elements": [{**BUTTON, "style": "loud"}]}, "/blocks/0/elements/0/style"),
    "action_id too long": (
        {"type": "actions", "elements": [{**BUTTON, "action_id": "x" * 256}]},
        "/blocks/0/elements/0/action_id",
    ),
    "same action_id twice": ({"type": "actions", "elements": [BUTTON, BUTTON]}, "/blocks/0"),
    "confirm without deny": (
        {"type": "actions", "elements": [{**BUTTON, "confirm": {k: v for k, v in CONFIRM.items() if k != "deny"}}]},
        "/blocks/0/elements/0/confirm",
    ),
    "101 options": (
        {"type": "actions", "elements": [{**SELECT, "options": [option(str(n)) for n in range(101)]}]},
        "/blocks/0/elements/0/options",
    ),
    "options and groups": (
        {"type": "actions", "elements": [{**SELECT, "option_groups": []}]},
        "/blocks/0/elements/0",
    ),
    "option value too long": (
        {"type": "actions", "elements": [{**SELECT, "options": [{"text": plain("a"), "value": "x" * 151}]}]},
        "/blocks/0/elements/0/options/0/value",
    ),
    "6 overflow options": (
        {
            "type": "actions",
            "elements": [{"type": "overflow", "action_id": "o", "options": [option(str(n)) for n in range(6)]}],
        },
        "/blocks/0/elements/0/options",
    ),
    "feedback value missing": (
        {"type": "context_actions", "elements": [{**FEEDBACK, "positive_button": {"text": plain("x")}}]},
        "/blocks/0/elements/0/positive_button",
    ),
    "image without alt": ({"type": "image", "image_url": "https://example.com/i.png"}, "/blocks/0"),
    "image from nowhere": ({"type": "image", "alt_text": "i"}, "/blocks/0"),
    "markdown too long": ({"type": "markdown", "text": "x" * 12_001}, "/blocks/0/text"),
    "101 rows": ({"type": "table", "rows": [[CELL]] * 101}, "/blocks/0/rows"),
    "21 columns": ({"type": "table", "rows": [[CELL] * 21]}, "/blocks/0/rows/0"),
    "odd cell": ({"type": "table", "rows": [[{"type": "mrkdwn", "text": "x"}]]}, "/blocks/0/rows/0/0"),
    "task status": ({**TASK, "status": "finished"}, "/blocks/0/status"),
    "standalone pending task": ({**TASK, "status": "pending"}, "/blocks/0/status"),
    "task status in a plan": (
        {"type": "plan", "title": "p", "tasks": [{**TASK, "status": "finished"}]},
        "/blocks/0/tasks/0/status",
    ),
    "51 tasks": ({"type": "plan", "title": "p", "tasks": [TASK] * 51}, "/blocks/0/tasks"),
    "empty card": ({"type": "card", "subtitle": mrkdwn("x")}, "/blocks/0"),
    "card body too long": ({"type": "card", "body": mrkdwn("x" * 201)}, "/blocks/0/body/text"),
    "11 cards": ({"type": "carousel", "elements": [{"type": "card", "title": mrkdwn("t")}] * 11}, "/blocks/0/elements"),
    "container width": (
        {"type": "container", "title": plain("t"), "width": "huge", "child_blocks": [{"type": "divider"}]},
        "/blocks/0/width",
    ),
    "fault inside a container": (
        {"type": "container", "title": plain("t"), "child_blocks": [{"type": "section"}]},
        "/blocks/0/child_blocks/0",
    ),
    "alert in a message": ({"type": "alert", "text": mrkdwn("x")}, "/blocks/0"),
    "block_id too long": ({"type": "divider", "block_id": "x" * 256}, "/blocks/0/block_id"),
    "list style": (
        {"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "stars", "elements": []}]},
        "/blocks/0/elements/0/style",
    ),
    "unknown rich text part": (
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "mrkdwn", "text": "x"}]}],
        },
        "/blocks/0/elements/0/elements/0",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_block_is_refused_with_its_place(name: str) -> None:
    block, pointer = BAD[name]
    faults = check_message([copy.deepcopy(block)], Limits())
    assert any(fault.endswith(f"[json-pointer:{pointer}]") for fault in faults), faults
    assert all(fault.startswith("[ERROR] ") for fault in faults)


def test_more_than_fifty_blocks_are_refused() -> None:
    assert check_message([{"type": "divider"}] * 50, Limits()) == []
    assert "/blocks]" in check_message([{"type": "divider"}] * 51, Limits())[0]


def test_same_block_id_twice_is_refused() -> None:
    faults = check_message([{"type": "divider", "block_id": "x"}] * 2, Limits())
    assert faults == ["[ERROR] duplicate block_id: x [json-pointer:/blocks]"]


def test_same_action_id_in_two_blocks_is_taken() -> None:
    assert check_message([{"type": "actions", "elements": [copy.deepcopy(BUTTON)]} for _ in range(2)], Limits()) == []


def test_markdown_counts_over_the_whole_message() -> None:
    half = {"type": "markdown", "text": "x" * 6_001}
    assert "12000 characters in total" in check_message([half, dict(half)], Limits())[0]


def test_second_table_is_refused() -> None:
    table = GOOD["table"]
    assert "only one table" in check_message([copy.deepcopy(table), copy.deepcopy(table)], Limits())[0]


MODAL: Json = {"type": "modal", "title": plain("Deny"), "submit": plain("Deny"), "blocks": [INPUT]}
HOME: Json = {"type": "home", "blocks": [GOOD["section"], GOOD["table"]]}
ALERT: Json = {"type": "alert", "text": mrkdwn("careful"), "level": "warning"}


@pytest.mark.parametrize(
    ("view", "surface"), [(MODAL, "modal"), (HOME, "home"), ({**MODAL, "blocks": [ALERT]}, "modal")]
)
def test_good_view_is_taken(view: Json, surface: str) -> None:
    assert check_view(copy.deepcopy(view), surface, Limits()) == []


@pytest.mark.parametrize(
    ("view", "surface", "pointer"),
    [
        ({**MODAL, "title": plain("x" * 25)}, "modal", "/view/title/text"),
        ({key: value for key, value in MODAL.items() if key != "title"}, "modal", "/view"),
        ({key: value for key, value in MODAL.items() if key != "submit"}, "modal", "/view"),
        ({**MODAL, "blocks": []}, "modal", "/view/blocks"),
        ({**MODAL, "blocks": [{"type": "divider"}] * 101}, "modal", "/view/blocks"),
        ({**MODAL, "blocks": [GOOD["markdown"]]}, "modal", "/view/blocks/0"),
        ({**MODAL, "blocks": [GOOD["table"]]}, "modal", "/view/blocks/0"),
        ({**MODAL, "private_metadata": "x" * 3001}, "modal", "/view/private_metadata"),
        ({**MODAL, "colour": "red"}, "modal", "/view/colour"),
        ({**HOME, "submit": plain("x")}, "home", "/view"),
        ({**HOME, "blocks": [ALERT]}, "home", "/view/blocks/0"),
        (MODAL, "home", "/view/type"),
        ({**MODAL, "blocks": "x"}, "modal", "/view/blocks"),
    ],
)
def test_bad_view_is_refused_with_its_place(view: Json, surface: str, pointer: str) -> None:
    faults = check_view(copy.deepcopy(view), surface, Limits())
    assert any(fault.endswith(f"[json-pointer:{pointer}]") for fault in faults), faults


@pytest.mark.parametrize(
    ("chunk", "pointer"),
    [
        ({"type": "shout", "text": "x"}, "/chunks/0"),
        ({"type": "markdown_text", "text": ""}, "/chunks/0/text"),
        ({"type": "markdown_text", "text": "x" * 12_001}, "/chunks/0/text"),
        ({"type": "task_update", "id": "1", "status": "complete"}, "/chunks/0"),
        ({"type": "blocks", "blocks": [{"type": "nonsense"}]}, "/chunks/0/blocks/0"),
    ],
)
def test_bad_chunk_is_refused_with_its_place(chunk: Json, pointer: str) -> None:
    faults = check_chunks([chunk], Limits())
    assert any(fault.endswith(f"[json-pointer:{pointer}]") for fault in faults), faults


async def test_refusal_travels_as_slack_sends_it() -> None:
    async with running_workbench() as running:
        client = client_of(running)
        blocks = [{"type": "divider"}, {"type": "header", "text": mrkdwn("x")}]
        with pytest.raises(SlackApiError) as refused:
            await client.chat_postMessage(channel="C0OPS", text="x", blocks=blocks)
        with pytest.raises(SlackApiError) as refused_view:
            await client.views_publish(user_id="U0BOB", view={"type": "home", "blocks": [{"type": "section"}]})
        await client.api_call("blocks.validate", json={"blocks": [{"type": "divider"}]})
    answer = refused.value.response
    assert answer["error"] == "invalid_blocks"
    assert answer["response_metadata"]["messages"] == ["[ERROR] unsupported type: mrkdwn [json-pointer:/blocks/1/text]"]
    assert refused_view.value.response["error"] == "invalid_arguments"
    assert "[json-pointer:/view/blocks/0]" in refused_view.value.response["response_metadata"]["messages"][0]
