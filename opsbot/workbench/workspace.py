"""The workspace as a whole: every store of the workbench in one place, and what it shows the page."""

from dataclasses import dataclass

from opsbot.workbench.agent import Agent
from opsbot.workbench.clock import Clock
from opsbot.workbench.conversations import Conversations
from opsbot.workbench.faults import Faults
from opsbot.workbench.feed import Feed
from opsbot.workbench.files import Files
from opsbot.workbench.ids import Ids
from opsbot.workbench.limits import Limits
from opsbot.workbench.manifest import Manifest
from opsbot.workbench.passes import ResponseUrls, Triggers
from opsbot.workbench.views import Views
from opsbot.workbench.wire import Json
from opsbot.workbench.world import Group, World


@dataclass(frozen=True, slots=True)
class Tokens:
    """The credentials the app must present, and the secret its requests are signed with."""

    bot: str = "xoxb-workbench-bot"
    app: str = "xapp-1-A0OPSBOT-workbench"
    signing_secret: str = "workbench-signing-secret"  # noqa: S105 - of the local stand-in, printed at start


class Workspace:
    """All state. `base_url` is set once the server knows its port."""

    def __init__(self, *, world: World, manifest: Manifest, limits: Limits, tokens: Tokens) -> None:
        self.world, self.manifest, self.limits, self.tokens = world, manifest, limits, tokens
        self._first_world = world
        self.base_url = ""
        self.clock = Clock()
        self.ids = Ids(self.clock)
        self.feed = Feed(self.clock, limits.log_entries)
        self.faults = Faults()
        self.conversations = Conversations(world, self.feed)
        self.agent = Agent(self.clock, self.feed, limits)
        self.views = Views(world, self.feed, self.ids, limits)
        self.files = Files(self.clock, self.ids)
        self.triggers = Triggers(self.clock, self.ids, limits, self.faults)
        self.response_urls = ResponseUrls(self.clock, self.ids, limits)
        self.groups: dict[str, Group] = {group.id: group for group in world.groups}
        self.contexts: dict[str, list[Json]] = {}

    def reset(self) -> None:
        """Forget messages, views, files, sessions, faults and the log; connections and the clock stay."""
        for store in (self.conversations, self.agent, self.views, self.files, self.faults, self.contexts):
            store.clear()
        self.feed.log.clear()
        self.world = self._first_world
        self.groups = {group.id: group for group in self.world.groups}

    def state(self, *, online: bool) -> Json:
        """Return everything the page shows, in one object."""
        world = self.world
        bot = {"id": world.bot_user.id, "bot_id": world.bot_id, "name": world.bot_user.name, "online": online}
        messages = {
            channel.id: [message.shown() for message in self.conversations.messages(channel.id)]
            for channel in self.conversations.channels()
        }
        return {
            "team": {"id": world.team_id, "name": world.team_name, "domain": world.domain},
            "bot": bot,
            "users": [_user(user) for user in world.users],
            "groups": [_group(group) for group in self.groups.values()],
            "channels": [_channel(channel) for channel in self.conversations.channels()],
            "messages": messages,
            **self._agent_state(),
            "views": {user: list(stack) for user, stack in self.views.stacks.items() if stack},
            "homes": dict(self.views.homes),
            "commands": list(self.manifest.commands or ()),
            "shortcuts": list(self.manifest.shortcuts or ()),
            "faults": self.faults.waiting(),
            "now": self.clock.now(),
            "version": self.feed.version,
        }

    def _agent_state(self) -> Json:
        agent = self.agent
        return {
            "statuses": [{"channel": c, "thread_ts": ts, **shown} for (c, ts), shown in agent.statuses.items()],
            "sessions": [
                {"channel": c, "thread_ts": ts, "status": session.status, "title": session.title}
                for (c, ts), session in agent.sessions.items()
            ],
            "prompts": list(agent.prompts.values()),
            "suggested_prompts": list(self.manifest.suggested_prompts),
        }


def _user(user: "object") -> Json:
    return {key: getattr(user, key) for key in ("id", "name", "real_name", "is_bot")}


def _group(group: Group) -> Json:
    return {"id": group.id, "handle": group.handle, "name": group.name, "users": list(group.users)}


def _channel(channel: "object") -> Json:
    keys = ("id", "name", "is_im", "is_private", "is_archived", "user")
    return {**{key: getattr(channel, key) for key in keys}, "members": list(getattr(channel, "members", ()))}
