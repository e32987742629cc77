"""The contract of Shell, on the fake and on ParamikoShell against a real SSH server."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from opsbot.adapters.ssh import ParamikoShell
from opsbot.domain import CommandResult, Host
from opsbot.errors import BadArguments, HostUnreachable
from opsbot.ports import Shell
from tests.fake_shell import FakeShell
from tests.ssh_servers import Exec, Keys, SshServer

TIMEOUT_S = 20


class Rig(Protocol):
    """A shell, a host it reaches, one it does not, and a way to script commands."""

    shell: Shell
    host: Host
    dead_host: Host

    def on(self, *argv: str, stdout: str = "", stderr: str = "", exit_status: int = 0) -> None: ...
    def commands_run(self) -> int: ...


class FakeRig:
    def __init__(self) -> None:
        self.shell = FakeShell().down("dead")
        self.host, self.dead_host = Host("web-1"), Host("dead")

    def on(self, *argv: str, stdout: str = "", stderr: str = "", exit_status: int = 0) -> None:
        self.shell.on(*argv, stdout=stdout, stderr=stderr, exit_status=exit_status)

    def commands_run(self) -> int:
        return len(self.shell.calls)


class RealRig:
    def __init__(self, server: SshServer) -> None:
        self._server = server
        self._answers: dict[tuple[str, ...], tuple[str, str, int]] = {}
        server.answer = self._answer
        self.shell = ParamikoShell()
        self.host = server.host()
        self.dead_host = server.host("dead", host_key="")

    def on(self, *argv: str, stdout: str = "", stderr: str = "", exit_status: int = 0) -> None:
        self._answers[argv] = (stdout, stderr, exit_status)

    def commands_run(self) -> int:
        return len(self._server.commands)

    def _answer(self, exec_: Exec) -> int:
        stdout, stderr, status = self._answers[tuple(shlex.split(exec_.line.decode()))]
        exec_.say(stdout)
        exec_.say_error(stderr)
        return status


@pytest.fixture(params=["fake", "paramiko"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    if request.param == "fake":
        yield FakeRig()
        return
    with SshServer(Keys.make(tmp_path)) as server:
        real = RealRig(server)
        yield real
        real.shell.close()


def run(rig: Rig, *argv: str, **options: int) -> CommandResult:
    return rig.shell.run(rig.host, argv, timeout_s=TIMEOUT_S, **options)


def test_both_streams_and_the_status_come_back(rig: Rig) -> None:
    rig.on("uptime", "-p", stdout="up 3 days\n", stderr="mind the step\n", exit_status=0)
    result = run(rig, "uptime", "-p")
    assert (result.argv, result.exit_status, result.stdout, result.stderr) == (
        ("uptime", "-p"),
        0,
        "up 3 days\n",
        "mind the step\n",
    )
    assert not result.truncated


def test_a_non_zero_status_is_a_result_not_an_error(rig: Rig) -> None:
    rig.on("false", exit_status=255)
    assert run(rig, "false").exit_status == 255


def test_hostile_words_arrive_as_one_argument(rig: Rig) -> None:
    word = "a b'c\"d$(id);\n*?~ &|<>\\ é"
    rig.on("echo", word, stdout="ok")
    assert run(rig, "echo", word).stdout == "ok"


def test_each_stream_is_capped_in_bytes_and_says_so(rig: Rig) -> None:
    rig.on("journalctl", stdout="é" * 100, stderr="e" * 10)
    result = run(rig, "journalctl", max_bytes=10)
    assert (result.stdout, result.stderr, result.truncated) == ("é" * 5, "e" * 10, True)


def test_output_of_exactly_the_cap_is_not_truncated(rig: Rig) -> None:
    rig.on("journalctl", stdout="x" * 10)
    assert not run(rig, "journalctl", max_bytes=10).truncated


def test_control_characters_are_kept(rig: Rig) -> None:
    rig.on("ls", stdout="\x1b[31mred\x1b[0m\r\n\x00")
    assert run(rig, "ls").stdout == "\x1b[31mred\x1b[0m\r\n\x00"


@pytest.mark.parametrize("argv", [(), ("ls", "a\0b")])
def test_what_no_command_line_can_carry_is_refused(rig: Rig, argv: tuple[str, ...]) -> None:
    with pytest.raises(BadArguments):
        rig.shell.run(rig.host, argv, timeout_s=TIMEOUT_S)
    assert rig.commands_run() == 0


def test_an_unreachable_host_ran_nothing(rig: Rig) -> None:
    rig.on("ls")
    with pytest.raises(HostUnreachable, match="dead"):
        rig.shell.run(rig.dead_host, ["ls"], timeout_s=TIMEOUT_S)
    assert rig.commands_run() == 0


def test_without_time_nothing_is_run(rig: Rig) -> None:
    rig.on("ls")
    with pytest.raises(HostUnreachable):
        rig.shell.run(rig.host, ["ls"], timeout_s=0)
    assert rig.commands_run() == 0


def test_a_closed_shell_runs_nothing(rig: Rig) -> None:
    rig.on("ls")
    run(rig, "ls")
    rig.shell.close()
    rig.shell.close()
    with pytest.raises(HostUnreachable):
        run(rig, "ls")
    assert rig.commands_run() == 1
