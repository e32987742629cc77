"""The store: one database with its parts, and how it is opened, closed and looked at."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import URL, Connection, inspect, select

from opsbot.adapters.store import migrate, postgres, schema, sqlite
from opsbot.adapters.store.address import parse_url, path_of
from opsbot.adapters.store.approvals import ApprovalRows, SqlApprovals
from opsbot.adapters.store.audit_log import SqlAuditLog
from opsbot.adapters.store.chain import AuditChain, last_record
from opsbot.adapters.store.conversations import SqlConversations
from opsbot.adapters.store.database import Anchor, Database
from opsbot.adapters.store.endpoints import SqlEndpoints
from opsbot.adapters.store.holds import SqlHolds
from opsbot.adapters.store.inbox import SqlInbox
from opsbot.adapters.store.incidents import SqlIncidents
from opsbot.adapters.store.leases import Membership, SqlLeases, SqlReplicas
from opsbot.adapters.store.operation_rows import OperationRows
from opsbot.adapters.store.operations import SqlOperations
from opsbot.adapters.store.outbox import SqlOutbox
from opsbot.adapters.store.outputs import SqlOutputs
from opsbot.adapters.store.passages import SqlPassages
from opsbot.adapters.store.pictures import SqlPictures
from opsbot.adapters.store.reports import SqlIncidentReports
from opsbot.adapters.store.samples import SqlSamples
from opsbot.adapters.store.usage_log import SqlUsageLog
from opsbot.domain import AuditRecord
from opsbot.errors import StoreError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Doors:
    """The ways into one opened database. `released` runs after it was closed.

    `reader` is for reading samples in threads that may wait, `pulse` for the beats, which may not: None where no other
    replica can be.
    """

    database: Database
    reader: Database
    pulse: Database | None = None
    released: Callable[[], None] = lambda: None


class SqlStore:
    """Implements `ports.Store` on an opened database, as one replica."""

    def __init__(self, doors: _Doors, membership: Membership, audit_key: bytes) -> None:
        chain = AuditChain(audit_key)
        rows = ApprovalRows(audit_key)
        operations = OperationRows(audit_key)
        database = doors.database
        self._database = database
        self._reader = doors.reader
        self._pulse = doors.pulse
        self._released = doors.released
        self.replicas = SqlReplicas(doors.pulse or database, membership, alone=doors.pulse is None)
        self.leases = SqlLeases(database, membership)
        self.inbox = SqlInbox(database, membership)
        self.conversations = SqlConversations(database, chain)
        self.approvals = SqlApprovals(database, rows, operations, chain)
        self.operations = SqlOperations(database, membership, rows, operations, chain)
        self.holds = SqlHolds(database, chain)
        self.outbox = SqlOutbox(database, membership)
        self.audit = SqlAuditLog(database, chain)
        self.samples = SqlSamples(database, doors.reader)
        self.usage = SqlUsageLog(database, doors.reader)
        self.outputs = SqlOutputs(database, doors.reader)
        self.passages = SqlPassages(database, doors.reader)
        self.incidents = SqlIncidents(database, doors.reader)
        self.reports = SqlIncidentReports(database, chain, audit_key)
        self.pictures = SqlPictures(database)
        self.endpoints = SqlEndpoints(database)

    async def close(self) -> None:
        """Finish what was begun and close the database. Harmless to repeat."""
        await self._reader.close()
        if self._pulse is not None:
            await self._pulse.close()
        await self._database.close()
        released, self._released = self._released, _nothing
        released()


def _nothing(*_: object) -> None:
    """For databases without a sidecar."""


# --- opening ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Watch:
    """What an opened store has to do with anchors: `noted` gets the newest record after each commit.

    `anchored`: the newest head known from elsewhere; a database without it is not opened.
    """

    noted: Anchor = _nothing
    anchored: tuple[int, str] | None = None


_UNWATCHED = Watch()


def open_store(url: str, *, audit_key: bytes, watch: Watch = _UNWATCHED) -> SqlStore:
    """Open `sqlite:///path` or `postgresql://…`, create or migrate its tables, and check what can be checked.

    Blocks (call it before the event loop, or in a thread).

    Raises:
        StoreError: it cannot be used; the text says why and what to do.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        return _open_postgres(parsed, audit_key, watch)
    return _open_sqlite(path_of(parsed), audit_key, watch)


def _open_postgres(url: URL, audit_key: bytes, watch: Watch) -> SqlStore:
    database = Database(postgres.make_engine(url), threads=postgres.CONNECTIONS, check=_nothing, anchor=watch.noted)
    reader = Database(postgres.make_reader(url), threads=1, check=_nothing, anchor=_nothing)
    pulse = Database(postgres.make_engine(url, connections=1), threads=1, check=_nothing, anchor=_nothing)
    membership = Membership(secrets.token_hex(8))

    def prepare(connection: Connection) -> None:
        postgres.lock_migrations(connection)
        _check_log(connection, audit_key, watch)
        migrate.upgrade(connection, audit_key)
        membership.join(connection, alone=False)

    try:
        database.write_now(prepare)
    except BaseException:
        database.close_now()
        raise
    return SqlStore(_Doors(database, reader, pulse), membership, audit_key)


def _open_sqlite(path: Path, audit_key: bytes, watch: Watch) -> SqlStore:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sqlite.refuse_network(path, sqlite.mounts_here())
        sidecar = sqlite.Sidecar.acquire(path)
    except OSError as error:
        raise _cannot_open(path, error) from error
    database: Database | None = None
    membership = Membership(secrets.token_hex(8))
    try:
        head = sidecar.head
        sqlite.refuse_vanished(path, head)
        sidecar.adopt()
        database = Database(
            sqlite.make_engine(path), threads=1, check=sidecar.check, anchor=_noting(sidecar, watch), together=True
        )
        database.write_now(lambda connection: _check_file(connection, path, head))
        database.write_now(lambda connection: _check_log(connection, audit_key, watch))
        database.write_now(lambda connection: migrate.upgrade(connection, audit_key))
        database.write_now(lambda connection: membership.join(connection, alone=True))
        sidecar.note(database.read_now(last_record))
    except BaseException as error:
        if database is not None:
            database.close_now()
        sidecar.release()
        if isinstance(error, OSError):
            raise _cannot_open(path, error) from error
        raise
    reader = Database(sqlite.make_reader(path), threads=1, check=sidecar.check, anchor=_nothing)
    return SqlStore(_Doors(database, reader, released=sidecar.release), membership, audit_key)


def _check_file(connection: Connection, path: Path, head: sqlite.Head | None) -> None:
    """Refuse a damaged or rolled back file before anything is written to it."""
    sqlite.check_integrity(connection, path)
    if head is not None:
        sqlite.refuse_rolled_back(path, head, _hash_at(connection, head.seq))


def _check_log(connection: Connection, audit_key: bytes, watch: Watch) -> None:
    """Refuse a database whose log is damaged at its end, or lacks a record whose head was noted elsewhere."""
    if inspect(connection).has_table(schema.audit.name):
        AuditChain(audit_key).check_end(connection)
    head = watch.anchored
    if head is not None and _hash_at(connection, head[0]) != head[1]:
        raise StoreError(
            f"The database lacks audit record {head[0]}, whose head was noted in audit.anchor.file: an older copy was "
            "put back, or the log was cut. Restore the newest state; `opsbot audit verify` says more. Only if that "
            "history may be lost: give the file another name and start again."
        )


def _hash_at(connection: Connection, seq: int) -> str | None:
    if not inspect(connection).has_table(schema.audit.name):
        return None
    found: str | None = connection.scalar(select(schema.audit.c.hash).where(schema.audit.c.seq == seq))
    return found


def _noting(sidecar: sqlite.Sidecar, watch: Watch) -> Anchor:
    def note(record: AuditRecord) -> None:
        watch.noted(record)
        try:
            sidecar.note(record)
        except OSError as error:
            # The record itself is committed; only the noted head stays behind.
            log.warning("store.head_not_noted", seq=record.seq, error=error.strerror)

    return note


def _cannot_open(path: Path, error: OSError) -> StoreError:
    return StoreError(f"The database {path} cannot be opened: {error.strerror}. Check the path, its owner and mode.")
