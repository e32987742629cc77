"""The past of hosts in whole conversations: collected, asked for, charted, and never in the way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from opsbot.adapters.keyless import KeylessModel
from opsbot.adapters.keyless_router import LexicalRouter
from opsbot.domain import Chart, Metric, Report, Sample, ToolResult
from opsbot.errors import StoreError
from opsbot.ports import ModelRequest
from tests.fake_machines import server_facts
from tests.fake_store import MemorySamples
from tests.scenario.house import ALICE, BOB, CHANNEL, GROUPS, HOSTS, THREAD, House, World
from tests.scripted_model import Reply, ScriptedModel, call

MINUTE = 60.0


@asynccontextmanager
async def house(*replies: Reply, world: World | None = None, every_s: float = 60) -> AsyncIterator[House]:
    world = world or World(sample_every_s=every_s)
    if replies:
        world.model = ScriptedModel(*replies)
    opened = House(world)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()


async def hours_pass(home: House, hours: float, *, used_percent: float = 25.0) -> None:
    """Let time pass in steps the sampling can follow, with this much memory used on web-1."""
    total = 4 * 2**30
    facts = replace(server_facts("web-1"), memory_available_bytes=int(total * (1 - used_percent / 100)))
    home.world.machines.servers["web-1"] = facts
    for _ in range(round(hours * 3600 / 15)):
        home.world.clock.advance(15)
        for _ in range(6):
            await asyncio.sleep(0)
        await home.service._parts.sampling.idle()


def told(request: ModelRequest) -> dict[str, Any]:
    """The newest tool result the model saw."""
    content = next(m.content for m in reversed(request.messages) if isinstance(m, ToolResult))
    found: dict[str, Any] = json.loads(content)
    return found


def charts(home: House) -> list[Chart]:
    return [chart for shown in home.world.chat.pictured for chart in shown.charts]


async def test_since_when_is_answered_with_a_chart_by_a_host_that_was_only_watched() -> None:
    seen: list[dict[str, Any]] = []

    def answer(request: ModelRequest) -> Reply:
        seen.append(told(request))
        return "Since half past four."

    async with house(call("host_history", hosts=["web-1"], metric="memory", hours=6), answer) as home:
        await hours_pass(home, 1.5, used_percent=40)
        await hours_pass(home, 0.5, used_percent=95)
        await home.says(ALICE, "since when is the memory of web-1 full?")
        (chart,) = charts(home)
        said = home.seen
    assert "Since half past four." in said
    found = seen[0]["all"]["servers"]["web-1"]
    assert seen[0]["pictures"].endswith("memory used, last 6 h.")
    assert (found["now"], found["min"], found["max"]) == (95.0, 40.0, 95.0)
    assert found["since"][0].startswith("at or above 90% since 2026-11-22 04:3")
    assert "points" not in found
    assert chart.threshold == 90.0
    assert len(chart.series[0].points) == found["samples"] >= 119


@pytest.mark.parametrize("place", [CHANNEL, THREAD])
async def test_the_command_answers_with_table_and_chart_and_no_model(place) -> None:
    async with house() as home:
        await hours_pass(home, 0.2)
        await home.types(ALICE, "history memory web 24", place)
        (shown,) = home.world.chat.pictured
        assert isinstance(shown.below, Report)
        (table,) = shown.below.tables
    assert [row[0] for row in table.rows] == ["web-1", "web-2"]
    assert table.title == "memory used, last 24 h"
    assert [line.name for line in shown.charts[0].series] == ["web-1", "web-2"]
    assert (shown.to is None) == bool(place.thread_id)


@pytest.mark.parametrize("metric", ["load", "cpu", "memory", "swap", "disk", "uptime", "reachable", "failed_units"])
async def test_every_friendly_word_is_answered(metric: str) -> None:
    async with house() as home:
        await hours_pass(home, 0.2)
        await home.types(ALICE, f"history {metric} web-1")
        assert "web-1" in home.whispered
        assert "samples" in home.whispered
        assert "failed" not in home.whispered.replace("failed units", "")


async def test_a_wrong_word_is_told_which_there_are() -> None:
    async with house() as home:
        await home.types(ALICE, "history temperature web-1")
        assert "'load', 'cpu', 'memory'" in home.whispered
        await home.types(ALICE, "history load web-1 999")
        assert "hours" in home.whispered


async def test_what_people_look_at_is_kept_without_any_sampling() -> None:
    async with house(every_s=0) as home:
        await home.types(ALICE, "history load web-1")
        assert "no samples yet; hosts are not looked at by themselves here" in home.whispered
        await home.types(ALICE, "status web-1")
        home.world.clock.advance(MINUTE)
        await home.types(ALICE, "history load web-1")
        assert "measured only when somebody looked" in home.whispered
        assert charts(home) == []


async def test_a_host_that_is_down_is_answered_for_with_its_outage() -> None:
    async with house() as home:
        await hours_pass(home, 0.5)
        home.world.machines.fault("web-1", "down")
        await hours_pass(home, 0.5)
        with capture_logs() as logs:
            await home.types(BOB, "history reachable web-1 2")
        assert "no answer since 2026-11-22 03:3" in home.whispered
        assert charts(home)[0].unit == "percent"
    assert [entry for entry in logs if entry["log_level"] in ("warning", "error")] == []


async def test_the_past_outlives_the_bot() -> None:
    world = World(sample_every_s=60)
    async with house(world=world) as first:
        await hours_pass(first, 0.5)
    async with house(world=world) as second:
        await hours_pass(second, 0.1)
        await second.types(ALICE, "history load web-1")
        samples = int(second.whispered.rsplit("|", 1)[1])
        assert samples >= 35


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("memory history of web-1", "Memory used over the last 24 h:"),
        ("show me the load of web over the last 2 hours", "Load (1 minute) over the last 2 h:"),
        ("since when is web-1 reachable?", "Answered over the last 24 h:"),
    ],
)
async def test_without_a_model_plain_words_get_an_answer_and_a_chart(asked: str, says: str) -> None:
    model = KeylessModel(lambda: tuple(HOSTS.values()), lambda: GROUPS, router=LexicalRouter())
    world = World(sample_every_s=60, model=model)  # type: ignore[arg-type]
    async with house(world=world) as home:
        await hours_pass(home, 0.3)
        await home.says(ALICE, asked)
        text = "\n".join(home.seen)
        assert says in text
        assert "**web-1**" in text
        assert "{" not in text
        assert len(charts(home)) == 1


# --- never in the way ------------------------------------------------------------------------------------------------


class Stuck(MemorySamples):
    """A part of the store that hangs for ever."""

    async def add(self, samples) -> None:
        await asyncio.Event().wait()


async def test_an_answer_and_an_approval_do_not_wait_for_samples_that_cannot_be_written() -> None:
    world = World(sample_every_s=60)
    world.store.samples = Stuck(world.store.outage)  # type: ignore[attr-defined]
    home = House(world)
    world.model = home.world.model
    await home.start()
    await home.types(ALICE, "status web-1")
    home.world.clock.advance(30)
    for _ in range(20):
        await asyncio.sleep(0)
    # The sweep hangs in the samples now; people are answered, and an action runs to its end.
    await home.send(home_command("restart nginx web-1"))
    async with asyncio.timeout(10):
        while not home.cards():
            await asyncio.sleep(0.01)
        await home.send(home.click(BOB, "approve", home.cards()[0]))
        while home.world.machines.restarts["web-1", "nginx.service"] != 1:
            await asyncio.sleep(0.01)
        await home.service.stop()


def home_command(text: str):
    from opsbot.domain import IncomingCommand

    return IncomingCommand(CHANNEL, ALICE, text, reply_to="https://reply")


async def test_a_database_that_refuses_samples_is_logged_and_the_rest_of_the_sweep_goes_on() -> None:
    class Refusing(MemorySamples):
        async def add(self, samples) -> None:
            raise StoreError("The disk is full.")

    world = World(sample_every_s=60, lifetime_s=100)
    world.store.samples = Refusing(world.store.outage)  # type: ignore[attr-defined]
    async with house(world=world) as home:
        await home.types(ALICE, "restart nginx web-1")
        with capture_logs() as logs:
            await home.passes(101)
        assert home.approval.state == "expired"
        assert {entry["what"] for entry in logs if entry["event"] == "background.failed"} == {"samples"}
        await home.types(ALICE, "history load web-1")
        assert "web-1" in home.whispered


async def test_the_sweep_thins_what_is_old() -> None:
    world = World()
    async with house(world=world) as home:
        old = world.clock.now().replace(microsecond=0)
        await world.store.samples.add([Sample("web-1", Metric.LOAD, old, 1.0)])
        home.world.clock.advance(3 * 24 * 3600)
        for _ in range(3):
            await home.passes(5)
        samples = world.store.samples
        assert isinstance(samples, MemorySamples)
        assert samples.raw == {}
        assert len(samples.means) == 1
