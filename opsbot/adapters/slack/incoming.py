"""Slack's payloads in our words (pure): what was said to the bot, by whom, where, and how to recognise a repeat.

Everything that is not clearly from a person of the home workspace, and for us, is None. No payload raises.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from opsbot.adapters.slack import card_buttons, report_card
from opsbot.adapters.slack.blocks import STOP
from opsbot.adapters.slack.mrkdwn import mentions, plain
from opsbot.adapters.slack.shown_files import attachments_in
from opsbot.domain import (
    Actor,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    IncomingReportClick,
    IncomingStop,
    Place,
)

Body: TypeAlias = Mapping[str, Any]

# What manifest.json must subscribe to; a test compares.
EVENTS = frozenset(
    {
        "app_mention",
        "message.channels",
        "message.groups",
        "message.im",
        "agent_session_stopped",
        "subteam_members_changed",
    }
)
COMMANDS = frozenset({"/ops"})

# Longer messages are cut, and the text says so: a pasted log belongs into a file or a tool's output.
TEXT_MAX = 8000

_VERBS = {
    card_buttons.APPROVE: "approve",
    card_buttons.APPROVE_WHILE: "approve_while",
    card_buttons.WITHDRAW: "withdraw",
    card_buttons.DENY: "deny",
    card_buttons.PLAN: "plan",
    card_buttons.PAUSE: "pause",
    card_buttons.RESUME: "resume",
    card_buttons.HALT: "halt",
}
ID = re.compile(r"[A-Z0-9]{1,32}")
TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,8}")
# What a card's buttons carry: the request's id and a seal. Whatever else comes is answered as an unknown request.
_SEALED = re.compile(r"([A-Za-z0-9_-]{1,64})(?:\.([A-Za-z0-9_-]{0,64}))?")
_NUMBER = re.compile(r"[0-9]{1,3}")
_EVENT_TYPES = frozenset({"app_mention", "message"})


@dataclass(frozen=True, slots=True)
class Home:
    """Who we are: the workspace and the bot's own user."""

    team_id: str
    bot_user_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """An event for us. `keys` recognise a repeat. `only_known`: it counts only where a conversation exists."""

    keys: tuple[str, ...]
    event: Incoming
    only_known: bool = False


def read(body: Body, home: Home) -> Heard | None:
    """Read any payload Slack sends: Events API callback, slash command or interaction."""
    kind = body.get("type")
    if kind == "event_callback":
        return _callback(body, home)
    if kind == "block_actions":
        return _click(body, home)
    if kind is None and "command" in body:
        return _slash(body, home)
    return None


def changed_group(body: Body, home: Home) -> str | None:
    """Return the id of the user group whose members changed, if that is what the payload says."""
    event = body.get("event")
    if body.get("type") != "event_callback" or body.get("team_id") != home.team_id or not isinstance(event, dict):
        return None
    if event.get("type") != "subteam_members_changed":
        return None
    return matching(ID, event.get("subteam_id"))


# --- events ----------------------------------------------------------------------------------------------------------


def _callback(body: Body, home: Home) -> Heard | None:
    event = body.get("event")
    event_id = _text(body.get("event_id"))
    if not isinstance(event, dict) or not event_id or body.get("team_id") != home.team_id:
        return None
    actor = _author(event, body, home)
    if actor is None:
        return None
    if event.get("type") == "agent_session_stopped":
        return _session_stopped(event, actor, event_id)
    return _message(event, actor, home, event_id)


def _author(event: Body, body: Body, home: Home) -> Actor | None:
    """Return who wrote, if it is a person of the home workspace; decided by ids, never by names."""
    user = matching(ID, event.get("user"))
    if user is None or user in ("USLACKBOT", home.bot_user_id):
        return None
    if any(event.get(mark) for mark in ("bot_id", "bot_profile", "is_bot", "hidden")):
        return None
    teams = [event[name] for name in ("team", "user_team", "source_team", "actor_team_id") if event.get(name)]
    if any(team != home.team_id for team in teams):
        return None
    # In a channel shared with another company a message that does not say its author's team is not ours.
    if body.get("is_ext_shared_channel") and not teams:
        return None
    return Actor(home.team_id, user)


def _message(event: Body, actor: Actor, home: Home, event_id: str) -> Heard | None:
    channel = matching(ID, event.get("channel"))
    ts = matching(TS, event.get("ts"))
    text = event.get("text", "")
    if channel is None or ts is None or not isinstance(text, str) or _text(event.get("type")) not in _EVENT_TYPES:
        return None
    if event.get("subtype") not in (None, "file_share") or event.get("edited"):
        return None
    direct = event.get("channel_type") == "im" or channel.startswith("D")
    thread = matching(TS, event.get("thread_ts"))
    addressed = direct or event["type"] == "app_mention" or mentions(text, home.bot_user_id)
    if not addressed and thread is None:
        return None
    place = Place(home.team_id, channel, thread or ts, direct)
    said = _spoken(text, place, actor, home)
    if isinstance(said, IncomingMessage):
        files = attachments_in(event)
        if not said.text and not files and not addressed:
            return None
        # A mention may come without its files (third-party reports, slack.md rule 14).
        told = bool(files) or event["type"] != "app_mention"
        said = replace(said, message_id=ts, addressed=addressed, files=files, files_told=told)
    return Heard((f"event:{event_id}", f"message:{channel}:{ts}"), said, only_known=not addressed)


def _spoken(text: str, place: Place, actor: Actor, home: Home) -> IncomingMessage | IncomingCommand:
    said = _capped(plain(text, home.bot_user_id))
    if said.startswith("!"):
        return IncomingCommand(place, actor, said[1:].strip())
    return IncomingMessage(place, actor, said, message_id="")


def _session_stopped(event: Body, actor: Actor, event_id: str) -> Heard | None:
    channel = matching(ID, event.get("channel"))
    thread = matching(TS, event.get("thread_ts"))
    if channel is None or thread is None:
        return None
    place = Place(actor.team_id, channel, thread, channel.startswith("D"))
    return Heard((f"event:{event_id}",), IncomingStop(place, actor))


# --- commands and clicks ---------------------------------------------------------------------------------------------


def _slash(body: Body, home: Home) -> Heard | None:
    channel = matching(ID, body.get("channel_id"))
    user = matching(ID, body.get("user_id"))
    trigger = _text(body.get("trigger_id"))
    text = body.get("text", "")
    if channel is None or user is None or not trigger or not isinstance(text, str):
        return None
    if body.get("team_id") != home.team_id or _text(body.get("command")) not in COMMANDS:
        return None
    place = Place(home.team_id, channel, "", channel.startswith("D"))
    said = _capped(plain(text, home.bot_user_id))
    event = IncomingCommand(place, Actor(home.team_id, user), said, _text(body.get("response_url")))
    return Heard((f"command:{trigger}",), event)


def _click(body: Body, home: Home) -> Heard | None:
    actor = clicker(body, home)
    container = body.get("container")
    actions = body.get("actions")
    if actor is None or not isinstance(container, dict) or not isinstance(actions, list) or len(actions) != 1:
        return None
    action = actions[0]
    place = _clicked_place(container, home)
    message_id = matching(TS, container.get("message_ts"))
    if not isinstance(action, dict) or place is None or message_id is None:
        return None
    keys = _click_keys(body, action, actor)
    reply_to = _text(body.get("response_url"))
    event = _report_click(body, action, place, actor) or _decision(action, place, actor, message_id, reply_to)
    return Heard(keys, event) if keys and event else None


def clicker(body: Body, home: Home) -> Actor | None:
    """Return who pressed or sent something, if it is a person of the home workspace."""
    team, user = body.get("team"), body.get("user")
    if not isinstance(team, dict) or not isinstance(user, dict):
        return None
    user_id = matching(ID, user.get("id"))
    if user_id is None or user_id in ("USLACKBOT", home.bot_user_id) or user.get("is_bot"):
        return None
    if team.get("id") != home.team_id or user.get("team_id") != home.team_id:
        return None
    return Actor(home.team_id, user_id)


def _clicked_place(container: Body, home: Home) -> Place | None:
    channel = matching(ID, container.get("channel_id"))
    if container.get("type") != "message" or channel is None:
        return None
    thread = matching(TS, container.get("thread_ts")) or ""
    # A card at the channel's top level becomes its own thread's root when somebody replies to it.
    if thread == container.get("message_ts"):
        thread = ""
    return Place(home.team_id, channel, thread, channel.startswith("D"))


def _click_keys(body: Body, action: Body, actor: Actor) -> tuple[str, ...]:
    at, trigger = _text(action.get("action_ts")), _text(body.get("trigger_id"))
    return (f"action:{at}:{actor.user_id}:{trigger}",) if at and trigger else ()


def _report_click(body: Body, action: Body, place: Place, actor: Actor) -> Incoming | None:
    verb = report_card.VERBS.get(_text(action.get("action_id")))
    if action.get("type") != "button" or verb is None:
        return None
    report_id, seal = _sealed(action.get("value"))
    message_id = _text(body["container"].get("message_ts"))
    reply_to, trigger = _text(body.get("response_url")), _text(body.get("trigger_id"))
    return IncomingReportClick(place, actor, report_id, verb, message_id, seal, reply_to, trigger)


def _decision(action: Body, place: Place, actor: Actor, message_id: str, reply_to: str) -> Incoming | None:
    action_id = action.get("action_id")
    if not isinstance(action_id, str):
        return None
    kind = action.get("type")
    if kind == "button" and action_id == STOP:
        return IncomingStop(place, actor)
    if kind == "button" and action_id in _VERBS:
        approval_id, seal = _sealed(action.get("value"))
        return IncomingDecision(place, actor, approval_id, _VERBS[action_id], message_id, reply_to, seal)
    if kind == "multi_static_select" and action_id == card_buttons.LEAVE_OUT:
        approval_id, seal = _sealed(_text(action.get("block_id")).removeprefix("leave_out."))
        return IncomingDecision(
            place, actor, approval_id, "narrow", message_id, reply_to, seal, _chosen(action.get("selected_options"))
        )
    return None


def _sealed(value: object) -> tuple[str, str]:
    """Split what a button carries; nothing opsbot made becomes an id that no request has."""
    found = _SEALED.fullmatch(value) if isinstance(value, str) else None
    return (found.group(1), found.group(2) or "") if found else ("", "")


def _chosen(options: object) -> tuple[int, ...]:
    values = (
        [option.get("value") for option in options if isinstance(option, dict)] if isinstance(options, list) else []
    )
    numbers = [matching(_NUMBER, value) for value in values]
    return tuple(int(number) for number in numbers if number is not None)


# --- strict reading --------------------------------------------------------------------------------------------------


def _capped(text: str) -> str:
    if len(text) <= TEXT_MAX:
        return text
    return f"{text[:TEXT_MAX]}\n[cut here: {len(text)} characters were sent, the first {TEXT_MAX} are read]"


def matching(pattern: re.Pattern[str], value: object) -> str | None:
    """Return a value that is a string of this form, and nothing else."""
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _text(value: object) -> str:
    """A short string of Slack's, or "" for anything else."""
    return value if isinstance(value, str) and len(value) <= 1000 else ""
