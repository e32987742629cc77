"""What a database URL names: a file, or a PostgreSQL server."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from opsbot.errors import StoreError


def parse_url(url: str) -> URL:
    """Read a database URL. Raises StoreError, with the right form."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("The database URL cannot be read. Use `sqlite:///path` or `postgresql://…`.") from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(
            f"The database URL names {parsed.get_backend_name()!r}. Use `sqlite:///path` or `postgresql://…`."
        )
    return parsed


def path_of(url: URL) -> Path:
    """Return SQLite's file. Raises StoreError for a database in memory, or with options."""
    if not url.database or url.database == ":memory:" or url.query:
        raise StoreError(
            f"The database URL {url} names no file. Use `sqlite:///path`: a store must outlive the process."
        )
    return Path(url.database).absolute()
