"""`kill -9` on the real process, with a real service under supervisord: never twice, never forgotten."""

import asyncio
import json
import random

import pytest
import pytest_asyncio

from tests.model_servers import ModelServer, Turn
from tests.whole_bot import SlowService, WholeBot
from tests.workbench_fixture import RunningWorkbench

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600)]

OPS = "C0OPS"
ROUNDS = 8
FINAL = {"done", "failed", "unknown"}


@pytest.fixture
def service(tmp_path):
    service = SlowService(tmp_path)
    yield service
    service.stop()


@pytest_asyncio.fixture
async def model():
    async with ModelServer() as server:
        yield server


def is_card(message) -> bool:
    return any("opsbot.approve" in json.dumps(block) for block in message.get("blocks", []))


async def until(condition, timeout_s: float = 60):
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


async def request_restart(workbench: RunningWorkbench, seen: set[str]):
    await workbench.person("alice").command(OPS, "/ops restart slow this-machine because of the test")
    card = await workbench.wait_for(lambda m: m["ts"] not in seen and is_card(m), 30)
    seen.add(card["ts"])
    return card


async def press_approve(workbench: RunningWorkbench, card):
    """Bob presses Approve on the card as it stands now."""
    current = workbench.watcher.messages[card["channel"], card["ts"]]
    await workbench.person("bob").clicks(current, "opsbot.approve")


async def settle(bot: WholeBot, workbench: RunningWorkbench, card, count: int):
    """Wait for the end; a click that died with the process before it was accepted is made again, as Slack says."""
    await until(lambda: len(bot.states()) == count)
    if bot.states()[-1] == "pending":
        await press_approve(workbench, card)
    await until(lambda: bot.states()[-1] in FINAL)


async def test_an_open_approval_survives_and_the_thread_remembers(tmp_path, workbench, service, model):
    arguments = json.dumps({"hosts": ["this-machine"], "unit": "slow"})
    model.add(
        Turn(calls=(("call_1", "restart_service", arguments),)),
        Turn("Restarted, and it is well."),
        Turn("You asked for a restart of slow."),
    )
    bot = WholeBot(tmp_path, workbench, service.hosts, model_url=model.base_url)
    await asyncio.to_thread(bot.start)
    await until(lambda: service.starts == 1)
    alice = workbench.person("alice")
    asked = await alice.says(OPS, "@opsbot please restart slow on this-machine, code word heron")
    card = await workbench.wait_for(is_card, 30)

    bot.kill()
    await asyncio.to_thread(bot.start)
    await press_approve(workbench, card)
    await workbench.wait_for(lambda m: "Restarted, and it is well." in json.dumps(m), 60)
    assert service.starts == 2
    assert bot.states() == ["done"]

    await alice.says(OPS, "what did I ask for?", thread_ts=asked["ts"])
    await workbench.wait_for(lambda m: "You asked for a restart of slow." in json.dumps(m), 30)
    assert "heron" in json.dumps(model.bodies[-1])
    assert await asyncio.to_thread(bot.terminate) == 0


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_killed_at_random_during_execution_never_twice_never_forgotten(
    tmp_path, workbench, service, database, request
):
    store_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    bot = WholeBot(tmp_path, workbench, service.hosts, store_url=store_url)
    chance, seen = random.Random(7), set()
    await until(lambda: service.starts == 1)
    await asyncio.to_thread(bot.start)
    for round_number in range(1, ROUNDS + 1):
        before = service.starts
        card = await request_restart(workbench, seen)
        await press_approve(workbench, card)
        await asyncio.sleep(chance.uniform(0.0, 3.0))
        bot.kill()
        await asyncio.to_thread(bot.start)
        await settle(bot, workbench, card, round_number)
        state, happened = bot.states()[-1], service.starts - before
        assert happened <= 1, f"round {round_number}: restarted {happened} times"
        assert state == ("done" if happened else "failed"), f"round {round_number}: {state}, {happened} restarts"
    assert await asyncio.to_thread(bot.terminate) == 0
