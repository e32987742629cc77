"""conversations.* and reactions.*: reading channels and threads, and marking messages."""

import base64
import binascii
from collections.abc import Sequence
from typing import TypeVar

from opsbot.workbench.conversations import Message
from opsbot.workbench.web_api.call import Call, Desk, invalid_arguments
from opsbot.workbench.wire import Json, SlackError
from opsbot.workbench.world import Channel, channel_json

T = TypeVar("T")
_KINDS = {"im": "im", "group": "private_channel", "channel": "public_channel"}


def list_channels(call: Call) -> Json:
    """conversations.list."""
    wanted = call.names("types") or ["public_channel"]
    without_archived = call.flag("exclude_archived")
    found = [
        channel
        for channel in call.workspace.conversations.channels()
        if _KINDS[channel.kind] in wanted and not (without_archived and channel.is_archived)
    ]
    page, metadata = paged(call, found, default_limit=100)
    return {"channels": [_described(call, channel) for channel in page], **metadata}


def info(call: Call) -> Json:
    """conversations.info."""
    return {"channel": _described(call, call.channel())}


def members(call: Call) -> Json:
    """conversations.members."""
    page, metadata = paged(call, call.channel().members, default_limit=100)
    return {"members": list(page), **metadata}


def open_dm(call: Call) -> Json:
    """conversations.open, for one person or a known channel."""
    if call.text("channel"):
        channel = call.channel()
    else:
        users = call.names("users")
        if len(users) != 1 or call.workspace.world.user(users[0]) is None:
            raise SlackError("user_not_found")
        channel = call.workspace.conversations.channel("D" + users[0][1:])
    shown = channel_json(channel) if call.flag("return_im") else {"id": channel.id}
    return {"channel": shown, "already_open": True, "no_op": True}


def history(call: Call) -> Json:
    """conversations.history: top level, newest first."""
    channel = _readable(call)
    found = _between(call, call.workspace.conversations.top_level(channel.id))
    page, metadata = paged(call, found[::-1], default_limit=100)
    return {"messages": [_read(call, m) for m in page], "has_more": bool(metadata), "pin_count": 0, **metadata}


def replies(call: Call) -> Json:
    """conversations.replies: the first message of the thread, then the replies asked for, oldest first."""
    channel = _readable(call)
    ts = call.required("ts")
    named = call.workspace.conversations.find(channel.id, ts)
    if named is None:
        raise SlackError("thread_not_found")
    root, *others = call.workspace.conversations.thread(channel.id, named.root_ts)
    page, metadata = paged(call, _between(call, others), default_limit=1000)
    return {"messages": [_read(call, m) for m in (root, *page)], "has_more": bool(metadata), **metadata}


def add_reaction(call: Call) -> Json:
    """reactions.add."""
    message, name = _reaction(call)
    react(call.desk, message, call.workspace.world.bot_user.id, name)
    return {}


def remove_reaction(call: Call) -> Json:
    """reactions.remove."""
    message, name = _reaction(call)
    unreact(call.desk, message, call.workspace.world.bot_user.id, name)
    return {}


def get_reactions(call: Call) -> Json:
    """reactions.get."""
    channel = call.channel()
    message = call.workspace.conversations.get(channel.id, call.required("timestamp"))
    return {"type": "message", "channel": channel.id, "message": _read(call, message)}


def react(desk: Desk, message: Message, user: str, name: str) -> None:
    """Add one person's reaction. Raises SlackError `already_reacted`."""
    reactions = message.body.setdefault("reactions", [])
    entry = next((r for r in reactions if r["name"] == name), None)
    if entry is None:
        entry = {"name": name, "users": [], "count": 0}
        reactions.append(entry)
    if user in entry["users"]:
        raise SlackError("already_reacted")
    entry["users"].append(user)
    entry["count"] += 1
    _tell(desk, message, user, name, "reaction_added")


def unreact(desk: Desk, message: Message, user: str, name: str) -> None:
    """Take one person's reaction back. Raises SlackError `no_reaction`."""
    reactions = message.body.get("reactions", [])
    entry = next((r for r in reactions if r["name"] == name and user in r["users"]), None)
    if entry is None:
        raise SlackError("no_reaction")
    entry["users"].remove(user)
    entry["count"] -= 1
    message.body["reactions"] = [r for r in reactions if r["users"]]
    if not message.body["reactions"]:
        del message.body["reactions"]
    _tell(desk, message, user, name, "reaction_removed")


def paged(call: Call, items: Sequence[T], *, default_limit: int) -> tuple[Sequence[T], Json]:
    """Return one page and, when more follows, the `response_metadata` with the next cursor."""
    limit = call.integer("limit", default_limit)
    start = _position(call.text("cursor"))
    end = start + max(1, min(limit, 1000))
    if end >= len(items):
        return items[start:], {}
    cursor = base64.b64encode(f"next:{end}".encode()).decode()
    return items[start:end], {"response_metadata": {"next_cursor": cursor}}


def _position(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.b64decode(cursor, validate=True).decode().removeprefix("next:"))
    except (binascii.Error, ValueError) as error:
        raise SlackError("invalid_cursor") from error


def _between(call: Call, messages: list[Message]) -> list[Message]:
    oldest, latest = call.text("oldest", "0"), call.text("latest")
    inclusive = call.flag("inclusive")
    try:
        low, high = _micros(oldest), _micros(latest) if latest else None
    except ValueError as error:
        raise SlackError("invalid_ts_latest" if latest else "invalid_ts_oldest") from error
    kept = []
    for message in messages:
        at = _micros(message.ts)
        after = at > low or (inclusive and at == low)
        before = high is None or at < high or (inclusive and at == high)
        if after and before:
            kept.append(message)
    return kept


def _micros(ts: str) -> int:
    seconds, _, fraction = ts.partition(".")
    return int(seconds) * 1_000_000 + int((fraction or "0").ljust(6, "0")[:6])


def _read(call: Call, message: Message) -> Json:
    with_metadata = message.metadata and call.flag("include_all_metadata")
    return {**message.body, **({"metadata": message.metadata} if with_metadata else {})}


def _readable(call: Call) -> Channel:
    channel = call.channel()
    if call.workspace.world.bot_user.id not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def _described(call: Call, channel: Channel) -> Json:
    is_member = call.workspace.world.bot_user.id in channel.members
    shown = channel_json(channel)
    return shown if channel.is_im else {**shown, "is_member": is_member}


def _reaction(call: Call) -> tuple[Message, str]:
    channel = call.channel()
    name = call.required("name").strip(":")
    if not name:
        raise invalid_arguments("missing required field: name", "name")
    return call.workspace.conversations.get(channel.id, call.required("timestamp")), name


def _tell(desk: Desk, message: Message, user: str, name: str, kind: str) -> None:
    desk.workspace.conversations.changed(message)
    item = {"type": "message", "channel": message.channel, "ts": message.ts}
    event_ts = desk.workspace.ids.ts("events")
    event = {"type": kind, "user": user, "reaction": name, "item": item, "event_ts": event_ts}
    desk.events.emit({**event, "item_user": message.body.get("user", "")})
