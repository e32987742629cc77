"""T21: whatever is done to the audit log is found; a cut end, and an older file put back, by the anchors."""

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import make_url

from opsbot.__main__ import main
from opsbot.adapters.anchorages import file
from opsbot.adapters.store import SqlStore, Watch, open_store, read_audit, read_lines
from opsbot.adapters.store.sqlite import sidecar_path
from opsbot.anchors import anchor_line
from opsbot.audit import Fault, verify
from opsbot.errors import StoreError
from tests.flipped_bits import flips
from tests.postgres import PostgresServer
from tests.records import KEY, entry
from tests.safety.conftest import Figures, Scale

RECORDS = 60
HOSTILE = {"text": 'x","kind":"other"}\n\u202e é 😀 \x00', "number": 1e21, "list": [1.5, None, {"": ""}]}


def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def written(store: SqlStore, count: int = RECORDS) -> list[str]:
    """Write records; return an anchor line for each."""
    records = [await store.audit.append(entry("decision.made", f"ID{n // 3}", n=n, **HOSTILE)) for n in range(count)]
    return [anchor_line((record.seq, record.hash), KEY) for record in records]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A closed log of 60 records, its anchors beside it, and a configuration for the command line."""
    path = tmp_path / "opsbot.db"

    async def fill() -> list[str]:
        store = open_store(url(path), audit_key=KEY)
        lines = await written(store)
        await store.close()
        return lines

    lines = asyncio.run(fill())
    (tmp_path / "anchors").write_text("".join(f"Nov 20 12:00:00 bot opsbot: {line}\n" for line in lines))
    (tmp_path / "audit.key").write_text(KEY.hex())
    (tmp_path / "audit.key").chmod(0o600)
    (tmp_path / "config.yaml").write_text("store: {url: sqlite:///opsbot.db}\nhosts: {here: {connection: local}}\n")
    return path


def checked(log: Path, *options: str) -> int:
    """Run the verifier as an operator does; return its exit code."""
    return main(["audit", "verify", "--config", str(log.with_name("config.yaml")), *options])


def anchored(log: Path) -> int:
    return checked(log, "--anchors", str(log.with_name("anchors")))


def edit(log: Path, *statements: str) -> None:
    connection = sqlite3.connect(log)
    with connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    connection.close()


def test_the_untouched_log_passes(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (checked(log), anchored(log)) == (0, 0)
    assert "60 anchors fit, the newest at record 60" in capsys.readouterr().out


def test_every_flipped_bit_is_found(log: Path, figures: Figures, scale: Scale) -> None:
    count, found, named = scale(150, 1000), 0, 0
    for flip in flips(log, count, dice=random.Random(21)):
        result = verify(read_lines(url(log)), KEY)
        found += not result.ok
        named += flip.column == "seq" or result.broken_seq == flip.seq
    figures.note(flipped_bits_found=f"{found:,} of {count:,}", at_the_right_record=f"{named:,} of {count:,}")
    assert (found, named) == (count, count)
    assert verify(read_lines(url(log)), KEY).ok


def test_bits_flipped_in_the_file_never_pass_for_other_records(log: Path, figures: Figures, scale: Scale) -> None:
    """Most of them hit the audit, some another table or free space: then every record must still read the same."""
    before, whole = list(read_audit(url(log))), log.read_bytes()
    dice, count, refused = random.Random(22), scale(60, 1000), 0
    for _ in range(count):
        position, bit = dice.randrange(len(whole)), 1 << dice.randrange(8)
        log.write_bytes(whole[:position] + bytes([whole[position] ^ bit]) + whole[position + 1 :])
        try:
            good = verify(read_lines(url(log)), KEY, anchors=[(60, before[-1].hash)]).ok
            assert not good or list(read_audit(url(log))) == before
        except StoreError:
            good = False
        refused += not good
    figures.note(bits_flipped_in_the_file=count, of_them_not_in_the_log_or_found=count, found=refused)
    assert refused


@pytest.mark.parametrize("seq", [1, 2, 30, 59])
def test_a_deleted_record_is_found(log: Path, seq: int) -> None:
    edit(log, f"DELETE FROM audit WHERE seq = {seq}")
    assert verify(read_lines(url(log)), KEY).fault is Fault.MISSING
    assert checked(log) == 1


def test_a_deleted_record_is_found_when_the_rest_is_renumbered(log: Path) -> None:
    edit(
        log,
        "DELETE FROM audit WHERE seq = 10",
        *(f"UPDATE audit SET seq = {n} WHERE seq = {n + 1}" for n in range(10, 60)),
    )
    assert verify(read_lines(url(log)), KEY).broken_seq == 10
    assert checked(log) == 1


@pytest.mark.parametrize(("one", "other"), [(1, 2), (5, 40), (59, 60)])
def test_swapped_records_are_found(log: Path, one: int, other: int, figures: Figures) -> None:
    edit(
        log,
        f"UPDATE audit SET seq = 999 WHERE seq = {one}",
        f"UPDATE audit SET seq = {one} WHERE seq = {other}",
        f"UPDATE audit SET seq = {other} WHERE seq = 999",
    )
    assert verify(read_lines(url(log)), KEY).broken_seq == one
    assert checked(log) == 1
    figures.note(deleted_and_swapped_records="all found")


def test_records_made_without_the_key_are_found(log: Path) -> None:
    edit(log, "INSERT INTO audit SELECT 61, hash, entry, prev, approval_id FROM audit WHERE seq = 60")
    assert verify(read_lines(url(log)), KEY).broken_seq == 61
    assert checked(log) == 1


@pytest.mark.parametrize("left", [0, 1, 30, 59])
def test_a_cut_end_is_found_by_the_anchors_and_only_by_them(log: Path, left: int, figures: Figures) -> None:
    """Whoever can write the database can write the file beside it too."""
    edit(log, f"DELETE FROM audit WHERE seq > {left}")
    sidecar_path(log).unlink()
    assert verify(read_lines(url(log)), KEY).ok
    assert checked(log) == 0
    assert anchored(log) == 1
    figures.note(cut_ends="found with the anchors, not without")


def test_an_older_file_put_back_and_continued_is_found_by_the_anchors(log: Path, tmp_path: Path) -> None:
    shutil.copy(log, tmp_path / "older.db")
    edit(tmp_path / "older.db", "DELETE FROM audit WHERE seq > 40")

    async def go_on() -> None:
        store = open_store(url(tmp_path / "older.db"), audit_key=KEY)
        for n in range(30):
            await store.audit.append(entry("later", n=n))
        await store.close()

    asyncio.run(go_on())
    shutil.copy(tmp_path / "older.db", log)
    shutil.copy(sidecar_path(tmp_path / "older.db"), sidecar_path(log))
    assert checked(log) == 0
    assert anchored(log) == 1


def test_a_log_rewritten_with_the_key_is_found_by_the_anchors(log: Path) -> None:
    for file_ in (log, sidecar_path(log)):
        file_.unlink()

    async def forge() -> None:
        store = open_store(url(log), audit_key=KEY)
        for n in range(80):
            await store.audit.append(entry("forged", n=n))
        await store.close()

    asyncio.run(forge())
    assert (checked(log), anchored(log)) == (0, 1)


def test_anchors_that_hold_nothing_of_this_log_prove_nothing(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = log.with_name("other")
    other.write_text(f"{anchor_line((99, 'ab' * 32), b'x' * 32)}\nnothing\n")
    assert checked(log, "--anchors", str(other)) == 2
    assert "no anchor of this log" in capsys.readouterr().err
    assert checked(log, "--anchors", str(log.with_name("missing"))) == 2
    both = ("--anchors", str(other), "--anchors", str(log.with_name("anchors")))
    assert checked(log, *both) == 2


def test_forged_anchors_raise_no_false_alarm(log: Path) -> None:
    with log.with_name("anchors").open("a") as anchors:
        anchors.write(f"{anchor_line((99, 'ab' * 32), b'x' * 32)}\n")
    assert anchored(log) == 0


async def test_the_bot_does_not_start_on_a_database_that_lacks_its_newest_anchor(tmp_path: Path) -> None:
    store = open_store(url(tmp_path / "a.db"), audit_key=KEY)
    await written(store, 5)
    newest = (await store.audit.read())[-1]
    await file(tmp_path / "anchors").put(anchor_line((newest.seq, newest.hash), KEY))
    await store.close()
    edit(tmp_path / "a.db", "DELETE FROM audit WHERE seq = 5")
    sidecar_path(tmp_path / "a.db").unlink()
    with pytest.raises(StoreError, match=r"lacks audit record 5, .* audit\.anchor\.file"):
        open_store(url(tmp_path / "a.db"), audit_key=KEY, watch=Watch(anchored=(newest.seq, newest.hash)))


async def test_the_same_holds_on_postgresql(postgres: PostgresServer, postgres_url: str) -> None:
    store = await asyncio.to_thread(open_store, postgres_url, audit_key=KEY)
    await written(store, 12)
    records = await store.audit.read()
    heads = [(record.seq, record.hash) for record in records]
    await store.close()
    assert verify(read_lines(postgres_url), KEY, anchors=heads).ok
    with postgres.connect(make_url(postgres_url).database) as connection:
        connection.execute("DELETE FROM audit WHERE seq > 9")
    assert verify(read_lines(postgres_url), KEY).ok
    assert verify(read_lines(postgres_url), KEY, anchors=heads).fault is Fault.CUT
    with pytest.raises(StoreError, match="lacks audit record 12"):
        await asyncio.to_thread(open_store, postgres_url, audit_key=KEY, watch=Watch(anchored=heads[-1]))
    with postgres.connect(make_url(postgres_url).database) as connection:
        connection.execute("UPDATE audit SET entry = replace(entry, 'decision', 'decisioN') WHERE seq = 4")
    assert verify(read_lines(postgres_url), KEY).broken_seq == 4
