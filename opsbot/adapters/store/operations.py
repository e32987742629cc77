"""Operations: the write-ahead journal of effects; its primary key is what makes an action happen at most once."""

import hmac
import json
from datetime import datetime

import rfc8785
from sqlalchemy import Connection, select, update

from opsbot import audit
from opsbot.adapters.store import schema
from opsbot.adapters.store.approvals import ApprovalRows
from opsbot.adapters.store.chain import SELECT, AuditChain, record_of
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.leases import Membership
from opsbot.domain import Approval, ApprovalState, AuditEntry
from opsbot.errors import Conflict, StoreError

# The kind of audit record that goes with every row.
INTENT = "execution.intent"

_rows = schema.operations.c
_all = select(_rows.approval_id, _rows.host, _rows.claimed_at, _rows.digest, _rows.seal)


class OperationSeals:
    """Seals rows of the journal, so that one edited past opsbot is refused."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"opsbot operation seal", "sha256")

    def values(self, approval_id: str, host: str, claimed_at: str, digest: str) -> dict[str, object]:
        """Return the row."""
        said = rfc8785.dumps([approval_id, host, claimed_at, digest])
        facts = {"approval_id": approval_id, "host": host, "claimed_at": claimed_at, "digest": digest}
        return {**facts, "seal": audit.sign(said, self._key)}

    def hosts(self, connection: Connection, approval_id: str, host: str | None = None) -> frozenset[str]:
        """Return the hosts with a row, or this one if it has. Raises StoreError if such a row was tampered with."""
        query = _all.where(_rows.approval_id == approval_id)
        found = connection.execute(query if host is None else query.where(_rows.host == host)).all()
        for row in found:
            expected = str(self.values(row.approval_id, row.host, row.claimed_at, row.digest)["seal"])
            if not hmac.compare_digest(expected.encode(), str(row.seal).encode()):
                raise _tampered(approval_id)
        return frozenset(row.host for row in found)

    def seal_all(self, connection: Connection) -> None:
        """Seal rows written before there were seals."""
        for row in connection.execute(_all).all():
            here = (_rows.approval_id == row.approval_id) & (_rows.host == row.host)
            sealed = self.values(row.approval_id, row.host, row.claimed_at, row.digest)
            connection.execute(update(schema.operations).where(here).values(seal=sealed["seal"]))


def _tampered(approval_id: str) -> StoreError:
    return StoreError(
        f"The journal of request {approval_id} was changed by something other than opsbot, so nothing more is run for "
        "it. Look at its hosts by hand; `opsbot audit verify` and the backups show what was begun."
    )


class SqlOperations:
    """Implements `ports.Operations`."""

    def __init__(
        self,
        database: Database,
        membership: Membership,
        approvals: ApprovalRows,
        chain: AuditChain,
        seals: OperationSeals,
    ) -> None:
        self._database = database
        self._me = membership
        self._approvals = approvals
        self._chain = chain
        self._seals = seals

    async def claim(self, approval: Approval, host: str, at: datetime, entry: AuditEntry) -> bool:
        """Insert the row with its audit record, once. False: it exists. Raises Conflict, Fenced, StoreError."""

        def work(connection: Connection) -> bool:
            self._me.check(connection)
            stored = self._approvals.lock(connection, approval.id)
            if stored is None or stored.state is not ApprovalState.EXECUTING or stored.digest != approval.digest:
                raise Conflict(f"The approval {approval.id} is not executing what was approved; nothing is sent.")
            values = self._seals.values(approval.id, host, audit.timestamp(at), stored.digest)
            statement = schema.insert_new(connection, schema.operations, values, returning=_rows.host)
            if connection.execute(statement).first() is None:
                self._seals.hosts(connection, approval.id, host)
                return False
            if host in _intended(connection, approval.id, host):
                raise _tampered(approval.id)  # the row that was there is gone
            self._chain.append(connection, [entry])
            return True

        return await self._database.write(work)

    async def started(self, approval_id: str) -> frozenset[str]:
        """Return the hosts of this approval whose row exists. Raises StoreError if a row was edited or removed."""

        def work(connection: Connection) -> frozenset[str]:
            hosts = self._seals.hosts(connection, approval_id)
            if not _intended(connection, approval_id) <= hosts:
                raise _tampered(approval_id)
            return hosts

        return await self._database.read(work)


def _intended(connection: Connection, approval_id: str, host: str = "") -> frozenset[str]:
    """Return the hosts, or whether this host, the audit says was begun: rows that were removed are missed by that."""
    said = schema.audit.c.entry
    query = SELECT.where(schema.audit.c.approval_id == approval_id, said.contains(INTENT, autoescape=True))
    if host:
        query = query.where(said.contains(f'"host":{json.dumps(host)}', autoescape=True))
    records = map(record_of, connection.execute(query))
    return frozenset(str(record.entry.facts.get("host")) for record in records if record.entry.kind == INTENT)
