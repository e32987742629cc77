"""Operations with their ends, targets and whose they are; stops and freezes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Spelled out here and not imported: a migration must not change when the present tables do.
Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    # Made anew, not altered: SQLite would keep another text of the table than a new database has.
    op.execute("CREATE TABLE operations_before AS SELECT * FROM operations")
    op.drop_table("operations")
    _operations()
    _copy()
    op.drop_table("operations_before")
    _holds()


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("approval_id", Key, nullable=False),
        sa.Column("host", Key, nullable=False),
        sa.Column("claimed_at", Key, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.Column("requester", Key, nullable=False),
        sa.Column("targets", sa.Text, nullable=False),
        sa.Column("machine", Key, nullable=False),
        sa.Column("boot_id", Key, nullable=False),
        sa.Column("monotonic_s", sa.Float, nullable=False),
        sa.Column("behind", sa.Boolean, nullable=False),
        sa.Column("result", Key, nullable=False),
        sa.Column("seal", Key, nullable=False),
        sa.PrimaryKeyConstraint("approval_id", "host", name="pk_operations"),
    )
    op.create_index("ix_operations_claimed_at", "operations", ["claimed_at"])
    op.create_index("ix_operations_boot", "operations", ["boot_id", "monotonic_s"])
    still_open = sa.text("result = ''")
    op.create_index("ix_operations_open", "operations", ["host"], sqlite_where=still_open, postgresql_where=still_open)


def _copy() -> None:
    # The store, which knows the key, seals them in the same transaction. What ended before ends were noted is not
    # open; what was under way is settled at the next start.
    op.execute(
        "INSERT INTO operations SELECT approval_id, host, claimed_at, digest, '', '[]', '', '', 0, FALSE, "
        "CASE WHEN approval_id IN (SELECT id FROM approvals WHERE state = 'executing') THEN '' ELSE 'unknown' END, '' "
        "FROM operations_before"
    )


def _holds() -> None:
    op.create_table(
        "holds",
        sa.Column("id", Key, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
    )
    op.create_index(
        "ix_holds_in_force",
        "holds",
        ["id"],
        sqlite_where=sa.text("ended = 0"),
        postgresql_where=sa.text("NOT ended"),
    )
