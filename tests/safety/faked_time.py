"""Processes whose wall clock a test moves, with libfaketime; the monotonic clock goes on, unless it is moved too."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = ("libfaketimeMT.so.1", "libfaketime.so.1")


def library() -> str:
    """Return where libfaketime is; skip without it, unless FAKETIME_REQUIRED is set."""
    for folder in Path("/usr/lib").glob("*/faketime"):
        for name in _LIBRARIES:
            if (folder / name).exists():
                return str(folder / name)
    if os.environ.get("FAKETIME_REQUIRED"):
        raise AssertionError("libfaketime is not installed: apt-get install faketime")
    pytest.skip("libfaketime is not installed: apt-get install faketime")


class ClockBotProcess:
    """One process of the bot after another, on one database, with a clock that jumps when told."""

    def __init__(self, folder: Path, *, lifetime_s: float, monotonic: bool = False, zone: str = "UTC") -> None:
        self._folder = folder
        self._lifetime_s = lifetime_s
        self._offset = folder / "offset"
        self._boot = folder / "boot_id"
        self._boot.write_text("boot 1\n")
        self.jump(0)
        self._environment = os.environ | {
            "LD_PRELOAD": library(),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_DONT_FAKE_MONOTONIC": "0" if monotonic else "1",
            "TZ": zone,
        }
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Begin a process."""
        database = str(self._folder / "opsbot.db")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.safety.clock_bot", database, str(self._lifetime_s), str(self._boot)],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self._folder / "errors").open("a"),
            text=True,
        )

    def kill(self) -> None:
        """End the process as SIGKILL does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)

    def reboot(self) -> None:
        """End the process, and begin the next one in another boot of the machine."""
        self.kill()
        self._boot.write_text("boot 2\n")
        self.start()

    def jump(self, seconds: float) -> None:
        """Set the wall clock this far from the real time."""
        whole = self._offset.with_suffix(".new")
        whole.write_text(f"{seconds:+.3f}\n")
        shutil.move(whole, self._offset)

    def begin_at(self, at: datetime) -> None:
        """Let the wall clock say this now."""
        self.jump((at - datetime.now(UTC)).total_seconds())

    def tell(self, word: str) -> dict[str, Any]:
        """Let something happen, and return how things stand then."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, (self._folder / "errors").read_text()[-2000:]
        said: dict[str, Any] = json.loads(line)
        return said
