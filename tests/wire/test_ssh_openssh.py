"""ParamikoShell against a real OpenSSH server, an ordinary process on a free port with keys of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from opsbot.adapters.ssh import ParamikoShell, PoolLimits, scan_host_key
from opsbot.errors import CommandTimedOut, OutcomeUnknown
from tests.real_sshd import TIMEOUT_S, StartSshd, needs_sshd, start_sshd

__all__ = ["start_sshd"]

pytestmark = needs_sshd


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    yield shell
    shell.close()


def test_a_real_server_runs_commands_on_one_connection(shell: ParamikoShell, start_sshd: StartSshd) -> None:
    host = start_sshd()
    seen = {shell.run(host, ["sh", "-c", "echo $SSH_CONNECTION"], timeout_s=TIMEOUT_S).stdout for _ in range(5)}
    assert len(seen) == 1
    result = shell.run(host, ["sh", "-c", "cat; echo é >&2; exit 3"], timeout_s=TIMEOUT_S, stdin="in")
    assert (result.exit_status, result.stdout, result.stderr) == (3, "in", "é\n")


def test_a_command_is_sent_once_and_in_no_terminal(shell: ParamikoShell, start_sshd: StartSshd, tmp_path: Path) -> None:
    host = start_sshd()
    shell.run(host, ["sh", "-c", f"echo once >> {tmp_path}/count; test -t 0"], timeout_s=TIMEOUT_S)
    assert (tmp_path / "count").read_text() == "once\n"


def test_a_hardened_server_with_one_session_at_a_time_is_served(shell: ParamikoShell, start_sshd: StartSshd) -> None:
    host = start_sshd("MaxSessions 1")
    for _ in range(3):
        assert shell.run(host, ["true"], timeout_s=TIMEOUT_S).exit_status == 0


def test_a_forced_command_is_what_runs(shell: ParamikoShell, start_sshd: StartSshd) -> None:
    host = start_sshd("ForceCommand echo forced: $SSH_ORIGINAL_COMMAND")
    assert shell.run(host, ["systemctl", "a b"], timeout_s=TIMEOUT_S).stdout == "forced: systemctl 'a b'\n"


def test_a_signal_a_flood_and_a_time_out_end_as_they_should(shell: ParamikoShell, start_sshd: StartSshd) -> None:
    host = start_sshd()
    with pytest.raises(OutcomeUnknown):
        shell.run(host, ["sh", "-c", "kill -9 $$"], timeout_s=TIMEOUT_S)
    assert shell.run(host, ["yes"], timeout_s=TIMEOUT_S).truncated
    with pytest.raises(CommandTimedOut):
        shell.run(host, ["sleep", "20"], timeout_s=1)


def test_a_daemon_that_keeps_the_output_open_does_not_hold_the_answer(
    shell: ParamikoShell, start_sshd: StartSshd
) -> None:
    result = shell.run(start_sshd(), ["sh", "-c", "sleep 25 & echo started"], timeout_s=20)
    assert (result.exit_status, result.stdout) == (0, "started\n")


def test_the_scanned_key_is_the_server_s(start_sshd: StartSshd) -> None:
    host = start_sshd()
    assert scan_host_key("127.0.0.1", host.port, TIMEOUT_S) == host.host_key
