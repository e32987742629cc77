"""Recorded outputs of real hosts (tests/tools/*.json), replayed through the adapters as a Shell.

A recording names where it was made, and holds for each command line what it printed. `RecordingShell` makes one.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from opsbot.domain import CommandResult, Host
from opsbot.ports import Shell

FOLDER = Path(__file__).parent / "tools"


def _key(argv: Sequence[str]) -> tuple[str, ...]:
    """A script counts by its first line, so that a recording outlives a change of its wording."""
    if tuple(argv[:2]) == ("sh", "-c"):
        return ("sh", "-c", argv[2].strip().splitlines()[0], *argv[3:])
    return tuple(argv)


def recorded_output(name: str, first_line: str) -> str:
    """Return what the script that begins with this line printed."""
    content = json.loads((FOLDER / f"{name}.json").read_text())
    return next(str(entry["stdout"]) for entry in content["commands"] if first_line in entry["argv"])


class ReplayShell(Shell):
    """Answers with what a real host once said; a command that was not recorded fails the test."""

    def __init__(self, name: str) -> None:
        content = json.loads((FOLDER / f"{name}.json").read_text())
        self.recorded_on: dict[str, str] = content["recorded_on"]
        self._results = {tuple(entry["argv"]): entry for entry in content["commands"]}

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        entry = self._results[_key(argv)]
        return CommandResult(tuple(argv), entry["exit_status"], entry["stdout"], entry["stderr"])

    def close(self) -> None:
        """Nothing is open."""


class RecordingShell(Shell):
    """Passes commands on to a real shell and keeps what they printed. The last answer to a command line counts."""

    def __init__(self, real: Shell) -> None:
        self._real = real
        self._results: dict[tuple[str, ...], CommandResult] = {}

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        result = self._real.run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)
        self._results[_key(argv)] = result
        return result

    def close(self) -> None:
        self._real.close()

    def save(self, name: str, **recorded_on: str) -> None:
        """Write the recording to tests/tools/NAME.json."""
        commands = [
            {
                "argv": list(argv),
                "exit_status": result.exit_status,
                "stdout": result.stdout,
                "stderr": result.stderr,
            }
            for argv, result in self._results.items()
        ]
        content = {"recorded_on": recorded_on, "commands": commands}
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n")
