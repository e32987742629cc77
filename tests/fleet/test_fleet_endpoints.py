"""One bot and five hundred endpoints: bounded memory, warm, hanging and back; in the end nothing is left."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from opsbot.lanes import MOST, SLOW_AFTER_S
from opsbot.workshop import GRACE_S
from tests.fleet.conftest import BOOT_TIMEOUT_S, FLEET, FleetInventory, _pinned_keys
from tests.fleet.five_hundred import LIMIT_S

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
MANY = 500
MOST_MIB = 120
HUB = "h200"
THREADS_AT_ONCE = 32


class Bot:
    """The bot's process, spoken to in words."""

    def __init__(self, job: dict[str, object]) -> None:
        command = [sys.executable, "-m", "tests.fleet.five_hundred", json.dumps(job)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def bot(fleet: FleetInventory) -> Iterator[Bot]:
    """A bot for as many addresses of one more host, which is gone afterwards."""
    there = [entry["name"] for entry in json.loads(subprocess.check_output([FLEET, "inventory"]))["hosts"]]
    count = str(len(set(there) - {HUB}))
    subprocess.run([FLEET, "up", count, "--endpoints", str(MANY)], check=True, timeout=BOOT_TIMEOUT_S)
    inventory = json.loads(subprocess.check_output([FLEET, "inventory"]))
    addresses = inventory["endpoints"][:MANY]
    pins = _pinned_keys(Path(inventory["known_hosts"]))
    bot = Bot({"addresses": addresses, "key_file": inventory["key"], "host_key": pins[addresses[0]]})
    yield bot
    bot.end()
    subprocess.run([FLEET, "up", count], check=True, timeout=BOOT_TIMEOUT_S)


def test_five_hundred_endpoints_cost_bounded_memory_also_when_they_hang_and_leave_nothing(
    bot: Bot, fault: Callable[..., None], heal: Callable[..., None]
) -> None:
    before = bot("cost")
    assert before["connections"] == 1
    connected = bot("few")
    assert connected["answered"] == MANY
    warm = bot("all")
    assert (warm["answered"], warm["connections"]) == (MANY, MANY)
    assert warm["mib"] - before["mib"] < MOST_MIB

    fault(HUB, "freeze")
    hung = bot("all")
    assert (hung["answered"], hung["silent"]) == (0, MANY), hung
    assert "sent no SSH greeting" in hung["says"][0]
    # A hung call holds its place among the quick ones for a moment only.
    assert hung["took_s"] < MANY / THREADS_AT_ONCE * SLOW_AFTER_S + LIMIT_S + GRACE_S
    assert hung["mib"] - before["mib"] < MOST_MIB

    heal(HUB, "freeze")
    time.sleep(1)  # hosts that failed are not tried again at once
    back = bot("few")
    assert back["answered"] == MANY, back
    assert back["mib"] - before["mib"] < MOST_MIB
    assert back["connections"] == MANY

    after = bot("close")
    assert after["connections"] == 0
    assert after["descriptors"] < before["descriptors"]
    # Connections have a thread each, which is gone; those that calls run in are kept, and bounded.
    assert after["threads"] <= before["threads"] + MOST
