"""R11: a database that is locked, damaged, deleted or without its WAL is waited for or refused, never begun anew."""

import asyncio
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store
from opsbot.errors import StoreError
from tests.fake_clock import FakeClock
from tests.locked_database import locked
from tests.records import KEY
from tests.safety.conftest import Figures, Scale
from tests.scenario.house import ALICE, BOB, House, World

WAITS_S = 5.0


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "opsbot.db"


async def lived_in(path: Path) -> House:
    """A bot with a past, at work on this database."""
    store = open_store(url(path), audit_key=KEY)
    house = House(World(store=store, clock=FakeClock(), lifetime_s=1800))
    await house.start()
    for _ in range(3):
        house.world.model.add("Fine.")
        await house.says(ALICE, "how is web-1?")
        await house.types(ALICE, "restart nginx web-1")
        await house.clicks(BOB, "approve")
        await house.passes(40)
    return house


async def closed(house: House) -> None:
    await house.stop()
    await house.world.store.close()


@pytest.mark.timeout(300)
async def test_a_lock_is_waited_for_5_s_and_then_nothing_is_done(path: Path, figures: Figures, scale: Scale) -> None:
    house = await lived_in(path)
    await house.types(ALICE, "restart nginx web-1")
    restarts = sum(house.world.machines.restarts.values())
    waited_s = []
    with locked(path):
        until = time.monotonic() + scale(1, 30)
        while time.monotonic() < until:
            began = time.monotonic()
            await house.clicks(BOB, "approve")
            waited_s.append(time.monotonic() - began)
            assert "does not count" in house.whispered
            assert "another process holds it locked" in house.whispered
    assert sum(house.world.machines.restarts.values()) == restarts
    assert all(WAITS_S - 1 < each < WAITS_S + 3 for each in waited_s)
    figures.note(locked_for=f"{scale(1, 30)} s", longest_wait=f"{max(waited_s):.1f} s", then="refused")
    await house.clicks(BOB, "approve")
    assert sum(house.world.machines.restarts.values()) == restarts + 1
    await closed(house)


async def test_100_random_bytes_changed_are_never_started_upon(path: Path, figures: Figures, scale: Scale) -> None:
    await closed(await lived_in(path))
    whole, dice, trials, harmless = path.read_bytes(), random.Random(11), scale(15, 300), 0
    opened = 0
    said = read_whole(path)
    assert said is not None
    for _ in range(trials):
        damaged = bytearray(whole)
        for position in dice.sample(range(len(whole)), 100):
            damaged[position] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        if read_whole(path) == said:
            harmless += 1  # every byte fell into room that holds nothing
            continue
        told = ""
        try:
            await open_store(url(path), audit_key=KEY).close()
        except StoreError as refused:
            told = str(refused)
        opened += not told
        assert not told or (re.search(r"backup|integrity_check", told) and path.read_bytes() == damaged)
    refusals = trials - harmless - opened
    figures.note(damaged_files_refused=f"{refusals} of {trials}, {harmless} said the same as before")
    if opened:
        figures.falls_short(
            f"{opened} of {trials} damaged files were started upon: structure and audit log were whole, and what had "
            "changed are rows that are looked at only when they are used (approvals by their seal) or not at all."
        )
    assert harmless <= trials // 20
    assert opened <= trials // 100


def read_whole(path: Path) -> list[str] | None:
    """Return everything a database says, None if it cannot be read or is found damaged."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            return None
        return list(connection.iterdump())
    except (sqlite3.Error, UnicodeDecodeError):
        return None
    finally:
        connection.close()


async def test_what_is_wrong_with_a_damaged_file_is_shown_by_the_command_it_names(path: Path) -> None:
    await closed(await lived_in(path))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(1).randbytes(600))
    with pytest.raises(StoreError, match="PRAGMA integrity_check"):
        open_store(url(path), audit_key=KEY)
    connection = sqlite3.connect(path)
    try:
        found = connection.execute("PRAGMA integrity_check").fetchall()
    except sqlite3.DatabaseError as error:
        found = [(str(error),)]
    connection.close()
    assert found != [("ok",)]


@pytest.mark.parametrize("how", ["deleted", "emptied", "an older copy"])
async def test_a_lost_database_is_not_begun_anew(path: Path, how: str, tmp_path: Path) -> None:
    house = await lived_in(path)
    shutil.copy(path, tmp_path / "older")
    await house.types(ALICE, "restart nginx web-1")
    await closed(house)
    match how:
        case "deleted":
            path.unlink()
        case "emptied":
            path.write_bytes(b"")
        case "an older copy":
            shutil.copy(tmp_path / "older", path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreError, match=r"is gone|lacks audit record"):
        open_store(url(path), audit_key=KEY)
    after = path.read_bytes() if path.exists() else None
    # SQLite gives an empty file its first page as soon as it is looked at; nothing of ours is in it.
    assert after == before or (how == "emptied" and after is not None and len(after) == 4096)


async def test_a_wal_that_is_gone_is_missed(path: Path) -> None:
    """What was committed last lies in the WAL until it is checkpointed; a killed process leaves it there."""
    await open_store(url(path), audit_key=KEY).close()
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.store_writer", url(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for _ in range(8):
        assert writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    wal = path.with_name("opsbot.db-wal")
    assert wal.stat().st_size
    saved = wal.read_bytes()
    wal.unlink()
    path.with_name("opsbot.db-shm").unlink(missing_ok=True)
    with pytest.raises(StoreError, match=r"lacks audit record .* -wal file was removed"):
        open_store(url(path), audit_key=KEY)
    wal.write_bytes(saved)
    await open_store(url(path), audit_key=KEY).close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_goes_while_the_bot_runs_is_not_written_to(path: Path, replaced: bool) -> None:
    house = await lived_in(path)
    await house.types(ALICE, "restart nginx web-1")
    restarts = sum(house.world.machines.restarts.values())
    path.rename(path.with_name("elsewhere"))
    if replaced:
        path.touch()
    await house.clicks(BOB, "approve")
    assert "was removed or replaced" in house.whispered
    await house.types(ALICE, "status web-1")
    assert "Not recorded in the audit log" in house.whispered
    assert sum(house.world.machines.restarts.values()) == restarts
    path.with_name("elsewhere").rename(path)
    await house.clicks(BOB, "approve")
    assert sum(house.world.machines.restarts.values()) == restarts + 1
    await closed(house)
    await asyncio.to_thread(lambda: asyncio.run(open_store(url(path), audit_key=KEY).close()))
