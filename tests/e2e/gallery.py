"""One of every block and element the page draws."""

from typing import Any

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": True}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def option(text: str) -> Json:
    return {"text": plain(text), "value": f"value-{text}", "description": plain(f"about {text}")}


def section(*elements: Json) -> Json:
    return {"type": "rich_text_section", "elements": list(elements)}


def words(text: str, **style: bool) -> Json:
    return {"type": "text", "text": text, **({"style": style} if style else {})}


CONFIRM = {"title": plain("Sure?"), "text": mrkdwn("*Really*"), "confirm": plain("Do it"), "deny": plain("Leave it")}
BUTTON = {"type": "button", "action_id": "press", "text": plain("Press"), "value": "pressed", "style": "primary"}
OPTIONS = [option("one"), option("two")]
RICH_INLINES = [
    words("bold", bold=True),
    words("code", code=True),
    words("struck", strike=True),
    {"type": "link", "url": "https://example.com/a", "text": "a link"},
    {"type": "user", "user_id": "U0BOB"},
    {"type": "usergroup", "usergroup_id": "S0SRE"},
    {"type": "channel", "channel_id": "C0OPS"},
    {"type": "emoji", "name": "tada"},
    {"type": "date", "timestamp": 1700000000, "format": "{date_num}", "fallback": "then"},
    {"type": "broadcast", "range": "here"},
    {"type": "color", "value": "#aabbcc"},
]
RICH = {
    "type": "rich_text",
    "block_id": "rich",
    "elements": [
        section(*RICH_INLINES),
        {"type": "rich_text_list", "style": "bullet", "elements": [section(words("item"))]},
        {"type": "rich_text_list", "style": "ordered", "indent": 1, "offset": 2, "elements": [section(words("third"))]},
        {"type": "rich_text_preformatted", "elements": [words("line 1\n  line 2")]},
        {"type": "rich_text_quote", "elements": [words("quoted")]},
    ],
}
MARKDOWN = """# Title
**bold** *it* ~~gone~~ `code` [link](https://example.com) <@U0BOB>

- a
  - b
1. first

| h | n |
|---|--:|
| c | 1 |

> quote

```py
x = 1 < 2
```
"""
TASK = {"type": "task_card", "task_id": "t1", "title": "Look", "status": "in_progress", "details": RICH, "output": RICH}
ELEMENTS: list[Json] = [
    BUTTON,
    {"type": "button", "action_id": "ask", "text": plain("Ask first"), "style": "danger", "confirm": CONFIRM},
    {"type": "overflow", "action_id": "more", "options": OPTIONS},
    {"type": "static_select", "action_id": "pick", "placeholder": plain("Pick one"), "options": OPTIONS},
    {"type": "external_select", "action_id": "search", "placeholder": plain("Search"), "min_query_length": 1},
    {"type": "users_select", "action_id": "who", "placeholder": plain("Who")},
    {"type": "channels_select", "action_id": "where", "placeholder": plain("Where")},
    {"type": "conversations_select", "action_id": "talk", "placeholder": plain("Talk")},
    {"type": "multi_static_select", "action_id": "many", "placeholder": plain("Many"), "options": OPTIONS},
    {"type": "multi_external_select", "action_id": "finds", "placeholder": plain("Finds"), "min_query_length": 1},
    {"type": "multi_users_select", "action_id": "people", "placeholder": plain("People")},
    {"type": "checkboxes", "action_id": "boxes", "options": OPTIONS},
    {"type": "radio_buttons", "action_id": "radio", "options": OPTIONS},
    {"type": "datepicker", "action_id": "day", "initial_date": "2026-11-22"},
    {"type": "timepicker", "action_id": "hour", "initial_time": "10:30"},
    {"type": "datetimepicker", "action_id": "moment", "initial_date_time": 1700000000},
    {"type": "icon_button", "action_id": "trash", "icon": "trash", "text": plain("Delete")},
]
FEEDBACK = {
    "type": "feedback_buttons",
    "action_id": "rate",
    "positive_button": {"text": plain("Good"), "value": "up"},
    "negative_button": {"text": plain("Bad"), "value": "down"},
}
INPUTS: list[Json] = [
    {"type": "plain_text_input", "action_id": "line", "placeholder": plain("a line")},
    {"type": "plain_text_input", "action_id": "lines", "multiline": True, "initial_value": "many"},
    {"type": "email_text_input", "action_id": "mail"},
    {"type": "url_text_input", "action_id": "address"},
    {"type": "number_input", "action_id": "number", "is_decimal_allowed": False},
    {"type": "rich_text_input", "action_id": "essay"},
]
CARD = {"type": "card", "title": mrkdwn("Card"), "subtitle": mrkdwn("sub"), "body": mrkdwn("body"), "actions": [BUTTON]}
BLOCKS: list[Json] = [
    {"type": "header", "text": plain("Header")},
    {"type": "section", "text": mrkdwn("*text*"), "fields": [mrkdwn("*a*\n1"), plain("b")], "accessory": BUTTON},
    {
        "type": "section",
        "text": mrkdwn("image"),
        "accessory": {"type": "image", "image_url": "/static/icon.svg", "alt_text": "sign"},
    },
    {"type": "divider"},
    {
        "type": "context",
        "elements": [mrkdwn("note"), {"type": "image", "image_url": "/static/icon.svg", "alt_text": "dot"}],
    },
    {"type": "actions", "block_id": "acts", "elements": ELEMENTS},
    {"type": "context_actions", "block_id": "rates", "elements": [FEEDBACK]},
    *(
        {
            "type": "input",
            "block_id": f"in-{e['action_id']}",
            "label": plain("Label"),
            "hint": plain("hint"),
            "element": e,
        }
        for e in INPUTS
    ),
    {"type": "image", "image_url": "https://example.com/graph.png", "alt_text": "graph", "title": plain("Graph")},
    RICH,
    {"type": "markdown", "text": MARKDOWN},
    {
        "type": "table",
        "column_settings": [{"align": "left"}, {"align": "right", "is_wrapped": True}],
        "rows": [
            [{"type": "raw_text", "text": "Host"}, {"type": "raw_text", "text": "Load"}],
            [RICH, {"type": "raw_number", "value": 1.5, "text": "1.5"}],
        ],
    },
    {
        "type": "data_table",
        "caption": "Data",
        "rows": [[{"type": "raw_text", "text": "A"}], [{"type": "raw_text", "text": "1"}]],
    },
    TASK,
    {
        "type": "plan",
        "title": "Plan",
        "tasks": [TASK | {"status": s} for s in ("pending", "in_progress", "complete", "error")],
    },
    CARD,
    {"type": "carousel", "elements": [CARD, CARD]},
    {
        "type": "container",
        "title": plain("Box"),
        "subtitle": plain("sub"),
        "is_collapsible": True,
        "child_blocks": [{"type": "divider"}],
    },
    {
        "type": "container",
        "rich_text_title": RICH,
        "width": "narrow",
        "has_header_divider": True,
        "child_blocks": [CARD],
    },
    {"type": "alert", "level": "warning", "text": mrkdwn("careful")},
    {"type": "file", "external_id": "F1", "source": "remote"},
    {
        "type": "video",
        "title": plain("Film"),
        "title_url": "https://example.com/v",
        "alt_text": "film",
        "video_url": "https://example.com/v",
        "thumbnail_url": "https://example.com/t.png",
    },
]
VIEW: Json = {
    "id": "V1",
    "type": "modal",
    "hash": "h1",
    "callback_id": "cb",
    "title": plain("Modal"),
    "submit": plain("Send it"),
    "close": plain("Never mind"),
    "blocks": BLOCKS,
    "state": {"values": {}},
}
