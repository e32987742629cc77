"""What the SQLite store does when the disk, another process or a person works against it."""

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from opsbot import audit
from opsbot.adapters.store import SqlStore, has_audit, noted_head, open_store, read_audit, sqlite
from opsbot.audit import Fault
from opsbot.domain import ApprovalState, AuditRecord, Conversation
from opsbot.errors import StoreError
from tests.contract.store_writer import CHANGED, CLAIMED, REQUESTED, SAID
from tests.flipped_bits import flips
from tests.locked_database import locked
from tests.records import CAPS, KEY, NOON, PLACE, approval, entry, event, executing, operation, said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "opsbot.db"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def opened(path: Path) -> SqlStore:
    return open_store(url(path), audit_key=KEY)


def whole_chain(path: Path) -> list[AuditRecord]:
    return list(read_audit(url(path), batch=7))


async def filled(path: Path, records: int = 3) -> SqlStore:
    store = opened(path)
    for n in range(records):
        await store.audit.append(entry("filled", n=n))
    return store


def edit(path: Path, statement: str, *values: object) -> None:
    """Change the database as somebody with a SQLite shell would."""
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


# --- opening ---------------------------------------------------------------------------------------------------------


async def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    store = await filled(path)
    await store.approvals.add(approval(), entry())
    before = await store.conversations.append(await store.conversations.load(PLACE), [said("hi")], needs_turn=True)
    await store.close()
    again = opened(path)
    assert await again.approvals.get("7KQ2M4") == approval()
    assert await again.conversations.load(PLACE) == before
    assert len(await again.audit.read()) == 4
    await again.close()


async def test_commits_are_synced_and_the_files_private(path: Path) -> None:
    store = await filled(path)

    def pragmas(connection: Connection) -> tuple[object, ...]:
        names = ("journal_mode", "synchronous", "busy_timeout")
        return tuple(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names)

    assert store._database.read_now(pragmas) == ("wal", 2, 5000)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    await store.close()


@pytest.mark.parametrize(
    "bad", ["", "nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:///x?mode=ro", "oracle://x"]
)
def test_a_url_that_names_no_database_is_refused_with_the_right_form(bad: str) -> None:
    with pytest.raises(StoreError, match="sqlite:///path"):
        open_store(bad, audit_key=KEY)


async def test_a_second_opsbot_on_the_same_file_is_refused(path: Path) -> None:
    store = opened(path)
    with pytest.raises(StoreError, match=r"Another process uses .* PostgreSQL"):
        opened(path)
    await store.close()
    await opened(path).close()


async def test_another_key_than_the_one_it_was_written_with_is_refused(path: Path) -> None:
    await (await filled(path)).close()
    with pytest.raises(StoreError, match="does not fit the audit key"):
        open_store(url(path), audit_key=b"x" * 32)
    await opened(path).close()


async def test_a_database_of_a_newer_opsbot_is_refused(path: Path) -> None:
    await (await filled(path)).close()
    edit(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer opsbot"):
        opened(path)


def test_a_path_that_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        opened(tmp_path / "file" / "opsbot.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ([("/", "ext4")], "ext4"),
        ([("/", "ext4"), ("/srv", "nfs4")], "nfs4"),
        ([("/", "ext4"), ("/srv", "ext4"), ("/srv", "nfs4")], "nfs4"),
        ([("/", "nfs4"), ("/srv/bot", "xfs")], "xfs"),
        ([("/srv/bo", "nfs"), ("/", "ext4")], "ext4"),
        ([], ""),
    ],
)
def test_the_innermost_newest_mount_tells_the_file_system(mounts: list[tuple[str, str]], kind: str) -> None:
    assert sqlite.file_system_of(Path("/srv/bot/opsbot.db"), mounts) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "CEPH", "fuse.glusterfs"])
def test_a_network_file_system_is_refused(kind: str) -> None:
    with pytest.raises(StoreError, match=r"network file system .* local disk"):
        sqlite.refuse_network(Path("/opsbot.db"), [("/", kind)])


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "overlay", "tmpfs", "apfs", "9p", ""])
def test_a_local_file_system_is_fine(kind: str) -> None:
    sqlite.refuse_network(Path("/opsbot.db"), [("/", kind)])


# --- a file that is gone, old or damaged -----------------------------------------------------------------------------


async def test_a_vanished_database_is_not_replaced_by_an_empty_one(path: Path) -> None:
    await (await filled(path)).close()
    path.unlink()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"is gone, .*remove .*opsbot.db.lock"):
            opened(path)
        assert not path.exists()
    assert has_audit(url(path))
    sqlite.sidecar_path(path).unlink()
    assert not has_audit(url(path))
    await opened(path).close()


async def test_a_database_that_vanished_before_its_first_record_is_missed_too(path: Path) -> None:
    await opened(path).close()
    path.unlink()
    with pytest.raises(StoreError, match="is gone"):
        opened(path)


async def test_an_older_copy_put_back_is_refused(path: Path, tmp_path: Path) -> None:
    await (await filled(path)).close()
    shutil.copy(path, tmp_path / "backup")
    store = opened(path)
    await store.audit.append(entry("later"))
    await store.close()
    shutil.copy(tmp_path / "backup", path)
    with pytest.raises(StoreError, match=r"lacks audit record 4 .* -wal"):
        opened(path)
    result = audit.verify(read_audit(url(path)), KEY, expected_head=noted_head(url(path)))
    assert (result.fault, result.broken_seq) == (Fault.CUT, 4)


async def test_an_emptied_database_is_refused(path: Path) -> None:
    await (await filled(path)).close()
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="lacks audit record 3"):
        opened(path)


async def test_a_database_without_its_sidecar_is_accepted(path: Path, tmp_path: Path) -> None:
    """A backup restored on another machine comes alone."""
    await (await filled(path)).close()
    shutil.copy(path, tmp_path / "restored.db")
    store = opened(tmp_path / "restored.db")
    assert len(await store.audit.read()) == 3
    await store.close()
    assert noted_head(url(tmp_path / "restored.db")) == noted_head(url(path))


async def test_a_damaged_sidecar_is_refused_with_the_way_out(path: Path) -> None:
    await (await filled(path)).close()
    sqlite.sidecar_path(path).write_text("{")
    with pytest.raises(StoreError, match=r"damaged.*remove"):
        opened(path)


@pytest.mark.parametrize("offset", [0, 20, 4096, 8192])
async def test_a_damaged_file_does_not_start_and_says_what_to_do(path: Path, offset: int) -> None:
    await (await filled(path, 50)).close()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(random.Random(1).randbytes(600))
    damaged = path.read_bytes()
    with pytest.raises(StoreError, match=r"backup|integrity_check"):
        opened(path)
    assert path.read_bytes() == damaged


async def test_a_file_that_is_no_database_is_refused_and_kept(path: Path) -> None:
    path.write_text("my notes, " * 1000)
    with pytest.raises(StoreError, match="not an SQLite database"):
        opened(path)
    assert path.read_text().startswith("my notes")


@pytest.mark.parametrize("replace_it", [False, True])
async def test_nothing_is_written_to_a_file_removed_while_running(path: Path, replace_it: bool) -> None:
    store = await filled(path)
    path.rename(path.with_name("elsewhere.db"))
    if replace_it:
        path.touch()
    with pytest.raises(StoreError, match="removed or replaced"):
        await store.audit.append(entry())
    path.with_name("elsewhere.db").rename(path)
    assert (await store.audit.append(entry())).seq == 4
    await store.close()


# --- locked, full, read-only -----------------------------------------------------------------------------------------


async def test_a_lock_held_by_another_process_is_waited_for_5_s_then_refused(path: Path) -> None:
    store = await filled(path)
    with locked(path):
        # Reads go on meanwhile.
        assert len(await store.audit.read()) == 3
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"locked .* 5 s"):
            await store.audit.append(entry())
        assert 4 < time.monotonic() - started < 30
    assert (await store.audit.append(entry())).seq == 4
    await store.close()


async def test_a_full_disk_refuses_writes_whole_allows_reads_and_recovers(path: Path) -> None:
    store = opened(path)
    made = await store.approvals.add(executing(), entry("requested"))

    def limit(connection: Connection, pages: int) -> int:
        return connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar_one()

    pages = store._database.read_now(lambda connection: limit(connection, 1))
    before = await store.audit.read()
    big = "x" * 100_000
    for attempt in (
        lambda: store.approvals.change(
            replace(made, note=big), expected=(ApprovalState.EXECUTING, 1), entries=[entry("changed")]
        ),
        lambda: store.operations.claim(operation(made, "web-1"), entry("claimed", big=big), caps=CAPS),
        lambda: store.conversations.append(Conversation(PLACE), [said("small"), said(big)], needs_turn=True),
        lambda: store.audit.append(entry("big", big=big)),
    ):
        with pytest.raises(StoreError, match="disk is full"):
            await attempt()
    assert await store.approvals.get(made.id) == made
    assert await store.operations.started(made.id) == frozenset()
    assert (await store.conversations.load(PLACE)).version == 0
    assert await store.conversations.needing_turn() == ()
    assert await store.audit.read() == before

    store._database.read_now(lambda connection: limit(connection, pages + 1000))
    assert await store.operations.claim(operation(made, "web-1"), entry("claimed", big=big), caps=CAPS)
    await store.close()
    assert audit.verify(read_audit(url(path)), KEY, expected_head=noted_head(url(path))).ok


async def test_a_database_that_became_read_only_refuses_writes_and_recovers(path: Path) -> None:
    store = await filled(path)
    store._database.read_now(lambda connection: connection.exec_driver_sql("PRAGMA query_only=ON"))
    with pytest.raises(StoreError, match="cannot be written"):
        await store.audit.append(entry())
    assert len(await store.audit.read()) == 3
    store._database.read_now(lambda connection: connection.exec_driver_sql("PRAGMA query_only=OFF"))
    assert (await store.audit.append(entry())).seq == 4
    await store.close()


async def test_the_event_loop_goes_on_while_the_store_works(path: Path) -> None:
    store = await filled(path)
    loop_thread_blocked_by: list[float] = []

    async def beat() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            loop_thread_blocked_by.append(time.thread_time() - before)

    heart = asyncio.create_task(beat())
    await asyncio.gather(*(store.audit.append(entry("x", n=n)) for n in range(50)))
    heart.cancel()
    # More beats than appends: no append held the loop for its whole length.
    assert len(loop_thread_blocked_by) > 50
    await store.close()


# --- tampering -------------------------------------------------------------------------------------------------------


async def test_every_flipped_bit_of_the_audit_is_found(path: Path) -> None:
    store = await filled(path, 20)
    for n in range(5):
        await store.audit.append(entry("approval.decided", f"ID-{n}", text="\x1f é 😀", number=1e21, list=[1.5, None]))
    await store.close()
    head = noted_head(url(path))
    assert audit.verify(read_audit(url(path)), KEY, expected_head=head).ok
    missed = []
    for flip in flips(path, 300, dice=random.Random(7)):
        result = audit.verify(read_audit(url(path)), KEY, expected_head=head)
        if result.ok or (flip.column != "seq" and result.broken_seq != flip.seq):
            missed.append((flip, result))
    assert missed == []
    assert audit.verify(read_audit(url(path)), KEY, expected_head=head).ok


async def test_deleted_and_swapped_rows_are_found(path: Path) -> None:
    await (await filled(path, 6)).close()
    edit(path, "UPDATE audit SET seq = -seq WHERE seq IN (2, 3)")
    edit(path, "UPDATE audit SET seq = 5 + seq WHERE seq < 0")
    assert audit.verify(read_audit(url(path)), KEY).broken_seq == 2
    edit(path, "DELETE FROM audit WHERE seq IN (2, 3)")
    assert audit.verify(read_audit(url(path)), KEY).fault is Fault.MISSING


async def test_a_cut_tail_is_found_and_not_built_upon(path: Path) -> None:
    await (await filled(path, 6)).close()
    edit(path, "DELETE FROM audit WHERE seq > 4")
    result = audit.verify(read_audit(url(path)), KEY, expected_head=noted_head(url(path)))
    assert (result.fault, result.broken_seq) == (Fault.CUT, 5)
    with pytest.raises(StoreError, match="lacks audit record 6"):
        opened(path)


async def test_an_edited_last_record_is_not_built_upon(path: Path) -> None:
    await (await filled(path)).close()
    edit(path, "UPDATE audit SET entry = replace(entry, '2', '9') WHERE seq = 3")
    with pytest.raises(StoreError, match="does not fit the audit key"):
        opened(path)


async def test_an_unreadable_record_is_shown_as_such(path: Path) -> None:
    store = await filled(path)
    edit(path, "UPDATE audit SET entry = 'rubbish' WHERE seq = 2")
    assert [record.entry.kind for record in await store.audit.read()] == ["filled", "audit.unreadable", "filled"]
    await store.close()


@pytest.mark.parametrize(
    "assignment",
    [
        "state = 'approved'",
        "version = 2",
        "digest = 'ffff'",
        "call_id = 'c9'",
        "conversation_id = 'T1/C2/3'",
        "created_at = '2020-01-01T00:00:00.000000Z'",
        "seal = 'ffff'",
        "record = replace(record, '\"pending\"', '\"approved\"')",
        "record = replace(record, 'web-2', 'db-1')",
        "id = 'OTHER1'",
    ],
)
async def test_an_approval_edited_by_hand_is_refused_everywhere(path: Path, assignment: str) -> None:
    store = opened(path)
    await store.approvals.add(approval(), entry())
    edit(path, f"UPDATE approvals SET {assignment}")
    changed = "OTHER1" if assignment.startswith("id") else "7KQ2M4"
    for attempt in (
        lambda: store.approvals.get(changed),
        lambda: store.approvals.get(changed[:4]),
        lambda: store.approvals.in_state(*ApprovalState),
        lambda: store.operations.claim(operation(executing(changed), "web-1"), entry(), caps=CAPS),
    ):
        with pytest.raises(StoreError, match="changed by something other than opsbot"):
            await attempt()
    await store.close()


async def test_a_damaged_message_is_a_store_error(path: Path) -> None:
    store = opened(path)
    await store.inbox.accept(["k"], event(), NOON)
    edit(path, "UPDATE inbox SET event = 'rubbish'")
    with pytest.raises(StoreError, match="cannot be read"):
        await store.inbox.waiting()
    await store.close()


# --- beside a running bot --------------------------------------------------------------------------------------------


async def test_the_audit_can_be_read_while_the_bot_writes(path: Path) -> None:
    assert not has_audit(url(path))
    store = opened(path)
    assert not has_audit(url(path))
    assert whole_chain(path) == []
    await store.audit.append(entry())
    assert has_audit(url(path))
    reading = read_audit(url(path), batch=1)
    first = next(reading)
    for n in range(20):
        await store.audit.append(entry("meanwhile", n=n))
    assert audit.verify([first, *reading], KEY).ok
    assert audit.verify(read_audit(url(path)), KEY, expected_head=noted_head(url(path))).count == 21
    await store.close()


def test_reading_the_audit_creates_no_database(path: Path) -> None:
    with pytest.raises(StoreError, match="There is no database"):
        list(read_audit(url(path)))
    assert list(path.parent.iterdir()) == []


# --- death ----------------------------------------------------------------------------------------------------------


def run_and_kill(path: Path, acknowledged: int) -> Counter[str]:
    """Let a process write in a loop, kill it in mid-work, and return how often it reported which write as done."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.store_writer", url(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        done = [writer.stdout.readline().strip() for _ in range(acknowledged)]
        writer.kill()
        done += writer.stdout.read().split()
    return Counter(done)


async def test_after_kill_9_all_that_was_acknowledged_is_there_and_nothing_by_halves(path: Path) -> None:
    acknowledged: Counter[str] = Counter()
    dice = random.Random(3)
    deaths = 5
    for _ in range(deaths):
        acknowledged += run_and_kill(path, dice.randint(5, 60))
        store = opened(path)
        await assert_whole(store, path, acknowledged, deaths)
        await store.close()


async def assert_whole(store: SqlStore, path: Path, acknowledged: Counter[str], deaths: int) -> None:
    records = whole_chain(path)
    assert audit.verify(records, KEY, expected_head=noted_head(url(path))).ok
    recorded = Counter(record.entry.kind for record in records)
    approvals = await store.approvals.in_state(*ApprovalState)
    claims = [await store.operations.started(each.id) for each in approvals]
    # Each change is there exactly with its record.
    assert recorded[REQUESTED] == len(approvals)
    assert recorded[CHANGED] == sum(each.version - 1 for each in approvals)
    assert recorded[CLAIMED] == sum(len(hosts) for hosts in claims)
    conversation = await store.conversations.load(PLACE)
    assert len(conversation.messages) == 2 * conversation.version
    # Whatever was reported as done is there; at most the write in progress at each death is there unreported.
    for kind, count in acknowledged.items():
        there = conversation.version if kind == SAID else recorded[kind]
        assert count <= there <= count + deaths


async def test_a_wal_removed_after_a_crash_is_noticed(path: Path) -> None:
    run_and_kill(path, 30)
    path.with_name(path.name + "-wal").unlink()
    with pytest.raises(StoreError, match="-wal"):
        opened(path)


async def test_the_lock_of_a_killed_process_is_free(path: Path) -> None:
    run_and_kill(path, 3)
    await opened(path).close()


async def test_simultaneous_opening_leaves_one_winner(path: Path) -> None:
    outcomes = await asyncio.gather(*(asyncio.to_thread(opened, path) for _ in range(6)), return_exceptions=True)
    stores = [outcome for outcome in outcomes if isinstance(outcome, SqlStore)]
    assert Counter(type(outcome) for outcome in outcomes) == {StoreError: 5, SqlStore: 1}
    await stores[0].close()


def test_the_lock_is_not_inherited_by_commands_the_bot_starts(path: Path) -> None:
    sidecar = sqlite.Sidecar.acquire(path)
    assert not os.get_inheritable(sidecar.descriptor)
    sidecar.release()
