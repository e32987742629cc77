"""The index follows the folder: new, changed and removed files, vectors of the present model, one replica for all."""

import asyncio
from pathlib import Path

import pytest

from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.errors import StoreError
from opsbot.passages import Incident, Kind
from opsbot.shelves import Shelves
from opsbot.shelving import EMBED_AGAIN_S, LOOK_EVERY_S, Shelving
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore
from tests.unit.test_shelves import EAST, FakeEmbedder

VECTORS = {"": EAST}


class Room:
    """A folder, a store, and what keeps one as the other is."""

    def __init__(self, folder: Path, embedder: FakeEmbedder | None = None, *, store: MemoryStore | None = None) -> None:
        self.folder = folder
        self.store = store or MemoryStore()
        self.clock = FakeClock()
        self.leads = True
        shelves = Shelves(self.store.passages, self.store.incidents, embedder)
        self.shelving = Shelving(
            self.store.passages,
            shelves,
            self.clock,
            folder=RunbookFolder(folder),
            embedder=embedder,
            leads=lambda: self.leads,
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"# {name}\n{text}\n")

    async def known(self) -> list[str]:
        return sorted(await self.store.passages.documents(Kind.RUNBOOK))

    def finds(self, *words: str) -> list[str]:
        found = self.store.passages.matching(Kind.RUNBOOK, words, every=True, limit=9)
        return [each.document for each in found]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


async def test_only_what_changed_is_written(room: Room) -> None:
    room.write("a.md", "alpha")
    room.write("b.md", "beta")
    assert (await room.shelving.look()).put == 2
    room.write("b.md", "gamma gamma")
    taken = await room.shelving.look()
    assert (taken.put, taken.removed) == (1, 0)
    assert (room.finds("gamma"), room.finds("beta")) == (["b.md"], [])


async def test_removed_and_renamed_files_vanish(room: Room) -> None:
    room.write("a.md", "alpha")
    room.write("b.md", "beta")
    await room.shelving.look()
    (room.folder / "a.md").unlink()
    (room.folder / "b.md").rename(room.folder / "c.md")
    taken = await room.shelving.look()
    assert (taken.put, taken.removed) == (1, 2)
    assert await room.known() == ["c.md"]


async def test_a_file_that_became_unreadable_vanishes_and_is_named(room: Room) -> None:
    room.write("a.md", "alpha")
    await room.shelving.look()
    (room.folder / "a.md").write_bytes(b"\x00\x01\x02")
    taken = await room.shelving.look()
    assert await room.known() == []
    assert taken.shelved.faults[0].file == "a.md"


async def test_a_folder_that_is_away_takes_nothing_away(room: Room, tmp_path: Path) -> None:
    room.write("a.md", "alpha")
    await room.shelving.look()
    room.folder.rename(tmp_path.with_name("elsewhere"))
    taken = await room.shelving.look()
    assert not taken.shelved.whole
    assert await room.known() == ["a.md"]
    tmp_path.with_name("elsewhere").rename(room.folder)
    await room.shelving.look()
    assert await room.known() == ["a.md"]


async def test_a_new_process_reads_again_and_writes_nothing_that_is_there(room: Room) -> None:
    room.write("a.md", "alpha")
    await room.shelving.look()
    again = Room(room.folder, store=room.store)
    assert (await again.shelving.look()).put == 0


async def test_nothing_changed_means_nothing_is_read(room: Room) -> None:
    room.write("a.md", "alpha")
    assert (await room.shelving.look()).shelved.documents
    assert (await room.shelving.look()).shelved.documents == ()


async def test_passages_and_incidents_get_vectors_once(tmp_path: Path) -> None:
    embedder = FakeEmbedder(VECTORS)
    room = Room(tmp_path, embedder)
    room.write("a.md", "alpha")
    await room.store.incidents.put(Incident("I1", "Down", room.clock.now(), "it was down"))
    assert (await room.shelving.look()).embedded == 2
    assert (await room.shelving.look()).embedded == 0
    assert room.store.passages.shelf(Kind.INCIDENT, "fake").embedded == 1
    assert len(embedder.asked) == 1


async def test_another_model_makes_all_vectors_anew(tmp_path: Path) -> None:
    room = Room(tmp_path, FakeEmbedder(VECTORS))
    room.write("a.md", "alpha")
    await room.shelving.look()
    other = Room(tmp_path, FakeEmbedder({"": (0.0, 0.0, 1.0)}, name="other"), store=room.store)
    assert (await other.shelving.look()).embedded == 1
    assert room.store.passages.shelf(Kind.RUNBOOK, "fake").embedded == 0


async def test_another_size_of_the_same_model_makes_them_anew(tmp_path: Path) -> None:
    embedder = FakeEmbedder(VECTORS)
    room = Room(tmp_path, embedder)
    room.write("a.md", "alpha")
    await room.shelving.look()
    embedder.vectors = {"": (0.0, 0.0, 1.0)}
    # A question's vector shows it first.
    await embedder.embed(["question"])
    assert (await room.shelving.look()).embedded == 1


async def test_sizes_that_never_agree_are_given_up(tmp_path: Path) -> None:
    class Fickle(FakeEmbedder):
        async def embed(self, texts):
            found = await super().embed(texts)
            self.dimensions = len(self.asked) + 100
            return found

    room = Room(tmp_path, Fickle(VECTORS))
    room.write("a.md", "alpha")
    assert "different sizes" in (await room.shelving.look()).trouble


async def test_a_backend_that_fails_is_left_alone_for_a_while_and_then_goes_on(tmp_path: Path) -> None:
    embedder = FakeEmbedder(VECTORS)
    embedder.reason = "down"
    room = Room(tmp_path, embedder)
    room.write("a.md", "alpha")
    taken = await room.shelving.look()
    assert (taken.put, taken.trouble) == (1, "down")
    await room.shelving.look()
    assert len(embedder.asked) == 1
    embedder.reason = ""
    room.clock.advance(EMBED_AGAIN_S)
    assert (await room.shelving.look()).embedded == 1


async def test_it_follows_the_folder_by_itself(room: Room) -> None:
    room.write("a.md", "alpha")
    room.shelving.start()
    await _until(room, ["a.md"])
    room.write("b.md", "beta")
    await _until(room, ["a.md", "b.md"])
    await room.shelving.stop()


async def test_of_several_replicas_only_the_one_that_leads_writes(room: Room) -> None:
    room.leads = False
    room.write("a.md", "alpha")
    room.shelving.start()
    for _ in range(5):
        room.clock.advance(LOOK_EVERY_S)
        await asyncio.sleep(0.01)
    assert await room.known() == []
    room.leads = True
    await _until(room, ["a.md"])
    await room.shelving.stop()


async def test_an_outage_of_the_store_is_outlived(room: Room) -> None:
    room.write("a.md", "alpha")
    room.store.outage.reason = "The database is away."
    room.shelving.start()
    for _ in range(3):
        room.clock.advance(LOOK_EVERY_S)
        await asyncio.sleep(0.01)
    with pytest.raises(StoreError):
        await room.shelving.look()
    room.store.outage.reason = ""
    await _until(room, ["a.md"])
    await room.shelving.stop()


async def _until(room: Room, names: list[str]) -> None:
    async with asyncio.timeout(30):
        while await room.known() != names:
            room.clock.advance(LOOK_EVERY_S)
            await asyncio.sleep(0.01)
