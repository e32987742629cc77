"""Connections lost at every moment: a command runs at most once, and the error says what can have happened."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.ssh_slots import PoolLimits
from opsbot.domain import Host
from opsbot.errors import HostUnreachable, OutcomeUnknown, ToolError
from tests.ssh_servers import Exec, Keys, RawServer, SshServer

TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    yield shell
    shell.close()


@dataclass
class Counter:
    """A command with an effect; `break_at` says where the connection is cut."""

    break_at: str = ""
    ran: int = 0

    def __call__(self, exec_: Exec) -> int:
        self._cut(exec_, "before the effect")
        self.ran += 1
        self._cut(exec_, "after the effect")
        exec_.say("half ")
        self._cut(exec_, "in mid output")
        exec_.say("whole\n")
        self._cut(exec_, "before the status")
        exec_.channel.send_exit_status(0)
        self._cut(exec_, "after the status")
        return 0

    def _cut(self, exec_: Exec, moment: str) -> None:
        if moment == self.break_at:
            exec_.channel.get_transport().sock.shutdown(socket.SHUT_RDWR)
            raise EOFError


def outcome(shell: ParamikoShell, host: Host) -> type[ToolError] | str:
    try:
        return shell.run(host, ["restart"], timeout_s=TIMEOUT_S).stdout
    except ToolError as error:
        return type(error)


MOMENTS = ["before the effect", "after the effect", "in mid output", "before the status"]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_command_whose_connection_broke_is_unknown_and_not_sent_again(
    shell: ParamikoShell, keys: Keys, moment: str, warm: bool
) -> None:
    answer = Counter()
    with SshServer(keys, answer) as server:
        if warm:
            assert outcome(shell, server.host()) == "half whole\n"
        answer.break_at, answer.ran = moment, 0
        assert outcome(shell, server.host()) is OutcomeUnknown
        assert answer.ran == (moment != "before the effect")
        assert len(server.commands) == 1 + warm


def test_a_command_that_told_its_status_has_a_result(shell: ParamikoShell, keys: Keys) -> None:
    answer = Counter("after the status")
    with SshServer(keys, answer) as server:
        assert outcome(shell, server.host()) == "half whole\n"
        assert answer.ran == 1


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("step", ["auth", "channel"])
def test_a_connection_that_breaks_before_the_command_is_sent_ran_nothing(
    shell: ParamikoShell, keys: Keys, step: str, warm: bool
) -> None:
    answer = Counter()
    with SshServer(keys, answer) as server:
        if warm:
            assert outcome(shell, server.host()) == "half whole\n"
        answer.ran = 0
        server.block = lambda at: cut_all(server) if at == step else None  # type: ignore[method-assign]
        expected = "half whole\n" if warm and step == "auth" else HostUnreachable
        assert outcome(shell, server.host()) == expected
        assert answer.ran == (expected is not HostUnreachable)


def cut_all(server: SshServer) -> None:
    for transport in server.transports:
        with contextlib.suppress(OSError):
            transport.sock.shutdown(socket.SHUT_RDWR)


@dataclass
class Cutter:
    """A wire to a server that breaks for good after so many bytes in one direction; counts what passed."""

    port: int
    after_bytes: int
    upstream: bool
    passed_bytes: list[int] = field(default_factory=lambda: [0, 0])

    def talk(self, near: socket.socket, stopping: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as far:
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._copy, args=(far, near, False), daemon=True)
            back.start()
            self._copy(near, far, True)
            back.join(TIMEOUT_S)

    def _copy(self, source: socket.socket, target: socket.socket, upstream: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                left = self.after_bytes - self.passed_bytes[upstream] if upstream == self.upstream else len(piece)
                self.passed_bytes[upstream] += len(piece)
                target.sendall(piece[: max(0, left)])
                if left < len(piece):
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def over_a_wire(keys: Keys, after_bytes: int, *, upstream: bool) -> tuple[type[ToolError] | str, int, int, int]:
    """Run one command over a wire that breaks; return its outcome, runs, exec requests and bytes that passed."""
    answer = Counter()
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    with SshServer(keys, answer) as server:
        wire = Cutter(server.port, after_bytes, upstream)
        with RawServer(wire.talk) as raw:
            seen = outcome(shell, server.host(port=raw.port))
            shell.close()
        return seen, answer.ran, len(server.commands), wire.passed_bytes[upstream]


@pytest.mark.parametrize("upstream", [True, False])
def test_a_wire_that_breaks_at_any_byte_never_doubles_a_command(keys: Keys, upstream: bool) -> None:
    seen, ran, _, whole_bytes = over_a_wire(keys, 10**9, upstream=upstream)
    assert (seen, ran) == ("half whole\n", 1)
    steps = 30
    kinds = set()
    for n in range(steps):
        cut_bytes = whole_bytes * n // steps
        seen, ran, requests, _ = over_a_wire(keys, cut_bytes, upstream=upstream)
        kinds.add(seen)
        assert ran <= requests <= 1, f"doubled at byte {cut_bytes}"
        if seen is HostUnreachable:
            assert requests == 0, f"said that nothing ran, at byte {cut_bytes}"
        elif seen != "half whole\n":
            assert seen is OutcomeUnknown
    assert HostUnreachable in kinds
    # The command's own messages are the last few hundred bytes: look there byte packet by byte packet.
    for cut_bytes in range(max(0, whole_bytes - 360), whole_bytes, 12):
        seen, ran, requests, _ = over_a_wire(keys, cut_bytes, upstream=upstream)
        kinds.add(seen)
        assert ran <= requests <= 1, f"doubled at byte {cut_bytes}"
        assert seen is not HostUnreachable or requests == 0
    assert OutcomeUnknown in kinds


def test_a_warm_wire_that_broke_unnoticed_runs_the_command_once_on_a_new_one(shell: ParamikoShell, keys: Keys) -> None:
    """Every byte of the second command's messages, on a connection that carried a first one."""
    answer = Counter()
    with SshServer(keys, answer) as server:
        for extra_bytes in range(0, 260, 20):
            wire = Cutter(server.port, 10**9, True)
            with RawServer(wire.talk) as raw:
                host = server.host(port=raw.port)
                assert outcome(shell, host) == "half whole\n"
                wire.after_bytes = wire.passed_bytes[True] + extra_bytes
                answer.ran, requests = 0, len(server.commands)
                seen = outcome(shell, host)
                sent = len(server.commands) - requests
            assert answer.ran <= sent <= 1
            assert seen in (HostUnreachable, OutcomeUnknown, "half whole\n")
            assert seen is not HostUnreachable or sent == 0


def test_a_refused_dial_ran_nothing(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        host = server.host()
    assert outcome(shell, host) is HostUnreachable
    assert server.commands == []
