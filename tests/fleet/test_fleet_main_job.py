"""The main job on real hosts: the whole bot as a process, people in the workbench, a scripted model, real faults."""

import asyncio
import json
import time

import pytest
import pytest_asyncio

from opsbot.domain import Host
from tests.model_servers import ModelServer, Turn
from tests.whole_bot import WholeBot

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

OPS = "C0OPS"


def hosts_section(hosts: dict[str, Host]) -> str:
    """The fleet as the operator would write it: h1 and h2 are the group `web`, h3 stands alone."""
    section = {
        name: {
            "address": host.address,
            "port": host.port,
            "user": host.user,
            "key": host.key_file,
            "host_key": host.host_key,
            "environment": host.environment,
            "groups": ["web"] if name in ("h1", "h2") else [],
            "units": list(host.units),
        }
        for name, host in hosts.items()
    }
    return f"hosts: {json.dumps(section)}\n"


@pytest_asyncio.fixture
async def model():
    async with ModelServer() as server:
        yield server


@pytest_asyncio.fixture
async def bot(tmp_path, workbench, model, fleet_hosts):
    bot = WholeBot(tmp_path, workbench, hosts_section(fleet_hosts), model_url=model.base_url)
    await asyncio.to_thread(bot.start)
    yield bot
    await asyncio.to_thread(bot.terminate)


@pytest.fixture
def alice(workbench):
    return workbench.person("alice")


def says(message) -> str:
    return json.dumps(message, ensure_ascii=False)


async def run_of_nginx(as_root) -> str:
    """Asked beside the workbench, which must go on answering the bot."""
    return await asyncio.to_thread(as_root, "h1", "systemctl", "show", "-p", "InvocationID", "--value", "nginx.service")


def call(tool: str, **arguments) -> Turn:
    return Turn(calls=((f"call_{tool}", tool, json.dumps(arguments)),))


async def command(alice, text: str, *wanted: str, timeout_s: float = 30):
    """Type a command and return the private answer that has all these words."""
    await alice.command(OPS, f"/ops {text}")
    return await alice.sees(lambda m: m.get("ephemeral_for") and all(w in says(m) for w in wanted), timeout_s)


async def card_of(workbench, state: str, timeout_s: float = 60):
    return await workbench.wait_for(lambda m: "digest" in says(m) and state in says(m), timeout_s)


async def press_approve(workbench, card):
    current = workbench.watcher.messages[card["channel"], card["ts"]]
    await workbench.person("bob").clicks(current, "opsbot.approve")


async def test_status_of_one_a_group_and_all_by_command(bot, alice):
    await command(alice, "status h1", "h1", "up")
    await command(alice, "status web", "h1", "h2", "2 of 2 hosts answered")
    await command(alice, "status all", "h3", "3 of 3 hosts answered")
    await command(alice, "services h1", "nginx.service")
    await command(alice, "logs nginx h1 5", "nginx")


async def test_a_group_through_the_model_in_one_answer(bot, alice, workbench, model):
    model.add(call("server_status", hosts=["web"]), Turn("Both are well."))
    await alice.says(OPS, "@opsbot how is web?")
    await workbench.wait_for(lambda m: "Both are well." in says(m))
    result = says(model.bodies[-1])
    assert "h1" in result
    assert "h2" in result
    assert "uptime" in result


@pytest.mark.parametrize(
    ("kind", "says_why"),
    [("hang-banner", "h2"), ("hostkey", "key")],
)
async def test_one_bad_host_is_named_and_the_others_answer_in_time(bot, alice, fault, kind, says_why):
    fault("h2", kind)
    began = time.monotonic()
    answer = await command(alice, "status all", "2 of 3 hosts answered", timeout_s=60)
    assert says_why in says(answer)
    assert "h1" in says(answer)
    assert "h3" in says(answer)
    assert time.monotonic() - began < 45  # the tool's deadline, and a busy machine


async def test_restart_approved_by_a_second_person_runs_once_and_is_verified(bot, alice, workbench, model, as_root):
    model.add(call("restart_service", hosts=["h1"], unit="nginx"), Turn("nginx is back."))
    before = await run_of_nginx(as_root)
    await alice.says(OPS, "@opsbot restart nginx on h1")
    card = await card_of(workbench, "opsbot.approve")
    await alice.clicks(card, "opsbot.approve")
    await alice.sees(lambda m: "somebody else has to approve" in says(m))
    await press_approve(workbench, card)
    await workbench.wait_for(lambda m: "nginx is back." in says(m), 60)
    assert bot.states() == ["done"]
    after = await run_of_nginx(as_root)
    assert before != after
    shown = workbench.watcher.messages[card["channel"], card["ts"]]
    assert "opsbot.approve" not in says(shown)
    await alice.clicks(shown, "opsbot.plan")
    await alice.sees(lambda m: "Already decided: approved by" in says(m))
    assert await run_of_nginx(as_root) == after


async def test_a_unit_that_does_not_come_back_is_failed_with_its_journal(bot, alice, workbench):
    await command(alice, "restart brittle h1 because of a test", "Asked as request")
    card = await card_of(workbench, "opsbot.approve")
    await press_approve(workbench, card)
    failed = await card_of(workbench, "brittle.service", 60)
    await until(lambda: bot.states() == ["failed"])
    failed = await workbench.wait_for(lambda m: m["ts"] == card["ts"] and "Failed" in says(m), 30)
    assert "journal" in says(failed).lower() or "exit" in says(failed).lower()
    assert "78" in says(failed)


async def test_a_slow_restart_shows_progress(bot, alice, workbench):
    await command(alice, "restart slowstop h3", "Asked as request")
    card = await card_of(workbench, "opsbot.approve")
    await press_approve(workbench, card)
    await workbench.wait_for(lambda m: m["ts"] == card["ts"] and " s" in says(m) and "running" in says(m), 30)
    await until(lambda: bot.states() == ["done"], 90)


async def test_a_group_is_restarted_host_by_host(bot, alice, workbench, as_root):
    await command(alice, "restart redis-server web", "Asked as request")
    card = await card_of(workbench, "opsbot.approve")
    await press_approve(workbench, card)
    await until(lambda: bot.states() == ["done"], 90)
    moments = [
        int(as_root(name, "systemctl", "show", "-p", "ExecMainStartTimestampMonotonic", "--value", "redis-server"))
        for name in ("h1", "h2")
    ]
    assert all(moments)


async def test_a_host_lost_in_mid_restart_is_unknown_and_settled_when_it_is_back(bot, alice, workbench, fault, heal):
    await command(alice, "restart slowstop h2", "Asked as request")
    card = await card_of(workbench, "opsbot.approve")
    await press_approve(workbench, card)
    await workbench.wait_for(lambda m: m["ts"] == card["ts"] and "[running]" in says(m), 30)
    await asyncio.sleep(2)
    fault("h2", "down")
    await until(lambda: bot.states() == ["unknown"], 240)
    heal("h2", "down")
    await until(lambda: bot.states() == ["done"], 120)


async def until(condition, timeout_s: float = 60):
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.2)
