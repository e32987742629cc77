"""`opsbot doctor` on the store: opened beside a running bot, read, and written to in a transaction that is undone."""

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, DateTime, Engine, cast, create_engine, func, insert, inspect, make_url, select
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from opsbot.adapters.store import postgres, schema, sqlite
from opsbot.adapters.store.audit_log import read_page
from opsbot.adapters.store.faults import store_error
from opsbot.adapters.store.holds import standing_rows
from opsbot.adapters.store.migrate import newest_revision, revisions
from opsbot.audit import genuine
from opsbot.diagnosis import Area, Check, Finding, Subject
from opsbot.domain import AuditRecord
from opsbot.errors import ConfigError, StoreError
from opsbot.holds import told_why
from opsbot.readable import duration_text, size_text

# How many of the newest audit records are verified; `opsbot audit verify` does all.
NEWEST = 1000
_DISK_FAIL_BYTES = 100 * 2**20
_DISK_WARN_BYTES = 2**30
_BUSY_S = 3.0
_STEPS_BETWEEN_LOOKS = 100_000
_SKEW_WARN_S = 5.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class StoreDoctor:
    """Checks one database. `audit_key` reads the key that signs its log; it raises ConfigError."""

    url: str
    audit_key: Callable[[], bytes]

    @property
    def subject(self) -> Subject:
        """The database, without its password."""
        try:
            parsed = make_url(self.url)
        except ArgumentError:
            return Subject(Area.STORE, "database")
        name = parsed.database or "database"
        return Subject(
            Area.STORE, name if parsed.get_backend_name() == "sqlite" else f"{parsed.host or 'local'}/{name}"
        )

    def check(self, timeout_s: float) -> Iterator[Finding]:
        """Yield what is found; nothing is made, migrated or left behind."""
        parsed = make_url(self.url)
        if parsed.get_backend_name() == "sqlite":
            yield from self._sqlite(Path(parsed.database or "").absolute(), timeout_s)
            return
        yield from self._postgres(timeout_s)

    def _sqlite(self, path: Path, timeout_s: float) -> Iterator[Finding]:
        subject, started = self.subject, time.monotonic()
        yield from _place(subject, path)
        if not path.exists():
            yield from _not_yet(subject, path)
            return
        yield from file_rights(subject, path)
        try:
            with _connected(sqlite.make_reader(path), timeout_s) as connection:
                connection.exec_driver_sql("PRAGMA schema_version")  # only now the file is read
                yield subject.ok(Check.OPENS, "as SQLite", took_s=time.monotonic() - started)
                yield from integrity(subject, connection, path, timeout_s / 2)
                yield from self._content(subject, connection, sqlite.read_head(path))
        except StoreError as error:
            yield subject.fail(
                Check.OPENS, str(error), f"Look at {path}: its owner, its mode, and what `file` says it is."
            )
            return
        yield from writable(subject, _writer(path), f"Check the owner and mode of {path} and of {path.parent}/.")

    def _postgres(self, timeout_s: float) -> Iterator[Finding]:
        subject, started = self.subject, time.monotonic()
        within = str(max(2, int(timeout_s)))  # libpq takes 1 as 2 (libpq-connect, PostgreSQL 15)
        engine = postgres.make_engine(make_url(self.url).update_query_dict({"connect_timeout": within}))
        try:
            with _connected(engine, timeout_s) as connection:
                version = connection.exec_driver_sql("SHOW server_version").scalar_one()
                yield subject.ok(Check.OPENS, f"PostgreSQL {version}", took_s=time.monotonic() - started)
                yield clock(subject, connection)
                yield from self._content(subject, connection, None)
        except StoreError as error:
            yield subject.fail(Check.OPENS, str(error), _login_remedy(self.subject.name))
            return
        role = make_url(self.url).username or "the bot's role"
        remedy = f"Let {role} create and write tables there, on a server that is no standby."
        yield from writable(subject, engine, remedy)
        engine.dispose()

    def _content(self, subject: Subject, connection: Connection, head: sqlite.Head | None) -> Iterator[Finding]:
        found = revision(subject, connection)
        yield found
        if inspect(connection).has_table(schema.audit.name):
            yield self._audit(subject, connection, head)
        if inspect(connection).has_table(schema.holds.name):
            yield held(subject, connection)

    def _audit(self, subject: Subject, connection: Connection, head: sqlite.Head | None) -> Finding:
        last = connection.scalar(select(func.max(schema.audit.c.seq)))
        if last is None:
            return broken(subject, head) if head and head.seq else subject.ok(Check.AUDIT_LOG, "no records yet")
        try:
            key = self.audit_key()
        except ConfigError as error:
            return subject.fail(Check.AUDIT_LOG, str(error), "Restore the audit key from its backup, mode 0600.")
        started = time.monotonic()
        records = read_page(connection, max(0, last - NEWEST), NEWEST + 1)
        return chain(subject, records, key, head, took_s=time.monotonic() - started)


def held(subject: Subject, connection: Connection) -> Finding:
    """Say what holds actions back."""
    now = datetime.now(UTC)
    holds = [hold for hold in standing_rows(connection) if hold.in_force(now)]
    if not holds:
        return subject.ok(Check.HOLDS, "nothing holds actions back")
    remedy = "`opsbot resume` ends a stop, `opsbot unfreeze ID` a freeze, once its reason is gone."
    return subject.warn(Check.HOLDS, " ".join(map(told_why, holds)), remedy)


# --- the file --------------------------------------------------------------------------------------------------------


def _place(subject: Subject, path: Path) -> Iterator[Finding]:
    try:
        sqlite.refuse_network(path, sqlite.mounts_here())
    except StoreError as error:
        yield subject.fail(Check.PLACE, str(error), "Move it to a local disk, or use PostgreSQL.")
    folder = next(each for each in path.parents if each.exists())
    yield disk(subject, folder, shutil.disk_usage(folder).free)


def disk(subject: Subject, folder: Path, free_bytes: int) -> Finding:
    """Judge the room for growth."""
    said, remedy = f"{size_text(free_bytes)} free at {folder}", f"Free some space on the file system of {folder}."
    if free_bytes < _DISK_FAIL_BYTES:
        return subject.fail(Check.DISK_SPACE, said, remedy)
    return (
        subject.warn(Check.DISK_SPACE, said, remedy)
        if free_bytes < _DISK_WARN_BYTES
        else subject.ok(Check.DISK_SPACE, said)
    )


def _not_yet(subject: Subject, path: Path) -> Iterator[Finding]:
    """The first start makes it, if it may."""
    folder = next(each for each in path.parents if each.exists())
    try:
        sqlite.refuse_vanished(path, sqlite.read_head(path))
    except StoreError as error:
        yield subject.fail(Check.OPENS, str(error), "Restore it from its backup.")
        return
    if os.access(folder, os.W_OK | os.X_OK):
        yield subject.ok(Check.OPENS, "not there yet; the bot makes it at its first start")
    else:
        remedy = f"`install -d -m 0700 -o BOT_USER {path.parent}`"
        yield subject.fail(Check.OPENS, f"not there yet, and {folder} cannot be written to", remedy)


def file_rights(subject: Subject, path: Path) -> Iterator[Finding]:
    """Whether only the bot's user can read what people wrote."""
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        said = f"belongs to user {status.st_uid}, and this is user {os.geteuid()}"
        yield subject.warn(
            Check.FILE_OWNER, said, "Run `opsbot doctor` as the user the bot runs as, or `chown` the file."
        )
    if mode & _OTHERS:
        said = f"mode {mode:04o}: others can read or change it"
        yield subject.warn(Check.FILE_RIGHTS, said, f"`chmod 600 {path}`")
    else:
        yield subject.ok(Check.FILE_RIGHTS, f"mode {mode:04o}")


def _writer(path: Path) -> Engine:
    """As the bot opens it, but never making a file, and without changing its journal."""

    def connect() -> sqlite3.Connection:
        target = f"{path.resolve().as_uri()}?mode=rw"
        return sqlite3.connect(target, uri=True, timeout=_BUSY_S, isolation_level=None)

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


# --- what both databases are asked -----------------------------------------------------------------------------------


@contextmanager
def _connected(engine: Engine, timeout_s: float) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET statement_timeout = {max(1000, int(timeout_s * 1000))}")
            yield connection
    except SQLAlchemyError as error:
        raise store_error(error) from error
    finally:
        engine.dispose()


def integrity(subject: Subject, connection: Connection, path: Path, within_s: float) -> Iterator[Finding]:
    """Whether the file's structure is whole; a large file may take longer than there is time."""
    ends_at = time.monotonic() + within_s
    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(lambda: time.monotonic() > ends_at, _STEPS_BETWEEN_LOOKS)
    try:
        sqlite.check_integrity(connection, path)
        yield subject.ok(Check.INTEGRITY, "the file's structure is whole")
    except StoreError as error:
        yield subject.fail(
            Check.INTEGRITY, str(error), "Stop the bot, keep a copy of all its files, restore the backup."
        )
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        said = f"not checked to the end in {within_s:g} s: the file is large"
        yield subject.skipped(Check.INTEGRITY, said, "Give more time: --timeout.")
    finally:
        driver.set_progress_handler(None, 0)


def revision(subject: Subject, connection: Connection) -> Finding:
    """Whether the tables have the shape this version needs."""
    now = MigrationContext.configure(connection).get_current_revision()
    needed = newest_revision()
    if now == needed:
        return subject.ok(Check.TABLES, f"revision {now}, the newest")
    if now is None and not inspect(connection).get_table_names():
        return subject.ok(Check.TABLES, "none yet; the bot makes them at its first start")
    if now is None or now in revisions():
        said = f"revision {now or 'none'}, but this version needs {needed}"
        return subject.warn(
            Check.TABLES, said, "Back the database up, then (re)start the bot: it brings them up to date."
        )
    said = f"revision {now}, which this version does not know"
    return subject.fail(Check.TABLES, said, "A newer opsbot wrote it: install that one, or restore the older backup.")


def writable(subject: Subject, engine: Engine, remedy: str) -> Iterator[Finding]:
    """Write a row and take it back."""
    started = time.monotonic()
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            if not inspect(connection).has_table(schema.inbox_keys.name):
                yield subject.skipped(Check.WRITING, "there are no tables yet", "Start the bot once: it makes them.")
                return
            connection.execute(insert(schema.inbox_keys).values(key="opsbot doctor", item_id="opsbot doctor"))
            connection.exec_driver_sql("ROLLBACK") if connection.dialect.name == "sqlite" else connection.rollback()
    except SQLAlchemyError as error:
        yield subject.fail(Check.WRITING, str(store_error(error)), remedy)
        return
    finally:
        engine.dispose()
    yield subject.ok(Check.WRITING, "a row was written and taken back", took_s=time.monotonic() - started)


def chain(
    subject: Subject, records: Sequence[AuditRecord], key: bytes, head: sqlite.Head | None, *, took_s: float
) -> Finding:
    """Verify the newest records: each genuine, and each following the one before."""
    before = None
    for record in records:
        linked = before is None or (record.seq == before.seq + 1 and record.prev == before.hash)
        if not linked or not genuine(record, key):
            said = f"record {record.seq} was changed, lost its neighbour, or was signed with another key"
            return subject.fail(Check.AUDIT_LOG, said, _audit_remedy(), took_s=took_s)
        before = record
    last = records[-1]
    noted = next((record for record in records if head and record.seq == head.seq), None)
    if head and head.seq and (last.seq < head.seq or (noted and noted.hash != head.hash)):
        return broken(subject, head)
    said = f"newest {len(records)} records unbroken; head {last.seq}:{last.hash[:12]}"
    return subject.ok(Check.AUDIT_LOG, said, took_s=took_s)


def broken(subject: Subject, head: sqlite.Head) -> Finding:
    """The log lacks a record that was committed."""
    said = f"record {head.seq}, which was committed, is not there: an older copy was put back, or the log was cut"
    return subject.fail(Check.AUDIT_LOG, said, _audit_remedy())


def clock(subject: Subject, connection: Connection) -> Finding:
    """Compare the server's clock with the bot's."""
    before = datetime.now(UTC)
    there = connection.execute(select(cast(func.clock_timestamp(), DateTime(timezone=True)))).scalar_one()
    skew_s = (there - before).total_seconds()
    if abs(skew_s) < _SKEW_WARN_S:
        return subject.ok(Check.CLOCK, "agrees with the bot's")
    said = f"{duration_text(abs(skew_s))} {'ahead of' if skew_s > 0 else 'behind'} the bot's"
    return subject.warn(Check.CLOCK, said, "`timedatectl` on both machines shows which one is not synchronised.")


def _audit_remedy() -> str:
    return "Keep the database as it is, run `opsbot audit verify`, and find out who wrote to it."


def _login_remedy(name: str) -> str:
    return f"Try `psql` with the same address ({name}): user, `store.password`, pg_hba.conf, firewall."
