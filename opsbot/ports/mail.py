"""Events that came in and messages that go out, each once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from opsbot.domain import Content, InboxItem, Incoming, MessageRef, OutboxItem, Place


class Inbox(Protocol):
    """Events, written before they are acknowledged; each is handled once."""

    async def accept(self, keys: Sequence[str], event: Incoming, at: datetime) -> str | None:
        """Store the event unless one of its dedupe keys is known; return its new id, or None for a duplicate.

        The event is leased to this replica (`domain.event_lease`) in the same transaction.
        """
        ...

    async def waiting(self) -> tuple[InboxItem, ...]:
        """Events accepted and not finished, oldest first."""
        ...

    async def get(self, item_id: str) -> InboxItem | None:
        """Return an event that is not finished."""
        ...

    async def finish(self, item_id: str) -> None:
        """Mark an event as handled, and end its lease; nothing happens if that is not this replica's (any more)."""
        ...

    async def prune(self, before: datetime) -> int:
        """Delete finished events received before that time, with their dedupe keys; return how many."""
        ...


class Outbox(Protocol):
    """Messages to deliver once. One replica at a time sends a message, by a lease (`domain.message_lease`)."""

    async def put(self, key: str, place: Place, content: Content) -> OutboxItem:
        """Store a message to send; for a known key update the content, which waits again, and return the row.

        Unless `ours`, a living replica is sending it and will bring this content.
        """
        ...

    async def sent(self, key: str, ref: MessageRef, *, version: int, settled: bool = True) -> OutboxItem | None:
        """Record where that version stands. Not `settled`: its content will change, so it stays among the waiting.

        Returns the message with its newest content if that moved on meanwhile: send it again. None: the lease ended.

        Raises:
            Fenced: this replica was given up.
        """
        ...

    async def waiting(self) -> tuple[OutboxItem, ...]:
        """Messages whose newest content was never confirmed or will change, oldest first."""
        ...

    async def get(self, key: str) -> OutboxItem | None:
        """Return one row."""
        ...
