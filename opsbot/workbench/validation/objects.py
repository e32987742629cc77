"""Composition objects of Block Kit: texts, options, confirmations, filters, files."""

from slackblocks import _limits as limits

from opsbot.workbench.validation.checks import (
    Check,
    anything,
    boolean,
    by_type,
    exactly_one,
    listing,
    needs_any,
    one_of,
    record,
    string,
)

TEXT_MAX = limits.TEXT_MAX_LENGTH


def plain_text(most: int) -> Check:
    """A plain_text object."""
    return by_type({"plain_text": record({"text": string(most)}, {"emoji": boolean})})


def any_text(most: int) -> Check:
    """A plain_text or mrkdwn object."""
    table = {
        "plain_text": record({"text": string(most)}, {"emoji": boolean}),
        "mrkdwn": record({"text": string(most)}, {"verbatim": boolean}),
    }
    return by_type(table)


ACTION_ID = string(limits.ACTION_ID_MAX_LENGTH)
BLOCK_ID = string(limits.BLOCK_ID_MAX_LENGTH)
URL = string(limits.BUTTON_URL_MAX_LENGTH)
STYLE = one_of("primary", "danger")

CONFIRM = record(
    {
        "title": plain_text(limits.CONFIRMATION_TITLE_MAX_LENGTH),
        "text": any_text(limits.CONFIRMATION_TEXT_MAX_LENGTH),
        "confirm": plain_text(limits.CONFIRMATION_CONFIRM_MAX_LENGTH),
        "deny": plain_text(limits.CONFIRMATION_DENY_MAX_LENGTH),
    },
    {"style": STYLE},
)


def option(*, allows_url: bool = False, plain: bool = True) -> Check:
    """One option of a select (plain text only), of checkboxes or radio buttons, or of an overflow menu."""
    text = plain_text if plain else any_text
    optional = {"description": text(limits.OPTION_DESCRIPTION_MAX_LENGTH)}
    if allows_url:
        optional["url"] = string(limits.OPTION_URL_MAX_LENGTH)
    required = {"text": text(limits.OPTION_TEXT_MAX_LENGTH), "value": string(limits.OPTION_VALUE_MAX_LENGTH)}
    return record(required, optional)


OPTION = option()
OPTIONS = listing(OPTION, limits.SELECT_OPTIONS_MAX_ITEMS)
OPTION_GROUPS = listing(
    record(
        {
            "label": plain_text(limits.OPTION_GROUP_LABEL_MAX_LENGTH),
            "options": listing(OPTION, limits.OPTION_GROUP_OPTIONS_MAX_ITEMS),
        }
    ),
    limits.SELECT_OPTION_GROUPS_MAX_ITEMS,
)
CONVERSATION_FILTER = needs_any(
    record(
        {},
        {
            "include": listing(one_of("im", "mpim", "private", "public"), 4),
            "exclude_external_shared_channels": boolean,
            "exclude_bot_users": boolean,
        },
    ),
    "include",
    "exclude_external_shared_channels",
    "exclude_bot_users",
)
DISPATCH_CONFIG = record({"trigger_actions_on": listing(one_of("on_enter_pressed", "on_character_entered"), 2)}, {})
SLACK_FILE = exactly_one(record({}, {"id": string(255), "url": URL}), "id", "url")
IMAGE_ELEMENT = exactly_one(
    record(
        {"alt_text": string(limits.IMAGE_ELEMENT_ALT_TEXT_MAX_LENGTH)},
        {"image_url": string(limits.IMAGE_ELEMENT_IMAGE_URL_MAX_LENGTH), "slack_file": SLACK_FILE},
    ),
    "image_url",
    "slack_file",
)
URL_SOURCE = by_type({"url": record({"url": URL, "text": string(TEXT_MAX)}, {"icon_url": URL})})
ICON = by_type({"image": IMAGE_ELEMENT, "icon": record({"name": string(255)}), "emoji": record({"name": string(255)})})
WORKFLOW = record({"trigger": anything})
