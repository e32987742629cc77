"""Incident reports while people work on them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Spelled out here and not imported: a migration must not change when the present tables do.
Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "incident_reports",
        sa.Column("id", Key, nullable=False),
        sa.Column("conversation_id", Key, nullable=False),
        sa.Column("call_id", Key, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("seal", Key, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incident_reports"),
    )
    op.create_index("uq_incident_reports_call", "incident_reports", ["conversation_id", "call_id"], unique=True)
