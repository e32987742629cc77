"""The bot as a process, against the workbench: tool files, commands without a model, the same event five times."""

import asyncio
import json
import subprocess
import sys

import pytest
import pytest_asyncio

from tests.model_servers import ModelServer, Status, Turn
from tests.ports import reserved_port
from tests.whole_bot import ROOT, WholeBot
from tests.workbench_fixture import MANIFEST, running_workbench

OPS = "C0OPS"
HOSTS = "hosts: {this-machine: {connection: local}}\ntools: {folders: [mine]}\n"
TOOL = '''"""How long this machine is up."""

from opsbot import Context, Host, tool


@tool(risk="read", timeout_s=15)
def uptime_words(ctx: Context, host: Host, words: int = 4) -> dict[str, str]:
    """Say how long a server is up, in the words of the uptime command.

    Args:
        words: How many words to return, from the left.
    """
    output = ctx.run(host, "uptime").check().stdout
    return {"uptime": " ".join(output.split()[:words])}
'''


def says(message) -> str:
    return json.dumps(message, ensure_ascii=False)


@pytest_asyncio.fixture
async def model():
    async with ModelServer() as server:
        yield server


@pytest_asyncio.fixture
async def bot(tmp_path, workbench, model):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "uptime_words.py").write_text(TOOL)
    bot = WholeBot(tmp_path, workbench, HOSTS, model_url=model.base_url)
    await asyncio.to_thread(bot.start)
    yield bot
    assert await asyncio.to_thread(bot.terminate) == 0


def opsbot(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "opsbot", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


async def test_a_15_line_tool_file_is_everywhere_after_a_start(bot, workbench, model, tmp_path):
    assert len(TOOL.splitlines()) <= 15
    model.add(Turn(calls=(("c1", "uptime_words", '{"hosts": ["this-machine"], "words": 3}'),)), Turn("It is up."))
    alice = workbench.person("alice")
    await alice.command(OPS, "/ops tools")
    await alice.sees(lambda m: "uptime_words" in says(m))
    await alice.says(OPS, "@opsbot how long is this machine up?")
    await workbench.wait_for(lambda m: "It is up." in says(m))
    names = [tool["function"]["name"] for tool in model.bodies[0]["tools"]]
    assert "uptime_words" in names
    assert '"uptime' in says(model.bodies[-1]["messages"][-1])
    listed = await asyncio.to_thread(opsbot, "tools", "--config", str(tmp_path / "config.yaml"))
    assert "uptime_words" in listed.stdout


async def test_a_broken_tool_file_stops_the_start_with_file_line_and_remedy(tmp_path, workbench):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "broken.py").write_text(TOOL.replace('risk="read"', 'risk="harmless"'))
    bot = WholeBot(tmp_path, workbench, HOSTS)
    with pytest.raises(AssertionError, match="did not get ready"):
        await asyncio.to_thread(bot.start)
    said = says(bot.log)
    assert "broken.py:6" in said
    assert "use one of read, change, danger" in said


async def test_with_the_model_down_commands_answer_and_the_asker_is_told(bot, workbench, model):
    model.add(*[Status(503)] * 3)
    alice = workbench.person("alice")
    await alice.says(OPS, "@opsbot how are you?")
    await workbench.wait_for(lambda m: "/ops help" in says(m) and m.get("bot_id"), 30)
    await alice.command(OPS, "/ops status this-machine")
    await alice.sees(lambda m: m.get("ephemeral_for") and "this-machine" in says(m))


async def test_a_changed_inventory_is_taken_over_without_a_restart_and_a_broken_one_is_not(bot, workbench, tmp_path):
    config = tmp_path / "config.yaml"
    first = config.read_text()
    alice = workbench.person("alice")

    async def hosts_now(*, shows: str, hides: str) -> None:
        await alice.command(OPS, "/ops hosts")
        await alice.sees(lambda m: m.get("ephemeral_for") and shows in says(m) and hides not in says(m))

    config.write_text(first.replace("this-machine", "here"))
    taken = await asyncio.to_thread(bot.wait_for_log, "inventory.reloaded")
    assert (taken["added"], taken["removed"]) == (1, 1)
    await hosts_now(shows="here", hides="this-machine")
    config.write_text(first.replace("this-machine: {connection: local}", "there: {connection: ssh}"))
    refused = await asyncio.to_thread(bot.wait_for_log, "inventory.refused")
    assert "config.yaml" in says(refused["faults"])
    await hosts_now(shows="here", hides="there")
    config.write_text(first)
    await asyncio.to_thread(bot.hang_up)
    await asyncio.to_thread(bot.wait_for_log, "inventory.reloaded", 2)
    await hosts_now(shows="this-machine", hides="there")
    await asyncio.to_thread(bot.hang_up)
    await asyncio.to_thread(bot.wait_for_log, "inventory.unchanged")
    assert not any(line.get("event") == "config.restart_needed" for line in bot.log)


async def hears_once(workbench, model):
    """Whatever is delivered twice, with retries and as two kinds of event, is answered once."""
    model.add(Turn("Only once."))
    await workbench.control("fault", kind="duplicate", count=4)
    await workbench.person("alice").says(OPS, "@opsbot hello")
    await workbench.wait_for(lambda m: "Only once." in says(m))
    await workbench.control("clear_faults")
    model.add(Turn("Second answer."))
    await workbench.person("alice").says(OPS, "@opsbot again")
    await workbench.wait_for(lambda m: "Second answer." in says(m))
    assert sum("Only once." in says(m) for m in workbench.watcher.messages.values()) == 1


async def test_repeated_events_give_one_answer_in_socket_mode(bot, workbench, model):
    await hears_once(workbench, model)


async def test_repeated_events_give_one_answer_in_http_mode(tmp_path, model):
    with reserved_port() as port:
        await answers_in_http_mode(tmp_path, model, port)


async def answers_in_http_mode(tmp_path, model, port):
    manifest = json.loads(MANIFEST.read_text())
    events_url = f"http://127.0.0.1:{port}/slack/events"
    async with running_workbench(manifest=manifest, mode="http", events_url=events_url) as workbench:
        bot = WholeBot(tmp_path, workbench, "hosts: {}\n", model_url=model.base_url, http_port=port)
        await asyncio.to_thread(bot.start)
        await workbench.control("verify")
        await hears_once(workbench, model)
        await workbench.person("alice").command(OPS, "/ops help")
        await workbench.person("alice").sees(lambda m: m.get("ephemeral_for") and "restart UNIT HOST" in says(m))
        assert await asyncio.to_thread(bot.terminate) == 0
