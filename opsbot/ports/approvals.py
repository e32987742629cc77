"""Approvals as they are kept, and the journal of what was sent to hosts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from opsbot.caps import Caps, Effect
from opsbot.domain import Approval, ApprovalState, AuditEntry, Closing, Moment, Operation


class Approvals(Protocol):
    """Approval records, changed only by compare-and-swap."""

    async def add(self, approval: Approval, entry: AuditEntry) -> Approval:
        """Insert with its audit record in one transaction.

        For the same conversation and non-empty call id the stored approval is returned instead.
        """
        ...

    async def get(self, approval_id: str) -> Approval | None:
        """Return the record. An id prefix of at least 4 characters that fits exactly one is enough."""
        ...

    async def change(
        self,
        approval: Approval,
        *,
        expected: tuple[ApprovalState, int],
        entries: Sequence[AuditEntry],
        closings: Sequence[Closing] = (),
    ) -> Approval:
        """Write `approval` with its audit records if stored (state, version) are as expected; bump the version.

        `closings` end its operations; the record of one that had ended before is left out, so that each has one end.

        Raises:
            Conflict: they are not.
        """
        ...

    async def in_state(self, *states: ApprovalState) -> tuple[Approval, ...]:
        """All approvals in these states, oldest first."""
        ...

    async def of_conversation(self, conversation_id: str) -> tuple[Approval, ...]:
        """All approvals of a conversation, oldest first."""
        ...

    async def since(self, at: datetime) -> tuple[Approval, ...]:
        """All approvals asked for at that time or later, oldest first."""
        ...


class Operations(Protocol):
    """The write-ahead journal of effects: one row per approval and host, inserted before the command is sent.

    A row is open until `Approvals.change` closes it, and locks its targets on that host, for every process.
    """

    async def claim(self, operation: Operation, entry: AuditEntry, *, caps: Caps) -> bool:
        """Insert the row, with its audit record, if the stored approval is executing and equal in digest.

        False: the row exists already, so the command was or may have been sent. Synced to disk on return.

        Raises:
            Conflict: the approval is not executing, or its digest differs.
            Fenced: this replica was given up.
            TargetTaken: another operation is open on one of the targets.
            CapReached: the effects of the last hour leave no room.
        """
        ...

    async def started(self, approval_id: str) -> frozenset[str]:
        """Hosts of this approval whose command was or may have been sent."""
        ...

    async def overtaken(self, approval_id: str, host: str) -> str | None:
        """Return the first request that acted on the same of this host since this one did, or None.

        What such a one changed cannot be told from what this one did.
        """
        ...

    async def effects(self, now: Moment) -> tuple[Effect, ...]:
        """The effects of the last hour, those under way included, those left out that changed nothing."""
        ...
