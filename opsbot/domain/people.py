"""People, the places where they talk, and moments."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Membership(StrEnum):
    """What the chat service says an account is; only members count."""

    MEMBER = "member"
    GUEST = "guest"  # of our workspace, but restricted to some channels
    FOREIGN = "foreign"  # of another workspace
    BOT = "bot"
    GONE = "gone"  # deactivated, or never there
    UNKNOWN = "unknown"  # it could not be looked up


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, identified by ids of the chat service, never by display names.

    `unread`: groups of which it is not known whether the person is in them; they give nothing and take everything.
    """

    team_id: str
    user_id: str
    groups: frozenset[str] = frozenset()
    membership: Membership = Membership.MEMBER
    unread: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """`team/user`: the canonical person id used in records."""
        return f"{self.team_id}/{self.user_id}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation happens: one thread of one channel. `thread_id` is "" at a channel's top level."""

    team_id: str
    channel_id: str
    thread_id: str = ""
    direct: bool = False

    @property
    def key(self) -> str:
        """The conversation id: `team/channel/thread`."""
        return f"{self.team_id}/{self.channel_id}/{self.thread_id}"


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A message the chat service accepted; enough to edit it."""

    channel_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks said at one time: `at` is aware UTC; `monotonic_s` compares only within one `boot_id`.

    `machine` outlives boots, so that another boot of the same machine is told from another machine.
    """

    at: datetime
    machine: str
    boot_id: str
    monotonic_s: float
