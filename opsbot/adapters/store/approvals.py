"""Approvals: sealed records, changed only by compare-and-swap, each change with its audit records."""

import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select, update

from opsbot import audit
from opsbot.adapters.store import schema
from opsbot.adapters.store.chain import AuditChain
from opsbot.adapters.store.codec import APPROVALS
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.operation_rows import OperationRows
from opsbot.domain import Approval, ApprovalState, AuditEntry, Closing
from opsbot.errors import Conflict, StoreError

_MIN_PREFIX = 4
_rows = schema.approvals.c
_all = select(schema.approvals).order_by(_rows.created_at, _rows.id)

ApprovalRow = Row[*tuple[object, ...]]


class ApprovalRows:
    """Reads and writes approval rows inside a transaction. The seal makes edits past opsbot visible."""

    def __init__(self, key: bytes) -> None:
        # A key of its own, derived: a seal can never be mistaken for an audit hash.
        self._key = hmac.digest(key, b"opsbot approval seal", "sha256")

    def values(self, approval: Approval) -> dict[str, object]:
        """Return the row for an approval."""
        record = APPROVALS.encode(approval)
        return {**_columns(approval), "record": record, "seal": audit.sign(record.encode(), self._key)}

    def find(self, connection: Connection, query: Select[*tuple[object, ...]]) -> tuple[Approval, ...]:
        """Return the approvals of a query. Raises StoreError if one of them was tampered with."""
        return tuple(self._approval(dict(row._mapping)) for row in connection.execute(query))

    def lock(self, connection: Connection, approval_id: str) -> Approval | None:
        """Return one approval and keep it from changing until the transaction ends."""
        found = self.find(connection, select(schema.approvals).where(_rows.id == approval_id).with_for_update())
        return found[0] if found else None

    def _approval(self, row: dict[str, object]) -> Approval:
        record = str(row["record"])
        expected = audit.sign(record.encode(), self._key)
        if not hmac.compare_digest(expected.encode(), str(row["seal"]).encode()):
            raise _tampered(str(row["id"]))
        approval = APPROVALS.decode(record)
        if any(row[name] != value for name, value in _columns(approval).items()):
            raise _tampered(str(row["id"]))
        return approval


def _columns(approval: Approval) -> dict[str, object]:
    return {
        "id": approval.id,
        "conversation_id": approval.conversation_id,
        "call_id": approval.call_id,
        "state": str(approval.state),
        "version": approval.version,
        "digest": approval.digest,
        "created_at": audit.timestamp(approval.created_at),
    }


def _tampered(approval_id: str) -> StoreError:
    return StoreError(
        f"The stored approval {approval_id} was changed by something other than opsbot, so it is not used. "
        "`opsbot audit verify` and the backups show what it was."
    )


class SqlApprovals:
    """Implements `ports.Approvals`."""

    def __init__(self, database: Database, rows: ApprovalRows, operations: OperationRows, chain: AuditChain) -> None:
        self._database = database
        self._rows = rows
        self._operations = operations
        self._chain = chain

    async def add(self, approval: Approval, entry: AuditEntry) -> Approval:
        """Insert with its audit record; a known call's approval is returned instead, without a record.

        Raises:
            Conflict: the id is taken.
        """

        def work(connection: Connection) -> Approval:
            values = self._rows.values(approval)
            statement = schema.insert_new(connection, schema.approvals, values, returning=_rows.id)
            if connection.execute(statement).first() is not None:
                self._chain.append(connection, [entry])
                return approval
            known = self._rows.find(connection, _all.where(_same_call(approval)))
            if not known:
                raise Conflict(f"There is an approval {approval.id} already.")
            return known[0]

        return await self._database.write(work)

    async def get(self, approval_id: str) -> Approval | None:
        """Return the record with this id, or with the only id that begins so (4 characters or more)."""
        if not approval_id.isprintable():
            # Typed by a person; NUL and lone surrogates are errors to the drivers.
            return None

        def work(connection: Connection) -> Approval | None:
            exact = self._rows.find(connection, select(schema.approvals).where(_rows.id == approval_id))
            if exact or len(approval_id) < _MIN_PREFIX:
                return exact[0] if exact else None
            fitting = self._rows.find(connection, select(schema.approvals).where(begins_with(approval_id)).limit(2))
            return fitting[0] if len(fitting) == 1 else None

        return await self._database.read(work)

    async def change(
        self,
        approval: Approval,
        *,
        expected: tuple[ApprovalState, int],
        entries: Sequence[AuditEntry],
        closings: Sequence[Closing] = (),
    ) -> Approval:
        """Write with the audit records if stored (state, version) are as expected; return it with version + 1.

        `closings` end its operations, each once: the record of one that had ended before is left out.

        Raises:
            Conflict: they are not; nothing is written.
        """
        state, version = expected
        after = replace(approval, version=version + 1)

        def work(connection: Connection) -> Approval:
            here = _rows.id == approval.id
            swapped = connection.execute(
                update(schema.approvals)
                .where(here, _rows.state == str(state), _rows.version == version)
                .values(self._rows.values(after))
                .returning(_rows.id)
            )
            if swapped.first() is None:
                now = connection.execute(select(_rows.state, _rows.version).where(here)).one_or_none()
                found = f"is {now.state} (version {now.version})" if now else "does not exist"
                raise Conflict(f"The approval {approval.id} {found}, not {state} (version {version}).")
            ends = [closing.entry for closing in closings if self._operations.close(connection, approval.id, closing)]
            self._chain.append(connection, [*ends, *entries])
            return after

        return await self._database.write(work)

    async def in_state(self, *states: ApprovalState) -> tuple[Approval, ...]:
        """Return all approvals in these states, oldest first."""
        query = _all.where(_rows.state.in_([str(state) for state in states]))
        return await self._database.read(lambda connection: self._rows.find(connection, query))

    async def of_conversation(self, conversation_id: str) -> tuple[Approval, ...]:
        """Return all approvals of a conversation, oldest first."""
        query = _all.where(_rows.conversation_id == conversation_id)
        return await self._database.read(lambda connection: self._rows.find(connection, query))

    async def since(self, at: datetime) -> tuple[Approval, ...]:
        """Return all approvals asked for at that time or later, oldest first."""
        query = _all.where(_rows.created_at >= audit.timestamp(at))
        return await self._database.read(lambda connection: self._rows.find(connection, query))


def _same_call(approval: Approval) -> ColumnElement[bool]:
    here = (_rows.conversation_id == approval.conversation_id) & (_rows.call_id == approval.call_id)
    return here & (_rows.call_id != "")


def begins_with(prefix: str) -> ColumnElement[bool]:
    # A range, and not LIKE: it uses the index, and SQLite's LIKE would ignore case.
    return (
        (_rows.id >= prefix) & (_rows.id < prefix + chr(0x10FFFF)) & (func.substr(_rows.id, 1, len(prefix)) == prefix)
    )
