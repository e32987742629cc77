"""The migrations make exactly the tables that the code uses."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, make_url, select

from opsbot.adapters.store import (
    approvals,
    chain,
    conversations,
    holds,
    inbox,
    migrate,
    operation_rows,
    outbox,
    outputs,
    postgres,
    samples,
    schema,
    sqlite,
    usage_log,
)
from opsbot.domain import Moment
from tests.records import KEY, NOON


def migrated(engine: Engine) -> None:
    with engine.begin() as connection:
        migrate.upgrade(connection, KEY)
        # A second start finds nothing to do.
        migrate.upgrade(connection, KEY)


def in_metadata(name: str | None, kind: str, _: object) -> bool:
    """Leave the full-text index out: it is each database's own kind of table."""
    return kind != "table" or not str(name).startswith("passage_words")


def assert_same(engine: Engine) -> None:
    migrated(engine)
    with engine.connect() as connection:
        opts = {"compare_type": True, "compare_server_default": True, "include_name": in_metadata}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, schema.metadata) == []
        names = {name for name in inspect(connection).get_table_names() if in_metadata(name, "table", {})}
        assert names == {*schema.metadata.tables, "alembic_version"}
    engine.dispose()


def ddl(engine: Engine, make) -> dict[str, str]:
    """Return SQLite's own text of every table and index, which holds what a comparison overlooks."""
    make(engine)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    engine.dispose()
    return {name: " ".join(text.split()) for name, text in rows if "alembic" not in name}


def test_migrations_equal_the_tables_on_sqlite(tmp_path) -> None:
    assert_same(sqlite.make_engine(tmp_path / "x.db"))


def test_migrations_equal_the_tables_on_postgresql(postgres_url: str) -> None:
    assert_same(postgres.make_engine(make_url(postgres_url)))


def test_the_full_text_index_is_the_same_on_postgresql(postgres_url: str) -> None:
    """The metadata would make on a new database what the migration makes."""
    engine = postgres.make_engine(make_url(postgres_url))
    migrated(engine)
    query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'passage_words' ORDER BY indexname"
    with engine.begin() as connection:
        by_migration = connection.exec_driver_sql(query).scalars().all()
        connection.exec_driver_sql("DROP TABLE passage_words")
        for statement in schema.WORDS["postgresql"]:
            connection.exec_driver_sql(statement)
        assert connection.exec_driver_sql(query).scalars().all() == by_migration
    engine.dispose()


def test_the_very_statements_are_the_same(tmp_path) -> None:
    """Partial indexes, constraints and their names included."""
    by_migration = ddl(sqlite.make_engine(tmp_path / "one.db"), migrated)
    by_metadata = ddl(sqlite.make_engine(tmp_path / "two.db"), schema.metadata.create_all)
    assert sorted(by_migration) == sorted(by_metadata)
    assert by_migration == by_metadata


def test_a_failed_migration_leaves_nothing_behind(tmp_path) -> None:
    engine = sqlite.make_engine(tmp_path / "x.db")
    try:
        with engine.begin() as connection:
            migrate.upgrade(connection, KEY)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


SEARCHES = {
    inbox.WAITING: "ix_inbox_waiting",
    conversations.NEEDING_TURN: "ix_conversations_needs_turn",
    outbox.WAITING: "ix_outbox_waiting",
    chain.LAST: "SCAN audit",
    chain.SELECT.where(schema.audit.c.seq > 1000).limit(5): "USING INTEGER PRIMARY KEY",
    chain.SELECT.where(schema.audit.c.approval_id == "x"): "ix_audit_approval",
    select(schema.approvals).where(approvals.begins_with("ABCD")): "sqlite_autoindex_approvals_1",
    select(schema.approvals).where(schema.approvals.c.state.in_(["a", "b"])): "ix_approvals_state",
    select(schema.approvals).where(schema.approvals.c.conversation_id == "x"): "_approvals_c",
    operation_rows.OPEN_ONES.where(schema.operations.c.host == "web-1"): "ix_operations_open",
    operation_rows.recent(Moment(NOON, "m1", "b1", 5.0)): "MULTI-INDEX OR",
    holds.STANDING: "ix_holds_in_force",
    samples.read("web-1", 600, 1): "USING PRIMARY KEY (host=? AND step_s=? AND at_s>?)",
    outputs.newest("c"): "ix_outputs_conversation (conversation_id=?)",
    samples.next_host("web-1"): "USING PRIMARY KEY (host>?)",
    usage_log.totals(usage_log.in_turn("c", "t")): "ix_model_calls_conversation (conversation_id=? AND turn_id=?)",
    usage_log.totals(usage_log.of_person("p", 5)): "ix_model_calls_person (person=? AND at_s>?)",
    usage_log.totals(schema.model_calls.c.at_s >= 5): "ix_model_calls_at (at_s>?)",
}


def test_searches_use_an_index(tmp_path) -> None:
    """The cost of a turn must not grow with what is stored."""
    engine = sqlite.make_engine(tmp_path / "x.db")
    migrated(engine)
    with engine.connect() as connection:
        for search, index in SEARCHES.items():
            statement = search.compile(engine, compile_kwargs={"literal_binds": True})
            plan = " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}"))
            assert index in plan, (str(statement), plan)
            assert "TEMP B-TREE" not in plan
    engine.dispose()
