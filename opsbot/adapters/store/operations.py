"""Operations: the write-ahead journal of effects. Its key makes an effect happen at most once, its open rows lock."""

import json

from sqlalchemy import Connection, func, select

from opsbot.adapters.store import schema
from opsbot.adapters.store.approvals import ApprovalRows
from opsbot.adapters.store.chain import SELECT, AuditChain, record_of
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.leases import Membership
from opsbot.adapters.store.operation_rows import OperationRows, tampered
from opsbot.caps import Caps, Effect, check_hour
from opsbot.domain import ApprovalState, AuditEntry, Moment, Operation
from opsbot.errors import Conflict

# The kind of audit record that goes with every row.
INTENT = "execution.intent"
# Under this lock one PostgreSQL session at a time counts effects and adds one; any fixed number does.
_CLAIM_LOCK = 0x6F70_7362_6F74_0003


class SqlOperations:
    """Implements `ports.Operations`."""

    def __init__(
        self,
        database: Database,
        membership: Membership,
        approvals: ApprovalRows,
        rows: OperationRows,
        chain: AuditChain,
    ) -> None:
        self._database = database
        self._me = membership
        self._approvals = approvals
        self._rows = rows
        self._chain = chain

    async def claim(self, operation: Operation, entry: AuditEntry, *, caps: Caps) -> bool:
        """Insert the row with its audit record, once. False: it exists.

        Raises:
            Conflict, Fenced, TargetTaken, CapReached, StoreError: nothing was written.
        """

        def work(connection: Connection) -> bool:
            self._me.check(connection)
            self._check_executing(connection, operation)
            if connection.dialect.name == "postgresql":
                # On SQLite every write transaction holds the one write lock already.
                connection.execute(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))
            approval, host = operation.approval, operation.host
            if self._rows.hosts(connection, approval.id, host):
                return False
            if host in _intended(connection, approval.id, host):
                raise tampered(approval.id)  # the row that was there is gone
            self._rows.check_free(connection, operation)
            done = self._rows.effects(connection, operation.moment)
            check_hour(caps, done, operation.requester, more=1, now=operation.moment.at)
            self._rows.add(connection, operation)
            self._chain.append(connection, [entry])
            return True

        return await self._database.write(work)

    def _check_executing(self, connection: Connection, operation: Operation) -> None:
        approval = operation.approval
        stored = self._approvals.lock(connection, approval.id)
        if stored is None or stored.state is not ApprovalState.EXECUTING or stored.digest != approval.digest:
            raise Conflict(f"The approval {approval.id} is not executing what was approved; nothing is sent.")

    async def started(self, approval_id: str) -> frozenset[str]:
        """Return the hosts of this approval whose row exists. Raises StoreError if a row was edited or removed."""

        def work(connection: Connection) -> frozenset[str]:
            hosts = self._rows.hosts(connection, approval_id)
            if not _intended(connection, approval_id) <= hosts:
                raise tampered(approval_id)
            return hosts

        return await self._database.read(work)

    async def overtaken(self, approval_id: str, host: str) -> str | None:
        """Return the first request that acted on the same of this host since. Raises StoreError if a row was edited."""
        return await self._database.read(lambda connection: self._rows.overtaken(connection, approval_id, host))

    async def effects(self, now: Moment) -> tuple[Effect, ...]:
        """Return the effects of the last hour."""
        return await self._database.read(lambda connection: self._rows.effects(connection, now))


def _intended(connection: Connection, approval_id: str, host: str = "") -> frozenset[str]:
    """Return the hosts, or whether this host, the audit says was begun: rows that were removed are missed by that."""
    said = schema.audit.c.entry
    query = SELECT.where(schema.audit.c.approval_id == approval_id, said.contains(INTENT, autoescape=True))
    if host:
        query = query.where(said.contains(f'"host":{json.dumps(host)}', autoescape=True))
    records = map(record_of, connection.execute(query))
    return frozenset(str(record.entry.facts.get("host")) for record in records if record.entry.kind == INTENT)
