"""The database: SQLite by default, PostgreSQL for several replicas."""

from opsbot.adapters.store.reading import has_audit, noted_head, read_audit, read_learned, read_lines, read_messages
from opsbot.adapters.store.store import SqlStore, Watch, open_store

__all__ = [
    "SqlStore",
    "Watch",
    "has_audit",
    "noted_head",
    "open_store",
    "read_audit",
    "read_learned",
    "read_lines",
    "read_messages",
]
