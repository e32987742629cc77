"""The small Block Kit pieces that every message of opsbot is built from; all text arrives here ready to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from opsbot.adapters.slack.visible import cut

# One Block Kit block or element, as Slack's JSON.
Block: TypeAlias = dict[str, Any]

# https://docs.slack.dev/reference/block-kit/blocks (2026): header text 150, section text 3000, 50 blocks in a message.
HEADER_MAX = 150
SECTION_MAX = 3000
BLOCKS_MAX = 50
# https://docs.slack.dev/reference/block-kit/composition-objects/option-object (2026)
OPTION_MAX = 75
OPTIONS_MAX = 100


@dataclass(frozen=True, slots=True)
class Payload:
    """One Slack message. `text` is the notification (mrkdwn, escaped); `plain` is all of it, if blocks are refused."""

    text: str
    blocks: tuple[Block, ...]
    plain: str


def plain_text(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def header(text: str) -> Block:
    return {"type": "header", "text": plain_text(cut(text, HEADER_MAX))}


def markdown(text: str) -> Block:
    return {"type": "markdown", "text": text}


def context(text: str) -> Block:
    return {"type": "context", "elements": [plain_text(cut(text, 2000))]}


def mrkdwn_section(text: str) -> Block:
    """A section whose text is mrkdwn: for opsbot's own words only."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION_MAX), "verbatim": True}}


def mrkdwn_fields(fields: Sequence[str]) -> Block:
    """A section of up to ten short mrkdwn fields, two beside each other: for opsbot's own words only."""
    return {"type": "section", "fields": [{"type": "mrkdwn", "text": cut(f, 2000), "verbatim": True} for f in fields]}


def rich_text(*elements: Block) -> Block:
    return {"type": "rich_text", "elements": list(elements)}


def words(text: str, *, bold: bool = False, code: bool = False) -> Block:
    """A run of literal text: Slack parses nothing in it."""
    style = {name: True for name, wanted in (("bold", bold), ("code", code)) if wanted}
    return {"type": "text", "text": text or " "} | ({"style": style} if style else {})


def person(user_id: str) -> Block:
    """A mention of a person; whatever is no id of one is shown as words."""
    known = user_id.isascii() and user_id.isalnum()
    return {"type": "user", "user_id": user_id} if known else words(cut(user_id, 64))


def line(*runs: Block) -> Block:
    return {"type": "rich_text_section", "elements": list(runs)}


def bullets(*items: Block) -> Block:
    return {"type": "rich_text_list", "style": "bullet", "elements": list(items)}


def preformatted(text: str) -> Block:
    return {"type": "rich_text_preformatted", "elements": [words(text)]}


def quote(text: str) -> Block:
    return {"type": "rich_text_quote", "elements": [words(text)]}


def button(label: str, action_id: str, value: str, *, style: str = "") -> Block:
    made: Block = {"type": "button", "text": plain_text(label), "action_id": action_id, "value": value}
    return made | ({"style": style} if style else {})


def several(label: str, action_id: str, options: Sequence[str]) -> Block:
    """A menu of which several may be chosen; each option's value is its number."""
    return {
        "type": "multi_static_select",
        "action_id": action_id,
        "placeholder": plain_text(cut(label, 150)),
        "options": [
            {"text": plain_text(cut(text, OPTION_MAX)), "value": str(number)}
            for number, text in enumerate(options[:OPTIONS_MAX])
        ],
    }


def confirm(title: str, text: str, yes: str, no: str) -> Block:
    return {
        "title": plain_text(cut(title, 100)),
        "text": plain_text(cut(text, 300)),
        "confirm": plain_text(cut(yes, 30)),
        "deny": plain_text(cut(no, 30)),
    }


def actions(*buttons: Block) -> Block:
    return {"type": "actions", "elements": list(buttons)}
