"""The transport on real hosts: each fault gives the right error, in time, and leaves the other hosts alone."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from opsbot.adapters.ssh import ParamikoShell, PoolLimits, scan_host_key
from opsbot.domain import CommandResult, Host
from opsbot.errors import CommandTimedOut, HostUnreachable, OutcomeUnknown, ToolError

pytestmark = pytest.mark.fleet

DEADLINE_S = 3.0
# The promise is one second; the rest is for a busy machine.
LATE_S = 2.5
PATIENT_S = 30.0

Fault = Callable[..., None]


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    yield shell
    shell.close()


@pytest.fixture
def h1(fleet_hosts: dict[str, Host], shell: ParamikoShell) -> Host:
    """A host that answers again, whatever the test before did to it."""
    host = fleet_hosts["h1"]
    end_at = time.monotonic() + PATIENT_S
    while True:
        try:
            shell.run(host, ["true"], timeout_s=PATIENT_S)
            return host
        except ToolError:
            if time.monotonic() > end_at:
                raise


def fails(shell: ParamikoShell, host: Host, error: type[ToolError], argv: tuple[str, ...] = ("true",)) -> str:
    started_at = time.monotonic()
    with pytest.raises(error) as caught:
        shell.run(host, argv, timeout_s=DEADLINE_S)
    assert caught.type is error
    assert time.monotonic() - started_at < DEADLINE_S + LATE_S
    return str(caught.value)


def test_all_hosts_answer_and_the_second_time_on_the_same_connection(
    shell: ParamikoShell, fleet_hosts: dict[str, Host]
) -> None:
    def from_port(host: Host) -> tuple[str, str]:
        result = shell.run(host, ["sh", "-c", 'hostname; echo "$SSH_CONNECTION"'], timeout_s=PATIENT_S)
        name, connection = result.check().stdout.splitlines()
        return name, connection

    with ThreadPoolExecutor(len(fleet_hosts)) as calls:
        first = list(calls.map(from_port, fleet_hosts.values()))
        second = list(calls.map(from_port, fleet_hosts.values()))
    assert [name for name, _ in first] == list(fleet_hosts)
    assert first == second


def test_what_the_shell_sees_is_what_was_given(shell: ParamikoShell, h1: Host) -> None:
    words = ("$(id)", "`id`", "*", "a  b", "'\"", "é\n;", "-n", "")
    result = shell.run(h1, ["printf", "<%s>", "--", *words], timeout_s=PATIENT_S)
    assert result.stdout == "<-->" + "".join(f"<{word}>" for word in words)


def test_stdin_status_and_both_streams(shell: ParamikoShell, h1: Host) -> None:
    result = shell.run(h1, ["sh", "-c", "cat; echo bad >&2; exit 42"], timeout_s=PATIENT_S, stdin="in é")
    assert (result.exit_status, result.stdout, result.stderr) == (42, "in é", "bad\n")


def test_output_that_is_not_utf8_is_readable(shell: ParamikoShell, h1: Host) -> None:
    assert shell.run(h1, ["printf", r"caf\351"], timeout_s=PATIENT_S).stdout == "caf\ufffd"


def test_sudo_takes_exactly_the_one_command_line_per_verb(shell: ParamikoShell, h1: Host) -> None:
    sudo = ("sudo", "-n", "systemctl", "--no-pager", "restart", "--")
    assert shell.run(h1, [*sudo, "nginx.service"], timeout_s=PATIENT_S).exit_status == 0
    for refused in (["ssh.service"], ["nginx.service", "redis-server.service"], ["nginx"]):
        assert shell.run(h1, [*sudo, *refused], timeout_s=PATIENT_S).exit_status == 1


def test_a_flood_is_cut_and_the_host_answers_on(shell: ParamikoShell, h1: Host) -> None:
    result = shell.run(h1, ["head", "-c", "1000000000", "/dev/zero"], timeout_s=60)
    assert (len(result.stdout), result.truncated, result.exit_status) == (65536, True, 141)
    assert shell.run(h1, ["true"], timeout_s=PATIENT_S).exit_status == 0


def test_a_command_killed_by_a_signal_is_unknown(shell: ParamikoShell, h1: Host) -> None:
    assert "signal" in fails(shell, h1, OutcomeUnknown, ("sh", "-c", "kill -9 $$"))


@pytest.mark.parametrize(
    "kind", ["down", "blackhole", "refuse", "icmp", "hang-banner", "freeze", "garbage", "pid1-hang"]
)
def test_a_host_that_cannot_be_reached_says_so_in_time_while_others_answer(
    fleet_hosts: dict[str, Host], fault: Fault, kind: str
) -> None:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    fault("h1", kind)
    with ThreadPoolExecutor(3) as calls:
        broken = calls.submit(fails, shell, fleet_hosts["h1"], HostUnreachable)
        others = [calls.submit(shell.run, fleet_hosts[n], ["true"], timeout_s=PATIENT_S) for n in ("h2", "h3")]
        assert [other.result().exit_status for other in others] == [0, 0]
        text = broken.result()
    shell.close()
    assert "h1 (127.0.10.1:22)" in text
    assert "Nothing was run" in text


def test_a_changed_host_key_is_refused_with_both_fingerprints(
    shell: ParamikoShell, fleet_hosts: dict[str, Host], fault: Fault
) -> None:
    fault("h1", "hostkey")
    text = fails(shell, fleet_hosts["h1"], HostUnreachable)
    assert "another host key than the pinned one" in text
    assert text.count("SHA256:") == 2
    assert shell.run(fleet_hosts["h2"], ["true"], timeout_s=PATIENT_S).exit_status == 0


def test_a_withdrawn_key_is_named(shell: ParamikoShell, fleet_hosts: dict[str, Host], fault: Fault) -> None:
    fault("h1", "auth")
    assert "authorized_keys" in fails(shell, fleet_hosts["h1"], HostUnreachable)


def test_the_scanned_key_is_the_pinned_one(h1: Host) -> None:
    assert scan_host_key(h1.address, h1.port, PATIENT_S) == h1.host_key


def mid_command(
    shell: ParamikoShell, host: Host, fault: Fault, kind: str, deadline_s: float
) -> "Future[CommandResult]":
    """Start a command, break the host once it surely runs, and return its end."""
    with ThreadPoolExecutor(1) as calls:
        running = calls.submit(shell.run, host, ["sleep", "20.25"], timeout_s=deadline_s)
        while "sleep 20.25" not in shell.run(host, ["ps", "-eo", "args"], timeout_s=PATIENT_S).stdout.splitlines():
            assert not running.done()
        fault(host.name, kind)
    return running


@pytest.mark.parametrize("kind", ["cut", "kill-sessions"])
def test_a_connection_lost_in_mid_command_is_unknown(
    shell: ParamikoShell, fleet_hosts: dict[str, Host], h1: Host, fault: Fault, kind: str
) -> None:
    error = mid_command(shell, h1, fault, kind, 15).exception()
    assert type(error) is OutcomeUnknown
    assert "`sleep` on h1" in str(error)
    assert shell.run(fleet_hosts["h2"], ["true"], timeout_s=PATIENT_S).exit_status == 0


@pytest.mark.parametrize("kind", ["freeze", "down", "poweroff"])
def test_a_host_frozen_in_mid_command_times_out_at_the_deadline(
    shell: ParamikoShell, fleet_hosts: dict[str, Host], h1: Host, fault: Fault, kind: str
) -> None:
    started_at = time.monotonic()
    error = mid_command(shell, h1, fault, kind, 8).exception()
    assert type(error) is CommandTimedOut
    assert time.monotonic() - started_at < 8 + LATE_S
    assert "may still be running" in str(error)
    assert shell.run(fleet_hosts["h2"], ["true"], timeout_s=PATIENT_S).exit_status == 0


def test_a_warm_connection_cut_between_commands_is_replaced_unnoticed(
    shell: ParamikoShell, h1: Host, fault: Fault
) -> None:
    fault("h1", "cut")
    assert shell.run(h1, ["true"], timeout_s=PATIENT_S).exit_status == 0


def test_a_host_that_rebooted_answers_again(shell: ParamikoShell, h1: Host, fault: Fault, heal: Fault) -> None:
    fault("h1", "poweroff")
    fails(shell, h1, HostUnreachable)
    heal("h1", "poweroff")
    assert shell.run(h1, ["true"], timeout_s=PATIENT_S).exit_status == 0
