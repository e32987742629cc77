"""Brings a database's tables to the shape this version needs, by the migrations in the package."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from opsbot.adapters.store.operation_rows import OperationRows
from opsbot.errors import StoreError

_MIGRATIONS = Path(__file__).with_name("migrations")


# Databases of these revisions have operations without a seal, or with one over fewer columns.
_UNSEALED = frozenset({"0001", "0002", "0003", "0004"})


def upgrade(connection: Connection, key: bytes) -> None:
    """Run the missing migrations inside the caller's transaction: all of them or none. `key`: the audit key.

    Raises:
        StoreError: the database was written by a newer opsbot.
    """
    before = MigrationContext.configure(connection).get_current_revision()
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StoreError(
            f"The database cannot be brought to this version ({error}). It was most likely written by a newer opsbot: "
            "install that one again, or restore the backup made before the update."
        ) from error
    if before in _UNSEALED:
        OperationRows(key).seal_all(connection)


def newest_revision() -> str | None:
    """Return the revision that `upgrade` leads to."""
    return _scripts().get_current_head()


def revisions() -> frozenset[str]:
    """Return every revision this version knows."""
    return frozenset(script.revision for script in _scripts().walk_revisions())


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(_MIGRATIONS))
