"""The gate of a host in tests: its script on disk, what it lets through, and what looking tools really send."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from opsbot.adapters.hostfacts import Probe
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import command_line
from opsbot.cli_gate import all_looks
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Host, UnitFacts
from opsbot.errors import OpsbotError
from opsbot.gate import gate_for
from opsbot.looks import Kind, Look, Slot
from tests.recordings import ReplayShell
from tests.tools.test_every_tool_recorded import ROWS, arguments_of, looked

REGISTRY = load_tools([SHIPPED_TOOLS])
REFUSED = 126
# The last lines of the script, and what stands there where nothing may be run.
RUNS = 'if [ "$1" = exec ]; then shift; exec "$@"; fi\nexec "$@" </dev/null\n'
SAYS = """printf '%s\\n' let-through; printf '%s\\0' "$@"\n"""
# From the specification of names, not from the gate: what a slot may hold.
GRAMMAR: dict[Kind, str] = {
    Kind.UNIT: r"(?!.*@.*@)(?!.*@\Z)[A-Za-z0-9][A-Za-z0-9:_.\\@-]{0,254}",
    Kind.CONTAINER: r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}",
    Kind.NUMBER: r"[0-9]{1,10}",
    Kind.TIME: r"[A-Za-z0-9+@-][A-Za-z0-9 :.+@-]{0,60}",
    Kind.PATH: r"(?!.*/\.\.(?:/|\Z))/[^\x00-\x1f\x7f]{0,4095}",
}


class Gate:
    """A host's gate that tells what it would run, and runs nothing."""

    def __init__(self, host: Host, folder: Path, *, shell: str = "/bin/sh") -> None:
        self.looks = tuple(all_looks(host, REGISTRY))
        script = gate_for(host, self.looks, line="(the line)")
        assert script.endswith(RUNS)
        self.path = folder / "gate-that-says"
        self.path.write_text(script.removesuffix(RUNS) + SAYS)
        self._shell = shlex.split(shell)

    def words(self, line: str | bytes) -> list[str] | None:
        """Return the words it would run for this line, or None when it refuses."""
        said = subprocess.run(
            [*self._shell, str(self.path)],
            env={
                b"SSH_ORIGINAL_COMMAND": line if isinstance(line, bytes) else line.encode(),
                b"PATH": b"/usr/bin:/bin",
            },
            capture_output=True,
        )
        assert said.returncode in (0, REFUSED), (line, said)
        if said.returncode == REFUSED:
            assert b"this key may only look" in said.stderr
            return None
        return said.stdout.removeprefix(b"let-through\n").decode().split("\0")[:-1]

    def knows(self, words: list[str]) -> bool:
        """Whether these words are one of the looks, said by the grammars here."""
        return any(fits(look, words) for look in self.looks)


def fits(look: Look, words: list[str]) -> bool:
    return len(look) == len(words) and all(
        re.fullmatch(re.escape(slot.before) + GRAMMAR[slot.kind] + re.escape(slot.after), word) is not None
        if isinstance(slot, Slot)
        else slot == word
        for slot, word in zip(look, words, strict=True)
    )


class _Listening(ReplayShell):
    """Answers from a recording, and takes down every command line as SSH would carry it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.lines: set[str] = set()

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.lines.add(command_line(argv).decode())
        return super().run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)


def recorded_looks() -> Iterator[tuple[str, Host, set[str]]]:
    """Yield the lines each tool sends to look (reads, impact, verification) on each recording of a real host."""
    for name, row in ROWS.items():
        for recording in row.recordings:
            shell = _Listening(recording)
            looked(REGISTRY.get(name), row, shell)
            assert arguments_of(row, shell) is not None
            yield f"{name} on {recording}", row.host, shell.lines


def by_machines(machines: HostMachines, host: Host) -> Iterator[Callable[[], object]]:
    """Yield every look the bot has besides those of tools."""
    yield lambda: machines.vitals(host, timeout_s=20)
    yield lambda: machines.facts(host, timeout_s=20)
    yield from (lambda probe=probe: machines.run(host, probe.argv, timeout_s=20) for probe in Probe)  # type: ignore[misc]
    services = machines.services(host)
    yield lambda: services.show("nginx.service", timeout_s=20)
    yield lambda: services.units(timeout_s=20)
    yield lambda: services.logs("nginx.service", lines=5, timeout_s=20)
    yield lambda: services.logs("nginx.service", lines=5, since="2 hours ago", timeout_s=20)
    yield lambda: services.connections(UnitFacts("nginx.service", main_pid=1), timeout_s=20)
    yield lambda: machines.certificates(host, timeout_s=20)


def each_heard(looks: Iterable[Callable[[], object]]) -> None:
    """Look, whatever comes of it: only what was sent counts."""
    for look in looks:
        with suppress(OpsbotError):
            look()
