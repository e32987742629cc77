"""Finding the control a person used, and what using it sends."""

from collections.abc import Callable, Mapping
from typing import Any

from opsbot.workbench.validation import controls, nested_blocks
from opsbot.workbench.wire import ControlError, Json

_SINGLE = {
    "static_select": "selected_option",
    "external_select": "selected_option",
    "radio_buttons": "selected_option",
    "overflow": "selected_option",
    "multi_static_select": "selected_options",
    "multi_external_select": "selected_options",
    "checkboxes": "selected_options",
    "users_select": "selected_user",
    "multi_users_select": "selected_users",
    "conversations_select": "selected_conversation",
    "multi_conversations_select": "selected_conversations",
    "channels_select": "selected_channel",
    "multi_channels_select": "selected_channels",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
    "datetimepicker": "selected_date_time",
    "rich_text_input": "rich_text_value",
    "file_input": "files",
}


def find_control(blocks: list[Json], block_id: str, action_id: str) -> Json:
    """Return the element with its `block_id` added. Raises ControlError when it is not there."""
    for block in blocks:
        for element in controls(block):
            if block.get("block_id") == block_id and element.get("action_id") == action_id:
                return {**element, "block_id": block_id}
        if nested_blocks(block):
            try:
                return find_control(nested_blocks(block), block_id, action_id)
            except ControlError:
                # It may still be in a later block; the error is raised again when it is in none.
                continue
    raise ControlError(f"no control {action_id!r} in block {block_id!r}")


def used_control(element: Json, given: Json, action_ts: str) -> Json:
    """Return one entry of `actions`: what pressing or choosing sends. Raises ControlError on an impossible choice."""
    kind = element["type"]
    action: Json = {key: element[key] for key in ("type", "action_id", "block_id", "text", "style") if key in element}
    action["action_ts"] = action_ts
    if kind in ("button", "icon_button", "workflow_button"):
        return action | ({"value": element["value"]} if "value" in element else {})
    if kind == "feedback_buttons":
        return action | _feedback(element, given)
    key = _SINGLE.get(kind, "value")
    chosen = given.get(key, given.get("value"))
    if key in _CHOSEN and not kind.endswith("external_select"):
        chosen = _CHOSEN[key](element, chosen)
    return action | {key: chosen}


def _feedback(element: Json, given: Json) -> Json:
    for name in ("positive_button", "negative_button"):
        if element[name]["value"] == given.get("value"):
            return {"value": element[name]["value"], "text": element[name]["text"]}
    raise ControlError(f"{given.get('value')!r} is neither of the two feedback values")


def _option(element: Json, chosen: Any) -> Json | None:
    if chosen is None:
        return None
    value = chosen.get("value") if isinstance(chosen, dict) else chosen
    groups = [group["options"] for group in element.get("option_groups") or ()]
    for option in (*(element.get("options") or ()), *(o for group in groups for o in group)):
        if option["value"] == value:
            return dict(option)
    raise ControlError(f"{value!r} is not an option of {element['action_id']!r}")


def _options(element: Json, chosen: Any) -> list[Json]:
    found = (_option(element, one) for one in chosen or [])
    return [option for option in found if option is not None]


_CHOSEN: Mapping[str, Callable[[Json, Any], Any]] = {"selected_option": _option, "selected_options": _options}
