"""The messages of every channel, ephemeral ones included, and how threads hang together."""

from dataclasses import dataclass, field
from typing import Any

from opsbot.workbench.feed import Feed
from opsbot.workbench.wire import Json, SlackError
from opsbot.workbench.world import Channel, World


@dataclass(slots=True)
class Stream:
    """The live part of a streamed message: what arrived so far and whether more may come."""

    recipient_user_id: str
    task_display_mode: str
    is_open: bool = True
    was_stopped_by_user: bool = False
    chunks: list[Json] = field(default_factory=list)


@dataclass(slots=True)
class Message:
    """One message: `body` as Slack's methods return it, and what Slack keeps beside it."""

    channel: str
    body: Json
    ephemeral_for: str = ""
    metadata: Json | None = None
    stream: Stream | None = None

    @property
    def ts(self) -> str:
        """The timestamp that identifies the message within its channel."""
        return str(self.body["ts"])

    @property
    def root_ts(self) -> str:
        """The timestamp of the thread the message belongs to, its own when it is in none."""
        return str(self.body.get("thread_ts", self.ts))

    @property
    def is_reply(self) -> bool:
        """Whether this is a reply in a thread, not its first message."""
        return self.root_ts != self.ts

    def shown(self) -> Json:
        """Return the message for the page: the body plus visibility and streaming state."""
        extra: Json = {"channel": self.channel, "streaming": bool(self.stream and self.stream.is_open)}
        if self.ephemeral_for:
            extra["ephemeral_for"] = self.ephemeral_for
        if self.metadata:
            extra["metadata"] = self.metadata
        if self.stream:
            extra["chunks"] = self.stream.chunks
            extra["stream_recipient"] = self.stream.recipient_user_id
            extra["task_display_mode"] = self.stream.task_display_mode
        return {**self.body, **extra}


class Conversations:
    """All channels with their messages, kept in the order of posting."""

    def __init__(self, world: World, feed: Feed) -> None:
        self._feed = feed
        self._channels = {channel.id: channel for channel in world.all_channels}
        self._messages: dict[str, dict[str, Message]] = {channel: {} for channel in self._channels}

    def channels(self) -> list[Channel]:
        """Return every channel and direct message."""
        return list(self._channels.values())

    def channel(self, reference: str) -> Channel:
        """Find a channel by id, by name with or without `#`, or the direct message of a user id."""
        found = self._channels.get(reference) or self._channels.get("D" + reference[1:])
        if found is None:
            name = reference.removeprefix("#")
            found = next((c for c in self._channels.values() if name and c.name == name), None)
        if found is None:
            raise SlackError("channel_not_found")
        return found

    def messages(self, channel: str) -> list[Message]:
        """Return all messages of a channel, oldest first, replies and ephemeral ones included."""
        return list(self._messages[channel].values())

    def find(self, channel: str, ts: str) -> Message | None:
        """Return one message, or None."""
        return self._messages.get(channel, {}).get(ts)

    def get(self, channel: str, ts: str) -> Message:
        """Return one message everybody can see. Raises SlackError `message_not_found`."""
        message = self.find(channel, ts)
        if message is None or message.ephemeral_for:
            raise SlackError("message_not_found")
        return message

    def add(self, message: Message) -> None:
        """Keep a new message and count it in its thread."""
        self._messages[message.channel][message.ts] = message
        if message.is_reply and not message.ephemeral_for:
            self._recount(message.channel, message.root_ts)
        self._feed.publish("message", channel=message.channel, message=message.shown())

    def changed(self, message: Message) -> None:
        """Tell the watchers that a message is not what it was."""
        self._feed.publish("message", channel=message.channel, message=message.shown())

    def remove(self, message: Message) -> None:
        """Forget a message."""
        self._messages[message.channel].pop(message.ts, None)
        self._feed.publish("message_deleted", channel=message.channel, ts=message.ts)
        if message.is_reply and not message.ephemeral_for:
            self._recount(message.channel, message.root_ts)

    def top_level(self, channel: str) -> list[Message]:
        """Return what the channel itself shows, oldest first: no replies, nothing ephemeral."""
        return [m for m in self.messages(channel) if not m.ephemeral_for and not m.is_reply]

    def thread(self, channel: str, root_ts: str) -> list[Message]:
        """Return a thread's first message and its replies, oldest first. Raises `thread_not_found`."""
        found = [m for m in self.messages(channel) if not m.ephemeral_for and m.root_ts == root_ts]
        if not found:
            raise SlackError("thread_not_found")
        return found

    def clear(self) -> None:
        """Forget every message."""
        for messages in self._messages.values():
            messages.clear()

    def _recount(self, channel: str, root_ts: str) -> None:
        root = self.find(channel, root_ts)
        if root is None:
            return
        replies = [m for m in self.thread(channel, root_ts) if m.is_reply]
        for key in ("thread_ts", "reply_count", "reply_users", "reply_users_count", "latest_reply"):
            root.body.pop(key, None)
        if replies:
            root.body |= _thread_summary(root_ts, replies)
        self.changed(root)


def _thread_summary(root_ts: str, replies: list[Message]) -> dict[str, Any]:
    people = list(dict.fromkeys(reply.body.get("user", "") for reply in replies))
    return {
        "thread_ts": root_ts,
        "reply_count": len(replies),
        "reply_users": people,
        "reply_users_count": len(people),
        "latest_reply": replies[-1].ts,
    }
