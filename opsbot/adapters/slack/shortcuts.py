"""Message shortcuts: what is pressed beside a message stands for a command or a question in its thread (pure)."""

from collections.abc import Mapping

from opsbot.adapters.slack.incoming import ID, TEXT_MAX, TS, Body, Heard, Home, clicker, matching
from opsbot.adapters.slack.shown_files import attachments_in
from opsbot.adapters.slack.wording import words_of
from opsbot.domain import Actor, IncomingCommand, IncomingMessage, Place

# By callback id; a test compares with manifest.json.
INVESTIGATE, REPORT = "opsbot.investigate", "opsbot.report"
SHORTCUTS = frozenset({INVESTIGATE, REPORT})
_QUESTION = "Look into the message pointed at, and say what is the matter."


def used(body: Body, home: Home) -> Heard | None:
    """Return what a shortcut stands for, if a person of the workspace used one of ours on a message."""
    actor = clicker(body, home)
    callback = _text(body.get("callback_id"))
    channel, message = _mapping(body.get("channel")), _mapping(body.get("message"))
    channel_id = matching(ID, channel.get("id"))
    thread = matching(TS, message.get("thread_ts")) or matching(TS, body.get("message_ts"))
    trigger = _text(body.get("trigger_id"))
    if actor is None or callback not in SHORTCUTS or channel_id is None or thread is None or not trigger:
        return None
    place = Place(home.team_id, channel_id, thread, channel_id.startswith("D"))
    key = f"shortcut:{trigger}"
    if callback == REPORT:
        return Heard((key,), IncomingCommand(place, actor, "report", _text(body.get("response_url"))))
    return _question(body, message, place, actor, key, home)


def _question(
    body: Body, message: Mapping[str, object], place: Place, actor: Actor, key: str, home: Home
) -> Heard | None:
    pressed_at = matching(TS, body.get("action_ts"))
    if pressed_at is None:
        return None
    said, files = words_of(message, home.bot_user_id), attachments_in(message)
    if not said and not files:
        return None
    event = IncomingMessage(place, actor, _QUESTION, pressed_at, files=files, pointed_at=said[:TEXT_MAX])
    return Heard((key,), event)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 1000 else ""
