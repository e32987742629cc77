"""Passages and incidents on every store: replaced whole, found by words and by vectors, and gone when they are gone."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from opsbot.errors import StoreError
from opsbot.passages import Document, Incident, Kind, Passage, digest_of
from opsbot.ports import Store

MODEL = "test 2"
EAST, NORTH = (1.0, 0.0), (0.0, 1.0)
LEANING = (0.8, 0.6)


def document(name: str, *texts: str, title: str = "", labels: tuple[str, ...] = ()) -> Document:
    passages = tuple(Passage((title or name, f"Part {n}"), n, text) for n, text in enumerate(texts, 1))
    return Document(Kind.RUNBOOK, name, title or name, digest_of(texts), labels, passages)


FULL = document("full.md", "Find large files with du.", "Delete old journals.", title="Disk full", labels=("storage",))
SLOW = document("slow.md", "Look at the load and the queue of web-1.", title="Slow")
CLOSED = datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC)
OUTAGE = Incident(
    "INC-7",
    "Checkout down",
    CLOSED,
    "Payments failed for nine minutes.",
    ("checkout",),
    ("shop-1",),
    ("The connection pool was exhausted.",),
    "# Checkout down\nAll of it.",
)


def cites(found) -> list[str]:
    return [each.cite for each in found]


async def embedded(store: Store, **vectors: tuple[float, float]) -> None:
    """Give each passage whose text holds the word this vector."""
    missing = await store.passages.unembedded(MODEL, dimensions=0, limit=100)
    given = {digest: vectors[word] for digest, text in missing.items() for word in vectors if word in text}
    await store.passages.embed(MODEL, given)


async def test_a_passage_is_found_by_its_words_whatever_their_ending(store: Store) -> None:
    await store.passages.put(FULL)
    await store.passages.put(SLOW)
    (found,) = store.passages.matching(Kind.RUNBOOK, ("journal",), every=True, limit=5)
    assert (found.document, found.title, found.heading, found.line) == ("full.md", "Disk full", "Part 2", 2)
    assert found.text == "Delete old journals."
    assert found.cite == "full.md › Part 2"


async def test_every_word_is_demanded_or_any(store: Store) -> None:
    await store.passages.put(FULL)
    await store.passages.put(SLOW)
    assert store.passages.matching(Kind.RUNBOOK, ("journals", "queue"), every=True, limit=5) == ()
    some = store.passages.matching(Kind.RUNBOOK, ("journals", "queue"), every=False, limit=5)
    assert sorted(cites(some)) == ["full.md › Part 2", "slow.md › Part 1"]
    assert len(store.passages.matching(Kind.RUNBOOK, ("journals", "queue"), every=False, limit=1)) == 1


@pytest.mark.parametrize("words", [("web", "1"), ("slow", "load"), ("slow", "md", "queue")])
async def test_names_titles_and_numbers_are_words_too(store: Store, words: tuple[str, ...]) -> None:
    await store.passages.put(FULL)
    await store.passages.put(SLOW)
    assert cites(store.passages.matching(Kind.RUNBOOK, words, every=True, limit=5)) == ["slow.md › Part 1"]


@pytest.mark.parametrize("words", [(), ("or",), ("near",), ("not",), ("null",), ("größe",), ("日志",)])
async def test_words_are_never_a_query_language(store: Store, words: tuple[str, ...]) -> None:
    await store.passages.put(SLOW)
    for every in (True, False):
        assert store.passages.matching(Kind.RUNBOOK, words, every=every, limit=5) == ()


async def test_a_document_is_replaced_whole(store: Store) -> None:
    await store.passages.put(FULL)
    await store.passages.put(replace(document("full.md", "Mount another volume."), digest="new"))
    assert store.passages.matching(Kind.RUNBOOK, ("journals",), every=True, limit=5) == ()
    assert len(store.passages.matching(Kind.RUNBOOK, ("volume",), every=True, limit=5)) == 1
    assert await store.passages.documents(Kind.RUNBOOK) == {"full.md": "new"}
    assert store.passages.shelf(Kind.RUNBOOK, MODEL).passages == 1


async def test_a_removed_document_is_gone_with_its_vectors(store: Store) -> None:
    await store.passages.put(FULL)
    await store.passages.put(SLOW)
    await embedded(store, journals=EAST, du=NORTH, queue=LEANING)
    await store.passages.remove(Kind.RUNBOOK, ["full.md", "never.md"])
    assert await store.passages.documents(Kind.RUNBOOK) == {"slow.md": SLOW.digest}
    assert cites(store.passages.nearest(Kind.RUNBOOK, EAST, model=MODEL, limit=9)) == ["slow.md › Part 1"]
    assert store.passages.matching(Kind.RUNBOOK, ("journals",), every=True, limit=5) == ()
    # Were its vector still there, the same text would need none when it comes again.
    await store.passages.put(FULL)
    assert len(await store.passages.unembedded(MODEL, dimensions=2, limit=9)) == 2


async def test_the_nearest_come_first_with_their_cosine(store: Store) -> None:
    await store.passages.put(FULL)
    await store.passages.put(SLOW)
    await embedded(store, journals=EAST, du=NORTH, queue=LEANING)
    found = store.passages.nearest(Kind.RUNBOOK, EAST, model=MODEL, limit=2)
    assert cites(found) == ["full.md › Part 2", "slow.md › Part 1"]
    assert [each.score for each in found] == pytest.approx([1.0, 0.8])


async def test_vectors_of_another_model_or_size_are_not_compared(store: Store) -> None:
    await store.passages.put(SLOW)
    await embedded(store, queue=EAST)
    assert store.passages.nearest(Kind.RUNBOOK, EAST, model="other", limit=5) == ()
    assert store.passages.nearest(Kind.RUNBOOK, (1.0, 0.0, 0.0), model=MODEL, limit=5) == ()
    assert len(await store.passages.unembedded("other", dimensions=0, limit=5)) == 1
    assert len(await store.passages.unembedded(MODEL, dimensions=3, limit=5)) == 1
    assert await store.passages.unembedded(MODEL, dimensions=2, limit=5) == {}


async def test_a_new_vector_takes_the_place_of_the_old_model_s(store: Store) -> None:
    await store.passages.put(SLOW)
    await embedded(store, queue=EAST)
    (digest,) = await store.passages.unembedded("other", dimensions=0, limit=5)
    await store.passages.embed("other", {digest: NORTH})
    assert store.passages.nearest(Kind.RUNBOOK, EAST, model=MODEL, limit=5) == ()
    assert len(store.passages.nearest(Kind.RUNBOOK, NORTH, model="other", limit=5)) == 1


async def test_what_did_not_change_keeps_its_vector(store: Store) -> None:
    await store.passages.put(FULL)
    await embedded(store, journals=EAST, du=NORTH)
    await store.passages.put(
        document("full.md", "Ask first.", "Delete old journals.", title="Disk full", labels=("storage",))
    )
    (text,) = (await store.passages.unembedded(MODEL, dimensions=2, limit=5)).values()
    assert "Ask first." in text


async def test_what_is_embedded_says_what_the_passage_is_about(store: Store) -> None:
    await store.passages.put(FULL)
    first, *_ = (await store.passages.unembedded(MODEL, dimensions=0, limit=1)).values()
    assert first == "Disk full: Part 1\nstorage\nFind large files with du."


async def test_the_shelf_is_counted(store: Store) -> None:
    await store.passages.put(FULL)
    await store.passages.put(SLOW)
    await store.incidents.put(OUTAGE)
    await embedded(store, journals=EAST)
    shelf = store.passages.shelf(Kind.RUNBOOK, MODEL)
    assert (shelf.documents, shelf.passages, shelf.embedded) == (2, 3, 1)
    assert store.passages.shelf(Kind.INCIDENT, MODEL).documents == 1


async def test_equal_texts_in_two_files_are_both_found(store: Store) -> None:
    for name in ("a.md", "b.md"):
        await store.passages.put(document(name, "Turn it off and on.", title="Last resort"))
    await embedded(store, Turn=EAST)
    found = store.passages.nearest(Kind.RUNBOOK, EAST, model=MODEL, limit=5)
    assert [each.document for each in found] == ["a.md", "b.md"]
    await store.passages.remove(Kind.RUNBOOK, ["a.md"])
    assert len(store.passages.nearest(Kind.RUNBOOK, EAST, model=MODEL, limit=5)) == 1


async def test_an_incident_is_kept_whole_and_found(store: Store) -> None:
    await store.incidents.put(OUTAGE)
    assert store.incidents.get("INC-7") == OUTAGE
    assert store.incidents.get("INC-8") is None
    for words in (("payments",), ("pool", "exhausted"), ("checkout", "shop", "1"), ("inc", "7")):
        (found,) = store.passages.matching(Kind.INCIDENT, words, every=True, limit=5)
        assert (found.document, found.title) == ("INC-7", "Checkout down")
    assert store.passages.matching(Kind.RUNBOOK, ("payments",), every=True, limit=5) == ()


async def test_a_corrected_report_takes_the_place_of_the_old_one(store: Store) -> None:
    await store.incidents.put(OUTAGE)
    await store.incidents.put(replace(OUTAGE, summary="Payments failed for an hour.", causes=()))
    found = store.passages.matching(Kind.INCIDENT, ("payments",), every=True, limit=5)
    assert [each.text for each in found] == ["Payments failed for an hour."]
    assert store.passages.matching(Kind.INCIDENT, ("pool",), every=True, limit=5) == ()


async def test_a_report_with_hidden_characters_can_be_stored_and_found(store: Store) -> None:
    await store.incidents.put(replace(OUTAGE, title="Check\x1b[31mout\u202e", summary="zero\x00day \ud800 failing"))
    (found,) = store.passages.matching(Kind.INCIDENT, ("failing",), every=True, limit=5)
    assert found.title == "Checkout"
    assert "\x00" not in found.text


async def test_a_database_that_is_closed_says_so(store: Store) -> None:
    await store.passages.put(FULL)
    await store.close()
    with pytest.raises(StoreError):
        store.passages.matching(Kind.RUNBOOK, ("disk",), every=True, limit=5)
    with pytest.raises(StoreError):
        await store.passages.put(SLOW)
