"""Warm connections: shared, bounded, replaced when dead, closed when idle, and only to the inventory's addresses."""

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from opsbot.adapters import ssh_link
from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_pool import LinkPool
from opsbot.domain import Host
from opsbot.errors import CommandTimedOut, HostBusy, HostUnreachable, OutcomeUnknown
from tests import ssh_answers, ssh_servers
from tests.ssh_servers import Exec, Keys, SshServer

TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell()
    yield shell
    shell.close()


class Gate:
    """Holds commands at the server until opened, and tells when so many wait."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, exec_: Exec) -> int:
        self.waiting.release()
        self.open.wait(TIMEOUT_S)
        return 0

    def wait_for(self, commands: int) -> None:
        for _ in range(commands):
            assert self.waiting.acquire(timeout=TIMEOUT_S)


def wait_until(holds: Callable[[], bool]) -> bool:
    end_at = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > end_at:
            return False
        time.sleep(0.02)
    return True


def test_commands_one_after_another_share_one_connection(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        for _ in range(20):
            shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        assert (server.connections, len(server.commands)) == (1, 20)


def test_commands_at_the_same_time_share_one_connection_even_when_cold(shell: ParamikoShell, keys: Keys) -> None:
    gate = Gate()
    with SshServer(keys, gate) as server, ThreadPoolExecutor(8) as calls:
        running = [calls.submit(shell.run, server.host(), ["true"], timeout_s=TIMEOUT_S) for _ in range(8)]
        gate.wait_for(8)
        gate.open.set()
        assert [call.result().exit_status for call in running] == [0] * 8
        assert (server.connections, server.most_busy) == (1, 8)


def test_no_more_commands_run_at_once_on_a_host_than_its_limit(keys: Keys) -> None:
    shell = ParamikoShell(PoolLimits(channels_per_host=2))
    gate = Gate()
    with SshServer(keys, gate) as server, ThreadPoolExecutor(6) as calls:
        running = [calls.submit(shell.run, server.host(), ["true"], timeout_s=TIMEOUT_S) for _ in range(6)]
        gate.wait_for(2)
        with pytest.raises(HostBusy, match="still runs 2 other commands"):
            shell.run(server.host(), ["true"], timeout_s=0.2)
        gate.open.set()
        assert [call.result().exit_status for call in running] == [0] * 6
        assert (server.connections, server.most_busy) == (1, 2)
    shell.close()


def test_a_host_that_allows_fewer_sessions_is_respected(shell: ParamikoShell, keys: Keys) -> None:
    """sshd's MaxSessions, which hardening guides set as low as 2."""
    gate = Gate()
    with SshServer(keys, gate, max_sessions=2) as server, ThreadPoolExecutor(5) as calls:
        running = [calls.submit(shell.run, server.host(), ["true"], timeout_s=TIMEOUT_S) for _ in range(2)]
        gate.wait_for(2)
        running += [calls.submit(shell.run, server.host(), ["true"], timeout_s=TIMEOUT_S) for _ in range(3)]
        gate.open.set()
        assert [call.result().exit_status for call in running] == [0] * 5
        assert server.most_busy == 2
        assert len(server.commands) == 5


def test_a_host_that_refuses_every_session_is_unreachable(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys, max_sessions=0) as server:
        with pytest.raises(HostUnreachable, match="opened no session"):
            shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        assert server.commands == []


def test_a_warm_connection_that_died_is_replaced_and_the_command_sent_once(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        for n in range(5):
            shell.run(server.host(), ["echo", str(n)], timeout_s=TIMEOUT_S)
            server.drop()
        assert server.commands == [f"echo {n}".encode() for n in range(5)]
        assert server.connections == 5


def test_a_warm_connection_that_fell_silent_is_replaced_within_the_deadline(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        server.blocked = frozenset({"channel"})
        opened_before = server.connections
        server.block = lambda step: (  # type: ignore[method-assign]
            server.stopping.wait() if step == "channel" and server.connections == opened_before else None
        )
        assert shell.run(server.host(), ["true"], timeout_s=2).exit_status == 0
        assert (server.connections, len(server.commands)) == (2, 2)


def test_a_timed_out_command_does_not_disturb_another_on_the_same_connection(shell: ParamikoShell, keys: Keys) -> None:
    gate = Gate()
    with SshServer(keys, gate) as server, ThreadPoolExecutor(1) as calls:
        slow = calls.submit(shell.run, server.host(), ["restart"], timeout_s=TIMEOUT_S)
        gate.wait_for(1)
        with pytest.raises(CommandTimedOut):
            shell.run(server.host(), ["look"], timeout_s=0.3)
        gate.open.set()
        assert slow.result().exit_status == 0
        assert server.connections == 1
        # After a time-out nobody knows whether the link is well: the next command gets a new one.
        shell.run(server.host(), ["look"], timeout_s=TIMEOUT_S)
        assert server.connections == 2


def test_an_unused_connection_is_closed(keys: Keys) -> None:
    shell = ParamikoShell(PoolLimits(idle_s=0.2))
    with SshServer(keys) as server:
        shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        transport = server.transports[0]
        assert wait_until(lambda: not transport.is_active())
        shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        assert server.connections == 2
    shell.close()


def test_an_idle_connection_is_kept_alive_by_asking_the_host(
    shell: ParamikoShell, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Firewalls forget silent connections; and a host that is gone is noticed, because it does not acknowledge."""
    monkeypatch.setattr(ssh_link, "_KEEPALIVE_S", 0.2)
    monkeypatch.setattr(ssh_link._Transport, "_active_check_timeout", 0.1)
    with SshServer(keys) as server:
        shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        assert wait_until(lambda: server.global_requests.count("keepalive@lag.net") >= 2)


def test_the_system_gives_up_a_connection_whose_bytes_nobody_acknowledges(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        (link,) = shell._pool._slots.links()
        options = {
            "alive": link._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            "patience_ms": link._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        }
    assert options == {"alive": 1, "patience_ms": 20_000}


def test_the_longest_unused_connections_are_closed_when_there_are_too_many(keys: Keys) -> None:
    shell = ParamikoShell(PoolLimits(connections=2))
    with SshServer(keys) as first, SshServer(keys) as second, SshServer(keys) as third:
        for server in (first, second, third):
            shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        assert wait_until(lambda: not first.transports[0].is_active())
        assert [server.transports[0].is_active() for server in (second, third)] == [True, True]
    shell.close()


def test_a_connection_is_renewed_after_so_many_commands(keys: Keys) -> None:
    shell = ParamikoShell(PoolLimits(commands_per_connection=3))
    with SshServer(keys) as server:
        for _ in range(7):
            shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        assert (server.connections, len(server.commands)) == (3, 7)
    shell.close()


def test_users_keys_and_pins_never_share_a_connection(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S)
        shell.run(server.host(user="viewer"), ["true"], timeout_s=TIMEOUT_S)
        assert server.connections == 2
        with pytest.raises(HostUnreachable, match="no pinned host key"):
            shell.run(server.host(host_key=""), ["true"], timeout_s=TIMEOUT_S)


def test_a_host_that_just_failed_is_answered_at_once_and_then_tried_again(keys: Keys) -> None:
    shell = ParamikoShell(PoolLimits(suspect_s=1.5))
    with SshServer(keys) as server:
        host = server.host()
        wrong = server.host(user="bot", host_key=ssh_servers.pin_of(keys.client_key))
        for words in ("another host key", "not tried again for"):
            with pytest.raises(HostUnreachable, match=words):
                shell.run(wrong, ["true"], timeout_s=TIMEOUT_S)
        assert server.connections == 1
        shell.run(host, ["true"], timeout_s=TIMEOUT_S)
        assert wait_until(lambda: _tried_again(shell, wrong))
    shell.close()


def _tried_again(shell: ParamikoShell, host: Host) -> bool:
    with pytest.raises(HostUnreachable) as caught:
        shell.run(host, ["true"], timeout_s=TIMEOUT_S)
    return "not tried again" not in str(caught.value)


def test_an_impatient_caller_does_not_make_a_slow_host_suspect(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        ready = threading.Event()
        server.block = lambda step: ready.wait(TIMEOUT_S) and None if step == "auth" else None  # type: ignore[method-assign]
        with pytest.raises(HostUnreachable, match="did not finish the log-in"):
            shell.run(server.host(), ["true"], timeout_s=0.3)
        ready.set()
        assert shell.run(server.host(), ["true"], timeout_s=TIMEOUT_S).exit_status == 0


def test_closing_ends_what_runs_and_leaves_nothing(keys: Keys) -> None:
    shell = ParamikoShell()
    gate = Gate()
    with SshServer(keys, gate) as server, ThreadPoolExecutor(1) as calls:
        running = calls.submit(shell.run, server.host(), ["sleep"], timeout_s=TIMEOUT_S)
        gate.wait_for(1)
        shell.close()
        assert type(running.exception(timeout=TIMEOUT_S)) is OutcomeUnknown
        assert not [t.name for t in threading.enumerate() if t.name.startswith("opsbot-ssh")]
        gate.open.set()


def test_only_the_inventory_s_address_is_connected_to(
    shell: ParamikoShell, keys: Keys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proxy in ~/.ssh/config and an agent in the environment are there to be ignored."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text("Host *\n  ProxyCommand nc 127.0.0.1 1\n  HostName 127.0.0.9\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    connected: list[object] = []
    queried: list[object] = []
    real_connect, real_lookup = socket.socket.connect, socket.getaddrinfo

    def connect(self: socket.socket, address: object) -> None:
        connected.append(address)
        real_connect(self, address)  # type: ignore[arg-type]

    def lookup(host: str, *rest: object, **options: object) -> object:
        if not options.get("flags", 0):  # type: ignore[truthy-bool]
            queried.append(host)
        return real_lookup(host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with SshServer(keys) as server:
        shell.run(server.host("10.9.9.9"), ["true"], timeout_s=TIMEOUT_S)
        shell.run(server.host("evil.example -oProxyCommand=x"), ["ssh", "root@evil.example"], timeout_s=TIMEOUT_S)
        assert set(connected) == {("127.0.0.1", server.port)}
    assert queried == []


def test_a_name_that_does_not_resolve_is_unreachable(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server, pytest.raises(HostUnreachable, match="does not resolve"):
        shell.run(server.host(address="a" * 64 + ".invalid"), ["true"], timeout_s=TIMEOUT_S)


def test_a_host_without_an_address_is_unreachable(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server, pytest.raises(HostUnreachable, match="no address"):
        shell.run(server.host(address=""), ["true"], timeout_s=TIMEOUT_S)


def test_a_fault_writes_nothing_to_stderr_or_the_log(
    shell: ParamikoShell, keys: Keys, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        ssh_servers.RawServer(ssh_answers.speaks_http) as raw,
        SshServer(keys) as server,
        pytest.raises(HostUnreachable),
    ):
        shell.run(server.host(port=raw.port), ["true"], timeout_s=TIMEOUT_S)
    assert capfd.readouterr().err == ""
    assert caplog.records == []


class FakeClock:
    """Moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_suspected_host_is_tried_again_by_one_caller_while_others_are_answered_at_once(
    keys: Keys, tmp_path: Path
) -> None:
    clock = FakeClock()
    pool = LinkPool(PoolLimits(suspect_s=5.0), monotonic=clock)
    let_in = threading.Event()

    def reach(timeout_s: float = TIMEOUT_S) -> str:
        """Open a session, or say why not."""
        try:
            with pool.session(server.host(), Deadline(timeout_s)):
                return "reached"
        except HostUnreachable as error:
            return str(error)

    with SshServer(keys) as server, ThreadPoolExecutor(1) as calls:
        server.client_key = paramiko.PKey.from_path(ssh_servers.new_key(tmp_path / "other"))
        for pause_s in (5, 10, 20):
            assert "refused the log-in" in reach()
            assert f"not tried again for {pause_s} s. Never seen since opsbot started.)" in reach()
            clock.now += pause_s + 0.01
        assert server.connections == 3
        server.client_key = keys.client_key
        server.block = lambda step: let_in.wait(TIMEOUT_S) and None if step == "auth" else None  # type: ignore[method-assign]
        trying = calls.submit(reach)
        assert wait_until(lambda: server.connections == 4)
        started_at = time.monotonic()
        assert "being tried again just now" in reach()
        assert time.monotonic() - started_at < 1
        let_in.set()
        assert trying.result() == "reached"
        assert reach() == "reached"
        clock.now += 100
        server.client_key = paramiko.PKey.from_path(tmp_path / "other")
        server.drop()
        assert "refused the log-in" in reach()
        assert re.search(r"not tried again for 5 s\. Last seen \d\d:\d\d:\d\d UTC, 1m 40s ago\.\)$", reach())
    pool.close()
