"""R10: on a full, read-only, failing or slow disk reads go on and say so, and all works again by itself afterwards."""

import asyncio
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store, read_audit
from opsbot.audit import verify
from tests.fake_clock import FakeClock
from tests.postgres import PostgresServer
from tests.records import KEY
from tests.safety.conftest import FULL, Figures, Scale
from tests.safety.faulty_disk import FAULTS, small_disk, told
from tests.scenario.house import ALICE, BOB, House, World

ALL = [name for name in FAULTS if name != "none"]
TRIED = ALL if FULL else ["page limit"]


@pytest.mark.timeout(400)  # a slow disk makes a long story
@pytest.mark.parametrize("name", TRIED)
def test_reads_go_on_and_it_recovers_by_itself(name: str, tmp_path: Path, figures: Figures, scale: Scale) -> None:
    if name == "full tmpfs":
        with small_disk(tmp_path / "small") as folder:
            recovered(name, folder, 0)
    else:
        recovered(name, tmp_path, scale(1, 5) if name == "slow" else 0)
    figures.note(faults_tried=f"{len(TRIED)} of {len(ALL)}", reads_answered_and_flagged="all", torn_lines_accepted=0)


def recovered(name: str, folder: Path, slow_s: float) -> None:
    """Play the story, and look at what it left behind."""
    found = told(name, folder, slow_s=slow_s)
    assert "Not recorded in the audit log" in found["look"]
    assert "web-1 |" in found["look"]
    assert found["afterwards"] == {"effects": 1, "state": "done"}
    assert "web-1 |" in found["look afterwards"]
    assert "Not recorded" not in found["look afterwards"]
    whole_log(f"sqlite:///{folder}/opsbot.db")


def whole_log(url: str) -> None:
    """The verifier passes, every record makes sense, and each intent has its closing record."""
    records = list(read_audit(url))
    assert verify(records, KEY).ok
    kinds = [record.entry.kind for record in records]
    assert "audit.unreadable" not in kinds
    intents = {record.entry.approval_id for record in records if record.entry.kind == "execution.intent"}
    closed = {
        record.entry.approval_id
        for record in records
        if record.entry.kind in ("execution.finished", "execution.reconciled", "execution.refused")
    }
    assert intents <= closed


async def test_the_same_holds_while_postgresql_is_away(postgres: PostgresServer, postgres_url: str) -> None:
    store = open_store(postgres_url, audit_key=KEY)
    house = House(World(store=store, clock=FakeClock(), lifetime_s=1800))
    await house.start()
    await house.types(ALICE, "restart nginx web-1")
    restarts = house.world.machines.restarts
    postgres.stop()
    try:
        await house.types(ALICE, "status web-1")
        assert "Not recorded in the audit log" in house.whispered
        await house.clicks(BOB, "approve")
        assert "does not count" in house.whispered
        await house.types(ALICE, "restart nginx web-2")
        assert "Nothing was done" in house.whispered
        await house.passes(6)
        assert sum(restarts.values()) == 0
    finally:
        postgres.start()
    for _ in range(5):  # before it acts again, the replica tells the others that it lives
        await house.passes(2)
        await asyncio.sleep(0.1)
    await house.clicks(BOB, "approve")
    await house.passes(6)
    assert sum(restarts.values()) == 1
    await house.stop()
    await store.close()
    whole_log(postgres_url)
