"""Hosts that hang, lie, flood or vanish: every call ends in time with the right error, and delays nobody else."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import psutil
import pytest

from opsbot.adapters.ssh import ParamikoShell, PoolLimits, scan_host_key
from opsbot.adapters.ssh_keys import fingerprint
from opsbot.domain import Host
from opsbot.errors import CommandTimedOut, HostUnreachable, OutcomeUnknown, ToolError
from tests import ssh_answers, ssh_servers
from tests.ssh_servers import Exec, Keys, RawServer, SshServer

DEADLINE_S = 1.0
# The promise is one second after the deadline; the rest is for a machine busy with other things.
LATEST_S = DEADLINE_S + 2.0
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    yield shell
    shell.close()


def fails(shell: ParamikoShell, host: Host, error: type[ToolError], deadline_s: float = DEADLINE_S) -> str:
    """Run a command that must fail with exactly this error, in time; return the text."""
    started_at = time.monotonic()
    with pytest.raises(error) as caught:
        shell.run(host, ["systemctl", "status"], timeout_s=deadline_s)
    assert time.monotonic() - started_at < deadline_s + 2.0
    assert caught.type is error
    return str(caught.value)


# --- before the command is sent: nothing ran -------------------------------------------------------------------------

RAW = {
    "never speaks": (ssh_answers.never_speaks, "no SSH greeting within 1.0 s"),
    "hangs in key exchange": (ssh_answers.hangs_in_key_exchange, "did not finish the key exchange"),
    "floods greeting lines": (ssh_answers.floods_greeting_lines, "handshake"),
    "floods the greeting": (ssh_answers.floods_greeting_without_line_end, "without a version"),
    "drips the greeting": (ssh_answers.drips_greeting, "no SSH greeting"),
    "speaks HTTP": (ssh_answers.speaks_http, "handshake"),
    "closes at once": (ssh_answers.closes_at_once, "handshake"),
    "endless packet": (ssh_answers.sends_endless_packet, "packet of"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_host_that_does_not_speak_ssh_is_unreachable_in_time(shell: ParamikoShell, keys: Keys, name: str) -> None:
    talk, words = RAW[name]
    with RawServer(talk) as raw, SshServer(keys) as server:
        text = fails(shell, server.host(port=raw.port), HostUnreachable)
    assert words in text
    assert "web-1" in text
    assert "Nothing was run" in text


def test_a_connection_that_is_never_accepted_is_unreachable_in_time(shell: ParamikoShell, keys: Keys) -> None:
    with ssh_answers.full_backlog() as port, SshServer(keys) as server:
        assert "did not accept a connection within 1.0 s" in fails(shell, server.host(port=port), HostUnreachable)


def test_a_refused_connection_is_unreachable_at_once(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        host = server.host()
    assert "Connection refused" in fails(shell, host, HostUnreachable, 20)


@pytest.mark.parametrize(("step", "words"), [("auth", "did not finish the log-in"), ("channel", "opened no session")])
def test_a_host_that_hangs_before_the_command_is_unreachable_in_time(
    shell: ParamikoShell, keys: Keys, step: str, words: str
) -> None:
    with SshServer(keys, blocked=frozenset({step})) as server:
        assert words in fails(shell, server.host(), HostUnreachable)
        assert server.commands == []


def test_a_refused_key_is_named(shell: ParamikoShell, keys: Keys, tmp_path: Path) -> None:
    other = ssh_servers.new_key(tmp_path / "other")
    with SshServer(keys) as server:
        text = fails(shell, server.host(key_file=str(other)), HostUnreachable, 20)
    assert "refused the log-in of 'bot'" in text
    assert str(other) in text


# --- after the command was sent --------------------------------------------------------------------------------------


def test_a_host_that_never_confirms_the_command_times_out(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys, blocked=frozenset({"exec"})) as server:
        text = fails(shell, server.host(), CommandTimedOut)
        assert len(server.commands) == 1
    assert "`systemctl` on web-1" in text
    assert "may still be running" in text


@pytest.mark.parametrize("answer", [ssh_answers.hangs, ssh_answers.drips, ssh_answers.renegotiates_for_ever])
def test_a_command_that_does_not_end_times_out(shell: ParamikoShell, keys: Keys, answer: Callable[[Exec], int]) -> None:
    with SshServer(keys, answer) as server:
        assert "may still be running" in fails(shell, server.host(), CommandTimedOut)
        assert len(server.commands) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ssh_answers.closes_without_status, "without an exit status"),
        (ssh_answers.ends_by_signal, "without an exit status"),
        (ssh_answers.cuts_connection, "connection was lost"),
    ],
)
def test_an_end_without_a_status_is_unknown_and_never_repeated(
    shell: ParamikoShell, keys: Keys, answer: Callable[[Exec], None], words: str
) -> None:
    with SshServer(keys, answer) as server:
        assert words in fails(shell, server.host(), OutcomeUnknown, 20)
        assert len(server.commands) == 1


def test_a_connection_cut_at_the_request_is_unknown_and_never_repeated(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys, drop_at_exec=True) as server:
        fails(shell, server.host(), OutcomeUnknown, 20)
        assert len(server.commands) == 1


def test_a_flood_on_both_streams_is_cut_without_filling_memory(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys, ssh_answers.floods) as server:
        before_bytes = psutil.Process().memory_info().rss
        result = shell.run(server.host(), ["yes"], timeout_s=60)
        grown_bytes = psutil.Process().memory_info().rss - before_bytes
    assert result.truncated
    assert result.exit_status == 141
    assert (len(result.stdout), len(result.stderr)) == (65536, 65536)
    assert grown_bytes < 50 * MIB


def test_a_long_output_that_ends_keeps_its_status(shell: ParamikoShell, keys: Keys) -> None:
    def answer(exec_: Exec) -> int:
        for _ in range(3 * 32):
            exec_.say(b"o" * 32768)
            exec_.say_error(b"e" * 32768)
        return 7

    with SshServer(keys, answer) as server:
        result = shell.run(server.host(), ["journalctl"], timeout_s=60, max_bytes=1000)
    assert (result.exit_status, result.truncated) == (7, True)
    assert (result.stdout, result.stderr) == ("o" * 1000, "e" * 1000)


def test_a_stream_held_open_by_a_child_does_not_hide_the_status(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys, ssh_answers.keeps_stream_open) as server:
        result = shell.run(server.host(), ["service", "nginx", "restart"], timeout_s=60)
    assert (result.exit_status, result.stdout) == (0, "started\n")
    assert result.duration_s < 30


def test_a_child_that_talks_for_ever_does_not_hide_the_status(shell: ParamikoShell, keys: Keys) -> None:
    def answer(exec_: Exec) -> int:
        exec_.channel.send_exit_status(3)
        return ssh_answers.drips(exec_)

    with SshServer(keys, answer) as server:
        result = shell.run(server.host(), ["start"], timeout_s=2)
    assert (result.exit_status, result.truncated) == (3, True)


def test_a_link_stuck_in_a_key_exchange_is_replaced(shell: ParamikoShell, keys: Keys) -> None:
    """A write waits for the end of the key exchange, in the library for 30 s."""
    stuck = threading.Event()

    def answer(exec_: Exec) -> int:
        if exec_.server.connections > 1:
            return 0
        transport = exec_.channel.get_transport()
        transport._handler_table[paramiko.common.MSG_KEXINIT] = lambda message: (
            stuck.set(),
            exec_.server.stopping.wait(),
        )
        transport._send_kex_init()
        exec_.hold()
        return 0

    with SshServer(keys, answer) as server, ThreadPoolExecutor(1) as calls:
        first = calls.submit(fails, shell, server.host(), CommandTimedOut, 6.0)
        assert stuck.wait(20)
        assert shell.run(server.host(), ["true"], timeout_s=4).exit_status == 0
        assert not first.done(), "the command on the stuck link was cut off"
        first.result()
        assert server.connections == 2


def test_input_waits_for_the_end_of_a_key_exchange_only_until_the_deadline(shell: ParamikoShell, keys: Keys) -> None:
    """The host takes more input, and begins a key exchange it never ends: the input is unsent, not stuck in a write."""

    def prepare(transport: paramiko.Transport) -> None:
        transport.default_window_size = 32768

    def answer(exec_: Exec) -> int:
        transport = exec_.channel.get_transport()
        while len(exec_.channel.in_buffer) < 32768 and exec_.wanted:
            time.sleep(0.01)
        transport._handler_table[paramiko.common.MSG_KEXINIT] = lambda message: exec_.server.stopping.wait()
        more = paramiko.Message()
        more.add_byte(paramiko.common.cMSG_CHANNEL_WINDOW_ADJUST)
        more.add_int(exec_.channel.remote_chanid)
        more.add_int(MIB)
        transport._send_user_message(more)
        transport._send_kex_init()
        exec_.hold()
        return 0

    with SshServer(keys, answer, prepare=prepare) as server, pytest.raises(CommandTimedOut):
        shell.run(server.host(), ["cat"], timeout_s=DEADLINE_S, stdin="x" * 4 * MIB)


def test_input_nobody_reads_is_cut_at_the_deadline(shell: ParamikoShell, keys: Keys) -> None:
    """The window is open, the reader asleep: the write blocks in the kernel."""

    def prepare(transport: paramiko.Transport) -> None:
        transport.default_window_size = 2**31 - 1

    def answer(exec_: Exec) -> int:
        transport = exec_.channel.get_transport()
        transport._channel_handler_table = {
            **transport._channel_handler_table,
            paramiko.common.MSG_CHANNEL_DATA: lambda channel, message: exec_.server.stopping.wait(),
        }
        exec_.hold()
        return 0

    with SshServer(keys, answer, prepare=prepare) as server:
        started_at = time.monotonic()
        with pytest.raises((CommandTimedOut, OutcomeUnknown)):
            shell.run(server.host(), ["cat"], timeout_s=DEADLINE_S, stdin="x" * 32 * MIB)
        assert time.monotonic() - started_at < LATEST_S


# --- others, and what is left behind ---------------------------------------------------------------------------------


def test_hung_hosts_do_not_delay_the_others(shell: ParamikoShell, keys: Keys) -> None:
    with (
        SshServer(keys) as good,
        SshServer(keys, ssh_answers.hangs) as hung,
        SshServer(keys, ssh_answers.drips) as dripping,
        SshServer(keys, blocked=frozenset({"auth"})) as slow_login,
        RawServer(ssh_answers.never_speaks) as silent,
        ThreadPoolExecutor(32) as calls,
    ):
        bad = [hung.host("b1"), dripping.host("b2"), slow_login.host("b3"), good.host("b4", port=silent.port)]
        failing = [calls.submit(shell.run, host, ["x"], timeout_s=8.0) for host in bad]
        answers = [calls.submit(shell.run, good.host(f"g{n}"), ["uptime"], timeout_s=30) for n in range(16)]
        assert [answer.result().exit_status for answer in answers] == [0] * 16
        assert not any(call.done() for call in failing), "the good hosts had to wait for the hung ones"
        errors = [type(call.exception()) for call in failing]
    assert errors == [CommandTimedOut, CommandTimedOut, HostUnreachable, HostUnreachable]


def test_two_hundred_hung_calls_leave_no_thread_and_no_descriptor(keys: Keys) -> None:
    with (
        SshServer(keys, ssh_answers.hangs) as hung,
        SshServer(keys, blocked=frozenset({"auth"})) as slow_login,
        RawServer(ssh_answers.never_speaks) as silent,
        RawServer(ssh_answers.hangs_in_key_exchange) as greeting_only,
        ssh_answers.full_backlog() as unaccepted,
    ):
        hosts = [
            hung.host(),
            slow_login.host(),
            *(hung.host(port=port) for port in (silent.port, greeting_only.port, unaccepted)),
        ]
        process = psutil.Process()
        threads, sockets = our_threads(), len(our_sockets(process))
        shell = ParamikoShell(PoolLimits(suspect_s=0))
        with ThreadPoolExecutor(20) as calls:
            failed = [calls.submit(shell.run, hosts[n % len(hosts)], ["x"], timeout_s=0.3) for n in range(200)]
        assert all(isinstance(call.exception(), ToolError) for call in failed)
        shell.close()
        assert wait_until(lambda: our_threads() <= threads and len(our_sockets(process)) <= sockets, limit_s=20), (
            f"left: {our_threads() - threads}, sockets {len(our_sockets(process))} of {sockets}"
        )


def our_threads() -> set[str]:
    """The pool's thread, its transports and their timers; not those of the servers in this process."""
    return {
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("opsbot-ssh")
        or isinstance(thread, threading.Timer)
        or (isinstance(thread, paramiko.Transport) and not thread.server_mode)
    }


def our_sockets(process: psutil.Process) -> list[object]:
    """Connections this process opened (as opposed to accepted): their far end is a listening port of ours."""
    everything = process.net_connections(kind="tcp4")
    listening = {each.laddr.port for each in everything if each.status == psutil.CONN_LISTEN}
    return [each for each in everything if each.raddr and each.raddr.port in listening]


def wait_until(holds: Callable[[], bool], limit_s: float = 20) -> bool:
    end_at = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end_at:
            return False
        time.sleep(0.05)
    return True


# --- scanning --------------------------------------------------------------------------------------------------------


def test_a_scan_returns_the_key_without_a_log_in(keys: Keys) -> None:
    with SshServer(keys, blocked=frozenset({"auth"})) as server:
        assert scan_host_key("127.0.0.1", server.port, 20) == ssh_servers.pin_of(keys.host_key)


def test_a_scan_of_a_silent_host_ends_in_time() -> None:
    with RawServer(ssh_answers.never_speaks) as silent:
        started_at = time.monotonic()
        with pytest.raises(HostUnreachable, match="no SSH greeting"):
            scan_host_key("127.0.0.1", silent.port, DEADLINE_S)
        assert time.monotonic() - started_at < LATEST_S


def test_fingerprints_are_those_of_ssh_keygen(keys: Keys) -> None:
    assert fingerprint(keys.host_key.asbytes()) == keys.host_key.fingerprint
