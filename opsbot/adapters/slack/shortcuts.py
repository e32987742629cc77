"""Message shortcuts: what is pressed beside a message stands for a command in its thread (pure)."""

from collections.abc import Mapping

from opsbot.adapters.slack.incoming import ID, TS, Body, Heard, Home, clicker, matching
from opsbot.domain import IncomingCommand, Place

# By callback id; a test compares with manifest.json.
SHORTCUTS: Mapping[str, str] = {"opsbot.report": "report"}


def used(body: Body, home: Home) -> Heard | None:
    """Return the command a shortcut stands for, if a person of the workspace used one of ours on a message."""
    actor = clicker(body, home)
    words = SHORTCUTS.get(_text(body.get("callback_id")))
    channel, message = _mapping(body.get("channel")), _mapping(body.get("message"))
    channel_id = matching(ID, channel.get("id"))
    thread = matching(TS, message.get("thread_ts")) or matching(TS, body.get("message_ts"))
    trigger = _text(body.get("trigger_id"))
    if actor is None or words is None or channel_id is None or thread is None or not trigger:
        return None
    place = Place(home.team_id, channel_id, thread, channel_id.startswith("D"))
    return Heard((f"shortcut:{trigger}",), IncomingCommand(place, actor, words, _text(body.get("response_url"))))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= 1000 else ""
