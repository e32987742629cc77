"""The database: SQLite by default, PostgreSQL for several replicas."""

from opsbot.adapters.store.store import SqlStore, Watch, has_audit, noted_head, open_store, read_audit, read_lines

__all__ = ["SqlStore", "Watch", "has_audit", "noted_head", "open_store", "read_audit", "read_lines"]
