"""The inside of rich_text blocks: sections, lists, quotes, preformatted text and their parts."""

from collections.abc import Mapping

from slackblocks import _limits as limits

from opsbot.workbench.validation.checks import Check, boolean, by_type, listing, number, one_of, record, string

# Slack gives no limits for the parts; these only keep a check total.
_MANY = 10_000
_LONG = 40_000
_STYLE = record(
    {},
    {
        key: boolean
        for key in ("bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink")
    },
)


def _part(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    return record(required, {"style": _STYLE, **(optional or {})})


_PARTS: Mapping[str, Check] = {
    "text": _part({"text": string(_LONG)}),
    "user": _part({"user_id": string(255)}),
    "usergroup": _part({"usergroup_id": string(255)}),
    "channel": _part({"channel_id": string(255)}),
    "team": _part({"team_id": string(255)}),
    "emoji": _part({"name": string(255)}, {"unicode": string(255), "skin_tone": number(1, 6)}),
    "link": _part({"url": string(_LONG)}, {"text": string(_LONG), "unsafe": boolean}),
    "date": _part(
        {"timestamp": number(0, 1e12), "format": string(255)}, {"url": string(_LONG), "fallback": string(255)}
    ),
    "broadcast": _part({"range": one_of("here", "channel", "everyone")}),
    "color": _part({"value": string(20)}),
}
_LINE = listing(by_type(_PARTS), _MANY, 0)
_SECTION = record({"elements": _LINE})

RICH_TEXT_ELEMENTS: Mapping[str, Check] = {
    "rich_text_section": _SECTION,
    "rich_text_quote": record({"elements": _LINE}, {"border": number(0, limits.RICH_TEXT_QUOTE_BORDER_MAX)}),
    "rich_text_preformatted": record(
        {"elements": _LINE},
        {"border": number(0, limits.RICH_TEXT_PREFORMATTED_BORDER_MAX), "language": string(50)},
    ),
    "rich_text_list": record(
        {
            "style": one_of("bullet", "ordered"),
            "elements": listing(by_type({"rich_text_section": _SECTION}), _MANY, 0),
        },
        {
            "indent": number(0, limits.RICH_TEXT_LIST_INDENT_MAX),
            "offset": number(0, _MANY),
            "border": number(0, limits.RICH_TEXT_LIST_BORDER_MAX),
        },
    ),
}
