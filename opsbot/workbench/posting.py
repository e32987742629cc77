"""Posting, editing and removing messages, with everything that follows: counts, frames, events, statuses."""

import copy

from opsbot.workbench.conversations import Message, Stream
from opsbot.workbench.events import Events
from opsbot.workbench.richtext import rich_text, stored_text
from opsbot.workbench.validation import assign_ids
from opsbot.workbench.wire import Json
from opsbot.workbench.workspace import Workspace

_CONTENT = ("text", "blocks", "attachments")


class Posting:
    """The one place where messages come to be and change."""

    def __init__(self, workspace: Workspace, events: Events) -> None:
        self._workspace, self._events = workspace, events

    def post_as_person(self, *, user: str, channel: str, typed: str, thread_ts: str, files: list[Json]) -> Message:
        """Post what a person typed; `typed` may name people and channels with `@` and `#`."""
        workspace = self._workspace
        text = stored_text(typed, workspace.world)
        body: Json = {"type": "message", "user": user, "text": text, "ts": workspace.ids.ts(channel)}
        body |= {"client_msg_id": workspace.ids.next("client-"), "team": workspace.world.team_id}
        person = workspace.world.user(user)
        if person is not None and person.team_id:
            body |= {"team": person.team_id, "user_team": person.team_id, "source_team": person.team_id}
        if text:
            body["blocks"] = [rich_text(text, workspace.ids.next("b"))]
        if thread_ts:
            body["thread_ts"] = thread_ts
        if files:
            body |= {"files": files, "subtype": "file_share"}
        message = Message(channel, body)
        self._add(message)
        return message

    def post_as_other_app(self, channel: str, typed: str, *, is_workflow: bool, thread_ts: str = "") -> Message:
        """Post as another app, or as a workflow that somebody built."""
        workspace = self._workspace
        profile = {"id": "B0OTHER", "name": "other", "app_id": "A0OTHER", "team_id": workspace.world.team_id}
        body: Json = {"type": "message", "bot_id": "B0OTHER", "app_id": "A0OTHER", "ts": workspace.ids.ts(channel)}
        body |= {"user": "U0OTHERBOT", "team": workspace.world.team_id, "text": stored_text(typed, workspace.world)}
        if is_workflow:
            body |= {"subtype": "bot_message", "bot_profile": {**profile, "is_workflow_bot": True}}
        else:
            body["bot_profile"] = profile
        if thread_ts:
            body["thread_ts"] = thread_ts
        message = Message(channel, body)
        self._add(message)
        return message

    def post_as_bot(
        self,
        channel: str,
        content: Json,
        *,
        ephemeral_for: str = "",
        metadata: Json | None = None,
        stream: Stream | None = None,
    ) -> Message:
        """Post for the app. `content` may hold text, blocks, attachments, thread_ts, files, username, icons."""
        workspace = self._workspace
        world = workspace.world
        profile = {"id": world.bot_id, "name": world.bot_user.name, "app_id": world.app_id, "team_id": world.team_id}
        body: Json = {"type": "message", "user": world.bot_user.id, "ts": workspace.ids.ts(channel)}
        body |= {"bot_id": world.bot_id, "app_id": world.app_id, "team": world.team_id, "bot_profile": profile}
        body |= {"text": "", **self._completed(content)}
        message = Message(channel, body, ephemeral_for, metadata, stream)
        self._add(message)
        if not ephemeral_for:
            workspace.agent.set_status((channel, message.root_ts), "", [])
        return message

    def edit(self, message: Message, content: Json, *, mark_edited: bool = True) -> None:
        """Replace the given parts of a message; an empty list of blocks removes the blocks."""
        previous = copy.deepcopy(message.body)
        message.body |= self._completed({key: content[key] for key in _CONTENT if key in content})
        for key in ("blocks", "attachments"):
            if message.body.get(key) == []:
                del message.body[key]
        if mark_edited and not message.ephemeral_for:
            bot_user = self._workspace.world.bot_user.id
            message.body["edited"] = {"user": bot_user, "ts": self._workspace.ids.ts(message.channel)}
        self.announce_change(message, previous)

    def announce_change(self, message: Message, previous: Json) -> None:
        """Tell page and app that a message changed from `previous`."""
        self._workspace.conversations.changed(message)
        self._events.message_changed(message, previous)

    def remove(self, message: Message) -> None:
        """Delete a message."""
        self._workspace.conversations.remove(message)
        self._events.message_deleted(message)

    def _add(self, message: Message) -> None:
        self._workspace.conversations.add(message)
        self._events.message_posted(message)

    def _completed(self, content: Json) -> Json:
        if not content.get("blocks"):
            return content
        return {**content, "blocks": assign_ids(content["blocks"], self._workspace.ids)}
