"""Runbooks and past incidents in conversations: asked by the model, by commands, without a model, and untrusted."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsbot.adapters.keyless import KeylessModel
from opsbot.adapters.keyless_router import LexicalRouter
from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.domain import Card
from opsbot.passages import Incident, Kind
from opsbot.shelving import LOOK_EVERY_S
from tests.scenario.house import ALICE, HOSTS, House, World
from tests.scripted_model import call, results_of
from tests.unit.test_shelves import EAST, FakeEmbedder

OUTAGE = Incident(
    "INC-7", "Checkout down", datetime(2026, 11, 3, tzinfo=UTC), "Payments failed.", causes=("The pool was exhausted.",)
)


async def opened(world: World, names: set[str]) -> House:
    """Start a house, and wait until its runbooks are in the store."""
    house = House(world)
    await house.start()
    await known(world, names)
    return house


async def known(world: World, names: set[str]) -> None:
    async with asyncio.timeout(30):
        while set(await world.store.passages.documents(Kind.RUNBOOK)) != names:
            world.clock.advance(LOOK_EVERY_S)
            await asyncio.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "nginx.md").write_text("# nginx\n\n## 502 Bad Gateway\nLook at the upstream, then restart it.\n")
    (tmp_path / "disk.md").write_text("# Disk\n\n## Full\nDelete old journals.\n")
    return World(runbooks=RunbookFolder(tmp_path))


NAMES = {"nginx.md", "disk.md"}


async def test_the_model_reads_what_to_cite(world: World) -> None:
    house = await opened(world, NAMES)
    world.model.add(call("search_runbooks", "c1", query="502 bad gateway"), "See nginx.md › 502 Bad Gateway.")
    await house.says(ALICE, "web-1 shows 502, what now?")
    result = results_of(world.model.requests[-1])["c1"]
    (passage,) = result["passages"]
    assert passage["cite"] == "nginx.md › 502 Bad Gateway"
    assert passage["text"] == "Look at the upstream, then restart it."
    await house.stop()


async def test_a_change_proposed_after_reading_a_runbook_says_so_on_its_card(world: World) -> None:
    house = await opened(world, NAMES)
    world.model.add(
        call("search_runbooks", "c1", query="502 bad gateway"),
        call("restart_service", "c2", hosts=["web-1"], unit="nginx"),
    )
    await house.says(ALICE, "web-1 shows 502, do what the runbook says")
    card = house.cards()[-1].content
    assert isinstance(card, Card)
    assert card.approval.tainted_by == ("search_runbooks",)
    await house.stop()


async def test_the_command_shows_file_heading_and_text(world: World) -> None:
    house = await opened(world, NAMES)
    await house.types(ALICE, "runbook 502 gateway")
    said = house.whispered
    assert "nginx.md › 502 Bad Gateway" in said
    assert "Look at the upstream, then restart it." in said
    await house.types(ALICE, "runbook zebra")
    assert "Nothing among 2 fits." in house.whispered
    await house.stop()


async def test_without_a_folder_the_command_names_the_setting(world: World) -> None:
    house = House(replace(world, runbooks=None))
    await house.start()
    await house.types(ALICE, "runbook anything")
    assert "runbooks.folder" in house.whispered
    await house.stop()


async def test_a_changed_file_is_found_without_a_restart_and_a_removed_one_is_not(world: World, tmp_path: Path) -> None:
    house = await opened(world, NAMES)
    (tmp_path / "new.md").write_text("# New\nRebuild the quorum.\n")
    (tmp_path / "disk.md").unlink()
    await known(world, {"nginx.md", "new.md"})
    await house.types(ALICE, "runbook quorum")
    assert "new.md › New" in house.whispered
    await house.types(ALICE, "runbook journals")
    assert "Nothing among 2 fits." in house.whispered
    await house.stop()


async def test_a_failing_backend_degrades_to_words_and_the_answer_says_so(world: World) -> None:
    embedder = FakeEmbedder({"": EAST})
    world = replace(world, embedder=embedder)
    house = await opened(world, NAMES)
    embedder.reason = "The embedding service does not answer."
    world.model.add(call("search_runbooks", "c1", query="502 gateway"), "See there.")
    await house.says(ALICE, "502?")
    result = results_of(world.model.requests[-1])["c1"]
    assert result["searched"] == "by words alone"
    assert "The embedding service does not answer." in result["note"]
    assert result["passages"][0]["file"] == "nginx.md"
    await house.types(ALICE, "runbook 502 gateway")
    assert "The embedding service does not answer." in house.whispered
    await house.stop()


async def test_past_incidents_are_found_by_command_and_model(world: World) -> None:
    house = await opened(world, NAMES)
    await world.store.incidents.put(OUTAGE)
    await house.types(ALICE, "incidents payments")
    assert "INC-7: Checkout down" in house.whispered
    world.model.add(
        call("similar_incidents", "c1", query="payments"),
        call("similar_incidents", "c2", query="payments", report="INC-7"),
        "As in INC-7.",
    )
    await house.says(ALICE, "payments fail again, was that before?")
    assert results_of(world.model.requests[-1])["c1"]["incidents"][0]["causes"] == ["The pool was exhausted."]
    await house.stop()


async def test_without_a_model_a_question_about_a_runbook_is_answered_with_its_place(world: World) -> None:
    model = KeylessModel(lambda: tuple(HOSTS.values()), dict, router=LexicalRouter())
    house = await opened(replace(world, model=model), NAMES)  # type: ignore[arg-type]
    await house.says(ALICE, "is there a runbook for 502 errors of the gateway?")
    said = "\n".join(house.seen)
    assert "nginx.md › 502 Bad Gateway" in said
    assert "Look at the upstream" in said
    await house.stop()
