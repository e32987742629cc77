"""Events: which the app is subscribed to, and the envelope they travel in."""

import copy

from opsbot.workbench.conversations import Message
from opsbot.workbench.delivery import Courier, Parcel
from opsbot.workbench.wire import Json
from opsbot.workbench.workspace import Workspace
from opsbot.workbench.world import Channel

_SUBSCRIPTION = {"im": "message.im", "group": "message.groups", "channel": "message.channels"}


class Events:
    """Sends the events that follow from what happened in the workspace."""

    def __init__(self, workspace: Workspace, courier: Courier) -> None:
        self._workspace, self._courier = workspace, courier

    def emit(self, event: Json, subscription: str = "") -> None:
        """Deliver one event if the manifest subscribes to it (`subscription`, default the event's type)."""
        name = subscription or str(event["type"])
        if self._workspace.manifest.subscribes(name):
            self._courier.send_event(Parcel("events_api", name, self._callback(event)))

    def message_posted(self, message: Message) -> None:
        """Tell of a new message: `message.*`, and `app_mention` when it names the bot in a channel."""
        if message.ephemeral_for or not self._hears(message.channel):
            return
        channel = self._channel(message)
        event = {**message.body, "channel": channel.id, "channel_type": channel.kind, "event_ts": message.ts}
        if message.metadata:
            event["metadata"] = message.metadata
        by_person = "bot_id" not in message.body
        own = message.body.get("bot_id") == self._workspace.world.bot_id
        if not own and not channel.is_im and f"<@{self._workspace.world.bot_user.id}>" in message.body["text"]:
            self.emit(self._mention(event))
        if by_person and channel.is_im and self._workspace.manifest.subscribes("app_context_changed"):
            context = self._workspace.contexts.get(channel.user)
            event |= {"app_context": {"entities": context}} if context else {}
        self.emit(event, _SUBSCRIPTION[channel.kind])

    def message_changed(self, message: Message, previous: Json) -> None:
        """Tell of an edited message."""
        self._hidden(message, "message_changed", {"message": dict(message.body), "previous_message": previous})

    def message_deleted(self, message: Message) -> None:
        """Tell of a deleted message."""
        self._hidden(message, "message_deleted", {"deleted_ts": message.ts, "previous_message": dict(message.body)})

    def _hidden(self, message: Message, subtype: str, content: Json) -> None:
        if message.ephemeral_for or not self._hears(message.channel):
            return
        channel = self._channel(message)
        ts = self._workspace.ids.ts(channel.id)
        event: Json = {"type": "message", "subtype": subtype, "hidden": True, "channel": channel.id, "ts": ts}
        event |= {"channel_type": channel.kind, "event_ts": ts, **content}
        self.emit(event, _SUBSCRIPTION[channel.kind])

    def _mention(self, event: Json) -> Json:
        mention = {key: value for key, value in event.items() if key not in ("channel_type", "subtype")}
        if "files" in mention and self._workspace.faults.take("mention_without_files"):
            del mention["files"]
        return {**mention, "type": "app_mention"}

    def _hears(self, channel_id: str) -> bool:
        return self._workspace.world.bot_user.id in self._workspace.conversations.channel(channel_id).members

    def _channel(self, message: Message) -> Channel:
        return self._workspace.conversations.channel(message.channel)

    def _is_shared(self, channel_id: object) -> bool:
        known = {channel.id: channel for channel in self._workspace.conversations.channels()}
        channel = known.get(str(channel_id))
        return channel is not None and self._workspace.world.is_shared(channel)

    def _callback(self, event: Json) -> Json:
        world = self._workspace.world
        authorization = {
            "enterprise_id": None,
            "team_id": world.team_id,
            "user_id": world.bot_user.id,
            "is_bot": True,
            "is_enterprise_install": False,
        }
        return {
            "token": "workbench",
            "team_id": world.team_id,
            "api_app_id": world.app_id,
            # A retry must carry what the first delivery did, whatever happens to the message meanwhile.
            "event": copy.deepcopy(event),
            "type": "event_callback",
            "event_id": self._workspace.ids.next("Ev"),
            "event_time": int(self._workspace.clock.now()),
            "is_ext_shared_channel": self._is_shared(event.get("channel")),
            "event_context": self._workspace.ids.next("EC"),
            "authorizations": [authorization],
        }
