"""A bot on a database whose disk fails on command: run as a process of its own, so that limits and preloads are too.

`python -m tests.safety.faulty_disk FAULT DATABASE` plays the same story with each fault and prints what came of it.
"""

import asyncio
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from opsbot import executor, looking
from opsbot.adapters.store import SqlStore, open_store
from opsbot.domain import ApprovalState
from opsbot.errors import StoreError
from tests.fake_chat import lines
from tests.fake_clock import FakeClock
from tests.records import KEY, entry
from tests.scenario.house import ALICE, BOB, House, World

NGINX = ("web-1", "nginx.service")


class ThatClock(FakeClock):
    """Moves when told, and by itself."""

    def monotonic(self) -> float:
        return super().monotonic() + time.monotonic()


# --- faults: each can be switched on and off -------------------------------------------------------------------------


class Fault:
    """Nothing is wrong."""

    def __init__(self, path: Path, store: SqlStore) -> None:
        self.path = path
        self.store = store

    def on(self) -> None: ...

    def off(self) -> None: ...

    def pragma(self, text: str) -> int:
        return int(self.store._database.read_now(lambda c: c.exec_driver_sql(f"PRAGMA {text}").scalar() or 0))


class FileSizeLimit(Fault):
    """RLIMIT_FSIZE: no file may grow, or be written behind its first bytes."""

    def on(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def off(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class FullDisk(Fault):
    """The file system (a small tmpfs) is filled to its last byte."""

    def on(self) -> None:
        with (self.path.parent / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                return

    def off(self) -> None:
        (self.path.parent / "filler").unlink(missing_ok=True)


class PageLimit(Fault):
    """SQLite may use no more pages; what is free is used up first."""

    def on(self) -> None:
        self.pragma("max_page_count=1")
        chain = self.store.audit._chain
        with suppress(StoreError):
            while True:
                self.store._database.write_now(lambda connection: chain.append(connection, [entry("filler")]))

    def off(self) -> None:
        self.pragma("max_page_count=1000000")


class Slow(Fault):
    """Every commit takes so many seconds."""

    seconds = 0.0

    def __init__(self, path: Path, store: SqlStore) -> None:
        super().__init__(path, store)
        event.listen(store._database._writers, "commit", lambda _: time.sleep(self.seconds))

    def on(self) -> None:
        self.seconds = float(os.environ["SLOW_S"])

    def off(self) -> None:
        self.seconds = 0.0


class Failing(Fault):
    """System calls fail, by libfiu: run me under `fiu-run -x`."""

    points: tuple[str, ...] = ()

    def on(self) -> None:
        self._tell(*(f"enable name={point}" for point in self.points))

    def off(self) -> None:
        self._tell(*(f"disable name={point.partition(',')[0]}" for point in self.points))

    def _tell(self, *commands: str) -> None:
        environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
        for command in commands:
            subprocess.run(["fiu-ctrl", "-c", command, str(os.getpid())], check=True, env=environ)


class FailingSync(Failing):
    """fsync says EIO."""

    points = ("posix/io/sync/fsync,failinfo=5", "posix/io/sync/fdatasync,failinfo=5")


class ReadOnly(Failing):
    """Writing says EROFS: the kernel made the file system read-only under the bot."""

    points = ("posix/io/rw/pwrite,failinfo=30",)


class FailingWrite(Failing):
    """Writing says EIO."""

    points = ("posix/io/rw/pwrite,failinfo=5",)


FAULTS: dict[str, type[Fault]] = {
    "none": Fault,
    "file size limit": FileSizeLimit,
    "full tmpfs": FullDisk,
    "page limit": PageLimit,
    "slow": Slow,
    "fsync EIO": FailingSync,
    "write EIO": FailingWrite,
    "read-only": ReadOnly,
}


class Patient(House):
    """Waits for slow disks."""

    async def quiet(self, timeout_s: float = 300) -> None:
        await super().quiet(timeout_s)


# --- the story -------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """People at work while the disk fails. `found` is what came of it."""

    house: House
    fault: Fault
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def effects(self) -> int:
        return self.house.world.machines.restarts[NGINX]

    async def play(self) -> None:
        await self.clicks_while_it_fails()
        if not isinstance(self.fault, Slow):  # with it every step is as the one before
            await self.strikes(self.house.world.store.approvals, "change", "before the start")
            await self.strikes(self.house.world.store.operations, "claim", "before the intent")
        await self.goes_on()

    async def clicks_while_it_fails(self) -> None:
        """The disk fails before anybody approves: asking and clicking is refused, looking is not."""
        await self.house.types(ALICE, "restart nginx web-1")
        self.fault.on()
        before = self.effects
        await self.house.types(ALICE, "status web-1")
        self.found["look"] = self.heard()
        await self.house.clicks(BOB, "approve")
        self.found["click"] = self.heard()
        await self.house.types(ALICE, "restart nginx web-2")
        self.found["ask"] = self.heard()
        await self.tolerant(self.house.passes(6))
        self.found["effects while it fails"] = self.effects - before
        self.fault.off()
        await self.settle()

    async def strikes(self, part: Any, name: str, when: str) -> None:
        """The disk fails in the middle of an approved action, just before this step."""
        await self.free()
        await self.house.types(ALICE, "restart nginx web-1")
        before, real = self.effects, getattr(part, name)

        async def failing(approval: Any, *args: Any, **changes: Any) -> Any:
            if name != "change" or approval.state is ApprovalState.EXECUTING:
                self.fault.on()
            return await real(approval, *args, **changes)

        setattr(part, name, failing)
        told = len(self.house.world.chat.whispers)
        await self.tolerant(self.house.clicks(BOB, "approve"))
        setattr(part, name, real)
        whispers = self.house.world.chat.whispers[told:]
        self.found[when] = {
            "effects": self.effects - before,
            "told": [" ".join(lines(whisper.content)) for whisper in whispers],
        }
        self.fault.off()
        await self.settle()

    async def goes_on(self) -> None:
        """Once the disk works again, all works again, by itself."""
        await self.free()
        before = self.effects
        await self.house.types(ALICE, "restart nginx web-1")
        await self.house.clicks(BOB, "approve")
        self.found["afterwards"] = {"effects": self.effects - before, "state": str(self.house.approval.state)}
        await self.house.types(ALICE, "status web-1")
        self.found["look afterwards"] = self.heard()

    async def free(self) -> None:
        """Withdraw what is still open, so that the same can be asked for again."""
        if self.house.approval.state is ApprovalState.PENDING:
            await self.house.clicks(ALICE, "deny")

    async def settle(self) -> None:
        for _ in range(4):
            await self.house.passes(31)

    async def tolerant(self, work: Awaitable[None]) -> None:
        try:
            await work
        except StoreError as error:
            self.found.setdefault("escaped", []).append(str(error))

    def heard(self) -> str:
        return self.house.whispered


def told(name: str, folder: Path, *, slow_s: float = 5.0) -> dict[str, Any]:
    """Let a process of its own play the story with this fault, and return what came of it."""
    preload = ["fiu-run", "-x"] if issubclass(FAULTS[name], Failing) else []
    if preload and shutil.which("fiu-run") is None:
        assert not os.environ.get("FIU_REQUIRED"), "fiu-run is missing: install fiu-utils"
        pytest.skip("needs fiu-run (Debian package fiu-utils)")
    done = subprocess.run(
        [*preload, sys.executable, "-m", "tests.safety.faulty_disk", name, str(folder / "opsbot.db")],
        env={**os.environ, "SLOW_S": str(slow_s)},
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def small_disk(folder: Path, size: str = "8m") -> Iterator[Path]:
    """Mount a small file system there. Skips without root."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def main(name: str, path: Path) -> None:
    """Play the story and print what came of it."""
    if name == "slow":
        slow_s = float(os.environ["SLOW_S"])
        executor._INTENT_MAX_S, looking._RECORD_S = slow_s * 0.8, slow_s * 0.4
    store = open_store(f"sqlite:///{path}", audit_key=KEY)
    house = Patient(World(store=store, clock=ThatClock(), lifetime_s=1800))
    await house.start()
    story = Story(house, FAULTS[name](path, store))
    began = time.monotonic()
    await story.play()
    story.found["seconds"] = time.monotonic() - began
    await house.stop()
    await store.close()
    print(json.dumps(story.found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
