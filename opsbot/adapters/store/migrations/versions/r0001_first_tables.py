"""The first tables: inbox, conversations, approvals, operations, outbox, audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Spelled out here and not imported: a migration must not change when the present tables do.
Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    _events()
    _conversations()
    _approvals()
    _audit()


def _flagged(name: str, table: str, column: str, *, sqlite: str, postgresql: str) -> None:
    """Index the few rows with a flag; SQLite has no booleans, and uses an index only for the same spelling."""
    op.create_index(name, table, [column], sqlite_where=sa.text(sqlite), postgresql_where=sa.text(postgresql))


def _events() -> None:
    op.create_table(
        "inbox",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", Key, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("received_at", Key, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_inbox"),
        sa.UniqueConstraint("id", name="uq_inbox_id"),
        sqlite_autoincrement=True,
    )
    _flagged("ix_inbox_waiting", "inbox", "seq", sqlite="finished = 0", postgresql="NOT finished")
    op.create_table(
        "inbox_keys",
        sa.Column("key", Key, nullable=False),
        sa.Column("item_id", Key, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_inbox_keys"),
    )
    op.create_index("ix_inbox_keys_item_id", "inbox_keys", ["item_id"])
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("key", Key, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("ref", sa.Text, nullable=True),
        sa.Column("waiting", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
        sa.UniqueConstraint("key", name="uq_outbox_key"),
        sqlite_autoincrement=True,
    )
    _flagged("ix_outbox_waiting", "outbox", "seq", sqlite="waiting = 1", postgresql="waiting")


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", Key, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("reset_version", sa.Integer, nullable=False),
        sa.Column("needs_turn", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    _flagged("ix_conversations_needs_turn", "conversations", "id", sqlite="needs_turn = 1", postgresql="needs_turn")
    op.create_table(
        "messages",
        sa.Column("conversation_id", Key, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "version", "position", name="pk_messages"),
    )


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", Key, nullable=False),
        sa.Column("conversation_id", Key, nullable=False),
        sa.Column("call_id", Key, nullable=False),
        sa.Column("state", Key, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.Column("created_at", Key, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("seal", Key, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_state", "approvals", ["state", "created_at"])
    op.create_index("ix_approvals_conversation", "approvals", ["conversation_id"])
    op.create_index(
        "uq_approvals_call",
        "approvals",
        ["conversation_id", "call_id"],
        unique=True,
        sqlite_where=sa.text("call_id != ''"),
        postgresql_where=sa.text("call_id != ''"),
    )
    op.create_table(
        "operations",
        sa.Column("approval_id", Key, nullable=False),
        sa.Column("host", Key, nullable=False),
        sa.Column("claimed_at", Key, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "host", name="pk_operations"),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("prev", Key, nullable=False),
        sa.Column("entry", sa.Text, nullable=False),
        sa.Column("hash", Key, nullable=False),
        sa.Column("approval_id", Key, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_approval", "audit", ["approval_id", "seq"])
