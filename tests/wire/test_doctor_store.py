"""`opsbot doctor` on real databases: what is wrong is named, and nothing is changed by looking."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from opsbot.adapters.doctor_store import StoreDoctor, disk, integrity, writable
from opsbot.adapters.store import open_store, sqlite
from opsbot.diagnosis import Area, Finding, Status, Subject
from opsbot.errors import ConfigError
from tests.postgres import PostgresServer
from tests.records import KEY, entry

DB = Subject(Area.STORE, "db")


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database with three audit records, closed."""
    made = tmp_path / "opsbot.db"
    await fill(f"sqlite:///{made}")
    return made


async def fill(url: str) -> None:
    store = open_store(url, audit_key=KEY)
    for n in range(3):
        await store.audit.append(entry("filled", n=n))
    await store.close()


def check(url: str, key: bytes = KEY, timeout_s: float = 5.0) -> dict[str, Finding]:
    found = list(StoreDoctor(url, lambda: key).check(timeout_s))
    assert len({each.check for each in found}) == len(found)
    return {each.check: each for each in found}


def of_file(path: Path, key: bytes = KEY) -> dict[str, Finding]:
    return check(f"sqlite:///{path}", key)


def edit(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# --- SQLite ----------------------------------------------------------------------------------------------------------


def test_a_database_that_is_well_is_left_as_it_was(path: Path) -> None:
    before = snapshot(path.parent)
    found = of_file(path)
    assert {name: each.status for name, each in found.items()} == dict.fromkeys(
        ("disk space", "file rights", "opens", "integrity", "tables", "audit log", "stops and freezes", "writing"),
        Status.OK,
    )
    assert found["audit log"].said.startswith("newest 3 records unbroken; head 3:")
    assert snapshot(path.parent) == before


async def test_a_database_in_use_is_checked_beside_the_bot(path: Path) -> None:
    store = open_store(f"sqlite:///{path}", audit_key=KEY)
    try:
        await store.audit.append(entry("while looking"))
        found = of_file(path)
        assert {each.status for each in found.values()} == {Status.OK}
        assert "newest 4 records" in found["audit log"].said
        await store.audit.append(entry("goes on"))
    finally:
        await store.close()


def test_a_database_that_is_not_there_yet_is_no_fault_and_is_not_made(tmp_path: Path) -> None:
    found = of_file(tmp_path / "data" / "opsbot.db")
    assert found["opens"].said == "not there yet; the bot makes it at its first start"
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_vanished_is_told_from_a_new_one(path: Path) -> None:
    path.unlink()
    assert (of_file(path)["opens"].status, of_file(path)["opens"].remedy) == (
        Status.FAIL,
        "Restore it from its backup.",
    )


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("not a database " * 100)
    found = of_file(path)["opens"]
    assert (found.status, "not an SQLite database" in found.said) == (Status.FAIL, True)


def test_a_file_too_large_to_be_checked_in_time_is_skipped(path: Path) -> None:
    edit(
        path,
        "CREATE TABLE filler AS WITH RECURSIVE n(x) AS "
        "(VALUES(1) UNION ALL SELECT x+1 FROM n LIMIT 300000) SELECT * FROM n",
    )
    with sqlite.make_reader(path).connect() as connection:
        (found,) = integrity(DB, connection, path, 0.0)
        assert (found.status, found.remedy) == (Status.SKIPPED, "Give more time: --timeout.")
        (again,) = integrity(DB, connection, path, 30.0)
        assert again.status is Status.OK


def test_a_file_others_can_read_and_one_of_another_user(path: Path) -> None:
    path.chmod(0o644)
    found = of_file(path)["file rights"]
    assert (found.status, found.remedy) == (Status.WARN, f"`chmod 600 {path}`")


def test_tables_of_an_older_and_of_a_newer_version(path: Path) -> None:
    edit(path, "DELETE FROM alembic_version")
    older = of_file(path)["tables"]
    assert (older.status, older.said.startswith("revision none, but this version needs ")) == (Status.WARN, True)
    edit(path, "INSERT INTO alembic_version VALUES ('r9999')")
    newer = of_file(path)["tables"]
    assert (newer.status, newer.said) == (Status.FAIL, "revision r9999, which this version does not know")


def test_a_database_that_can_only_be_read(path: Path) -> None:
    (found,) = writable(DB, sqlite.make_reader(path), "do this")
    assert (found.status, found.remedy) == (Status.FAIL, "do this")
    assert "cannot be written" in found.said


def test_a_locked_database_does_not_wait_for_ever(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    found = of_file(path)["writing"]
    assert time.monotonic() - started < 6
    assert (found.status, "another process holds it locked" in found.said) == (Status.FAIL, True)
    holder.execute("ROLLBACK")
    holder.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET entry = replace(entry, 'filled', 'forged') WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
    ],
)
def test_a_changed_audit_log(path: Path, statement: str) -> None:
    edit(path, statement)
    found = of_file(path)["audit log"]
    assert (found.status, "opsbot audit verify" in found.remedy) == (Status.FAIL, True)


def test_another_audit_key_or_none(path: Path) -> None:
    assert of_file(path, b"x" * 32)["audit log"].status is Status.FAIL

    def gone() -> bytes:
        raise ConfigError("The audit key is gone.")

    found = {each.check: each for each in StoreDoctor(f"sqlite:///{path}", gone).check(5.0)}
    assert (found["audit log"].said, found["writing"].status) == ("The audit key is gone.", Status.OK)


@pytest.mark.parametrize(("free_mib", "status"), [(50, "fail"), (500, "warn"), (5000, "ok")])
def test_little_room_is_told_before_there_is_none(free_mib: int, status: str) -> None:
    assert disk(DB, Path("/data"), free_mib * 2**20).status == status


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def filled_url(postgres_url: str) -> str:
    await fill(postgres_url)
    return postgres_url


def test_a_postgresql_that_is_well(filled_url: str) -> None:
    found = check(filled_url)
    assert {name: each.status for name, each in found.items()} == dict.fromkeys(
        ("opens", "clock", "tables", "audit log", "stops and freezes", "writing"), Status.OK
    )
    engine = create_engine(make_url(filled_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM inbox_keys").scalar_one() == 0
    engine.dispose()


def test_an_empty_postgresql_is_no_fault(postgres_url: str) -> None:
    found = check(postgres_url)
    assert found["tables"].said == "none yet; the bot makes them at its first start"
    assert found["writing"].status is Status.SKIPPED


def test_missing_migrations_in_postgresql(filled_url: str, postgres: PostgresServer) -> None:
    with postgres.connect(make_url(filled_url).database or "") as connection:
        connection.execute("DELETE FROM alembic_version")
    assert check(filled_url)["tables"].status is Status.WARN


def test_a_role_that_may_only_read(filled_url: str) -> None:
    found = check(f"{filled_url}&options=-c%20default_transaction_read_only%3Don")
    assert (found["opens"].status, found["writing"].status) == (Status.OK, Status.FAIL)
    assert "opsbot" in found["writing"].remedy


@pytest.fixture
def with_passwords(postgres: PostgresServer) -> Iterator[str]:
    """A role that has to give its password, and the address of a database without it."""
    rules = postgres._folder / "data" / "pg_hba.conf"
    trusting = rules.read_text()
    with postgres.database() as url, postgres.connect() as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right-horse-7'")
        rules.write_text("local all guarded scram-sha-256\n" + trusting)
        connection.execute("SELECT pg_reload_conf()")
        try:
            yield url.replace("opsbot@", "guarded:{}@")
        finally:
            rules.write_text(trusting)
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP OWNED BY guarded; DROP ROLE guarded")


def test_a_wrong_password(with_passwords: str) -> None:
    found = check(with_passwords.format("wrong-horse-8"))
    assert list(found) == ["opens"]
    assert (found["opens"].status, "store.password" in found["opens"].remedy) == (Status.FAIL, True)
    assert "wrong-horse-8" not in repr(found)
    assert check(with_passwords.format("right-horse-7"))["opens"].status is Status.OK


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    found = check(f"postgresql://opsbot@/x?host={tmp_path}", timeout_s=2)["opens"]
    assert (found.status, "cannot be reached" in found.said) == (Status.FAIL, True)
