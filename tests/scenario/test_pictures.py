"""Charts of a tool's answer: below the words, at most three, told to the model, and never in the way of an answer."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from opsbot.domain import Place, Report, Text, ToolResult
from opsbot.errors import ChatError
from opsbot.ports import ModelRequest
from tests.scenario.house import ALICE, BOB, CHANNEL, THREAD, House, World
from tests.scripted_model import Reply, Say, ScriptedModel, call

TOOL = '''
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from opsbot import Chart, Context, Host, Series, Table, tool

_AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def _charts(results: Mapping[str, Any]) -> list[Chart]:
    made = []
    for host, found in results.items():
        if found["charts"] < 0:
            raise RuntimeError("no charts today")
        points = tuple((_AT + timedelta(minutes=n), float(n)) for n in range(5))
        made += [Chart(f"{host}: tides {n}", "percent", (Series("hunter2", points),)) for n in range(found["charts"])]
    return made


def _table(results: Mapping[str, Any]) -> Table:
    return Table(("host", "charts"), tuple((host, str(found["charts"])) for host, found in results.items()))


@tool(risk="read", table=_table, charts=_charts)
def tides(ctx: Context, host: Host, charts: int = 1) -> dict[str, Any]:
    """Show the tides of a host.

    Args:
        host: A host, a group, or several.
        charts: How many.
    """
    return {"charts": charts}
'''


@asynccontextmanager
async def house(tmp_path: Path, *replies: Reply, world: World | None = None) -> AsyncIterator[House]:
    (tmp_path / "tides.py").write_text(TOOL, encoding="utf-8")
    world = world or World(secrets=("hunter2",))
    world.model = ScriptedModel(*replies)
    opened = House(world, tools=[tmp_path])
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()


def told(request: ModelRequest) -> str:
    """The newest tool result the model saw."""
    return next(m.content for m in reversed(request.messages) if isinstance(m, ToolResult))


async def test_a_turns_chart_is_shown_below_the_answer_and_the_model_knows(tmp_path: Path) -> None:
    seen: list[str] = []

    def answer(request: ModelRequest) -> Reply:
        seen.append(told(request))
        return "It rises."

    async with house(tmp_path, call("tides", hosts=["web-1"]), answer) as home:
        await home.says(ALICE, "since when?")
        shown = home.world.chat.pictured
        assert [(p.place, p.to, [c.title for c in p.charts]) for p in shown] == [(THREAD, None, ["web-1: tides 0"])]
        assert isinstance(shown[0].below, Text)
        assert shown[0].below.markdown == "It rises."
    found = json.loads(seen[0])
    assert found["pictures"] == "Shown to the person as pictures below your answer: web-1: tides 0."
    assert found["results"] == {"web-1": {"charts": 1}}


async def test_names_on_a_chart_are_redacted(tmp_path: Path) -> None:
    async with house(tmp_path, call("tides", hosts=["web-1"]), "It rises.") as home:
        await home.says(ALICE, "since when?")
        assert "hunter2" not in repr(home.world.chat.pictured)
        assert home.world.chat.pictured[0].charts[0].series[0].points


async def test_at_most_three_charts_in_one_turn_and_the_model_is_told_of_those_only(tmp_path: Path) -> None:
    seen: list[str] = []

    def more(request: ModelRequest) -> Reply:
        seen.append(told(request))
        return call("tides", hosts=["web-2"], charts=9)

    def answer(request: ModelRequest) -> Reply:
        seen.append(told(request))
        return "Enough."

    async with house(tmp_path, call("tides", hosts=["web-1"], charts=2), more, answer) as home:
        await home.says(ALICE, "since when?")
        titles = [chart.title for shown in home.world.chat.pictured for chart in shown.charts]
    assert titles == ["web-1: tides 0", "web-1: tides 1", "web-2: tides 0"]
    assert "web-2: tides 0" in json.loads(seen[1])["pictures"]
    assert "web-2: tides 1" not in seen[1]


async def test_a_turn_without_charts_says_nothing_of_pictures(tmp_path: Path) -> None:
    seen: list[str] = []

    def answer(request: ModelRequest) -> Reply:
        seen.append(told(request))
        return "Nothing."

    async with house(tmp_path, call("tides", hosts=["web-1"], charts=0), answer) as home:
        await home.says(ALICE, "since when?")
        assert home.world.chat.pictured == []
    assert seen == ['{"results": {"web-1": {"charts": 0}}, "at": "2026-11-22T03:00:00Z"}']


async def test_a_private_command_shows_its_chart_to_the_person_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.types(ALICE, "do tides web-1", CHANNEL)
        (shown,) = home.world.chat.pictured
        assert shown.to is not None
        assert shown.to.user_id == ALICE.user_id
        assert isinstance(shown.below, Report)
        assert shown.below.charts == ()
        assert shown.below.tables[0].rows == (("web-1", "1"),)


async def test_a_command_in_a_thread_shows_its_chart_there(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.types(ALICE, "do tides web-1", THREAD)
        assert [(p.place, p.to) for p in home.world.chat.pictured] == [(THREAD, None)]
        assert home.world.chat.messages[-1].history == [home.world.chat.pictured[0].below]


@pytest.mark.parametrize("place", [CHANNEL, THREAD])
async def test_a_picture_that_fails_costs_no_answer_and_is_told_once(tmp_path: Path, place: Place) -> None:
    async with house(tmp_path) as home:
        home.world.chat.picture_failures.append(ChatError("Slack is full."))
        await home.types(ALICE, "do tides web-1", place)
        said = "\n".join(home.world.chat.transcript())
        assert "web-1 | 1" in said
        assert said.count("(to UALICE) No picture: Slack is full.") == 1


async def test_a_tool_that_fails_at_its_charts_still_answers(tmp_path: Path) -> None:
    async with house(tmp_path, call("tides", hosts=["web-1"], charts=-1), "Here.") as home:
        await home.says(ALICE, "since when?")
        assert home.world.chat.pictured == []
        assert "Here." in home.seen


async def test_a_stopped_turn_shows_no_pictures(tmp_path: Path) -> None:
    import asyncio

    from opsbot.domain import IncomingMessage, IncomingStop

    reached, gate = asyncio.Event(), asyncio.Event()

    def late(request: ModelRequest) -> Reply:
        reached.set()
        return Say("never", gate=gate)

    async with house(tmp_path, call("tides", hosts=["web-1"]), late) as home:
        await home.send(IncomingMessage(THREAD, ALICE, "since when?", "17.9"))
        await asyncio.wait_for(reached.wait(), 20)
        await home.send(IncomingStop(THREAD, BOB))
        await home.quiet()
        assert any("Stopped by" in line for line in home.seen)
        assert home.world.chat.pictured == []


async def test_a_crash_before_the_pictures_loses_them_and_a_new_start_repeats_none(tmp_path: Path) -> None:
    async with house(tmp_path, call("tides", hosts=["web-1"]), "It rises.") as first:
        await first.says(ALICE, "since when?")
        assert len(first.world.chat.pictured) == 1
        first.die()
        async with house(tmp_path, world=first.world) as second:
            await second.quiet()
            assert len(second.world.chat.pictured) == 1
            assert second.seen.count("It rises.") == 1
