"""Alembic's entry: migrates on the connection that `opsbot.adapters.store.migrate` hands over."""

from alembic import context

from opsbot.adapters.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # Both databases can roll table changes back, so a failed migration leaves nothing behind.
    transactional_ddl=True,
)
context.run_migrations()
