"""The fleet tool: real hosts on this machine, started, broken and looked at beside the bot."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsbot.errors import ConfigError, OpsbotError

# The first image is built in one to three minutes; a boot takes seconds.
_BOOT_TIMEOUT_S = 900
_COMMAND_TIMEOUT_S = 180
_CANNOT = 77
_SAID_MAX = 400


class FleetError(OpsbotError):
    """The fleet did not do what it was told."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the fleet: how it is reached."""

    name: str
    address: str
    host_key: str
    key_file: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """The tool at `path`; everything it does blocks."""

    path: Path

    @staticmethod
    def found(named: Path | None) -> "Fleet":
        """Return the named tool, or that of the checkout this program runs from. Raises ConfigError."""
        path = named or Path(__file__).resolve().parents[2] / "tests/fleet/fleet"
        if not path.is_file():
            raise ConfigError(
                f"{path}: there is no fleet tool. It comes with the source (tests/fleet/fleet), not with the package: "
                "run from a checkout, or name it with --fleet."
            )
        return Fleet(path)

    def check(self) -> None:
        """Raise ConfigError with the reasons if this machine can run no fleet."""
        came = self._run("check", timeout_s=_COMMAND_TIMEOUT_S)
        if came.returncode == _CANNOT:
            reasons = "; ".join(came.stdout.split("\n")).strip("; ")
            raise ConfigError(f"No fleet can run here: {reasons}")

    def up(self, count: int) -> None:
        """Start so many machines, or as many as are missing."""
        self._checked("up", str(count), timeout_s=_BOOT_TIMEOUT_S)

    def down(self) -> None:
        """End every machine."""
        self._checked("down")

    def fault(self, machine: str, *words: str) -> None:
        """Break something on a machine."""
        self._checked("fault", machine, *words)

    def heal(self, machine: str) -> None:
        """Undo every fault of a machine."""
        self._checked("heal", machine)

    def execute(self, machine: str, script: str) -> tuple[int, str]:
        """Run a script as root on a machine, beside its sshd; return its status and what it said."""
        came = self._run("exec", machine, "sh", "-c", script, timeout_s=_COMMAND_TIMEOUT_S)
        return came.returncode, came.stdout

    def machines(self) -> Mapping[str, Machine]:
        """Return the running machines by name."""
        inventory = json.loads(self._checked("inventory", separate=True))
        keys = _keys(Path(inventory["known_hosts"]).read_text(encoding="utf-8"))
        return {
            each["name"]: Machine(each["name"], each["addr"], keys[each["addr"]], inventory["key"])
            for each in inventory["hosts"]
        }

    def _checked(self, *words: str, timeout_s: int = _COMMAND_TIMEOUT_S, separate: bool = False) -> str:
        came = self._run(*words, timeout_s=timeout_s, separate=separate)
        if came.returncode:
            raise FleetError(f"`{self.path.name} {' '.join(words)[:80]}` failed: {came.stdout.strip()[-_SAID_MAX:]}")
        return came.stdout

    def _run(self, *words: str, timeout_s: int, separate: bool = False) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                [str(self.path), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if separate else subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"`{self.path.name} {' '.join(words)[:80]}` took more than {timeout_s} s.") from error
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be run ({error.strerror}).") from error


def _keys(known_hosts: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in known_hosts.splitlines():
        names, key = line.split(" ", 1)
        found.update(dict.fromkeys(names.split(","), key))
    return found


def first_words(text: str, limit: int = _SAID_MAX) -> str:
    """Return the end of what a command said, in one line."""
    return " ".join(text.split())[-limit:]


def joined(scripts: Sequence[str]) -> str:
    """Return one script that runs these in turn and stops at the first that fails."""
    return "\n".join(f"(\n{script}\n) || exit 1" for script in scripts)
