"""Searches: by meaning where there are vectors, by words where not, and the answer says which and why."""

import asyncio
from collections.abc import Sequence

import pytest

from opsbot.errors import ModelUnavailable, StoreError
from opsbot.passages import Document, Found, Kind, Passage, Vector, words_of
from opsbot.shelves import Shelves, fused
from tests.fake_store import MemoryStore

EAST, NORTH = (1.0, 0.0), (0.0, 1.0)


class FakeEmbedder:
    """Gives texts with a known word that word's vector, and fails or hangs as told."""

    def __init__(self, vectors: dict[str, Vector], *, name: str = "fake", floor: float = 0.2) -> None:
        self.vectors = vectors
        self.name = name
        self.floor = floor
        self.dimensions = 0
        self.asked: list[list[str]] = []
        self.reason = ""
        self.hangs = False

    async def embed(self, texts: Sequence[str]) -> tuple[Vector, ...]:
        self.asked.append(list(texts))
        if self.hangs:
            await asyncio.Event().wait()
        if self.reason:
            raise ModelUnavailable(self.reason)
        found = tuple(self._of(text) for text in texts)
        self.dimensions = len(found[0])
        return found

    def _of(self, text: str) -> Vector:
        return next((vector for word, vector in self.vectors.items() if word in text), (0.0,) * 2)

    async def close(self) -> None:
        pass


def runbook(name: str, text: str) -> Document:
    return Document(Kind.RUNBOOK, name, name.removesuffix(".md"), name, (), (Passage(("Part",), 1, text),))


async def shelves(embedder: FakeEmbedder | None = None, *, vectors: bool = True) -> tuple[Shelves, MemoryStore]:
    store = MemoryStore()
    for name, text in (
        ("cache.md", "redis refuses new keys"),
        ("disk.md", "the volume has no space"),
        ("net.md", "no route to redis"),
    ):
        await store.passages.put(runbook(name, text))
    if embedder is not None and vectors:
        missing = await store.passages.unembedded(embedder.name, dimensions=0, limit=9)
        made = await embedder.embed([*missing.values()])
        await store.passages.embed(embedder.name, dict(zip(missing, made, strict=True)))
    made_shelves = Shelves(store.passages, store.incidents, embedder)
    made_shelves.open_in(asyncio.get_running_loop())
    return made_shelves, store


async def ask(searching: Shelves, question: str, *, timeout_s: float = 5.0, limit: int = 5):
    return await asyncio.to_thread(lambda: searching.search(Kind.RUNBOOK, question, limit=limit, timeout_s=timeout_s))


def names(searched) -> list[str]:
    return [found.document for found in searched.found]


async def test_without_a_backend_words_decide_and_all_words_come_first() -> None:
    searching, _ = await shelves()
    searched = await ask(searching, "redis refuses")
    assert names(searched) == ["cache.md", "net.md"]
    assert (searched.by_meaning, searched.note, searched.documents) == (False, "", 3)


async def test_meaning_ranks_what_shares_no_word() -> None:
    searching, _ = await shelves(FakeEmbedder({"storage": EAST, "volume": EAST, "redis": NORTH}))
    searched = await ask(searching, "storage exhausted")
    assert names(searched) == ["disk.md"]
    assert searched.by_meaning
    assert searched.found[0].score == pytest.approx(1.0)


async def test_every_word_of_the_question_comes_before_the_meaning() -> None:
    searching, _ = await shelves(FakeEmbedder({"refuses": EAST, "volume": EAST, "route": EAST}))
    assert names(await ask(searching, "no route"))[0] == "net.md"


async def test_what_is_far_is_not_found() -> None:
    searching, _ = await shelves(FakeEmbedder({"weather": EAST, "redis": NORTH, "volume": NORTH}))
    searched = await ask(searching, "weather tomorrow")
    assert searched.found == ()
    assert searched.documents == 3


async def test_a_failing_backend_leaves_the_words_and_says_so() -> None:
    embedder = FakeEmbedder({"redis": EAST, "volume": NORTH})
    searching, _ = await shelves(embedder)
    embedder.reason = "The embedding service is down. Ask again in a minute."
    searched = await ask(searching, "redis refuses")
    assert names(searched)[0] == "cache.md"
    assert not searched.by_meaning
    assert searched.note == "Only words were compared: The embedding service is down. Ask again in a minute."


async def test_a_backend_that_hangs_costs_its_time_and_no_more() -> None:
    embedder = FakeEmbedder({"redis": EAST, "volume": NORTH})
    searching, _ = await shelves(embedder)
    embedder.hangs = True
    searched = await ask(searching, "redis", timeout_s=0.05)
    assert "did not answer in time" in searched.note
    assert names(searched)


async def test_while_no_vector_is_there_words_decide_and_the_answer_says_so() -> None:
    searching, _ = await shelves(FakeEmbedder({"redis": EAST}), vectors=False)
    searched = await ask(searching, "redis")
    assert searched.note == "3 passages have no vector yet, so only words were compared."
    assert names(searched) == ["cache.md", "net.md"]


async def test_some_missing_vectors_are_told() -> None:
    searching, store = await shelves(FakeEmbedder({"redis": EAST, "volume": EAST}))
    await store.passages.put(runbook("new.md", "redis again"))
    searched = await ask(searching, "redis")
    assert searched.by_meaning
    assert searched.note.startswith("1 of 4 passages have no vector yet")
    assert "new.md" in names(searched)


async def test_with_nothing_written_down_no_backend_is_asked() -> None:
    embedder = FakeEmbedder({})
    store = MemoryStore()
    searching = Shelves(store.passages, store.incidents, embedder)
    searching.open_in(asyncio.get_running_loop())
    assert (await ask(searching, "anything")).documents == 0
    assert embedder.asked == []


async def test_before_it_is_opened_words_decide() -> None:
    _, store = await shelves()
    searching = Shelves(store.passages, store.incidents, FakeEmbedder({}))
    assert names(await ask(searching, "volume space")) == ["disk.md"]


async def test_a_store_that_cannot_be_read_is_an_error_not_nothing_found() -> None:
    searching, store = await shelves()
    store.outage.reason = "The database is away."
    with pytest.raises(StoreError):
        await ask(searching, "redis")


async def test_no_more_than_asked_for_comes_back() -> None:
    searching, _ = await shelves(FakeEmbedder({"redis": EAST, "volume": EAST, "route": EAST}))
    assert len((await ask(searching, "redis", limit=1)).found) == 1


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("How do I free disk space on web-1?", ("free", "disk", "space", "web", "1")),
        ("what is it", ("what", "is", "it")),
        ("ERROR: too_many", ("error", "many")),
        ("redis redis", ("redis",)),
        ("?!", ()),
    ],
)
def test_common_words_are_not_looked_for_unless_there_are_no_others(question: str, words: tuple[str, ...]) -> None:
    assert words_of(question) == words


def test_a_long_question_is_bounded() -> None:
    assert len(words_of(" ".join(f"w{n}" for n in range(500)))) == 24


def test_only_every_word_outranks_the_meaning() -> None:
    one, two, three = (Found(n, Kind.RUNBOOK, f"{n}.md", "", "", 1, "", 0.9 - n / 10) for n in (1, 2, 3))
    assert [found.id for found in fused([one, two], [])] == [1, 2]
    assert [found.id for found in fused([one, two], [two])] == [2, 1]
    assert [(found.id, found.score) for found in fused([one], [three])] == [(3, 0.0), (1, 0.8)]


async def test_one_shared_common_word_does_not_outrank_the_meaning() -> None:
    searching, _ = await shelves(FakeEmbedder({"storage": EAST, "volume": EAST, "redis": NORTH}))
    assert names(await ask(searching, "storage for keys"))[0] == "disk.md"
