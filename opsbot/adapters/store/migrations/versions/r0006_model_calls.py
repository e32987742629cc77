"""What the model took, call by call."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Spelled out here and not imported: a migration must not change when the present tables do.
Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "model_calls",
        sa.Column("id", Key, nullable=False),
        sa.Column("at_s", sa.BigInteger, nullable=False),
        sa.Column("turn_id", Key, nullable=False),
        sa.Column("conversation_id", Key, nullable=False),
        sa.Column("person", Key, nullable=False),
        sa.Column("model", Key, nullable=False),
        sa.Column("endpoint", Key, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("cost_nano_usd", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_model_calls"),
    )
    op.create_index("ix_model_calls_at", "model_calls", ["at_s"])
    op.create_index("ix_model_calls_person", "model_calls", ["person", "at_s"])
    op.create_index("ix_model_calls_conversation", "model_calls", ["conversation_id", "turn_id"])
