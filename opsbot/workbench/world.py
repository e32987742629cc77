"""Who and what exists in the workspace before anyone speaks: team, people, channels, user groups."""

from dataclasses import dataclass, replace

from opsbot.workbench.wire import Json


@dataclass(frozen=True, slots=True)
class User:
    """A member of the workspace; the bot is one too."""

    id: str
    name: str
    real_name: str
    email: str = ""
    is_bot: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, or a direct message between the bot and `user`."""

    id: str
    name: str
    members: tuple[str, ...]
    is_private: bool = False
    is_archived: bool = False
    user: str = ""

    @property
    def is_im(self) -> bool:
        """Whether this is a direct message."""
        return bool(self.user)

    @property
    def kind(self) -> str:
        """The `channel_type` of message events: `im`, `group` or `channel`."""
        if self.is_im:
            return "im"
        return "group" if self.is_private else "channel"


@dataclass(frozen=True, slots=True)
class Group:
    """A user group, mentioned as `@handle`."""

    id: str
    handle: str
    name: str
    users: tuple[str, ...]


ALICE = User("U0ALICE", "alice", "Alice Anders (on call)", "alice@example.com")
BOB = User("U0BOB", "bob", "Bob Brandt (approver)", "bob@example.com")
CAROL = User("U0CAROL", "carol", "Carol Chen", "carol@example.com")
DAVE = User("U0DAVE", "dave", "Dave Diaz", "dave@example.com")
_PEOPLE = (ALICE, BOB, CAROL, DAVE)
_EVERYONE = (*(user.id for user in _PEOPLE), "U0BOT")


@dataclass(frozen=True, slots=True)
class World:
    """The workspace as it is at the start; give other values to test other workspaces."""

    team_id: str = "T0WORKBENCH"
    team_name: str = "Workbench"
    domain: str = "workbench"
    app_id: str = "A0OPSBOT"
    bot_id: str = "B0OPSBOT"
    bot_user: User = User("U0BOT", "opsbot", "opsbot", is_bot=True)
    people: tuple[User, ...] = _PEOPLE
    channels: tuple[Channel, ...] = (
        Channel("C0OPS", "ops", _EVERYONE),
        Channel("C0GENERAL", "general", _EVERYONE),
        Channel("C0RANDOM", "random", tuple(user.id for user in _PEOPLE)),
    )
    groups: tuple[Group, ...] = (
        Group("S0SRE", "sre", "Site reliability", (ALICE.id, BOB.id)),
        Group("S0DBA", "dba", "Database administrators", (DAVE.id,)),
    )

    @property
    def users(self) -> tuple[User, ...]:
        """Everyone, the bot included."""
        return (*self.people, self.bot_user)

    @property
    def all_channels(self) -> tuple[Channel, ...]:
        """The channels, and one direct message of each person with the bot."""
        direct = (Channel(dm_id(user), "", (user.id, self.bot_user.id), user=user.id) for user in self.people)
        return (*self.channels, *direct)

    def user(self, user_id: str) -> User | None:
        """Return the member with this id, or None."""
        return next((user for user in self.users if user.id == user_id), None)

    def named(self, bot_name: str) -> "World":
        """Return the same world with the bot called `bot_name`."""
        return replace(self, bot_user=replace(self.bot_user, name=bot_name, real_name=bot_name))


def dm_id(user: User) -> str:
    """Return the id of the person's direct message with the bot: `U0ALICE` has `D0ALICE`."""
    return "D" + user.id[1:]


def user_json(user: User, team_id: str) -> Json:
    """Return the user object of `users.info`."""
    profile = {"real_name": user.real_name, "display_name": user.name, "email": user.email, "team": team_id}
    return {
        "id": user.id,
        "team_id": team_id,
        "name": user.name,
        "real_name": user.real_name,
        "deleted": False,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "is_admin": False,
        "is_restricted": False,
        "is_ultra_restricted": False,
        "tz": "Etc/UTC",
        "tz_offset": 0,
        "profile": {key: value for key, value in profile.items() if value},
    }


def channel_json(channel: Channel) -> Json:
    """Return the conversation object of `conversations.info`."""
    common = {"id": channel.id, "is_archived": channel.is_archived, "created": 1_700_000_000}
    if channel.is_im:
        return {**common, "is_im": True, "user": channel.user, "is_user_deleted": False}
    return {
        **common,
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": not channel.is_private,
        "is_group": channel.is_private,
        "is_im": False,
        "is_private": channel.is_private,
        "num_members": len(channel.members),
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }
