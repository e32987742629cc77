"""A new inventory is taken whole, checked, settled and recorded, or not at all."""

import asyncio

import pytest
from structlog.testing import capture_logs

from opsbot.actions import Catalogue
from opsbot.discovery import Registry
from opsbot.domain import Host
from opsbot.errors import ConfigError, StoreError
from opsbot.inventory import Inventory
from opsbot.reload import LOOK_EVERY_S, InventoryReload, InventorySource, Loaded
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore

A, B = Host("a", address="10.0.0.1"), Host("b", address="10.0.0.2")


class Files:
    """What the inventory's files say, and how often they were read."""

    def __init__(self) -> None:
        self.version = 1
        self.hosts = {"a": A}
        self.fault = ""
        self.waiting: tuple[str, ...] = ()
        self.read = 0
        self.touched_while_read = False

    def stamp(self) -> int:
        return self.version

    def load(self) -> Loaded:
        self.read += 1
        if self.touched_while_read:
            self.version += 1
            self.touched_while_read = False
        if self.fault:
            raise ConfigError(*self.fault.splitlines())
        return Loaded(Inventory(self.hosts), self.waiting)

    def write(self, **hosts: Host) -> None:
        self.hosts = hosts
        self.version += 1


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def catalogue():
    return Catalogue(Registry(()), Inventory({"a": A}))


@pytest.fixture
async def reload(files, store, catalogue):
    made = InventoryReload(InventorySource(files.load, files.stamp), catalogue, store.audit, FakeClock())
    made._taken = made._seen = files.stamp()
    return made


async def settle(reload: InventoryReload) -> None:
    await reload.look()
    await reload.look()


async def records(store) -> list:
    return [record.entry for record in await store.audit.read()]


async def test_nothing_is_read_while_nothing_changes(reload, files):
    for _ in range(5):
        await reload.look()
    assert files.read == 0


async def test_a_change_counts_once_two_looks_agree_and_is_recorded(reload, files, catalogue, store):
    before = catalogue.inventory.revision
    files.write(a=Host("a", address="10.0.0.9"), b=B)
    await reload.look()
    assert files.read == 0
    assert catalogue.inventory.revision == before
    await reload.look()
    assert sorted(catalogue.inventory.hosts) == ["a", "b"]
    (entry,) = await records(store)
    assert entry.kind == "inventory.reloaded"
    assert entry.facts["before"] == before
    assert entry.facts["after"] == catalogue.inventory.revision
    assert (entry.facts["added"], entry.facts["removed"], entry.facts["changed"]) == (["b"], [], ["a"])


async def test_a_file_that_keeps_changing_waits(reload, files, catalogue):
    for _ in range(5):
        files.write(b=B)
        await reload.look()
    assert files.read == 0
    await reload.look()
    assert [*catalogue.inventory.hosts] == ["b"]


async def test_what_is_written_to_while_it_is_read_is_read_again(reload, files, catalogue):
    files.write(b=B)
    files.touched_while_read = True
    await settle(reload)
    assert [*catalogue.inventory.hosts] == ["a"]
    await settle(reload)
    assert [*catalogue.inventory.hosts] == ["b"]


async def test_faults_keep_the_old_one_and_are_told_once(reload, files, catalogue, store):
    files.write()
    files.fault = "hosts.yaml:3: hosts.b: has no `user`\nhosts.yaml:4: x"
    with capture_logs() as logs:
        for _ in range(4):
            await reload.look()
    assert [*catalogue.inventory.hosts] == ["a"]
    assert files.read == 1
    assert [line["event"] for line in logs] == ["inventory.refused"]
    (entry,) = await records(store)
    assert entry.kind == "inventory.refused"
    assert entry.facts["faults"][0].startswith("hosts.yaml:3")
    files.fault = ""
    files.write(b=B)
    await settle(reload)
    assert [*catalogue.inventory.hosts] == ["b"]


async def test_without_an_audit_record_nothing_is_taken(reload, files, catalogue, store):
    files.write(b=B)
    store.outage.reason = "The disk is full."
    with pytest.raises(StoreError):
        await settle(reload)
    assert [*catalogue.inventory.hosts] == ["a"]
    store.outage.reason = ""
    await reload.look()
    assert [*catalogue.inventory.hosts] == ["b"]
    assert len(await records(store)) == 1


async def test_asked_it_reads_at_once_even_what_looks_unchanged(reload, files, catalogue, store):
    files.hosts = {"b": B}
    reload.ask()
    await reload.look()
    assert [*catalogue.inventory.hosts] == ["b"]
    reload.ask()
    with capture_logs() as logs:
        await reload.look()
    assert [line["event"] for line in logs] == ["inventory.unchanged"]
    await reload.look()
    assert files.read == 2
    assert len(await records(store)) == 1


async def test_settings_that_need_a_restart_are_named(reload, files):
    files.write(a=A)
    files.waiting = ("policy", "limits")
    with capture_logs() as logs:
        await settle(reload)
    assert logs[0]["event"] == "config.restart_needed"
    assert logs[0]["sections"] == ("policy", "limits")


async def test_the_watch_survives_everything_and_ends_when_cancelled(files, store, catalogue):
    clock = FakeClock()
    reload = InventoryReload(InventorySource(files.load, files.stamp), catalogue, store.audit, clock)
    watching = asyncio.create_task(reload.run())

    async def pass_time(looks: int) -> None:
        for _ in range(looks):
            for _ in range(20):
                await asyncio.sleep(0.005)
            clock.advance(LOOK_EVERY_S)
        for _ in range(20):
            await asyncio.sleep(0.005)

    await pass_time(1)
    files.write(b=B)
    store.outage.reason = "gone"
    with capture_logs() as logs:
        await pass_time(4)
    assert "inventory.not_taken" in [line["event"] for line in logs]
    assert [*catalogue.inventory.hosts] == ["a"]
    store.outage.reason = ""
    await pass_time(3)
    assert [*catalogue.inventory.hosts] == ["b"]
    files.write(a=A)
    reload.ask()
    await pass_time(0)
    assert [*catalogue.inventory.hosts] == ["a"]
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
