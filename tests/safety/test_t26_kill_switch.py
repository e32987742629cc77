"""T26: every way to stop, at random moments of steady work: nothing begins after it; what cannot be read is a stop."""

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from opsbot.adapters.stop_file import StopFile
from opsbot.adapters.store.beside import beside
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.domain import ApprovalState
from opsbot.errors import HeldBack
from opsbot.holdings import Holdings
from tests.records import KEY
from tests.safety.conftest import Figures, Scale
from tests.safety.works import HOSTS, PEOPLE, UNITS, Works, unwatched

WIDE = Caps(an_hour=10_000_000, an_hour_per_person=10_000_000)
AFTER_S = 1.05
pytestmark = pytest.mark.timeout(900)


@dataclass
class Plant:
    """Works that never rest, and their stop file."""

    works: Works
    switch: StopFile
    folder: Path
    finals: list[ApprovalState] = field(default_factory=list)
    refused: int = 0

    @property
    def holdings(self) -> Holdings:
        return Holdings(self.works.store.holds, self.works.clock)

    async def worker(self, number: int) -> None:
        """Ask, approve and do, one after the other, until cancelled."""
        while True:
            host = sorted(HOSTS)[number % len(HOSTS)]
            _, prepared = self.works.wanted(PEOPLE[number % 3], [host], UNITS[number % 3])
            try:
                decision = await self.works.proposed(PEOPLE[number % 3], prepared)
            except HeldBack:
                self.refused += 1
                await asyncio.sleep(0.005)
                continue
            approval = await self.works.approved(PEOPLE[number % 3], prepared, decision)
            final = await self.works.executors[number % 2].execute(approval, unwatched)
            self.finals.append(final.state)


async def _by_file(plant: Plant) -> None:
    plant.switch.path.touch()


async def _by_link(plant: Plant) -> None:
    plant.switch.path.symlink_to("/nowhere")


async def _by_signal(plant: Plant) -> None:
    plant.switch.throw("SIGUSR1")


async def _by_chat(plant: Plant) -> None:
    await plant.holdings.stop("T1/UBOB", reason="fire")


async def _by_shell(plant: Plant) -> None:
    """Another process, on the same database."""

    def stop() -> None:
        with beside(plant.works._url, audit_key=KEY) as store:
            asyncio.run(Holdings(store.holds, plant.works.clock).stop("shell/root", reason="fire"))

    await asyncio.to_thread(stop)


async def _by_a_lost_folder(plant: Plant) -> None:
    plant.folder.rename(plant.folder.with_name("gone"))


async def _by_a_file_for_a_folder(plant: Plant) -> None:
    plant.folder.rename(plant.folder.with_name("gone"))
    plant.folder.write_text("")


WAYS: dict[str, Callable[[Plant], Awaitable[None]]] = {
    "file": _by_file,
    "link": _by_link,
    "signal": _by_signal,
    "chat": _by_chat,
    "shell": _by_shell,
    "folder gone": _by_a_lost_folder,
    "folder is a file": _by_a_file_for_a_folder,
}


async def _until(happened: Callable[[], bool], otherwise: str) -> None:
    """Wait for it: the machine may be busy with something else."""
    for _ in range(3_000):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(otherwise)


async def _let_go(plant: Plant) -> None:
    """Undo whatever stopped it."""
    await plant.holdings.resume("shell/root", reason="over")
    gone = plant.folder.with_name("gone")
    if gone.exists():
        plant.folder.unlink(missing_ok=True)
        gone.rename(plant.folder)
    plant.switch.release()


@pytest.fixture
async def plant(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    switch = StopFile(folder / "opsbot.stop")
    works = Works(tmp_path, Brakes(WIDE, switch=switch))
    works.truth.takes_s = 0.003
    await works.open()
    yield Plant(works, switch, folder)
    await works.close()


async def test_nothing_begins_after_a_stop_at_any_moment(plant: Plant, figures: Figures, scale: Scale) -> None:
    chance, latest_s, stops = random.Random(26), 0.0, scale(7, 50)
    workers = [asyncio.create_task(plant.worker(number)) for number in range(6)]
    for round_number in range(stops):
        way = list(WAYS)[round_number % len(WAYS)]
        before = len(plant.works.truth.effects)
        await _until(lambda before=before: len(plant.works.truth.effects) > before, f"nothing to stop before {way}")
        await asyncio.sleep(chance.uniform(0, 0.3))
        await WAYS[way](plant)
        stopped_at_s = time.monotonic()
        await asyncio.sleep(AFTER_S)
        late = [e.real_s - stopped_at_s for e in plant.works.truth.effects if e.real_s > stopped_at_s]
        latest_s = max([latest_s, *late])
        assert not [s for s in late if s > 1], f"{way}: effects {late} s after the stop"
        asked = plant.refused
        await _until(lambda asked=asked: plant.refused > asked, f"{way}: nothing is asked for meanwhile either")
        await _let_go(plant)
    for worker in workers:
        assert not worker.done(), worker
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert set(plant.finals) <= {ApprovalState.DONE, ApprovalState.STALE}
    assert plant.works.truth.doubled == []
    figures.note(
        stops_at_random_moments=stops,
        ways_to_stop=", ".join(WAYS),
        effects_a_second_after_a_stop=0,
        latest_effect_after_a_stop=f"{latest_s * 1000:.1f} ms",
        effects_in_all=len(plant.works.truth.effects),
        approved_and_made_stale_by_it=plant.finals.count(ApprovalState.STALE),
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_folder_that_may_not_be_looked_into_is_a_stop(figures: Figures) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # only root's, so that nobody else looks into it
        switch = StopFile(Path(folder) / "opsbot.stop")
        assert switch.thrown() is None
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            os._exit(0 if switch.thrown() is not None else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    figures.note(unreadable_switch="stopped")


async def test_a_stop_while_a_command_waits_for_a_thread_comes_in_time(plant: Plant) -> None:
    """Approved actions queue for threads; the last look is in the thread itself."""
    plant.works.truth.takes_s = 0.2
    executor = plant.works.executors[0]
    executor._writes._max_workers = 1
    made = []
    for number in range(4):
        _, prepared = plant.works.wanted(PEOPLE[0], [sorted(HOSTS)[number]], UNITS[0])
        made.append(await plant.works.approved(PEOPLE[0], prepared, await plant.works.proposed(PEOPLE[0], prepared)))
    running = [asyncio.create_task(executor.execute(approval, unwatched)) for approval in made]
    await asyncio.to_thread(plant.works.truth.begun.wait, 10)
    plant.switch.throw("now")
    ends = await asyncio.gather(*running)
    assert len(plant.works.truth.effects) == 1
    assert [end.state for end in ends].count(ApprovalState.STALE) == 3
    shutil.rmtree(plant.folder)
