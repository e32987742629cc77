"""PostgreSQL as a database: sessions that notice a dead link, and locks that several replicas agree on."""

from sqlalchemy import URL, Connection, Engine, create_engine, func, select

# One replica at a time creates or changes tables; any fixed number does.
_MIGRATION_LOCK = 0x6F70_7362_6F74_0002
CONNECTIONS = 4
READERS = 2

# Names and units: https://www.postgresql.org/docs/current/libpq-connect.html and …/runtime-config-client.html
# (read 2026-11). A dead server is noticed after about 10 + 3 * 5 s, instead of after two hours.
_LINK = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "application_name": "opsbot",
}
_SESSION = (
    "-c synchronous_commit=on -c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"
)


def make_engine(url: URL, *, connections: int = CONNECTIONS) -> Engine:
    """Return an engine with a small pool that replaces dead connections by itself."""
    # What the URL says wins over what we would choose.
    chosen = {name: value for name, value in _LINK.items() if name not in url.query}
    options = f"{_SESSION} {url.query['options']}" if isinstance(url.query.get("options"), str) else _SESSION
    return create_engine(
        url.set(drivername="postgresql+psycopg").difference_update_query(["options"]),
        connect_args={**chosen, "options": options},
        isolation_level="READ COMMITTED",
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=10,
    )


def make_reader(url: URL) -> Engine:
    """Return an engine for readers that may wait, so that they keep no connection from those who may not."""
    return make_engine(url, connections=READERS)


def lock_migrations(connection: Connection) -> None:
    """Wait, until the end of this transaction, for any other replica that migrates."""
    connection.exec_driver_sql("SET LOCAL lock_timeout = '60s'")
    connection.exec_driver_sql("SET LOCAL statement_timeout = '0'")
    connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
