"""Replicas and their leases; versions of outgoing messages."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Spelled out here and not imported: a migration must not change when the present tables do.
Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", Key, nullable=False),
        sa.Column("beat", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )
    op.create_table(
        "leases",
        sa.Column("name", Key, nullable=False),
        sa.Column("holder", Key, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("handed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_index("ix_leases_holder", "leases", ["holder"])
    op.add_column("outbox", sa.Column("version", sa.Integer, nullable=False, server_default="0"))
    # What an earlier version left open is for whoever starts first.
    op.execute(
        "INSERT INTO leases (name, holder, attempts, handed) "
        "SELECT 'event:' || id, '', 1, FALSE FROM inbox WHERE NOT finished"
    )
