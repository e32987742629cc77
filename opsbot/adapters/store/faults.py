"""What a database's error means to the operator: the one place that turns it into a StoreError with a way out."""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from opsbot.errors import StoreError

# Result codes: https://www.sqlite.org/rescode.html (read 2026-11). The low byte is the primary code.
_SQLITE_REMEDIES: dict[int, str] = {
    sqlite3.SQLITE_BUSY: "another process holds it locked for more than 5 s. Find it with `fuser` and end it",
    sqlite3.SQLITE_LOCKED: "another process holds it locked for more than 5 s. Find it with `fuser` and end it",
    sqlite3.SQLITE_FULL: "the disk is full. Free some space; nothing was half written",
    sqlite3.SQLITE_READONLY: "it cannot be written. Check the owner and mode of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened. Check the path, and the owner and mode of its folder",
    sqlite3.SQLITE_PERM: "it cannot be opened. Check the path, and the owner and mode of its folder",
    sqlite3.SQLITE_IOERR: (
        "the disk reports an input/output error, or a limit on the size of files is reached. Check the disk and the "
        "limits; opsbot goes on by itself once it can write"
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged. Stop opsbot, keep a copy, and restore the latest backup; "
        '`sqlite3 FILE "PRAGMA integrity_check"` lists the damage and `sqlite3 FILE .recover` saves what is left'
    ),
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database, or its start is damaged. Restore the latest backup",
}


# What a database operation raises. The driver cannot decode its own message about a name that is damaged.
FAULTS = (SQLAlchemyError, UnicodeDecodeError)


def store_error(error: Exception) -> StoreError:
    """Return the StoreError that says what happened and what to do; of one of `FAULTS`."""
    if isinstance(error, UnicodeDecodeError):
        return StoreError(f"The database cannot be used: {_SQLITE_REMEDIES[sqlite3.SQLITE_CORRUPT]}.")
    original = error.orig if isinstance(error, DBAPIError) else None
    match original:
        case sqlite3.Error():
            return StoreError(f"The database cannot be used: {_of_sqlite(original)}.")
        case psycopg.Error():
            return StoreError(f"The database cannot be used: {_of_postgres(original)}.")
        case _:
            return StoreError(f"The database cannot be used: {type(error).__name__}: {_first_line(error)}.")


def _of_sqlite(error: sqlite3.Error) -> str:
    if "decode to UTF-8" in str(error):  # the driver's own, without a code, and with what the row says
        return _SQLITE_REMEDIES[sqlite3.SQLITE_CORRUPT]
    code = getattr(error, "sqlite_errorcode", None)
    remedy = _SQLITE_REMEDIES.get(code & 0xFF) if code is not None else None
    return remedy or _first_line(error)


def _of_postgres(error: psycopg.Error) -> str:
    match error:
        case psycopg.errors.LockNotAvailable():
            return "another session holds a lock for more than 5 s. Look into pg_stat_activity"
        case psycopg.errors.DiskFull():
            return "the server's disk is full. Free some space; nothing was half written"
        case psycopg.errors.InvalidPassword() | psycopg.errors.InvalidAuthorizationSpecification():
            return f"PostgreSQL refuses the login ({_first_line(error)}). Check user and password in the URL"
        case psycopg.OperationalError():
            return f"PostgreSQL cannot be reached or broke off ({_first_line(error)}). opsbot goes on once it is back"
        case _:
            return f"PostgreSQL says {_first_line(error)!r}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
