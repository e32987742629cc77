"""R18: files broken in many ways while the bot watches them: what was good stays, nothing is judged by a half."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest
from structlog.testing import capture_logs

from opsbot import reload as reload_module
from opsbot.actions import Catalogue
from opsbot.adapters.clock import SystemClock
from opsbot.config import Config, load
from opsbot.config_watch import WatchedConfig
from opsbot.domain import Actor, Place
from opsbot.policy import PolicyRules, decide
from opsbot.reload import InventoryReload, InventorySource
from opsbot.toolbox import tools_of
from tests.fake_store import MemoryStore
from tests.safety.conftest import Figures, Scale

LOOK_S = 0.03
ALICE, PLACE = Actor("T1", "U0ALICE"), Place("T1", "C1", "1")
MAIN = """\
policy:
  askers: {users: [U0ALICE]}
  approvers:
    - environments: [production, staging]
      users: [U0BOB, U0DAVE]
inventory: [hosts.yaml]
host_keys: keys
"""
HOST = """\
  {name}:
    address: 192.0.2.{number}
    user: opsbot
    key: id
    environment: production
    groups: [web]
    units: [nginx]
"""
Break: TypeAlias = "Callable[[Watched, random.Random], object]"
pytestmark = pytest.mark.timeout(300)


def hosts_file(count: int) -> str:
    """An inventory of so many hosts."""
    return "hosts:\n" + "".join(HOST.format(name=f"web-{n}", number=n) for n in range(1, count + 1))


@dataclass
class Watched:
    """The bot's files, what watches them, and requests that are judged all the time."""

    folder: Path
    config: Config
    catalogue: Catalogue
    rules: PolicyRules
    store: MemoryStore
    reload: InventoryReload
    judged: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def main(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts.yaml"

    async def judge(self) -> None:
        """Judge requests until cancelled; note which inventory and which policy each was judged by."""
        while True:
            prepared = self.catalogue.from_words("restart_service", ["web-1"], {"unit": "nginx"})
            decide(self.rules, prepared.question(ALICE, PLACE, SystemClock().now()))
            self.judged[self.catalogue.inventory.revision, self.rules.revision] += 1
            await asyncio.sleep(0.001)

    async def refusals(self) -> int:
        return sum(r.entry.kind == "inventory.refused" for r in await self.store.audit.read(limit=100_000))

    async def settles(self) -> None:
        """Wait for several looks."""
        await asyncio.sleep(LOOK_S * 6)


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(reload_module, "LOOK_EVERY_S", LOOK_S)
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "id").chmod(0o600)
    (tmp_path / "config.yaml").write_text(MAIN)
    (tmp_path / "hosts.yaml").write_text(hosts_file(3))
    config = load(tmp_path / "config.yaml", {})
    catalogue = Catalogue(tools_of(config), config.inventory())
    files, store = WatchedConfig(config), MemoryStore()
    reload = InventoryReload(InventorySource(files.load, files.stamp), catalogue, store.audit, SystemClock())
    made = Watched(tmp_path, config, catalogue, config.rules(), store, reload)
    tasks = [asyncio.create_task(reload.run()), asyncio.create_task(made.judge())]
    await made.settles()
    yield made
    for task in tasks:
        assert not task.done(), task
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _cut(text: str, chance: random.Random) -> str:
    """Cut in the middle of a line, where what is left has no meaning."""
    lines = text.splitlines(keepends=True)
    number = chance.randrange(3, len(lines))
    return "".join(lines[:number]) + lines[number].split(":")[0][: chance.randint(3, 40)]


def _inventory(change: Callable[[str], str]) -> Break:
    return lambda watched, chance: watched.hosts.write_text(change(hosts_file(3)))


def _policy(change: Callable[[str], str]) -> Break:
    return lambda watched, chance: watched.main.write_text(change(MAIN))


def _folder(watched: Watched, chance: random.Random) -> None:
    watched.hosts.unlink()
    watched.hosts.mkdir()


BREAKS: dict[str, Break] = {
    "inventory cut": lambda watched, chance: watched.hosts.write_text(_cut(hosts_file(3), chance)),
    "inventory gone": lambda watched, chance: watched.hosts.unlink(),
    "inventory is a folder": _folder,
    "inventory is empty": _inventory(lambda text: ""),
    "inventory is a comment": _inventory(lambda text: "# nothing\n"),
    "inventory is binary": lambda watched, chance: watched.hosts.write_bytes(chance.randbytes(500)),
    "inventory has a typo": _inventory(lambda text: text.replace("units", "unitz", 1)),
    "a host without a user": _inventory(lambda text: text.replace("    user: opsbot\n", "", 1)),
    "a host twice": _inventory(lambda text: text + HOST.format(name="web-1", number=9)),
    "an environment nobody approves": _inventory(lambda text: text.replace("production", "lab")),
    "policy cut": lambda watched, chance: watched.main.write_text(_cut(MAIN, chance)),
    "policy gone": _policy(lambda text: text[text.index("inventory") :]),
    "policy names nobody": _policy(lambda text: text.replace("users: [U0BOB, U0DAVE]", "users: []")),
    "policy needs more than there are": _policy(lambda text: text.replace("U0DAVE]", "U0DAVE]\n      needed: 3")),
    "policy with an unknown section": _policy(lambda text: text.replace("askers:", "akers:")),
    "policy with an unknown effect": _policy(
        lambda text: text.replace("  askers", "  rules: [{name: x, effect: maybe}]\n  askers")
    ),
    "file with tags": _policy(lambda text: text + "x: !!python/object:os.system {}\n"),
    "file with an alias": _policy(lambda text: text + "limits: &a {rounds: 3}\nrollout: *a\n"),
    "file gone": lambda watched, chance: watched.main.unlink(),
    "file empty": _policy(lambda text: "\n"),
    "file not UTF-8": lambda watched, chance: watched.main.write_bytes(MAIN.encode() + b"\xff\xfe"),
}


def _mend(watched: Watched, count: int) -> None:
    """Put good files there, each in one step, as editors and `install` do."""
    if watched.hosts.is_dir():
        watched.hosts.rmdir()
    for path, text in ((watched.main, MAIN), (watched.hosts, hosts_file(count))):
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, path)


async def test_broken_files_change_nothing_and_are_told(watched: Watched, figures: Figures, scale: Scale) -> None:
    chance, rounds, alerts = random.Random(18), scale(len(BREAKS), 100), 0
    good = {watched.catalogue.inventory.revision}
    policy = watched.rules.revision
    count = 3
    with capture_logs() as logs:
        for number in range(rounds):
            name = list(BREAKS)[number % len(BREAKS)]
            before, refused = watched.catalogue.inventory.revision, await watched.refusals()
            BREAKS[name](watched, chance)
            await _until(lambda refused=refused: _more(watched, refused), name)
            assert watched.catalogue.inventory.revision == before, name
            assert watched.rules.revision == policy
            alerts += 1
            count = 3 + number % 4
            _mend(watched, count)
            await _until(lambda count=count: _has(watched, count), f"mended after {name}")
            good.add(watched.catalogue.inventory.revision)
    assert {revision for revision, _ in watched.judged} <= good
    assert {revision for _, revision in watched.judged} == {policy}
    told = [line for line in logs if line["event"] == "inventory.refused" and line["log_level"] == "error"]
    assert len(told) >= rounds
    assert all(line["faults"] for line in told)
    figures.note(
        broken_files=f"{rounds} in {len(BREAKS)} ways",
        told_in_the_log_and_the_audit=f"{alerts} of {rounds}",
        requests_judged_meanwhile=watched.judged.total(),
        judged_by_anything_but_a_whole_file=0,
    )


async def _more(watched: Watched, refused: int) -> bool:
    return await watched.refusals() > refused


async def _has(watched: Watched, count: int) -> bool:
    return len(watched.catalogue.inventory.hosts) == count


async def _until(condition, what: str) -> None:
    try:
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not seen within 20 s: {what}") from None


async def test_a_file_that_is_being_written_is_waited_for(watched: Watched, figures: Figures, scale: Scale) -> None:
    """Each piece alone is a faultless inventory, of fewer hosts: only the whole may count."""
    whole, writes = hosts_file(12), scale(5, 50)
    pieces = [whole[i : i + len(HOST)] for i in range(0, len(whole), len(HOST))]
    for number in range(writes):
        watched.judged.clear()
        count_before = len(watched.catalogue.inventory.hosts)
        with watched.hosts.open("w") as file:
            for piece in pieces:
                file.write(piece)
                file.flush()
                await asyncio.sleep(LOOK_S / 5)
        await _until(lambda: _has(watched, 12), "the whole file")
        seen = len(watched.judged)
        assert seen <= 2, f"write {number}: judged by {seen} inventories, from {count_before} hosts to 12"
        _mend(watched, 3)
        await _until(lambda: _has(watched, 3), "the small file")
    figures.note(files_written_in_pieces=writes, taken_by_halves=0)


async def test_a_changed_policy_waits_for_the_next_start_and_is_named(watched: Watched) -> None:
    policy = watched.rules.revision
    with capture_logs() as logs:
        watched.main.write_text(MAIN.replace("U0ALICE", "U0MALLORY"))
        watched.hosts.write_text(hosts_file(4))
        await _until(lambda: _has(watched, 4), "the new hosts")
    assert watched.rules.revision == policy
    assert any(line["event"] == "config.restart_needed" and "policy" in line["sections"] for line in logs)
