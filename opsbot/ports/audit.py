"""The hash chain, as it is kept."""

from typing import Protocol

from opsbot.domain import AuditEntry, AuditRecord


class AuditLog(Protocol):
    """The hash chain."""

    async def append(self, entry: AuditEntry) -> AuditRecord:
        """Chain and store one record, synced. Raises StoreError when it cannot be written."""
        ...

    async def read(self, *, after: int = 0, limit: int = 1000) -> tuple[AuditRecord, ...]:
        """Return records with seq > after, in order."""
        ...

    async def about(self, approval_id: str) -> tuple[AuditRecord, ...]:
        """Return the records of one approval, in order, without reading the rest."""
        ...

    async def of_conversation(self, conversation_id: str, *, limit: int) -> tuple[AuditRecord, ...]:
        """Return the newest records of a conversation, in order. Reads the whole log: not for every message."""
        ...

    async def newest(self, kind: str) -> AuditRecord | None:
        """Return the newest record of this kind."""
        ...
