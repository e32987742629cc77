"""Incident reports: sealed records, changed only by compare-and-swap, each change with its audit records."""

import hmac
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, select, update

from opsbot import audit
from opsbot.adapters.store import schema
from opsbot.adapters.store.chain import AuditChain
from opsbot.adapters.store.codec import REPORTS
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.incidents import put_incident
from opsbot.domain import AuditEntry
from opsbot.errors import Conflict, StoreError
from opsbot.incident_report import IncidentReport
from opsbot.passages import Incident

_table = schema.incident_reports
_rows = _table.c


class SqlIncidentReports:
    """Implements `report_ports.IncidentReports`."""

    def __init__(self, database: Database, chain: AuditChain, key: bytes) -> None:
        self._database = database
        self._chain = chain
        # A key of its own, derived: a seal can never be mistaken for an audit hash or an approval's seal.
        self._key = hmac.digest(key, b"opsbot incident report seal", "sha256")

    async def add(self, report: IncidentReport, entry: AuditEntry) -> IncidentReport:
        """Insert with its audit record; a known call's report is returned instead, without a record."""

        def work(connection: Connection) -> IncidentReport:
            statement = schema.insert_new(connection, _table, self._values(report), returning=_rows.id)
            if connection.execute(statement).first() is not None:
                self._chain.append(connection, [entry])
                return report
            known = self._find(connection, _of_call(report.conversation_id, report.call_id))
            if known is None:
                raise Conflict(f"There is a report {report.id} already.")
            return known

        return await self._database.write(work)

    async def get(self, report_id: str) -> IncidentReport | None:
        """Return the record."""
        if not report_id.isprintable():
            # It came with a button; NUL and lone surrogates are errors to the drivers.
            return None
        return await self._database.read(lambda connection: self._find(connection, _rows.id == report_id))

    async def of_call(self, conversation_id: str, call_id: str) -> IncidentReport | None:
        """Return the report that this call asked for."""
        here = _of_call(conversation_id, call_id)
        return await self._database.read(lambda connection: self._find(connection, here))

    async def change(
        self, report: IncidentReport, *, entries: Sequence[AuditEntry] = (), incident: Incident | None = None
    ) -> IncidentReport:
        """Write if the stored version is the same; return it with version + 1. Raises Conflict."""
        after = replace(report, version=report.version + 1)

        def work(connection: Connection) -> IncidentReport:
            here = (_rows.id == report.id) & (_rows.version == report.version)
            swapped = update(_table).where(here).values(**self._values(after)).returning(_rows.id)
            if connection.execute(swapped).first() is None:
                raise Conflict(f"The report {report.id} is not of version {report.version} any more.")
            if incident is not None:
                put_incident(connection, incident)
            self._chain.append(connection, entries)
            return after

        return await self._database.write(work)

    def _values(self, report: IncidentReport) -> dict[str, object]:
        record = REPORTS.encode(report)
        return {**_columns(report), "record": record, "seal": audit.sign(record.encode(), self._key)}

    def _find(self, connection: Connection, here: ColumnElement[bool]) -> IncidentReport | None:
        row = connection.execute(select(_table).where(here)).mappings().one_or_none()
        if row is None:
            return None
        record = str(row["record"])
        if not hmac.compare_digest(audit.sign(record.encode(), self._key).encode(), str(row["seal"]).encode()):
            raise _tampered(str(row["id"]))
        report = REPORTS.decode(record)
        if any(row[name] != value for name, value in _columns(report).items()):
            raise _tampered(str(row["id"]))
        return report


def _columns(report: IncidentReport) -> dict[str, object]:
    return {
        "id": report.id,
        "conversation_id": report.conversation_id,
        "call_id": report.call_id,
        "version": report.version,
    }


def _of_call(conversation_id: str, call_id: str) -> ColumnElement[bool]:
    return (_rows.conversation_id == conversation_id) & (_rows.call_id == call_id)


def _tampered(report_id: str) -> StoreError:
    return StoreError(
        f"The stored report {report_id} was changed by something other than opsbot, so it is not used. "
        "`!report` writes it anew from the thread."
    )
