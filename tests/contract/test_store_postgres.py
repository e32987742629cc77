"""What the PostgreSQL store does with several replicas, and when the server goes away."""

import asyncio
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import make_url, text

from opsbot import audit
from opsbot.adapters.store import SqlStore, has_audit, noted_head, open_store, postgres, read_audit
from opsbot.domain import Approval, ApprovalState, Conversation
from opsbot.errors import Conflict, StoreError
from tests.postgres import PostgresServer
from tests.records import CAPS, KEY, NOON, PLACE, approval, entry, event, executing, operation, said


@pytest.fixture
async def replicas(postgres_url: str) -> AsyncIterator[tuple[SqlStore, SqlStore]]:
    """Two opsbots on one database, opened at the same moment: their migrations must not race."""
    one, two = await asyncio.gather(*(asyncio.to_thread(open_store, postgres_url, audit_key=KEY) for _ in range(2)))
    yield one, two
    await one.close()
    await two.close()


async def test_exactly_one_replica_wins_each_decision(replicas: tuple[SqlStore, SqlStore], postgres_url: str) -> None:
    rounds, rivals = 40, 6
    for n in range(rounds):
        made = await replicas[0].approvals.add(approval(f"ROUND{n}"), entry("requested"))
        outcomes = await asyncio.gather(
            *(
                replicas[rival % 2].approvals.change(
                    replace(made, state=ApprovalState.APPROVED, note=str(rival)),
                    expected=(ApprovalState.PENDING, 1),
                    entries=[entry("approved", rival=rival)],
                )
                for rival in range(rivals)
            ),
            return_exceptions=True,
        )
        assert Counter(type(outcome) for outcome in outcomes) == {Conflict: rivals - 1, Approval: 1}
    records = list(read_audit(postgres_url, batch=10))
    assert [record.entry.kind for record in records] == ["requested", "approved"] * rounds
    assert audit.verify(records, KEY).ok


async def test_one_of_20_claims_by_two_replicas_wins(replicas: tuple[SqlStore, SqlStore]) -> None:
    made = await replicas[0].approvals.add(executing(), entry())
    claims = (
        replicas[n % 2].operations.claim(operation(made, "web-1"), entry("claimed"), caps=CAPS) for n in range(20)
    )
    assert Counter(await asyncio.gather(*claims)) == {False: 19, True: 1}


async def test_replicas_never_fork_the_chain(replicas: tuple[SqlStore, SqlStore], postgres_url: str) -> None:
    await asyncio.gather(*(replicas[n % 2].audit.append(entry("x", n=n)) for n in range(80)))
    result = audit.verify(read_audit(postgres_url), KEY)
    assert (result.ok, result.count) == (True, 80)


_APPENDER = """
import asyncio, sys
from opsbot.adapters.store import open_store
from tests.records import KEY, entry

async def main():
    store = open_store(sys.argv[1], audit_key=KEY)
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(50):
        await asyncio.gather(*(store.audit.append(entry(sys.argv[2], n=n)) for _ in range(3)))
    await store.close()

asyncio.run(main())
"""


def test_two_processes_never_fork_the_chain(postgres_url: str) -> None:
    """As two replicas on two machines: nothing but the database is between them."""
    command = [sys.executable, "-c", _APPENDER, postgres_url]
    writers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [writer.wait(60) for writer in writers] == [0, 0]
    records = list(read_audit(postgres_url))
    assert audit.verify(records, KEY).ok
    kinds = [record.entry.kind for record in records]
    assert Counter(kinds) == {"one": 150, "two": 150}
    assert sum(one != other for one, other in itertools.pairwise(kinds)) > 10  # they did meet


async def test_a_replica_with_an_old_version_of_a_conversation_stops(replicas: tuple[SqlStore, SqlStore]) -> None:
    frozen = await replicas[0].conversations.load(PLACE)
    await replicas[1].conversations.append(frozen, [said("newer")], needs_turn=False)
    with pytest.raises(Conflict):
        await replicas[0].conversations.append(frozen, [said("zombie")], needs_turn=True)


async def test_keys_in_any_order_never_deadlock(replicas: tuple[SqlStore, SqlStore]) -> None:
    for n in range(20):
        keys = [f"{n}-{key}" for key in "abcd"]
        accepted = await asyncio.gather(
            *(replicas[i % 2].inbox.accept(keys[i:] + keys[:i], event(), NOON) for i in range(4))
        )
        assert Counter(item is not None for item in accepted) == {False: 3, True: 1}


async def test_leaving_never_deadlocks_with_work_that_is_ending(
    replicas: tuple[SqlStore, SqlStore], postgres_url: str
) -> None:
    """Whoever works locks the replica, then a lease; whoever leaves does so in the same order."""
    one, _ = replicas
    await one.replicas.join()
    me = (await one.replicas.beat()).me
    await one.leases.take("turn:a")
    engine = postgres_engine(postgres_url)
    with engine.connect() as working, engine.connect() as watching:
        working.execute(text("SELECT 1 FROM replicas WHERE id = :me FOR KEY SHARE"), {"me": me})
        leaving = asyncio.create_task(one.replicas.leave())
        async with asyncio.timeout(20):
            waits = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            while not watching.execute(waits).scalar():
                await asyncio.sleep(0.01)
                watching.rollback()
        assert working.execute(text("SELECT holder FROM leases WHERE name = 'turn:a' FOR UPDATE")).scalar() == me
        working.commit()
        await leaving
        assert working.execute(text("SELECT count(*) FROM replicas WHERE id = :me"), {"me": me}).scalar() == 0
        assert working.execute(text("SELECT holder FROM leases")).scalar() == ""
    engine.dispose()


async def test_readers_see_whole_conversations_while_another_replica_appends(
    replicas: tuple[SqlStore, SqlStore],
) -> None:
    async def write() -> None:
        conversation = Conversation(PLACE)
        for _ in range(30):
            conversation = await replicas[0].conversations.append(
                conversation, [said("a"), said("b")], needs_turn=False
            )

    writing = asyncio.create_task(write())
    while not writing.done():
        seen = await replicas[1].conversations.load(PLACE)
        assert len(seen.messages) == 2 * seen.version
    await writing


async def test_many_replicas_may_start_at_once(postgres_url: str) -> None:
    stores = await asyncio.gather(*(asyncio.to_thread(open_store, postgres_url, audit_key=KEY) for _ in range(5)))
    assert (await stores[0].audit.append(entry())).seq == 1
    for store in stores:
        await store.close()


async def test_a_stopped_server_means_store_errors_and_then_recovery(
    postgres: PostgresServer, postgres_url: str
) -> None:
    store = await asyncio.to_thread(open_store, postgres_url, audit_key=KEY)
    await asyncio.gather(*(store.audit.append(entry("before")) for _ in range(8)))
    postgres.stop()
    try:
        for _ in range(3):
            with pytest.raises(StoreError, match="goes on once it is back"):
                await store.audit.append(entry("lost"))
            with pytest.raises(StoreError, match="goes on once it is back"):
                await store.inbox.waiting()
        with pytest.raises(StoreError, match="cannot be reached"):
            await asyncio.to_thread(open_store, postgres_url, audit_key=KEY)
    finally:
        postgres.start()
    await asyncio.gather(*(store.audit.append(entry("after")) for _ in range(8)))
    kinds = Counter(record.entry.kind for record in await store.audit.read())
    assert kinds == {"before": 8, "after": 8}
    assert audit.verify(read_audit(postgres_url), KEY).ok
    await store.close()


async def test_sessions_cut_in_mid_flight_leave_no_half_change(postgres: PostgresServer, postgres_url: str) -> None:
    store = await asyncio.to_thread(open_store, postgres_url, audit_key=KEY)
    made = await store.approvals.add(executing(), entry("requested"))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'opsbot' AND datname = %s"
    outcomes: list[Approval | BaseException] = []

    async def change_on() -> None:
        nonlocal made
        for _ in range(60):
            try:
                made = await store.approvals.change(
                    made, expected=(made.state, made.version), entries=[entry("changed")]
                )
            except Conflict:
                # The connection died in the very commit, and it had been committed.
                made = await store.approvals.get(made.id)
            except StoreError as error:
                outcomes.append(error)

    with postgres.connect() as admin:
        changing = asyncio.create_task(change_on())
        while not changing.done():
            admin.execute(cut, [make_url(postgres_url).database])
            await asyncio.sleep(0.02)
    await changing
    stored = await store.approvals.get(made.id)
    records = list(read_audit(postgres_url))
    assert outcomes
    assert stored.version == sum(record.entry.kind == "changed" for record in records) + 1
    assert audit.verify(records, KEY).ok
    await store.close()


async def test_a_table_locked_by_another_session_is_refused_after_5_s(
    postgres: PostgresServer, postgres_url: str
) -> None:
    store = await asyncio.to_thread(open_store, postgres_url, audit_key=KEY)
    with postgres.connect(make_url(postgres_url).database) as other, other.transaction():
        other.execute("LOCK TABLE audit")
        with pytest.raises(StoreError, match=r"lock for more than 5 s"):
            await store.audit.append(entry())
    assert (await store.audit.append(entry())).seq == 1
    await store.close()


async def test_commits_are_synced_even_where_the_server_defaults_otherwise(
    postgres: PostgresServer, postgres_url: str
) -> None:
    name = make_url(postgres_url).database
    with postgres.connect() as admin:
        admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    engine = postgres_engine(f"{postgres_url}&options=-csearch_path%3Dpublic&application_name=mine")
    with engine.connect() as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {setting}").scalar_one()
            for setting in ("synchronous_commit", "search_path", "application_name", "lock_timeout")
        ]
        link = connection.connection.driver_connection.info.get_parameters()
    engine.dispose()
    assert shown == ["on", "public", "mine", "5s"]
    assert {name: link[name] for name in ("keepalives_idle", "keepalives_interval", "keepalives_count")} == {
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
    }


def postgres_engine(url: str):
    return postgres.make_engine(make_url(url))


async def test_another_key_or_a_newer_database_is_refused(postgres: PostgresServer, postgres_url: str) -> None:
    store = await asyncio.to_thread(open_store, postgres_url, audit_key=KEY)
    assert not has_audit(postgres_url)
    await store.audit.append(entry())
    await store.close()
    assert has_audit(postgres_url)
    assert noted_head(postgres_url) is None
    with pytest.raises(StoreError, match="does not fit the audit key"):
        await asyncio.to_thread(open_store, postgres_url, audit_key=b"x" * 32)
    with postgres.connect(make_url(postgres_url).database) as admin:
        admin.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer opsbot"):
        await asyncio.to_thread(open_store, postgres_url, audit_key=KEY)


async def test_a_login_that_fails_does_not_show_the_password(postgres: PostgresServer, postgres_url: str) -> None:
    wrong = make_url(postgres_url).set(username="nobody_here", password="geheim-123")
    with pytest.raises(StoreError) as refused:
        await asyncio.to_thread(open_store, wrong.render_as_string(hide_password=False), audit_key=KEY)
    assert "nobody_here" in str(refused.value)
    assert "geheim-123" not in str(refused.value)


async def test_an_empty_database_has_no_audit_to_read(postgres_url: str) -> None:
    assert not has_audit(postgres_url)
    assert list(read_audit(postgres_url)) == []
