"""Histories, as they are kept."""

from collections.abc import Sequence
from typing import Protocol

from opsbot.domain import AuditEntry, Compaction, Conversation, Message, Place
from opsbot.spending import ModelCall


class Conversations(Protocol):
    """Histories, append-only, with optimistic versions."""

    async def load(self, place: Place) -> Conversation:
        """Return the conversation; an unknown one is empty with version 0."""
        ...

    async def append(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        *,
        needs_turn: bool,
        entries: Sequence[AuditEntry] = (),
        model_calls: Sequence[ModelCall] = (),
        compaction: Compaction | None = None,
    ) -> Conversation:
        """Append with the audit records that tell of it and what it took, in one transaction; return the new state.

        `compaction` takes the place of the one before; None leaves it.

        Raises:
            Conflict: the stored version is not `conversation.version`.
        """
        ...

    async def needing_turn(self) -> tuple[Place, ...]:
        """Places whose conversation was last saved with `needs_turn`."""
        ...

    async def reset(self, conversation: Conversation, *, entries: Sequence[AuditEntry] = ()) -> Conversation:
        """Forget the history (kept in the database, no longer loaded) and its outputs, with audit records.

        Raises:
            Conflict: the stored version is not `conversation.version`.
        """
        ...
