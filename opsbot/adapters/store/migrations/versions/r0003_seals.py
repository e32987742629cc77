"""Seals of operations, and approvals by the time they were asked for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_index("ix_approvals_created", "approvals", ["created_at"])
    # SQLite adds no column that must have a value, so the table is made anew.
    rows = op.get_bind().execute(sa.text("SELECT approval_id, host, claimed_at, digest FROM operations")).all()
    op.drop_table("operations")
    made = op.create_table(
        "operations",
        sa.Column("approval_id", Key, nullable=False),
        sa.Column("host", Key, nullable=False),
        sa.Column("claimed_at", Key, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.Column("seal", Key, nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "host", name="pk_operations"),
    )
    # The store, which knows the key, seals them in the same transaction.
    op.bulk_insert(made, [{**row._mapping, "seal": ""} for row in rows])
