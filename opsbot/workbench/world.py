"""Who and what exists in the workspace before anyone speaks: team, people, channels, user groups."""

from dataclasses import dataclass, replace

from opsbot.workbench.wire import Json


@dataclass(frozen=True, slots=True)
class User:
    """An account; the bot is one too. `team_id` names another workspace for somebody of a shared channel.

    `is_restricted` and `is_ultra_restricted` are guests of many channels and of one.
    """

    id: str
    name: str
    real_name: str
    email: str = ""
    is_bot: bool = False
    team_id: str = ""
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    deleted: bool = False


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

    def team_of(self, user: User) -> str:
        """Return the id of the workspace the account is of."""
        return user.team_id or self.team_id

    def is_shared(self, channel: Channel) -> bool:
        """Whether people of another workspace are in the channel."""
        return any(user.team_id for user in self.people if user.id in channel.members)

    def with_person(self, person: User) -> "World":
        """Return the same world with this person as given."""
        return replace(self, people=tuple(person if user.id == person.id else user for user in self.people))

    def named(self, bot_name: str) -> "World":
        """Return the same world with the bot called `bot_name`."""
        return replace(self, bot_user=replace(self.bot_user, name=bot_name, real_name=bot_name))


def dm_id(user: User) -> str:
    """Return the id of the person's direct message with the bot: `U0ALICE` has `D0ALICE`."""
    return "D" + user.id[1:]


def user_json(user: User, team_id: str) -> Json:
    """Return the user object of `users.info`."""
    profile = {
        "real_name": user.real_name,
        "display_name": user.name,
        "email": user.email,
        "team": user.team_id or team_id,
    }
    return {
        "id": user.id,
        "team_id": user.team_id or team_id,
        "name": user.name,
        "real_name": user.real_name,
        "deleted": user.deleted,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "is_admin": False,
        "is_restricted": user.is_restricted,
        "is_ultra_restricted": user.is_ultra_restricted,
        **({"is_stranger": True} if user.team_id else {}),
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
