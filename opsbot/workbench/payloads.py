"""The payloads of interactions and commands, in the shapes Slack documents."""

from opsbot.workbench.conversations import Message
from opsbot.workbench.passes import ResponseUrl
from opsbot.workbench.wire import Json
from opsbot.workbench.workspace import Workspace
from opsbot.workbench.world import Channel, User


class Payloads:
    """Builds what the app receives when a person acts."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def interaction(self, kind: str, user: User) -> Json:
        """Return the keys every interaction carries, with a fresh trigger."""
        world = self._workspace.world
        return {
            "type": kind,
            "token": "workbench",
            "team": {"id": world.team_id, "domain": world.domain},
            "enterprise": None,
            "is_enterprise_install": False,
            "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": world.team_of(user)},
            "api_app_id": world.app_id,
            "trigger_id": self._workspace.triggers.issue(user.id),
        }

    def message_action(self, user: User, message: Message, action: Json, state: Json) -> Json:
        """Return block_actions for a control in a message; an ephemeral message is not included, as by Slack."""
        channel = self._workspace.conversations.channel(message.channel)
        container: Json = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": bool(message.ephemeral_for),
        }
        if "thread_ts" in message.body:
            container["thread_ts"] = message.body["thread_ts"]
        url = self._workspace.response_urls.issue(
            channel=channel.id, user=user.id, message_ts=message.ts, thread_ts=message.body.get("thread_ts", "")
        )
        payload = self.interaction("block_actions", user)
        payload |= {"container": container, "channel": _named(channel), "state": state, "actions": [action]}
        payload["response_url"] = self.url(url)
        return payload if message.ephemeral_for else {**payload, "message": dict(message.body)}

    def view_action(self, user: User, view: Json, action: Json) -> Json:
        """Return block_actions for a control in a modal or the App Home."""
        payload = self.interaction("block_actions", user)
        return {
            **payload,
            "container": {"type": "view", "view_id": view["id"]},
            "view": dict(view),
            "actions": [action],
        }

    def view_submission(self, user: User, view: Json) -> Json:
        """Return view_submission."""
        return {**self.interaction("view_submission", user), "view": dict(view), "response_urls": []}

    def view_closed(self, user: User, view: Json, *, is_cleared: bool) -> Json:
        """Return view_closed."""
        payload = self.interaction("view_closed", user)
        del payload["trigger_id"]
        return {**payload, "view": dict(view), "is_cleared": is_cleared}

    def suggestion(self, user: User, source: Json, element: Json, typed: str) -> Json:
        """Return block_suggestion; `source` holds container and channel+message, or container and view."""
        payload = self.interaction("block_suggestion", user)
        del payload["trigger_id"]
        return {**payload, **source, **{k: element[k] for k in ("action_id", "block_id")}, "value": typed}

    def message_shortcut(self, user: User, callback_id: str, message: Message) -> Json:
        """Return message_action."""
        channel = self._workspace.conversations.channel(message.channel)
        url = self._workspace.response_urls.issue(channel=channel.id, user=user.id, message_ts=message.ts)
        return {
            **self.interaction("message_action", user),
            "callback_id": callback_id,
            "action_ts": self._workspace.ids.ts("actions"),
            "response_url": self.url(url),
            "message_ts": message.ts,
            "channel": _named(channel),
            "message": dict(message.body),
        }

    def global_shortcut(self, user: User, callback_id: str) -> Json:
        """Return shortcut."""
        action_ts = self._workspace.ids.ts("actions")
        return {**self.interaction("shortcut", user), "callback_id": callback_id, "action_ts": action_ts}

    def command(self, user: User, channel: Channel, command: str, text: str) -> tuple[Json, ResponseUrl]:
        """Return the fields of a slash command, all strings, and its response URL."""
        world = self._workspace.world
        url = self._workspace.response_urls.issue(channel=channel.id, user=user.id)
        fields = {
            "token": "workbench",
            "team_id": world.team_of(user),
            "team_domain": world.domain,
            "channel_id": channel.id,
            "channel_name": "directmessage" if channel.is_im else channel.name,
            "user_id": user.id,
            "user_name": user.name,
            "command": command,
            "text": text,
            "api_app_id": world.app_id,
            "is_enterprise_install": "false",
            "response_url": self.url(url),
            "trigger_id": self._workspace.triggers.issue(user.id),
        }
        return fields, url

    def url(self, url: ResponseUrl) -> str:
        """Return the absolute form of a response URL."""
        return f"{self._workspace.base_url}/response/{url.id}"


def _named(channel: Channel) -> Json:
    return {"id": channel.id, "name": "directmessage" if channel.is_im else channel.name}
