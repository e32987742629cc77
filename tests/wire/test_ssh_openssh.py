"""ParamikoShell against a real OpenSSH server, an ordinary process on a free port with keys of its own."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from opsbot.adapters.ssh import ParamikoShell, PoolLimits, scan_host_key
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_dial import dial
from opsbot.adapters.ssh_keys import KeyRing
from opsbot.adapters.ssh_link import check_host_key, pins_of
from opsbot.domain import Host
from opsbot.errors import CommandTimedOut, HostUnreachable, OutcomeUnknown
from tests.ports import reserved_port
from tests.ssh_servers import new_key

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
TIMEOUT_S = 30.0

pytestmark = pytest.mark.skipif(SSHD is None, reason="no sshd here: apt-get install openssh-server")

StartSshd = Callable[..., Host]


@pytest.fixture
def start_sshd(tmp_path: Path) -> Iterator[StartSshd]:
    """`start_sshd("MACs hmac-sha1")`: run an sshd with these lines in its configuration; returns its record."""
    with ExitStack() as running:
        yield lambda *options: running.enter_context(_sshd(tmp_path, options))


@contextmanager
def _sshd(folder: Path, options: tuple[str, ...]) -> Iterator[Host]:
    with reserved_port() as port:
        yield from _serving(folder, options, port)


def _serving(folder: Path, options: tuple[str, ...], port: int) -> Iterator[Host]:
    key, host_key = new_key(folder / "client"), new_key(folder / "host")
    (folder / "authorized_keys").write_text((folder / "client.pub").read_text())
    lines = [
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {host_key}",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        f"PidFile {folder}/pid",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        *options,
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    Path("/run/sshd").mkdir(exist_ok=True)  # privilege separation directory of Debian's build
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        _wait_for_port(port, process, folder / "log")
        pin = " ".join((folder / "host.pub").read_text().split()[:2])
        yield Host("real", address="127.0.0.1", port=port, user=getpass.getuser(), key_file=str(key), host_key=pin)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end_at = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end_at and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"sshd did not start: {log.read_text()}")


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


def test_aes_gcm_and_strict_key_exchange_are_agreed_on(start_sshd: StartSshd) -> None:
    host = start_sshd()
    deadline = Deadline(TIMEOUT_S)
    link = dial(host, deadline)
    with closing(link):
        check_host_key(link, pins_of(host), deadline)
        link.authenticate(KeyRing().load(host.key_file), deadline)
        assert link.algorithms == ("aes128-gcm@openssh.com", "ssh-ed25519")
        assert link._transport.agreed_on_strict_kex


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("Ciphers aes128-ctr", "MACs hmac-sha1,hmac-md5,hmac-sha1-96,hmac-md5-96"), "macs"),
        (("Ciphers aes128-cbc,3des-cbc",), "ciphers"),
        (("KexAlgorithms diffie-hellman-group14-sha1,diffie-hellman-group16-sha512",), "kex"),
        (("HostKeyAlgorithms ssh-rsa",), "host key"),
    ],
)
def test_a_server_that_offers_only_weak_algorithms_is_refused(
    shell: ParamikoShell, start_sshd: StartSshd, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    rsa = new_key(tmp_path / "rsa", "rsa")
    host = start_sshd(*options, f"HostKey {rsa}")
    with pytest.raises(HostUnreachable, match=words) as caught:
        shell.run(host, ["true"], timeout_s=TIMEOUT_S)
    assert "Nothing was run" in str(caught.value)


def test_a_server_that_offers_a_safe_algorithm_beside_weak_ones_is_fine(
    shell: ParamikoShell, start_sshd: StartSshd
) -> None:
    host = start_sshd("Ciphers aes128-cbc,aes256-ctr", "MACs hmac-md5,hmac-sha2-256")
    assert shell.run(host, ["true"], timeout_s=TIMEOUT_S).exit_status == 0


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
