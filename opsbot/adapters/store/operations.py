"""Operations: the write-ahead journal of effects; its primary key is what makes an action happen at most once."""

from datetime import datetime

from sqlalchemy import Connection, select

from opsbot.adapters.store import schema
from opsbot.adapters.store.approvals import ApprovalRows
from opsbot.adapters.store.chain import AuditChain
from opsbot.adapters.store.database import Database
from opsbot.audit import timestamp
from opsbot.domain import Approval, ApprovalState, AuditEntry
from opsbot.errors import Conflict

_rows = schema.operations.c


class SqlOperations:
    """Implements `ports.Operations`."""

    def __init__(self, database: Database, approvals: ApprovalRows, chain: AuditChain) -> None:
        self._database = database
        self._approvals = approvals
        self._chain = chain

    async def claim(self, approval: Approval, host: str, at: datetime, entry: AuditEntry) -> bool:
        """Insert the row with its audit record, once. False: it exists. Raises Conflict, StoreError."""

        def work(connection: Connection) -> bool:
            stored = self._approvals.lock(connection, approval.id)
            if stored is None or stored.state is not ApprovalState.EXECUTING or stored.digest != approval.digest:
                raise Conflict(f"The approval {approval.id} is not executing what was approved; nothing is sent.")
            values = {
                "approval_id": approval.id,
                "host": host,
                "claimed_at": timestamp(at),
                "digest": stored.digest,
            }
            statement = schema.insert_new(connection, schema.operations, values, returning=_rows.host)
            if connection.execute(statement).first() is None:
                return False
            self._chain.append(connection, [entry])
            return True

        return await self._database.write(work)

    async def started(self, approval_id: str) -> frozenset[str]:
        """Return the hosts of this approval whose row exists."""
        query = select(_rows.host).where(_rows.approval_id == approval_id)
        return frozenset(await self._database.read(lambda connection: connection.execute(query).scalars().all()))
