"""R13: hostile names of units and hosts, by every entrance: refused at once, in words, and nothing else happens."""

import json
import time
from collections.abc import Callable

import pytest

from opsbot import commands, grammar
from opsbot.domain import ApprovalState, Host, IncomingCommand, IncomingMessage, ToolCall
from opsbot.errors import BadArguments
from tests.safety.conftest import Figures, Scale
from tests.safety.hostile_names import hostile
from tests.scenario.house import ALICE, CHANNEL, THREAD, House, World, machines
from tests.scripted_model import Say, call

HOST_NAMES = ("web-1", "web-2", "db-1")
UNIT_NAMES = ("nginx", "brittle", "redis-server")
# Of the bot's own CPU, for one refusal.
LIMIT_S = 0.005


def names(scale: Scale) -> list[tuple[str, str]]:
    """Pairs of (host, unit), one of each pair hostile."""
    count = scale(150, 1_000)
    bad_hosts = [(name, "nginx") for name in hostile(count, 1, HOST_NAMES)]
    return bad_hosts + [("web-1", name) for name in hostile(count, 2, UNIT_NAMES)]


class Counting:
    """Stands before the machines and counts whatever is asked of them."""

    def __init__(self) -> None:
        self._machines = machines()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        found = getattr(self._machines, name)
        if not callable(found) or name == "close":
            return found

        def counted(host: Host, *args: object, **more: object) -> object:
            self.asked.append(f"{name} {host.name}")
            return found(host, *args, **more)

        return counted


@pytest.mark.timeout(900)
async def test_no_hostile_name_reaches_a_host_by_any_entrance(figures: Figures, scale: Scale) -> None:
    counting = Counting()
    world = World(machines=counting)  # type: ignore[arg-type]
    house = House(world)
    await house.start()
    asked = 0
    for number, (host, unit) in enumerate(pairs := names(scale)):
        world.model.add(Say(calls=(call("restart_service", hosts=[host], unit=unit),)), "I could not.")
        await house.send(IncomingMessage(THREAD, ALICE, f"restart {unit} on {host}", f"m{number}"))
        await house.send(IncomingCommand(CHANNEL, ALICE, f"restart {unit} {host}", reply_to="r"))
        await house.quiet()
        asked += 2
    await house.stop()
    figures.note(hostile_names=len(pairs), requests=asked, questions_to_hosts=len(counting.asked))
    assert counting.asked == []
    assert await world.store.approvals.in_state(*ApprovalState) == ()


async def test_the_count_means_something() -> None:
    counting = Counting()
    house = House(World(machines=counting))  # type: ignore[arg-type]
    await house.start()
    await house.types(ALICE, "status web-1")
    await house.stop()
    assert counting.asked


def refusals(scale: Scale) -> list[Callable[[], object]]:
    """Everything that refuses a name, ready to be timed."""
    catalogue = House(World()).catalogue

    def by_model(host: str, unit: str) -> Callable[[], object]:
        text = json.dumps({"hosts": [host], "unit": unit})
        return lambda: catalogue.from_call(ToolCall("c", "restart_service", text))

    def by_command(host: str, unit: str) -> Callable[[], object]:
        def ask() -> object:
            asked = grammar.parse(f"restart {unit} {host}")
            assert isinstance(asked, commands.Propose)
            return catalogue.from_words(asked.tool, asked.hosts, dict(asked.arguments))

        return ask

    return [make(host, unit) for host, unit in names(scale) for make in (by_model, by_command)]


def test_each_refusal_is_quick_and_says_why(figures: Figures, scale: Scale) -> None:
    slowest_s = 0.0
    for refuse in refusals(scale):
        began_s = time.thread_time()
        with pytest.raises(BadArguments) as refused:
            refuse()
        slowest_s = max(slowest_s, time.thread_time() - began_s)
        said = str(refused.value)
        assert 20 <= len(said) <= 1_500
        assert all(character.isprintable() or character == "\n" for character in said), said
    figures.note(slowest_refusal=f"{slowest_s * 1000:.2f} ms of CPU (limit {LIMIT_S * 1000:.0f} ms)")
    assert slowest_s < LIMIT_S
