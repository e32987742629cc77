"""The blocks of Block Kit, each with its keys, limits and what may be inside."""

from collections.abc import Mapping
from typing import Any

from slackblocks import _limits as limits

from opsbot.workbench.validation.checks import (
    Check,
    Report,
    anything,
    boolean,
    by_type,
    exactly_one,
    listing,
    needs_any,
    number,
    one_of,
    record,
    string,
)
from opsbot.workbench.validation.elements import BUTTONS, FEEDBACK, IMAGE, IN_ACTIONS, IN_INPUT, IN_SECTION
from opsbot.workbench.validation.objects import (
    BLOCK_ID,
    ICON,
    IMAGE_ELEMENT,
    SLACK_FILE,
    TEXT_MAX,
    URL,
    URL_SOURCE,
    any_text,
    plain_text,
)
from opsbot.workbench.validation.richtext import RICH_TEXT_ELEMENTS


def _block(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    return record(required, {"block_id": BLOCK_ID, **(optional or {})})


_RICH_TEXT = _block({"elements": listing(by_type(RICH_TEXT_ELEMENTS), 10_000)})
_RICH_TEXT_OBJECT = by_type({"rich_text": _RICH_TEXT})

_CELL = by_type(
    {
        "raw_text": record({"text": string(TEXT_MAX)}),
        "raw_number": record({"value": number(-1e300, 1e300, whole=False), "text": string(TEXT_MAX)}),
        "rich_text": _RICH_TEXT,
    }
)
_ROWS = listing(listing(_CELL, limits.TABLE_COLUMNS_MAX_ITEMS), limits.TABLE_ROWS_MAX_ITEMS)
_COLUMN = record({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean})

_TASK_STATES = ("pending", "in_progress", "complete", "error")
_TASK = _block(
    {"task_id": string(255), "title": string(TEXT_MAX)},
    {
        "status": one_of(*_TASK_STATES),
        "details": _RICH_TEXT_OBJECT,
        "output": _RICH_TEXT_OBJECT,
        "sources": listing(URL_SOURCE, 100),
    },
)

_CARD = needs_any(
    _block(
        {},
        {
            "hero_image": by_type(IMAGE),
            "icon": by_type(IMAGE),
            "title": any_text(limits.CARD_TITLE_MAX_LENGTH),
            "subtitle": any_text(limits.CARD_SUBTITLE_MAX_LENGTH),
            "body": any_text(limits.CARD_BODY_MAX_LENGTH),
            "subtext": any_text(limits.CARD_SUBTEXT_MAX_LENGTH),
            "slack_icon": ICON,
            "actions": listing(by_type(BUTTONS), limits.CARD_ACTIONS_MAX_ITEMS),
        },
    ),
    "hero_image",
    "title",
    "body",
    "actions",
)


def _input_block(value: Any, pointer: str, report: Report) -> None:
    _INPUT(value, pointer, report)
    element = value.get("element")
    is_file = isinstance(element, dict) and element.get("type") == "file_input"
    if is_file and value.get("dispatch_action"):
        report.add(f"{pointer}/dispatch_action", "not allowed with file_input")


_INPUT = _block(
    {"label": plain_text(limits.INPUT_LABEL_MAX_LENGTH), "element": by_type(IN_INPUT)},
    {"hint": plain_text(limits.INPUT_HINT_MAX_LENGTH), "optional": boolean, "dispatch_action": boolean},
)

_VIDEO = _block(
    {
        "alt_text": string(limits.VIDEO_ALT_TEXT_MAX_LENGTH),
        "title": plain_text(limits.VIDEO_TITLE_MAX_LENGTH - 1),
        "thumbnail_url": URL,
        "video_url": URL,
    },
    {
        "author_name": string(limits.VIDEO_AUTHOR_NAME_MAX_LENGTH),
        "description": plain_text(limits.VIDEO_DESCRIPTION_MAX_LENGTH),
        "provider_icon_url": URL,
        "provider_name": string(limits.VIDEO_PROVIDER_NAME_MAX_LENGTH),
        "title_url": URL,
    },
)

SIMPLE_BLOCKS: Mapping[str, Check] = {
    "section": needs_any(
        _block(
            {},
            {
                "text": any_text(limits.SECTION_TEXT_MAX_LENGTH),
                "fields": listing(any_text(limits.SECTION_FIELDS_ITEM_MAX_LENGTH), limits.SECTION_FIELDS_MAX_ITEMS),
                "accessory": by_type(IN_SECTION),
                "expand": boolean,
            },
        ),
        "text",
        "fields",
    ),
    "header": _block({"text": plain_text(limits.HEADER_TEXT_MAX_LENGTH)}),
    "divider": _block({}),
    "context": _block(
        {
            "elements": listing(
                by_type(
                    {
                        "image": IMAGE_ELEMENT,
                        "plain_text": record({"text": string(TEXT_MAX)}, {"emoji": boolean}),
                        "mrkdwn": record({"text": string(TEXT_MAX)}, {"verbatim": boolean}),
                    }
                ),
                limits.CONTEXT_ELEMENTS_MAX_ITEMS,
            )
        }
    ),
    "actions": _block({"elements": listing(by_type(IN_ACTIONS), limits.ACTIONS_ELEMENTS_MAX_ITEMS)}),
    "context_actions": _block({"elements": listing(by_type(FEEDBACK), limits.CONTEXT_ACTIONS_ELEMENTS_MAX_ITEMS)}),
    "input": _input_block,
    "image": exactly_one(
        _block(
            {"alt_text": string(limits.IMAGE_ALT_TEXT_MAX_LENGTH)},
            {"image_url": URL, "slack_file": SLACK_FILE, "title": plain_text(limits.IMAGE_TITLE_MAX_LENGTH)},
        ),
        "image_url",
        "slack_file",
    ),
    "rich_text": _RICH_TEXT,
    "markdown": _block({"text": string(limits.MARKDOWN_TEXT_MAX_LENGTH)}),
    "table": _block({"rows": _ROWS}, {"column_settings": listing(_COLUMN, limits.TABLE_COLUMN_SETTINGS_MAX_ITEMS)}),
    "data_table": _block(
        {
            "rows": listing(
                listing(_CELL, limits.DATA_TABLE_COLUMNS_MAX_ITEMS),
                limits.DATA_TABLE_ROWS_MAX_ITEMS,
                limits.DATA_TABLE_ROWS_MIN_ITEMS,
            ),
            "caption": string(TEXT_MAX),
        },
        {
            "page_size": number(limits.DATA_TABLE_PAGE_SIZE_MIN, limits.DATA_TABLE_PAGE_SIZE_MAX),
            "row_header_column_index": number(0, limits.DATA_TABLE_COLUMNS_MAX_ITEMS - 1),
        },
    ),
    "task_card": _TASK,
    "plan": _block(
        {"title": string(TEXT_MAX)},
        {"tasks": listing(by_type({"task_card": _TASK}), limits.PLAN_TASKS_MAX_ITEMS, 0)},
    ),
    "card": _CARD,
    "carousel": _block({"elements": listing(by_type({"card": _CARD}), limits.CAROUSEL_ELEMENTS_MAX_ITEMS)}),
    "alert": _block(
        {"text": any_text(limits.ALERT_TEXT_MAX_LENGTH)},
        {"level": one_of("default", "info", "warning", "error", "success")},
    ),
    "video": _VIDEO,
    "file": _block({"external_id": string(255), "source": one_of("remote")}),
    "call": _block({"call_id": string(255)}, {"api_decoration_available": boolean, "call": anything}),
}

_CONTAINER = exactly_one(
    _block(
        {
            "child_blocks": listing(
                by_type({kind: check for kind, check in SIMPLE_BLOCKS.items() if kind != "alert"}),
                limits.CONTAINER_CHILD_BLOCKS_MAX_ITEMS,
            )
        },
        {
            "title": plain_text(limits.CONTAINER_TITLE_MAX_LENGTH),
            "rich_text_title": _RICH_TEXT_OBJECT,
            "subtitle": any_text(limits.CONTAINER_SUBTITLE_MAX_LENGTH),
            "width": one_of("narrow", "standard", "wide", "full"),
            "icon": by_type(IMAGE),
            "is_collapsible": boolean,
            "default_collapsed": boolean,
            "has_header_divider": boolean,
        },
    ),
    "title",
    "rich_text_title",
)

BLOCKS: Mapping[str, Check] = {**SIMPLE_BLOCKS, "container": _CONTAINER}
