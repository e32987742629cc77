"""`opsbot stop`, `resume`, `freeze`, `unfreeze`, `freezes`: beside a running bot, without one, without a database."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store, read_audit
from opsbot.holds import HoldKind
from tests.records import KEY, entry
from tests.whole_bot import WholeBot

ROOT = Path(__file__).parents[2]
CONFIG = """\
store: {{url: "sqlite:///{folder}/x.db", audit_key: {{file: "{folder}/audit.key"}}}}
policy:
  askers: {{users: [U0ALICE]}}
  approvers: [{{environments: ["*"], users: [U0BOB]}}]
freezes:
  - name: later
    scope: web
    reason: planned works
    begins: "2126-01-01"
hosts:
  web-1: {{connection: local, groups: [web], units: [nginx]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "audit.key").write_text(KEY.hex())
    (tmp_path / "audit.key").chmod(0o600)
    return tmp_path


def opsbot(folder: Path, *words: str, status: int = 0) -> str:
    """Run a command; return what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SLACK_"))}
    done = subprocess.run(
        [sys.executable, "-m", "opsbot", *words, "--config", str(folder / "config.yaml")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def kinds(folder: Path) -> list[str]:
    return [record.entry.kind for record in read_audit(f"sqlite:///{folder}/x.db")]


@pytest.fixture(params=["running", "stopped"])
async def bot(folder: Path, request: pytest.FixtureRequest):
    """A bot that has the database open, or had it."""
    store = open_store(f"sqlite:///{folder}/x.db", audit_key=KEY)
    if request.param == "stopped":
        await store.close()
    yield store if request.param == "running" else None
    await store.close()


async def test_stop_and_resume_beside_a_bot_and_without_one(folder: Path, bot) -> None:
    said = opsbot(folder, "stop", "the", "network", "burns", "password=hunter2hunter2")
    assert "All actions are stopped by" in said
    assert "the network burns" in said
    assert "hunter2" not in said
    assert "Nothing is under way" in said
    if bot is not None:
        (hold,) = await bot.holds.standing()
        assert (hold.kind, hold.by.split("/")[0]) == (HoldKind.STOP, "shell")
        assert [hold.id for hold in bot.holds.standing_now()] == [hold.id]
    assert "All actions are stopped" in opsbot(folder, "freezes")
    assert "Actions go on" in opsbot(folder, "resume", "all", "well")
    assert "Actions are not stopped" in opsbot(folder, "resume")
    assert kinds(folder) == ["actions.stopped", "actions.resumed"]


async def test_freeze_and_unfreeze(folder: Path, bot) -> None:
    said = opsbot(folder, "freeze", "nginx@web", "--for", "2h", "--reason", "works")
    assert "nginx@group:web is frozen until" in said
    listed = json.loads(opsbot(folder, "freezes", "--json"))
    assert [hold["scope"] for hold in listed["in_force"]] == ["nginx@group:web"]
    assert listed["planned"] == [{"name": "later", "scope": "group:web", "when": "from 2126-01-01 00:00 UTC"}]
    assert "names nothing" in opsbot(folder, "freeze", "wbe", "--reason", "x", status=1)
    assert "no time" in opsbot(folder, "freeze", "web", "--for", "ever", "--reason", "x", status=1)
    assert "name one of them" in opsbot(
        folder, "freeze", "web", "--for", "1h", "--until", "9:00", "--reason", "x", status=2
    )
    opsbot(folder, "unfreeze", listed["in_force"][0]["id"], "--reason", "over")
    assert "There is no freeze" in opsbot(folder, "unfreeze", "web", "--reason", "over", status=1)
    assert "Nothing holds actions back now" in opsbot(folder, "freezes")
    assert kinds(folder) == ["freeze.made", "freeze.lifted"]


def test_without_a_database_the_stop_is_a_file(folder: Path) -> None:
    said = opsbot(folder, "stop", "fire")
    assert "There is no database" in said
    assert (folder / "opsbot.stop").read_text().startswith("fire (opsbot stop, by ")
    assert "warn" in opsbot(folder, "doctor", "--only", "store")
    assert "There is no database" in opsbot(folder, "resume", status=1)


async def test_resume_removes_the_stop_file(folder: Path, bot) -> None:
    (folder / "opsbot.stop").write_text("by hand\n")
    assert "by hand" in opsbot(folder, "freezes")
    assert "is removed" in opsbot(folder, "resume")
    assert not (folder / "opsbot.stop").exists()


async def test_another_key_writes_nothing(folder: Path) -> None:
    store = open_store(f"sqlite:///{folder}/x.db", audit_key=KEY)
    await store.audit.append(entry())
    (folder / "audit.key").write_text("11" * 32)
    assert "does not fit the audit key" in opsbot(folder, "freeze", "web", "--reason", "x", status=1)
    assert await store.holds.standing() == ()
    await store.close()


async def test_a_signal_stops_a_running_bot_and_the_shell_lets_it_go_on(folder: Path, workbench) -> None:
    hosts = "hosts: {this-machine: {connection: local, units: [nginx], groups: [web]}}\n"
    bot = WholeBot(folder, workbench, hosts, store_url=f"sqlite:///{folder}/x.db")
    await asyncio.to_thread(bot.start)
    alice = workbench.person("alice")
    try:
        bot.stop_all()
        async with asyncio.timeout(10):
            while not (folder / "opsbot.stop").exists():
                await asyncio.sleep(0.01)
        await alice.command("C0OPS", "/ops restart nginx this-machine")
        await alice.sees(lambda m: "Held back: All actions are stopped by the file" in json.dumps(m))
        await asyncio.to_thread(bot.wait_for_log, "brakes.changed")
        assert "is removed" in await asyncio.to_thread(opsbot, folder, "resume")
        await asyncio.to_thread(bot.wait_for_log, "brakes.changed", 2)
        await alice.command("C0OPS", "/ops freezes")
        await alice.sees(lambda m: "Nothing holds actions back now" in json.dumps(m))
    finally:
        assert await asyncio.to_thread(bot.terminate) == 0
    recorded = kinds(folder)
    assert [kind for kind in recorded if kind.startswith("actions.")] == ["actions.stopped", "actions.resumed"]
