"""Long answers of tools, and how long histories are shown to the model."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Spelled out here and not imported: a migration must not change when the present tables do.
Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "compactions",
        sa.Column("conversation_id", Key, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_compactions"),
    )
    op.create_table(
        "outputs",
        sa.Column("conversation_id", Key, nullable=False),
        sa.Column("ref", Key, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("answers", sa.Text, nullable=False),
        sa.Column("untrusted", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "ref", name="pk_outputs"),
    )
    op.create_index("ix_outputs_at", "outputs", ["at_us"])
    op.create_index("ix_outputs_conversation", "outputs", ["conversation_id", "at_us"])
