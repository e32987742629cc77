"""Elements of Block Kit: buttons, selects, pickers and inputs, with their limits."""

from collections.abc import Mapping

from slackblocks import _limits as limits

from opsbot.workbench.validation.checks import (
    Check,
    anything,
    boolean,
    exactly_one,
    listing,
    number,
    one_of,
    record,
    string,
)
from opsbot.workbench.validation.objects import (
    ACTION_ID,
    CONFIRM,
    CONVERSATION_FILTER,
    DISPATCH_CONFIG,
    IMAGE_ELEMENT,
    OPTION,
    OPTION_GROUPS,
    OPTIONS,
    STYLE,
    WORKFLOW,
    option,
    plain_text,
)

_ID = string(255)
_WHOLE = number(0, 3000)
_CHOICE = option(plain=False)


def _element(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    return record(required, {"action_id": ACTION_ID, **optional})


def _menu(optional: Mapping[str, Check], *, multi: bool = False) -> Check:
    common: dict[str, Check] = {
        "placeholder": plain_text(limits.SELECT_PLACEHOLDER_MAX_LENGTH),
        "confirm": CONFIRM,
        "focus_on_load": boolean,
    }
    if multi:
        common["max_selected_items"] = number(1, 100)
    return _element({}, {**common, **optional})


def _input(optional: Mapping[str, Check]) -> Check:
    common = {
        "placeholder": plain_text(limits.PLAIN_TEXT_INPUT_PLACEHOLDER_MAX_LENGTH),
        "focus_on_load": boolean,
        "dispatch_action_config": DISPATCH_CONFIG,
    }
    return _element({}, {**common, **optional})


def _picker(initial: str, extra: Mapping[str, Check] | None = None) -> Check:
    common = {"placeholder": plain_text(150), "confirm": CONFIRM, "focus_on_load": boolean, **(extra or {})}
    return _element({}, {initial: string(10), **common})


_FEEDBACK_BUTTON = record(
    {
        "text": plain_text(limits.FEEDBACK_BUTTON_TEXT_MAX_LENGTH),
        "value": string(limits.FEEDBACK_BUTTON_VALUE_MAX_LENGTH),
    },
    {"accessibility_label": string(limits.FEEDBACK_BUTTON_ACCESSIBILITY_LABEL_MAX_LENGTH)},
)
_BUTTON = _element(
    {"text": plain_text(limits.BUTTON_TEXT_MAX_LENGTH)},
    {
        "url": string(limits.BUTTON_URL_MAX_LENGTH),
        "value": string(limits.BUTTON_VALUE_MAX_LENGTH),
        "style": STYLE,
        "confirm": CONFIRM,
        "accessibility_label": string(limits.BUTTON_ACCESSIBILITY_LABEL_MAX_LENGTH),
        "agent_prompt": string(limits.BUTTON_AGENT_PROMPT_MAX_LENGTH),
        "agent_prompt_display": anything,
        "visible_to_user_ids": listing(_ID, 10),
    },
)
_STATIC = {"options": OPTIONS, "option_groups": OPTION_GROUPS}
_QUERY = {"min_query_length": number(0, 100)}

BUTTONS: Mapping[str, Check] = {
    "button": _BUTTON,
    "workflow_button": _element(
        {"text": plain_text(limits.WORKFLOW_BUTTON_TEXT_MAX_LENGTH), "workflow": WORKFLOW},
        {"style": STYLE, "accessibility_label": string(limits.WORKFLOW_BUTTON_ACCESSIBILITY_LABEL_MAX_LENGTH)},
    ),
}
MENUS: Mapping[str, Check] = {
    "overflow": _element(
        {"options": listing(option(allows_url=True), limits.OVERFLOW_OPTIONS_MAX_ITEMS)}, {"confirm": CONFIRM}
    ),
    "static_select": exactly_one(_menu({**_STATIC, "initial_option": OPTION}), "options", "option_groups"),
    "multi_static_select": exactly_one(
        _menu({**_STATIC, "initial_options": OPTIONS}, multi=True), "options", "option_groups"
    ),
    "external_select": _menu({**_QUERY, "initial_option": OPTION}),
    "multi_external_select": _menu({**_QUERY, "initial_options": OPTIONS}, multi=True),
    "users_select": _menu({"initial_user": _ID}),
    "multi_users_select": _menu({"initial_users": listing(_ID, 100)}, multi=True),
    "conversations_select": _menu(
        {
            "initial_conversation": _ID,
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": CONVERSATION_FILTER,
        }
    ),
    "multi_conversations_select": _menu(
        {
            "initial_conversations": listing(_ID, 100),
            "default_to_current_conversation": boolean,
            "filter": CONVERSATION_FILTER,
        },
        multi=True,
    ),
    "channels_select": _menu({"initial_channel": _ID, "response_url_enabled": boolean}),
    "multi_channels_select": _menu({"initial_channels": listing(_ID, 100)}, multi=True),
}
CHOICES: Mapping[str, Check] = {
    "checkboxes": _element(
        {"options": listing(_CHOICE, limits.CHECKBOXES_OPTIONS_MAX_ITEMS)},
        {"initial_options": listing(_CHOICE, 10), "confirm": CONFIRM, "focus_on_load": boolean},
    ),
    "radio_buttons": _element(
        {"options": listing(_CHOICE, limits.RADIO_BUTTONS_OPTIONS_MAX_ITEMS)},
        {"initial_option": _CHOICE, "confirm": CONFIRM, "focus_on_load": boolean},
    ),
    "datepicker": _picker("initial_date"),
    "timepicker": _picker("initial_time", {"timezone": string(100)}),
    "datetimepicker": _element(
        {}, {"initial_date_time": number(1_000_000_000, 9_999_999_999), "confirm": CONFIRM, "focus_on_load": boolean}
    ),
}
INPUTS: Mapping[str, Check] = {
    "plain_text_input": _input(
        {
            "initial_value": string(3000, 0),
            "multiline": boolean,
            "min_length": _WHOLE,
            "max_length": number(1, 3000),
        }
    ),
    "email_text_input": _input({"initial_value": string(3000)}),
    "url_text_input": _input({"initial_value": string(3000)}),
    "number_input": _input(
        {
            "is_decimal_allowed": boolean,
            "initial_value": string(100),
            "min_value": string(100),
            "max_value": string(100),
        }
    ),
    "rich_text_input": _input({"initial_value": anything, "min_lines": number(1, 100), "max_lines": number(1, 100)}),
    "file_input": _element({}, {"filetypes": listing(string(20), 100), "max_files": number(1, 10)}),
}
FEEDBACK: Mapping[str, Check] = {
    "feedback_buttons": _element({"positive_button": _FEEDBACK_BUTTON, "negative_button": _FEEDBACK_BUTTON}, {}),
    "icon_button": _element(
        {"icon": one_of("trash"), "text": plain_text(75)},
        {
            "value": string(limits.ICON_BUTTON_VALUE_MAX_LENGTH),
            "accessibility_label": string(limits.ICON_BUTTON_ACCESSIBILITY_LABEL_MAX_LENGTH),
            "visible_to_user_ids": listing(_ID, 10),
            "confirm": CONFIRM,
        },
    ),
}
IMAGE: Mapping[str, Check] = {"image": IMAGE_ELEMENT}

IN_ACTIONS: Mapping[str, Check] = {**BUTTONS, **MENUS, **CHOICES, "rich_text_input": INPUTS["rich_text_input"]}
IN_SECTION: Mapping[str, Check] = {**BUTTONS, **MENUS, **CHOICES, **IMAGE}
IN_INPUT: Mapping[str, Check] = {
    **{key: check for key, check in MENUS.items() if key != "overflow"},
    **CHOICES,
    **INPUTS,
}
