"""T22: what cannot be recorded is not done, with every way a disk can fail, before and in the middle of an action."""

import os
from pathlib import Path
from typing import Any

import pytest

from opsbot.adapters.store import open_store, read_lines
from opsbot.audit import verify
from opsbot.errors import StoreError
from tests.records import KEY
from tests.safety.conftest import FULL, Figures
from tests.safety.faulty_disk import FAULTS, small_disk, told

ALL = [name for name in FAULTS if name != "none"]
TRIED = ALL if FULL else ["fsync EIO"]
REASONS = ("disk is full", "input/output error", "more than")


def held(found: dict[str, Any], *, slow: bool = False) -> None:
    """Check one story: nothing was done unrecorded, and people were told why."""
    assert found["effects while it fails"] == 0
    assert slow or any(reason in found["click"] for reason in REASONS)
    assert slow or "nothing was" in found["click"].lower()
    for moment in () if slow else ("before the start", "before the intent"):
        assert found[moment]["effects"] == 0
        assert any("Nothing is run unrecorded" in text for text in found[moment]["told"])
    assert found.get("escaped", []) == []


@pytest.mark.timeout(400)  # a slow disk makes a long story
@pytest.mark.parametrize("name", TRIED)
def test_nothing_is_done_that_cannot_be_recorded(name: str, tmp_path: Path, figures: Figures) -> None:
    slow_s = 1.0 if name == "slow" else 0.0
    if name == "full tmpfs":
        with small_disk(tmp_path / "small") as folder:
            held(told(name, folder))
    else:
        held(told(name, tmp_path, slow_s=slow_s), slow=name == "slow")
    figures.note(faults_tried=f"{len(TRIED)} of {len(ALL)}", effects=0)


def test_on_a_disk_of_1_mib_every_effect_is_in_the_log(tmp_path: Path) -> None:
    """Such a disk fills by the bot's own writes, somewhere in the story: what was done before that is recorded."""
    with small_disk(tmp_path / "small", "1m") as folder:
        found = told("none", folder)
        lines = list(read_lines(f"sqlite:///{folder}/opsbot.db"))
        assert verify(lines, KEY).ok
        intents = sum('"kind":"execution.intent"' in line.text for line in lines)
        moments = [found["before the start"], found["before the intent"], found["afterwards"]]
        assert found["effects while it fails"] + sum(moment["effects"] for moment in moments) <= intents


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_a_device_that_is_always_full_is_refused_at_the_start(suffix: str, tmp_path: Path) -> None:
    if suffix:
        await open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY).close()
    (tmp_path / f"opsbot.db{suffix}").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"disk is full|cannot be opened"):
        open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_file_system_is_refused_at_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "8m,ro") as folder, pytest.raises(StoreError, match="Read-only file system"):
        open_store(f"sqlite:///{folder}/opsbot.db", audit_key=KEY)
