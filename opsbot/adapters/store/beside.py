"""The database beside a running bot, or without one, for the command line: holds, work, usage, runbooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from opsbot.adapters.store import migrate, postgres, sqlite
from opsbot.adapters.store.address import parse_url, path_of
from opsbot.adapters.store.approvals import ApprovalRows, SqlApprovals
from opsbot.adapters.store.chain import AuditChain
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.holds import SqlHolds
from opsbot.adapters.store.incidents import SqlIncidents
from opsbot.adapters.store.operation_rows import OperationRows
from opsbot.adapters.store.passages import SqlPassages
from opsbot.adapters.store.reports import SqlIncidentReports
from opsbot.adapters.store.usage_log import SqlUsageLog
from opsbot.domain import AuditRecord
from opsbot.errors import StoreError


@dataclass(frozen=True, slots=True)
class Beside:
    """Parts of the store that a second process may use: every write is one transaction, those about actions with their
    audit records.
    """

    holds: SqlHolds
    approvals: SqlApprovals
    usage: SqlUsageLog
    passages: SqlPassages
    incidents: SqlIncidents
    reports: SqlIncidentReports


@contextmanager
def beside(url: str, *, audit_key: bytes) -> Iterator[Beside]:
    """Open a database that a bot has made; nothing is created or migrated.

    Raises:
        StoreError: there is none, it is of another version, or the key is not its own.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        engine = postgres.make_engine(parsed, connections=2)
    else:
        path = path_of(parsed)
        if not path.exists():
            raise StoreError(f"There is no database {path} yet: it is made when the bot starts.")
        engine = sqlite.make_engine(path)
    database = Database(engine, threads=1, check=_nothing, anchor=_nothing)
    chain = AuditChain(audit_key)
    try:
        database.read_now(_check_version)
        database.read_now(chain.check_end)
        rows = ApprovalRows(audit_key)
        yield Beside(
            SqlHolds(database, chain),
            SqlApprovals(database, rows, OperationRows(audit_key), chain),
            SqlUsageLog(database, database),
            SqlPassages(database, database),
            SqlIncidents(database, database),
            SqlIncidentReports(database, chain, audit_key),
        )
    finally:
        database.close_now()


def _check_version(connection: Connection) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found != migrate.newest_revision():
        raise StoreError("The database is of another version of opsbot; start the bot once, or use its own `opsbot`.")


def _nothing(_: AuditRecord | None = None) -> None:
    """A second process notes no heads: the bot does, with its next record."""
