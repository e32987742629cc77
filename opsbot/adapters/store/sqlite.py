"""An SQLite file as a database: how it is opened, who may, and what is refused before it does harm."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from opsbot.adapters.store.database import WRITES
from opsbot.domain import AuditRecord
from opsbot.errors import StoreError

_BUSY_S = 5.0
# File systems on which SQLite's locks or its shared memory cannot be trusted (sqlite.org/wal.html, read 2026-11).
# 9p is not among them: sandboxes show their local disk by that name.
_NETWORK = {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "webdav", "davfs", "davfs2", "afs", "sshfs"}
_CLUSTER = {"ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "s3fs", "rclone", "gcsfuse"}
_SIDECAR_BYTES = 160


class Head(NamedTuple):
    """The newest audit record known: its number (0: none yet) and hash."""

    seq: int
    hash: str


# --- connections -----------------------------------------------------------------------------------------------------


def make_engine(path: Path) -> Engine:
    """Return an engine with one connection, durable commits, and writers that lock at their begin."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def make_reader(path: Path) -> Engine:
    """Return an engine that can only read, beside a running bot; damaged text comes with replacement characters."""
    target = f"{path.resolve().as_uri()}?mode=ro"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(target, uri=True, timeout=_BUSY_S)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool)


def _configure(connection: Any, _record: object) -> None:
    # Transactions begin where `_begin` says, not where the driver guesses.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA trusted_schema=OFF")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def check_integrity(connection: Connection, path: Path) -> None:
    """Raise StoreError when the file's structure is damaged."""
    found: str = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
    if found != "ok":
        raise StoreError(
            f"The database {path} is damaged ({found.splitlines()[-1]}). Keep a copy, then restore the latest backup; "
            f'`sqlite3 {path} "PRAGMA integrity_check"` lists the damage, `sqlite3 {path} .recover` saves what is left.'
        )


# --- where the file lies ---------------------------------------------------------------------------------------------


def file_system_of(path: Path, mounts: Iterable[tuple[str, str]]) -> str:
    """Return the type of the file system that holds `path`, by (mount point, type) pairs; "" if unknown."""
    kinds = dict(mounts)
    for folder in (path, *path.parents):
        if str(folder) in kinds:
            return kinds[str(folder)]
    return ""


def mounts_here() -> tuple[tuple[str, str], ...]:
    """Return (mount point, file system type) of everything mounted, in the order it was mounted."""
    return tuple((mount.mountpoint, mount.fstype) for mount in psutil.disk_partitions(all=True))


def refuse_network(path: Path, mounts: Iterable[tuple[str, str]]) -> None:
    """Raise StoreError when the file would lie on a network file system."""
    kind = file_system_of(path.resolve(), mounts)
    if kind.lower().removeprefix("fuse.") in _NETWORK | _CLUSTER:
        raise StoreError(
            f"The database {path} lies on a network file system ({kind}), where SQLite cannot keep its promises. "
            "Move it to a local disk, or use PostgreSQL (`postgresql://…`)."
        )


# --- the sidecar: one process, and a memory of the head --------------------------------------------------------------


@dataclass(slots=True)
class Sidecar:
    """The file `<database>.lock`: held locked while the store is open, it remembers the audit's newest record.

    A database that vanished, was rolled back, or lost its WAL is told by it from a new one.
    """

    database: Path
    path: Path
    descriptor: int
    inode: tuple[int, int] = (0, 0)

    @classmethod
    def acquire(cls, database: Path) -> "Sidecar":
        """Create or open the sidecar and lock it. Raises StoreError when another process holds it."""
        path = sidecar_path(database)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StoreError(
                f"Another process uses the database {database} (it holds {path}). An SQLite file serves one opsbot: "
                f"end the other one (`fuser {path}` finds it), or let both use PostgreSQL."
            ) from error
        return cls(database, path, descriptor)

    @property
    def head(self) -> Head | None:
        """The noted head; None if the database never was opened here."""
        return read_head(self.database)

    def note(self, record: AuditRecord | None) -> None:
        """Overwrite the noted head. Not synced: it must never be ahead of the database, behind is harmless."""
        noted = json.dumps({"seq": record.seq, "hash": record.hash} if record else {"seq": 0, "hash": ""})
        os.pwrite(self.descriptor, noted.ljust(_SIDECAR_BYTES).encode() + b"\n", 0)

    def adopt(self) -> None:
        """Create the database's file if need be, readable by its owner only, and remember which file it is."""
        os.close(os.open(self.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self.inode = _inode(self.database)

    def check(self) -> None:
        """Raise StoreError when the database's file was removed or replaced since it was opened."""
        try:
            same = _inode(self.database) == self.inode
        except OSError:
            same = False
        if not same:
            raise StoreError(
                f"The database file {self.database} was removed or replaced while opsbot uses it, so nothing more is "
                "written. Put it back or restore a backup, and start again."
            )

    def release(self) -> None:
        """Let go of the lock; the file stays."""
        os.close(self.descriptor)


def sidecar_path(database: Path) -> Path:
    """Return where the sidecar of a database lies."""
    return database.with_name(database.name + ".lock")


def read_head(database: Path) -> Head | None:
    """Return what the sidecar notes, without locking it. Raises StoreError when it is damaged."""
    path = sidecar_path(database)
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        noted = json.loads(text) if text else None
        return None if noted is None else Head(int(noted["seq"]), str(noted["hash"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged. {_start_over(database)}") from error


def refuse_vanished(database: Path, head: Head | None) -> None:
    """Raise StoreError when the database is gone that the sidecar knows."""
    if head is not None and not database.exists():
        raise StoreError(
            f"The database {database} is gone, but {sidecar_path(database)} shows that it existed (audit record "
            f"{head.seq}). Restore it. {_start_over(database)}"
        )


def refuse_rolled_back(database: Path, head: Head | None, stored_hash: str | None) -> None:
    """Raise StoreError when the database lacks the noted record; `stored_hash` is what it has at that number."""
    if head is not None and head.seq > 0 and stored_hash != head.hash:
        raise StoreError(
            f"The database {database} lacks audit record {head.seq} that was committed to it: an older copy was put "
            f"back, its -wal file was removed, or the log was cut. Restore the newest state. {_start_over(database)}"
        )


def _start_over(database: Path) -> str:
    return f"Only if that history may be lost: remove {sidecar_path(database)} and start again."


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
