"""Runbooks and incidents, their passages, and what finds these."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Spelled out here and not imported: a migration must not change when the present tables do.
Key = sa.String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("kind", Key, nullable=False),
        sa.Column("name", Key, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_documents"),
    )
    op.create_table(
        "passages",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("kind", Key, nullable=False),
        sa.Column("document", Key, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("heading", sa.Text, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("embedded_text", sa.Text, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_passages"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_passages_digest", "passages", ["digest"])
    op.create_index("ix_passages_document", "passages", ["kind", "document"])
    op.create_table(
        "passage_vectors",
        sa.Column("digest", Key, nullable=False),
        sa.Column("model", Key, nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_passage_vectors"),
    )
    _words()
    op.create_table(
        "incidents",
        sa.Column("id", Key, nullable=False),
        sa.Column("closed_at", Key, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_closed", "incidents", ["closed_at"])


def _words() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TABLE passage_words (id INTEGER NOT NULL, words TSVECTOR NOT NULL, "
            "CONSTRAINT pk_passage_words PRIMARY KEY (id))"
        )
        op.execute("CREATE INDEX ix_passage_words_words ON passage_words USING gin (words)")
        return
    op.execute(
        "CREATE VIRTUAL TABLE passage_words USING fts5(subject, body, tokenize='porter unicode61 remove_diacritics 2')"
    )
