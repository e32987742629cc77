"""The tables, the same on SQLite and PostgreSQL, and the one insert both spell differently."""

from collections.abc import Mapping

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    event,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# Ids compare byte by byte on both databases: prefix searches and order must not depend on a locale.
Key = String().with_variant(postgresql.VARCHAR(collation="C"), "postgresql")

# SQLite uses an index on a flag only where the flag is spelled as in the query: `= 1`, as SQLAlchemy writes it there.
# Times are UTC texts of fixed width (`audit.timestamp`): they sort, and SQLite has no type for them.
inbox = Table(
    "inbox",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", Key, nullable=False, unique=True),
    Column("event", Text, nullable=False),
    Column("received_at", Key, nullable=False),
    Column("finished", Boolean, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_inbox_waiting", inbox.c.seq, sqlite_where=text("finished = 0"), postgresql_where=text("NOT finished"))

inbox_keys = Table(
    "inbox_keys",
    metadata,
    Column("key", Key, primary_key=True),
    Column("item_id", Key, nullable=False, index=True),
)

# One row for each process on this database that is alive as far as the others know.
replicas = Table(
    "replicas",
    metadata,
    Column("id", Key, primary_key=True),
    # Grows while it lives; the others watch whether it does.
    Column("beat", BigInteger, nullable=False),
)

# Who is at work on what. A lease whose holder is not among the replicas has lapsed: somebody has to take the work over.
leases = Table(
    "leases",
    metadata,
    Column("name", Key, primary_key=True),
    Column("holder", Key, nullable=False, index=True),
    # How many replicas have begun this work, the holder included; one that left in good order does not count.
    Column("attempts", Integer, nullable=False),
    # Whether it was handed to its holder, who does not know of it yet.
    Column("handed", Boolean, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Key, primary_key=True),
    Column("place", Text, nullable=False),
    Column("version", Integer, nullable=False),
    # Messages of this version and older are forgotten: kept, but not loaded.
    Column("reset_version", Integer, nullable=False),
    Column("needs_turn", Boolean, nullable=False),
)
Index(
    "ix_conversations_needs_turn",
    conversations.c.id,
    sqlite_where=text("needs_turn = 1"),
    postgresql_where=text("needs_turn"),
)

messages = Table(
    "messages",
    metadata,
    Column("conversation_id", Key, nullable=False),
    # The version of the conversation that this message made.
    Column("version", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("conversation_id", "version", "position"),
)

# How a long history is shown to the model; without a row: as it is.
compactions = Table(
    "compactions",
    metadata,
    Column("conversation_id", Key, primary_key=True),
    Column("record", Text, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Key, primary_key=True),
    Column("conversation_id", Key, nullable=False),
    Column("call_id", Key, nullable=False),
    Column("state", Key, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", Key, nullable=False),
    Column("created_at", Key, nullable=False),
    # The whole record; the columns above repeat what is searched or compared.
    Column("record", Text, nullable=False),
    # HMAC over the record: an approval that was edited past opsbot is refused.
    Column("seal", Key, nullable=False),
)
Index("ix_approvals_state", approvals.c.state, approvals.c.created_at)
Index(
    "uq_approvals_call",
    approvals.c.conversation_id,
    approvals.c.call_id,
    unique=True,
    sqlite_where=text("call_id != ''"),
    postgresql_where=text("call_id != ''"),
)
Index("ix_approvals_conversation", approvals.c.conversation_id)
Index("ix_approvals_created", approvals.c.created_at)

operations = Table(
    "operations",
    metadata,
    Column("approval_id", Key, nullable=False),
    Column("host", Key, nullable=False),
    Column("claimed_at", Key, nullable=False),
    Column("digest", Key, nullable=False),
    Column("requester", Key, nullable=False),
    # JSON list of what of the host it touches; empty: the whole host.
    Column("targets", Text, nullable=False),
    Column("machine", Key, nullable=False),
    Column("boot_id", Key, nullable=False),
    Column("monotonic_s", Float, nullable=False),
    # The clock was behind the journal, so the time is not to be relied on.
    Column("behind", Boolean, nullable=False),
    # How it ended; "" while it is open.
    Column("result", Key, nullable=False),
    # HMAC over the other columns.
    Column("seal", Key, nullable=False),
    PrimaryKeyConstraint("approval_id", "host"),
)
Index("ix_operations_claimed_at", operations.c.claimed_at)
Index("ix_operations_boot", operations.c.boot_id, operations.c.monotonic_s)
Index(
    "ix_operations_open",
    operations.c.host,
    sqlite_where=text("result = ''"),
    postgresql_where=text("result = ''"),
)

# Stops and freezes.
holds = Table(
    "holds",
    metadata,
    Column("id", Key, primary_key=True),
    Column("ended", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    # The whole record; the columns above repeat what is searched or compared.
    Column("record", Text, nullable=False),
)
Index("ix_holds_in_force", holds.c.id, sqlite_where=text("ended = 0"), postgresql_where=text("NOT ended"))

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("key", Key, nullable=False, unique=True),
    Column("place", Text, nullable=False),
    Column("content", Text, nullable=False),
    # Where it stands, as JSON; NULL until it was sent.
    Column("ref", Text),
    # Whether what people see may be behind `content`.
    Column("waiting", Boolean, nullable=False),
    # Counts the contents: what was sent is the newest only if this has not moved meanwhile.
    Column("version", Integer, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)
Index("ix_outbox_waiting", outbox.c.seq, sqlite_where=text("waiting = 1"), postgresql_where=text("waiting"))

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("prev", Key, nullable=False),
    # Canonical JSON of the entry, byte for byte what the hash covers.
    Column("entry", Text, nullable=False),
    Column("hash", Key, nullable=False),
    # Repeats the entry's approval, for searching; compared with it on reading.
    Column("approval_id", Key, nullable=False),
)
Index("ix_audit_approval", audit.c.approval_id, audit.c.seq)

# Of a look at a host, what is kept of it. Stored in the order of the key, since it is read by host and time.
samples = Table(
    "samples",
    metadata,
    Column("host", Key, nullable=False),
    # 0: as measured; else the mean over so many seconds.
    Column("step_s", Integer, nullable=False),
    # Seconds since 1970: there are millions of rows.
    Column("at_s", BigInteger, nullable=False),
    # JSON: the figures by a letter for each metric, and what of the host it is about.
    Column("figures", Text, nullable=False),
    PrimaryKeyConstraint("host", "step_s", "at_s"),
    sqlite_with_rowid=False,
)

# What the model took. Kept for 90 days and only ever added to.
model_calls = Table(
    "model_calls",
    metadata,
    Column("id", Key, primary_key=True),
    # Seconds since 1970.
    Column("at_s", BigInteger, nullable=False),
    Column("turn_id", Key, nullable=False),
    Column("conversation_id", Key, nullable=False),
    Column("person", Key, nullable=False),
    Column("model", Key, nullable=False),
    Column("endpoint", Key, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    # NULL: unknown.
    Column("cost_nano_usd", BigInteger),
)
Index("ix_model_calls_at", model_calls.c.at_s)
Index("ix_model_calls_person", model_calls.c.person, model_calls.c.at_s)
Index("ix_model_calls_conversation", model_calls.c.conversation_id, model_calls.c.turn_id)

# Runbooks and incidents, as they can be searched.
documents = Table(
    "documents",
    metadata,
    Column("kind", Key, nullable=False),
    Column("name", Key, nullable=False),
    # Tells whether it changed since.
    Column("digest", Key, nullable=False),
    PrimaryKeyConstraint("kind", "name"),
)

passages = Table(
    "passages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Key, nullable=False),
    Column("document", Key, nullable=False),
    Column("title", Text, nullable=False),
    Column("heading", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("text", Text, nullable=False),
    # What is embedded: the text with what it is about. `digest` is of that.
    Column("embedded_text", Text, nullable=False),
    Column("digest", Key, nullable=False, index=True),
    sqlite_autoincrement=True,
)
Index("ix_passages_document", passages.c.kind, passages.c.document)

# By what was embedded, so that a text that only moved needs no new one.
passage_vectors = Table(
    "passage_vectors",
    metadata,
    Column("digest", Key, primary_key=True),
    Column("model", Key, nullable=False),
    Column("dimensions", Integer, nullable=False),
    # Little-endian floats of 32 bits, of unit length.
    Column("vector", LargeBinary, nullable=False),
)

# The full-text index is each database's own kind: a virtual table in SQLite, which is no table of the metadata.
WORDS = {
    "sqlite": (
        "CREATE VIRTUAL TABLE passage_words USING fts5(subject, body, tokenize='porter unicode61 remove_diacritics 2')",
    ),
    "postgresql": (
        "CREATE TABLE passage_words (id INTEGER NOT NULL, words TSVECTOR NOT NULL, "
        "CONSTRAINT pk_passage_words PRIMARY KEY (id))",
        "CREATE INDEX ix_passage_words_words ON passage_words USING gin (words)",
    ),
}
for _dialect, _statements in WORDS.items():
    for _statement in _statements:
        event.listen(passages, "after_create", DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]

# Answers of tools that are too long for the model. Kept for a week.
outputs = Table(
    "outputs",
    metadata,
    Column("conversation_id", Key, nullable=False),
    Column("ref", Key, nullable=False),
    # Microseconds since 1970.
    Column("at_us", BigInteger, nullable=False),
    # What was asked.
    Column("answers", Text, nullable=False),
    Column("untrusted", Boolean, nullable=False),
    # UTF-8, compressed by zlib.
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("conversation_id", "ref"),
)
Index("ix_outputs_at", outputs.c.at_us)
Index("ix_outputs_conversation", outputs.c.conversation_id, outputs.c.at_us)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Key, primary_key=True),
    Column("closed_at", Key, nullable=False),
    # The whole record; the columns above repeat what is searched.
    Column("record", Text, nullable=False),
)
Index("ix_incidents_closed", incidents.c.closed_at)

# Reports of incidents while people work on them, and as they were published.
incident_reports = Table(
    "incident_reports",
    metadata,
    Column("id", Key, primary_key=True),
    Column("conversation_id", Key, nullable=False),
    # The command that asked for it: one report each.
    Column("call_id", Key, nullable=False),
    Column("version", Integer, nullable=False),
    # The whole record; the columns above repeat what is searched or compared.
    Column("record", Text, nullable=False),
    # HMAC over the record: a report that was edited past opsbot is refused.
    Column("seal", Key, nullable=False),
)
Index("uq_incident_reports_call", incident_reports.c.conversation_id, incident_reports.c.call_id, unique=True)


# Pictures that people showed, made anew; the oldest go when there are too many.
pictures = Table(
    "pictures",
    metadata,
    Column("key", Key, primary_key=True),
    Column("kept_at", Key, nullable=False),
    Column("media_type", Key, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
)
Index("ix_pictures_kept", pictures.c.kept_at)


# What the model's endpoint was found not to take; at most one row.
endpoints = Table(
    "endpoints",
    metadata,
    Column("endpoint", Key, primary_key=True),
    Column("learned_at", Key, nullable=False),
    Column("facts", Text, nullable=False),
)


def insert_new(
    connection: Connection, table: Table, values: Mapping[str, object], returning: Column[str]
) -> ReturningInsert[tuple[str]]:
    """Build an insert that does nothing, and returns nothing, when any unique key of the table exists already.

    Whether it inserted is told by the returned row: psycopg's row count cannot tell.
    """
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).values(**values).on_conflict_do_nothing().returning(returning)
    return sqlite.insert(table).values(**values).on_conflict_do_nothing().returning(returning)
