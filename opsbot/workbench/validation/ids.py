"""Give blocks and interactive elements the ids Slack gives them when the app left them out."""

import copy

from opsbot.workbench.ids import Ids
from opsbot.workbench.wire import Json

_INTERACTIVE = frozenset(
    {
        "button",
        "checkboxes",
        "datepicker",
        "datetimepicker",
        "email_text_input",
        "external_select",
        "feedback_buttons",
        "file_input",
        "icon_button",
        "multi_channels_select",
        "multi_conversations_select",
        "multi_external_select",
        "multi_static_select",
        "multi_users_select",
        "number_input",
        "overflow",
        "plain_text_input",
        "radio_buttons",
        "rich_text_input",
        "static_select",
        "timepicker",
        "url_text_input",
        "users_select",
        "conversations_select",
        "channels_select",
        "workflow_button",
    }
)


def assign_ids(blocks: list[Json], ids: Ids) -> list[Json]:
    """Return a copy of `blocks` in which every block has a block_id and every control an action_id."""
    completed = copy.deepcopy(blocks)
    for block in completed:
        _complete_block(block, ids)
    return completed


def _complete_block(block: Json, ids: Ids) -> None:
    if not block.get("block_id"):
        block["block_id"] = ids.next("b")
    for child in (*block.get("child_blocks", ()), *_cards(block)):
        _complete_block(child, ids)
    for element in controls(block):
        if not element.get("action_id"):
            element["action_id"] = ids.next("a")


def controls(block: Json) -> list[Json]:
    """Return the interactive elements directly in one block."""
    singles = [block.get("accessory"), block.get("element")]
    listed = [element for key in ("elements", "actions") for element in block.get(key) or ()]
    candidates = [*singles, *listed]
    return [found for found in candidates if isinstance(found, dict) and found.get("type") in _INTERACTIVE]


def nested_blocks(block: Json) -> list[Json]:
    """Return the blocks inside a block: children of a container, cards of a carousel."""
    return [child for child in (*(block.get("child_blocks") or ()), *_cards(block)) if isinstance(child, dict)]


def _cards(block: Json) -> list[Json]:
    return list(block.get("elements", ())) if block.get("type") == "carousel" else []
