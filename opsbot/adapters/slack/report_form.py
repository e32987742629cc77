"""The form in which a report's draft is edited: its view, and what is read of it when it is sent (both pure)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opsbot.adapters.slack import pieces
from opsbot.adapters.slack.incoming import ID, TS, Body, Heard, Home, clicker, matching
from opsbot.adapters.slack.pieces import Block
from opsbot.adapters.slack.report_card import facts_shown
from opsbot.adapters.slack.visible import cut
from opsbot.domain import IncidentCard, IncomingReportEdit, Place
from opsbot.incident_report import (
    CAUSE_MAX,
    CAUSES_MAX,
    FOLLOW_UP_MAX,
    FOLLOW_UPS_MAX,
    IMPACT_MAX,
    SUMMARY_MAX,
    TITLE_MAX,
    Cause,
    Confidence,
    FollowUp,
    Words,
)

CALLBACK = "opsbot.report"
_TEXT, _CHOICE = "text", "choice"
# What a form was opened for travels with it; people can see and change it, so it is checked like a button.
_META_MAX = 1000
_BLANK_CAUSES, _BLANK_FOLLOW_UPS = 1, 2


@dataclass(frozen=True, slots=True)
class Unfit:
    """What is wrong with a form, by its field (a block's id)."""

    faults: Mapping[str, str]


# --- the view --------------------------------------------------------------------------------------------------------


def view(place: Place, card: IncidentCard) -> Block:
    """Return the form, filled with the draft's words."""
    report = card.report
    about = {"report": report.id, "version": report.version, "seal": card.seal, "direct": place.direct}
    where = {"channel": place.channel_id, "thread": place.thread_id}
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": pieces.plain_text("Edit the report"),
        "submit": pieces.plain_text("Save draft"),
        "close": pieces.plain_text("Cancel"),
        "private_metadata": json.dumps({**about, **where}),
        "blocks": [*_words_blocks(report.words), {"type": "divider"}, *facts_shown(report)],
    }


def _words_blocks(words: Words) -> Iterator[Block]:
    yield _input("title", "Title", words.title, TITLE_MAX, lines=False) | {"optional": False}
    yield _input("summary", "Summary", words.summary, SUMMARY_MAX) | {"optional": False}
    yield _input("impact", "Impact", words.impact, IMPACT_MAX) | _hint("Who was affected, how, and for how long.")
    causes = (*words.causes, *[Cause("", Confidence.LOW)] * _BLANK_CAUSES)[:CAUSES_MAX]
    for number, cause in enumerate(causes):
        yield _input(f"cause.{number}", f"Likely cause {number + 1}", cause.text, CAUSE_MAX) | _hint("Empty: none.")
        yield _confidence(number, cause.confidence)
    follow_ups = (*words.follow_ups, *[FollowUp("")] * _BLANK_FOLLOW_UPS)[:FOLLOW_UPS_MAX]
    for number, follow_up in enumerate(follow_ups):
        name, label = f"follow_up.{number}", f"Follow-up {number + 1}"
        yield _input(name, label, follow_up.text, FOLLOW_UP_MAX, lines=False) | _hint("Empty: none.")
        yield _owner(number, follow_up.owner)


def _input(name: str, label: str, value: str, limit: int, *, lines: bool = True) -> Block:
    element: Block = {"type": "plain_text_input", "action_id": _TEXT, "multiline": lines, "max_length": limit}
    element |= {"initial_value": cut(value, limit)} if value else {}
    named: Block = {"type": "input", "block_id": name, "label": pieces.plain_text(label)}
    return named | {"element": element, "optional": True}


def _hint(text: str) -> Block:
    return {"hint": pieces.plain_text(text)}


def _confidence(number: int, chosen: Confidence) -> Block:
    options = {each: {"text": pieces.plain_text(each.capitalize()), "value": str(each)} for each in Confidence}
    element = {
        "type": "static_select",
        "action_id": _CHOICE,
        "options": list(options.values()),
        "initial_option": options[chosen],
    }
    label = pieces.plain_text(f"How sure of cause {number + 1}")
    return {"type": "input", "block_id": f"confidence.{number}", "label": label, "element": element, "optional": True}


def _owner(number: int, owner: str) -> Block:
    element: Block = {"type": "users_select", "action_id": _CHOICE, "placeholder": pieces.plain_text("Nobody yet")}
    element |= {"initial_user": owner} if owner else {}
    label = pieces.plain_text(f"Who does follow-up {number + 1}")
    return {"type": "input", "block_id": f"owner.{number}", "label": label, "element": element, "optional": True}


# --- what was sent ---------------------------------------------------------------------------------------------------


def submitted(body: Body, home: Home) -> Heard | Unfit | None:
    """Read a form that was sent; None: it is not ours, or not from a person of the workspace."""
    sent = _mapping(body.get("view"))
    actor = clicker(body, home)
    if actor is None or sent.get("callback_id") != CALLBACK:
        return None
    about = _about(sent.get("private_metadata"), home)
    if about is None:
        return Unfit({"title": "This form cannot be read any more. Close it and press Edit again."})
    place, report_id, version, seal = about
    values = _mapping(_mapping(sent.get("state")).get("values"))
    if faults := _faults(values):
        return Unfit(faults)
    edit = IncomingReportEdit(place, actor, report_id, version, seal, _words(values))
    key = f"form:{_text(sent.get('id'))}:{_text(sent.get('hash'))}:{actor.user_id}"
    return Heard((key,), edit)


def _about(said: object, home: Home) -> tuple[Place, str, int, str] | None:
    if not isinstance(said, str) or len(said) > _META_MAX:
        return None
    try:
        about = json.loads(said)
    except (ValueError, RecursionError):
        return None
    found = _mapping(about)
    channel, thread = matching(ID, found.get("channel")), matching(TS, found.get("thread"))
    report_id, seal, version = matching(ID, found.get("report")), found.get("seal"), found.get("version")
    if channel is None or thread is None or report_id is None or not isinstance(seal, str) or type(version) is not int:
        return None
    return Place(home.team_id, channel, thread, found.get("direct") is True), report_id, version, seal


def _faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Slack checks lengths too; but what it sends is not taken on trust."""
    limits = {"title": TITLE_MAX, "summary": SUMMARY_MAX, "impact": IMPACT_MAX}
    limits |= {f"cause.{number}": CAUSE_MAX for number in range(CAUSES_MAX)}
    limits |= {f"follow_up.{number}": FOLLOW_UP_MAX for number in range(FOLLOW_UPS_MAX)}
    long = {name: len(_value(values, name)) for name in limits}
    said = {name: f"At most {limit} characters; these are {long[name]}." for name, limit in limits.items()}
    found = {name: said[name] for name, limit in limits.items() if long[name] > limit}
    return found | {name: "This cannot be empty." for name in ("title", "summary") if not long[name]}


def _words(values: Mapping[str, Any]) -> Words:
    return Words(
        title=_value(values, "title"),
        summary=_value(values, "summary"),
        impact=_value(values, "impact"),
        causes=tuple(_causes(values)),
        follow_ups=tuple(_follow_ups(values)),
    )


def _causes(values: Mapping[str, Any]) -> Iterator[Cause]:
    for number in range(CAUSES_MAX):
        if text := _value(values, f"cause.{number}"):
            option = _mapping(_field(values, f"confidence.{number}", _CHOICE).get("selected_option"))
            chosen = _text(option.get("value"))
            yield Cause(text, Confidence(chosen) if chosen in tuple(Confidence) else Confidence.LOW)


def _follow_ups(values: Mapping[str, Any]) -> Iterator[FollowUp]:
    for number in range(FOLLOW_UPS_MAX):
        if text := _value(values, f"follow_up.{number}"):
            owner = matching(ID, _field(values, f"owner.{number}", _CHOICE).get("selected_user"))
            yield FollowUp(text, owner or "")


def _value(values: Mapping[str, Any], name: str) -> str:
    said = _field(values, name, _TEXT).get("value")
    return said.strip() if isinstance(said, str) else ""


def _field(values: Mapping[str, Any], name: str, action: str) -> Mapping[str, Any]:
    return _mapping(_mapping(values.get(name)).get(action))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 200 else ""


def errors(faults: Mapping[str, str]) -> dict[str, object]:
    """Return the answer by which Slack keeps the form open and shows what is wrong."""
    return {"response_action": "errors", "errors": dict(faults)}
