"""R02 with two replicas: whole processes on one PostgreSQL; one is killed, frozen or busy, the other does its part."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from tests.balancer import Balancer
from tests.ledger import FINAL, Ledger
from tests.model_servers import Hang, ModelServer, Turn
from tests.ports import reserved_port
from tests.safety.kills import UNLIMITED
from tests.slow_services import SlowServices
from tests.whole_bot import WholeBot
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench
from tests.zygote import Zygote

pytestmark = [pytest.mark.timed, pytest.mark.kill, pytest.mark.timeout(900)]

OPS = "C0OPS"
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TAKE_OVER_S = 10.0


@dataclass
class Pair:
    """Two replicas and the world around them."""

    workbench: RunningWorkbench
    services: SlowServices
    one: WholeBot
    two: WholeBot
    ledger: Ledger
    balancer: Balancer | None = None
    ports: tuple[int, int] = (0, 0)
    _seen: set[str] = field(default_factory=set)

    async def start(self, *bots: WholeBot, failpoint: str = "") -> None:
        for bot in bots:
            await asyncio.to_thread(bot.start, failpoint)

    async def says(self, text: str) -> dict:
        return await self.workbench.person("alice").says(OPS, f"@opsbot {text}")

    async def asks(self, text: str) -> dict:
        """Ask for an action by command, and return its card."""
        answer = await self.workbench.person("alice").command(OPS, f"/ops {text}")
        assert answer["acknowledged"]
        card = await self.workbench.wait_for(lambda m: is_card(m) and m["ts"] not in self._seen, 60)
        self._seen.add(card["ts"])
        return card

    async def presses(self, card: dict, action: str, person: str = "bob") -> None:
        """Press a button of the card as it stands now."""
        current = self.workbench.watcher.messages[card["channel"], card["ts"]]
        assert (await self.workbench.person(person).clicks(current, action))["acknowledged"]

    async def state(self) -> str:
        return (await asyncio.to_thread(self.ledger.entries))[-1].state

    async def until(self, holds, timeout_s: float = 60) -> float:
        """Wait until something holds of the database or the hosts; return how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(timeout_s):
            while not await asyncio.to_thread(holds):
                await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def ends(self, timeout_s: float = 60) -> float:
        return await self.until(lambda: self.ledger.entries()[-1].state in FINAL, timeout_s)


def is_card(message: dict) -> bool:
    return "ephemeral_for" not in message and "opsbot.approve" in json.dumps(message.get("blocks", []))


def shows(text: str):
    return lambda message: text in json.dumps(message, ensure_ascii=False)


@pytest.fixture(scope="module")
def zygote():
    zygote = Zygote()
    yield zygote
    zygote.stop()


@pytest_asyncio.fixture
async def model():
    async with ModelServer() as server:
        yield server


@contextlib.asynccontextmanager
async def a_pair(
    folder, url: str, zygote: Zygote, *, mode: str, model_url: str = "", stop_s=0.3, more=""
) -> AsyncIterator[Pair]:
    """`more`: more hosts, as lines of a configuration."""
    services = SlowServices(folder, 3, stop_s=stop_s)
    with contextlib.ExitStack() as ports:
        pair_of_ports = (ports.enter_context(reserved_port()), ports.enter_context(reserved_port()))
        balancer = Balancer(list(pair_of_ports))
        async with contextlib.AsyncExitStack() as stack:
            wanted: dict = {"manifest": json.loads(MANIFEST.read_text()), "signing_secret": SECRET, "mode": mode}
            if mode == "http":
                wanted["events_url"] = await stack.enter_async_context(balancer.running())
            workbench = await stack.enter_async_context(running_workbench(**wanted))
            bots = [
                WholeBot(
                    folder,
                    workbench,
                    UNLIMITED + services.hosts + more,
                    store_url=url,
                    model_url=model_url,
                    http_port=port if mode == "http" else 0,
                    zygote=zygote,
                    name=name,
                )
                for name, port in zip(("one", "two"), pair_of_ports, strict=True)
            ]
            ledger = Ledger(url)
            try:
                yield Pair(workbench, services, *bots, ledger, balancer, pair_of_ports)
            finally:
                for bot in bots:
                    if bot.alive:
                        bot.signal(signal.SIGCONT)
                        await asyncio.to_thread(bot.terminate)
                ledger.close()
                services.stop()


@pytest.fixture(params=["socket", "http"])
def mode(request) -> str:
    return request.param


async def test_the_turn_of_a_killed_replica_is_finished_by_the_other_one(
    tmp_path, postgres_url, zygote, model, mode, figures
) -> None:
    model.add(Hang(120), Turn("All is well."))
    async with a_pair(tmp_path, postgres_url, zygote, mode=mode, model_url=model.base_url) as pair:
        await pair.start(pair.one)
        await pair.says("how are you?")
        await pair.until(lambda: len(model.bodies) == 1)
        await pair.start(pair.two)
        pair.one.kill()
        died_at = time.monotonic()
        await pair.workbench.wait_for(shows("All is well."), 60)
        took_s = time.monotonic() - died_at
        assert len(model.bodies) == 2
        figures.note(**{f"killed_in_mid_turn_taken_over_{mode}_s": round(took_s, 1)})
        assert took_s < TAKE_OVER_S


async def test_a_frozen_replica_is_fenced_and_ends_when_it_thaws(
    tmp_path, postgres_url, zygote, model, figures
) -> None:
    model.add(Hang(20), Turn("All is well."), Turn("I am late."))
    async with a_pair(tmp_path, postgres_url, zygote, mode="socket", model_url=model.base_url) as pair:
        await pair.start(pair.one)
        asked = await pair.says("how are you?")
        await pair.until(lambda: len(model.bodies) == 1)
        await pair.start(pair.two)
        pair.one.signal(signal.SIGSTOP)
        frozen_at = time.monotonic()
        await pair.workbench.wait_for(shows("All is well."), 60)
        took_s = time.monotonic() - frozen_at
        pair.one.signal(signal.SIGCONT)
        assert await asyncio.to_thread(pair.one.wait, 30) == 1
        assert any("gave this one up" in str(line) for line in pair.one.log)
        answers = [m for m in pair.workbench.watcher.messages.values() if m.get("thread_ts") == asked["ts"]]
        assert len([m for m in answers if shows("All is well.")(m) or shows("I am late.")(m)]) == 1
        figures.note(frozen_in_mid_turn_taken_over_s=round(took_s, 1))
        assert took_s < TAKE_OVER_S


async def test_a_replica_frozen_before_the_command_never_sends_it_once_another_has_looked(
    tmp_path, postgres_url, zygote, figures
) -> None:
    async with a_pair(tmp_path, postgres_url, zygote, mode="socket") as pair:
        await pair.start(pair.one, failpoint="freeze before host.act:1")
        card = await pair.asks("restart svc-1 box-1 because of the freeze")
        await pair.presses(card, "opsbot.approve")
        await pair.until(lambda: pair.ledger.rows("SELECT 1 FROM operations") != [])
        await pair.start(pair.two)
        await pair.ends()
        assert await pair.state() == "failed"
        pair.one.signal(signal.SIGCONT)
        assert await asyncio.to_thread(pair.one.wait, 30) == 1
        await asyncio.sleep(1)
        assert pair.services.starts(1) == 1
        assert await pair.state() == "failed"
        figures.note(frozen_before_its_command="never sent it after the other had looked")


async def test_what_a_living_replica_runs_is_never_settled_by_the_other_one(
    tmp_path, postgres_url, zygote, figures
) -> None:
    async with a_pair(tmp_path, postgres_url, zygote, mode="socket", stop_s=9) as pair:
        await pair.start(pair.one)
        card = await pair.asks("restart svc-1 box-1 because it is slow")
        await pair.presses(card, "opsbot.approve")
        await pair.until(lambda: pair.ledger.rows("SELECT 1 FROM operations") != [])
        await pair.start(pair.two)
        await pair.ends()
        assert (await pair.state(), pair.services.starts(1)) == ("done", 2)
        assert await asyncio.to_thread(pair.ledger.recorded, "execution.reconciled") == 0
        figures.note(long_action_beside_the_others_sweeps="settled only by the replica that ran it")


async def test_an_order_pressed_at_the_other_replica_reaches_the_one_that_runs_the_action(
    tmp_path, postgres_url, zygote, figures
) -> None:
    fleet = [SlowServices(_made(tmp_path / name), 1, stop_s=4, name=name) for name in ("east", "west", "north")]
    hosts = "".join(services.entries for services in fleet)
    async with a_pair(tmp_path, postgres_url, zygote, mode="http", more=hosts) as pair:
        await pair.start(pair.one, pair.two)
        pair.balancer.ports = [pair.ports[0]]
        card = await pair.asks("restart svc-1 east-1 west-1 north-1 because of the order")
        await pair.presses(card, "opsbot.approve")
        await pair.until(lambda: pair.ledger.rows("SELECT 1 FROM operations") != [])
        pair.balancer.ports = [pair.ports[1]]
        await pair.workbench.wait_for(lambda m: m["ts"] == card["ts"] and "opsbot.halt" in json.dumps(m), 30)
        pressed_at = time.monotonic()
        await pair.presses(card, "opsbot.halt")
        await pair.workbench.wait_for(shows("It is being stopped."), 30)
        answered_s = time.monotonic() - pressed_at
        await pair.ends()
        assert await pair.state() == "failed"
        assert await asyncio.to_thread(pair.ledger.recorded, "execution.halted") == 1
        assert sum(services.starts(1) - 1 for services in fleet) < 3
        figures.note(stop_pressed_at_the_other_replica_answered_s=round(answered_s, 1))
        assert answered_s < 5
    for services in fleet:
        services.stop()


def _made(folder):
    folder.mkdir()
    return folder


async def test_the_same_request_at_both_replicas_at_once_has_one_effect(
    tmp_path, postgres_url, zygote, figures
) -> None:
    async with a_pair(tmp_path, postgres_url, zygote, mode="http") as pair:
        await pair.start(pair.one, pair.two)
        pair.balancer.twice = True
        for number in pair.services.numbers:
            card = await pair.asks(f"restart svc-{number} box-{number} because of the echo")
            await pair.presses(card, "opsbot.approve")
            await pair.ends()
        assert [pair.services.starts(n) for n in pair.services.numbers] == [2, 2, 2]
        assert [entry.state for entry in pair.ledger.entries()] == ["done"] * 3
        assert min(pair.balancer.served.values()) >= 6
        figures.note(same_requests_at_both_replicas=f"{sum(pair.balancer.served.values())} requests, 3 restarts")


async def test_two_connections_share_the_work_and_either_may_be_killed(
    tmp_path, postgres_url, zygote, mode, figures
) -> None:
    async with a_pair(tmp_path, postgres_url, zygote, mode=mode) as pair:
        await pair.start(pair.one, pair.two)
        for bot in (pair.one, pair.two, pair.one):
            for number in pair.services.numbers:
                card = await pair.asks(f"restart svc-{number} box-{number} because of the kills")
                await pair.presses(card, "opsbot.approve")
            bot.kill()
            await pair.until(lambda: all(entry.state in FINAL for entry in pair.ledger.entries()))
            await pair.start(bot)
        states = [entry.state for entry in pair.ledger.entries()]
        assert len(states) == 9
        assert set(states) <= {"done", "failed"}
        assert sum(pair.services.starts(n) - 1 for n in pair.services.numbers) == states.count("done")
        figures.note(
            **{f"killed_in_turn_{mode}": f"9 approvals: {states.count('done')} done once, the rest said not done"}
        )
