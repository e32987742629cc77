"""Usage of a bot as a process: shown in Slack and the shell, warned of, stopped at, remembered by the next one."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.model_servers import ModelServer, Status, Turn
from tests.whole_bot import ROOT, WholeBot
from tests.workbench_fixture import RunningWorkbench

OPS = "C0OPS"
CONFIG = """
hosts: {this-machine: {connection: local}}
budget: {person_day_tokens: 2000, warn_percent: 60}
model: {prices: {gpt-6-luna: {input: 1, cached_input: 0.1, output: 5}}}
"""
LOOK = ("c1", "list_hosts", "{}")


def says(message: dict[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False)


@pytest_asyncio.fixture
async def model():
    async with ModelServer() as server:
        yield server


@pytest_asyncio.fixture
async def bot(tmp_path: Path, workbench: RunningWorkbench, model: ModelServer):
    bot = WholeBot(tmp_path, workbench, CONFIG, model_url=model.base_url)
    await asyncio.to_thread(bot.start)
    yield bot
    assert await asyncio.to_thread(bot.terminate) == 0


def opsbot(folder: Path, *words: str, status: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SLACK_"))}
    done = subprocess.run(
        [sys.executable, "-m", "opsbot", "usage", *words, "--config", str(folder / "config.yaml")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_tokens_money_and_the_cache_are_shown_warned_of_and_end_a_turn(bot, workbench, model, tmp_path) -> None:
    alice, bob = workbench.person("alice"), workbench.person("bob")
    model.add(Turn("", calls=(LOOK,), usage=(500, 100, 100)), Turn("One host.", usage=(600, 100, 500)))
    await alice.says(OPS, "@opsbot which hosts are there?")
    await workbench.wait_for(lambda m: "One host." in says(m) and "1,300 tokens" in says(m))
    await workbench.wait_for(lambda m: "65 % of the budget of 2,000 tokens for one person a day is used" in says(m))
    await alice.command(OPS, "/ops usage day 1")
    shown = await alice.sees(lambda m: m.get("ephemeral_for") and "You today: 2 model calls, 1,300 tokens" in says(m))
    # 500 read at $1, 600 at $0.10 and 200 written at $5 per million.
    assert "55% of what was read came from the cache, cost $0.0016" in says(shown)
    await bob.command(OPS, "/ops usage person 1")
    await bob.sees(lambda m: m.get("ephemeral_for") and "All people today: 2 model calls" in says(m))

    told = json.loads(await asyncio.to_thread(opsbot, tmp_path, "--days", "1", "--by", "person", "--json"))
    (row,) = told["rows"]
    assert row["person"].endswith("u0alice")
    assert {name: row[name] for name in ("model_calls", "input_tokens", "cached_tokens", "output_tokens")} == {
        "model_calls": 2,
        "input_tokens": 1100,
        "cached_tokens": 600,
        "output_tokens": 200,
    }
    assert row["cost_usd"] == pytest.approx(0.00156)
    assert row["cached_share"] == pytest.approx(0.5455)
    assert "2 model calls, 1,300 tokens" in await asyncio.to_thread(opsbot, tmp_path)

    assert await asyncio.to_thread(bot.terminate) == 0
    await asyncio.to_thread(bot.start)
    model.add(Turn("", calls=(LOOK,), usage=(800, 10, 0)))
    asked = len(model.requests)
    await alice.says(OPS, "@opsbot and which groups?")
    stopped = await workbench.wait_for(lambda m: "Stopped at the budget" in says(m))
    assert "the budget of 2,000 tokens for one person a day is used up (2,110 tokens)" in says(stopped)
    assert "list_hosts" in says(stopped)
    assert "budget.person_day_tokens" in says(stopped)
    assert len(model.requests) == asked + 1
    await alice.command(OPS, "/ops hosts")
    await alice.sees(lambda m: m.get("ephemeral_for") and "this-machine" in says(m))


async def test_a_service_that_limits_us_is_named_while_the_person_waits(bot, workbench, model) -> None:
    model.add(Status(429, headers={"retry-after": "3"}), Turn("Here I am."))
    await workbench.person("alice").says(OPS, "@opsbot hello?")
    await workbench.watcher.frame(lambda frame: "limits our requests (429)" in says(frame))
    await workbench.wait_for(lambda m: "Here I am." in says(m))


def test_the_shell_says_plainly_what_it_cannot_show(tmp_path: Path) -> None:
    text = f"store: {{url: 'sqlite:///{tmp_path}/x.db', audit_key: {{file: '{tmp_path}/audit.key'}}}}\npolicy: {{}}\n"
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "audit.key").write_text("00" * 32)
    (tmp_path / "audit.key").chmod(0o600)
    assert "1 to 90" in opsbot(tmp_path, "--days", "91", status=2)
    assert "There is no database" in opsbot(tmp_path, status=1)
