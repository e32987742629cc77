"""A Shell in memory: answers by argument vector, and remembers what it was asked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from opsbot.domain import CommandResult, Host
from opsbot.errors import BadArguments, HostUnreachable, ToolError


@dataclass(frozen=True)
class ShellCall:
    """One command that was run."""

    host: str
    argv: tuple[str, ...]
    timeout_s: float
    stdin: str


class FakeShell:
    """`opsbot.ports.Shell` without hosts. An argument vector nobody scripted fails the test that ran it."""

    def __init__(self) -> None:
        self.calls: list[ShellCall] = []
        self._answers: dict[tuple[str, tuple[str, ...]], CommandResult | ToolError] = {}
        self._down: dict[str, ToolError] = {}
        self._closed = False

    def on(
        self,
        *argv: str,
        stdout: str = "",
        stderr: str = "",
        exit_status: int = 0,
        host: str = "",
        fails: ToolError | None = None,
    ) -> Self:
        """Script one command, on one host or on all; `fails` is raised instead of a result."""
        self._answers[(host, argv)] = fails or CommandResult(argv, exit_status, stdout, stderr)
        return self

    def down(self, host: str, error: ToolError | None = None) -> Self:
        """Let every command on this host fail."""
        self._down[host] = error or HostUnreachable(f"{host} does not answer. Nothing was run.")
        return self

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        words = tuple(argv)
        if not words or any("\0" in word for word in words):
            raise BadArguments("A command needs a word, and no NUL character.")
        if self._closed or timeout_s <= 0:
            raise HostUnreachable(f"{host.name} is not reached. Nothing was run.")
        if host.name in self._down:
            raise self._down[host.name]
        self.calls.append(ShellCall(host.name, words, timeout_s, stdin))
        answer = self._answers.get((host.name, words)) or self._answers.get(("", words))
        if answer is None:
            raise AssertionError(f"nobody scripted {words} on {host.name}; scripted: {sorted(self._answers)}")
        if isinstance(answer, ToolError):
            raise answer
        return _capped(answer, max_bytes)

    def close(self) -> None:
        self._closed = True

    @property
    def lines(self) -> list[str]:
        """What was run, as `host: word word`."""
        return [f"{call.host}: {' '.join(call.argv)}" for call in self.calls]


def _capped(result: CommandResult, max_bytes: int) -> CommandResult:
    streams = [result.stdout.encode(), result.stderr.encode()]
    stdout, stderr = (stream[:max_bytes].decode("utf-8", "replace") for stream in streams)
    truncated = any(len(stream) > max_bytes for stream in streams)
    return replace(result, stdout=stdout, stderr=stderr, truncated=truncated)
