"""A fleet of real hosts for tests marked `fleet`: booted once a session, faults healed after each test.

Skips, with the reason, where no fleet can run; fails instead when FLEET_REQUIRED=1 (set it in CI, else a CI that lost a
tool goes green with nothing tested). FLEET_N: how many hosts (3), or words of `fleet up`: "8 --newer 2".
FLEET_KEEP=1: leave them running.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict

import pytest

from opsbot.domain import Host

FLEET = str(Path(__file__).resolve().parent / "fleet")
# The first image is built in one to three minutes; a boot takes seconds.
BOOT_TIMEOUT_S = 900
NO_FLEET_STATUS = 77
ROLLOUT_HOSTS = 6
# What image/etc/sudoers.d/fleet lets the user `bot` restart.
UNITS = tuple(
    f"{name}.service" for name in ("nginx", "redis-server", "flapper", "slowstop", "stubborn", "brittle", "slowstart")
)


class FleetHost(TypedDict):
    """One host as `fleet inventory` prints it."""

    name: str
    addr: str
    port: int
    netns: str


class FleetInventory(TypedDict):
    """What `fleet inventory` prints."""

    net: str
    key: str
    known_hosts: str
    users: dict[str, str]
    hosts: list[FleetHost]
    endpoints: list[str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run last what ends the session's fleet: the evaluation starts one of its own, and there is one a machine."""
    items.sort(key=lambda item: item.path.name == "test_fleet_eval.py")


@pytest.fixture(scope="session")
def fleet() -> Iterator[FleetInventory]:
    """The inventory of a running fleet. The first test that asks for it waits for the boot."""
    check = subprocess.run([FLEET, "check"], capture_output=True, text=True)
    if check.returncode == NO_FLEET_STATUS:
        refuse = pytest.fail if os.environ.get("FLEET_REQUIRED") == "1" else pytest.skip
        refuse("no fleet here: " + check.stdout.strip().replace("\n", "; "))
    try:
        subprocess.run([FLEET, "up", *os.environ.get("FLEET_N", "3").split()], check=True, timeout=BOOT_TIMEOUT_S)
        yield json.loads(subprocess.check_output([FLEET, "inventory"]))
    finally:
        if os.environ.get("FLEET_KEEP") != "1":
            subprocess.run([FLEET, "down"], check=True)  # fails if anything of it is left on the machine


@pytest.fixture(scope="session")
def fleet_hosts(fleet: FleetInventory) -> dict[str, Host]:
    """The hosts by name (h1, h2, …), as the inventory describes them: user `bot`, pinned host key, units of sudoers."""
    return _hosts(fleet)


@pytest.fixture(scope="session")
def six_hosts(fleet: FleetInventory) -> dict[str, Host]:
    """The hosts h1 to h6, where necessary booted in addition; a fleet that is larger stays as it is."""
    if len(fleet["hosts"]) < ROLLOUT_HOSTS:
        subprocess.run([FLEET, "up", str(ROLLOUT_HOSTS)], check=True, timeout=BOOT_TIMEOUT_S)
    hosts = _hosts(json.loads(subprocess.check_output([FLEET, "inventory"])))
    return {f"h{number}": hosts[f"h{number}"] for number in range(1, ROLLOUT_HOSTS + 1)}


def _hosts(fleet: FleetInventory) -> dict[str, Host]:
    pins = _pinned_keys(Path(fleet["known_hosts"]))
    return {
        entry["name"]: Host(
            name=entry["name"],
            address=entry["addr"],
            port=entry["port"],
            user="bot",
            key_file=fleet["key"],
            host_key=pins[entry["addr"]],
            environment="test",
            groups=("fleet",),
            units=UNITS,
        )
        for entry in fleet["hosts"]
    }


@pytest.fixture
def fault(fleet: FleetInventory) -> Iterator[Callable[..., None]]:
    """`fault("h1", "down")`: on now, healed after the test, also after a failed one. `fleet faults` lists the kinds."""
    yield lambda *words: _fleet("fault", *words)
    _fleet("heal", "all")


@pytest.fixture
def heal(fleet: FleetInventory) -> Callable[..., None]:
    """`heal("h1", "down")`: end a fault before the test ends."""
    return lambda *words: _fleet("heal", *words)


@pytest.fixture
def as_root(fleet: FleetInventory) -> Callable[..., str]:
    """`as_root("h1", "systemctl", "restart", "nginx")`: run inside a host, not by SSH; returns its stdout."""
    return lambda *words: subprocess.check_output([FLEET, "exec", *words], text=True)


def _fleet(*words: object) -> None:
    subprocess.run([FLEET, *map(str, words)], check=True, timeout=BOOT_TIMEOUT_S)


def _pinned_keys(known_hosts: Path) -> dict[str, str]:
    """Map each address to its key, as `ssh-ed25519 AAAA…`."""
    pins: dict[str, str] = {}
    for line in known_hosts.read_text().splitlines():
        names, key = line.split(" ", 1)
        pins.update(dict.fromkeys(names.split(","), key))
    return pins
