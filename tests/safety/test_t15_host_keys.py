"""T15: a host that shows another key than the pinned one is not talked to, nor one that offers only weak algorithms."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import paramiko
import pytest

from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_dial import dial
from opsbot.adapters.ssh_keys import KeyRing
from opsbot.adapters.ssh_link import check_host_key, pins_of
from opsbot.domain import Host
from opsbot.errors import HostUnreachable
from tests.real_sshd import TIMEOUT_S, StartSshd, needs_sshd, start_sshd
from tests.safety.conftest import Figures, Scale
from tests.ssh_servers import Keys, SshServer, new_key, pin_of

__all__ = ["start_sshd"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    yield shell
    shell.close()


def refused(shell: ParamikoShell, host: Host) -> str:
    """Run a command that must not reach the host; return the reason given."""
    began_s = time.monotonic()
    with pytest.raises(HostUnreachable) as caught:
        shell.run(host, ["systemctl", "status"], timeout_s=20)
    assert time.monotonic() - began_s < 20
    return str(caught.value)


def test_every_changed_key_is_refused_before_any_command(
    shell: ParamikoShell, keys: Keys, tmp_path: Path, figures: Figures, scale: Scale
) -> None:
    commands = 0
    tried = scale(5, 50)
    for number in range(tried):
        other = paramiko.PKey.from_path(new_key(tmp_path / f"other{number}", ("ed25519", "ecdsa")[number % 2]))
        with SshServer(keys, host_key=other) as server:
            refused(shell, server.host())
            commands += len(server.commands)
    figures.note(changed_keys_refused=tried, commands_that_reached_the_impostor=commands)
    assert commands == 0


def test_a_key_that_changes_between_two_connections_is_refused(
    shell: ParamikoShell, keys: Keys, tmp_path: Path
) -> None:
    with SshServer(keys) as server:
        host = server.host()
        assert shell.run(host, ["true"], timeout_s=20).exit_status == 0
        server.host_key = paramiko.PKey.from_path(new_key(tmp_path / "new"))
        server.drop()
        time.sleep(0.2)
        assert "another host key than the pinned one" in refused(shell, host)
        assert len(server.commands) == 1


def test_a_changed_host_key_is_refused_with_both_fingerprints_before_any_log_in(
    shell: ParamikoShell, keys: Keys, tmp_path: Path
) -> None:
    new = paramiko.PKey.from_path(new_key(tmp_path / "new"))
    attempts: list[str] = []
    with SshServer(keys, host_key=new) as server:
        server.block = attempts.append  # type: ignore[method-assign]
        text = refused(shell, server.host())
    assert f"expected {keys.host_key.fingerprint}" in text
    assert f"seen {new.fingerprint}" in text
    assert "opsbot hosts trust --replace web-1" in text
    assert attempts == []


def test_a_host_key_of_another_type_is_refused(shell: ParamikoShell, keys: Keys, tmp_path: Path) -> None:
    new = paramiko.PKey.from_path(new_key(tmp_path / "new", "ecdsa"))
    with SshServer(keys, host_key=new) as server:
        assert "no acceptable host key" in refused(shell, server.host())


def test_any_of_several_pinned_keys_is_accepted(shell: ParamikoShell, keys: Keys, tmp_path: Path) -> None:
    new = paramiko.PKey.from_path(new_key(tmp_path / "new", "ecdsa"))
    pins = f"{pin_of(keys.host_key)} root@old\n\n{pin_of(new)} root@new\n"
    for host_key in (keys.host_key, new):
        with SshServer(keys, host_key=host_key) as server:
            assert shell.run(server.host(host_key=pins), ["true"], timeout_s=20).exit_status == 0


@pytest.mark.parametrize(
    "pin", ["", "\n", "ssh-ed25519", "ssh-ed25519 ???", "ssh-dss AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5"]
)
def test_a_host_without_a_usable_pin_is_never_connected_to(shell: ParamikoShell, keys: Keys, pin: str) -> None:
    with SshServer(keys) as server:
        text = refused(shell, server.host(host_key=pin))
        assert server.connections == 0
    assert "`opsbot hosts trust web-1`" in text or "`host_key` of web-1 in the inventory" in text


@needs_sshd
def test_aes_gcm_and_strict_key_exchange_are_agreed_on(start_sshd: StartSshd) -> None:
    host = start_sshd()
    deadline = Deadline(TIMEOUT_S)
    link = dial(host, deadline)
    with closing(link):
        check_host_key(link, pins_of(host), deadline)
        link.authenticate(KeyRing().load(host.key_file), deadline)
        assert link.algorithms == ("aes128-gcm@openssh.com", "ssh-ed25519")
        assert link._transport.agreed_on_strict_kex


@needs_sshd
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


@needs_sshd
def test_a_server_that_offers_a_safe_algorithm_beside_weak_ones_is_fine(
    shell: ParamikoShell, start_sshd: StartSshd
) -> None:
    host = start_sshd("Ciphers aes128-cbc,aes256-ctr", "MACs hmac-md5,hmac-sha2-256")
    assert shell.run(host, ["true"], timeout_s=TIMEOUT_S).exit_status == 0
