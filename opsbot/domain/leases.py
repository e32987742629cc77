"""Who is at work on what, among the replicas."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """A note that a replica is at work on something; it lapses with the replica.

    `attempts`: how many replicas have begun this work, this one included. `taken_over`: another one held it until now.
    """

    name: str
    attempts: int = 1
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Beats:
    """What a replica learns when it shows life: its own name, the beats of the `others`, and leases by name.

    `handed` were given to this replica just now; `lapsed` wait for anyone to take them over.
    """

    me: str
    others: Mapping[str, int]
    handed: tuple[str, ...] = ()
    lapsed: tuple[str, ...] = ()


def event_lease(item_id: str) -> str:
    """Name the lease of who handles an event."""
    return f"event:{item_id}"


def turn_lease(conversation_id: str) -> str:
    """Name the lease of who has a conversation's turn."""
    return f"turn:{conversation_id}"


def run_lease(approval_id: str) -> str:
    """Name the lease of who carries an approved action out, or looks what became of it."""
    return f"run:{approval_id}"


def message_lease(key: str) -> str:
    """Name the lease of who sends a message."""
    return f"send:{key}"
