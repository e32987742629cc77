"""Key files: what is accepted, and how a person is told what to mend; no error shows a key."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.adapters.ssh_keys import KeyRing, parse_pins
from opsbot.errors import HostUnreachable
from tests import ssh_servers
from tests.ssh_servers import Keys, SshServer


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    yield shell
    shell.close()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_each_kind_of_key_logs_in_and_can_be_pinned(shell: ParamikoShell, tmp_path: Path, kind: str) -> None:
    client, host = ssh_servers.new_key(tmp_path / "client", kind), ssh_servers.new_key(tmp_path / "host", kind)
    ring = KeyRing()
    keys = Keys(client, ring.load(str(client)), ring.load(str(host)))
    with SshServer(keys) as server:
        assert shell.run(server.host(), ["true"], timeout_s=20).exit_status == 0


def mended_by(path: Path, ring: KeyRing | None = None) -> str:
    with pytest.raises(HostUnreachable) as caught:
        (ring or KeyRing()).load(str(path))
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in mended_by(tmp_path / "nothing")


def test_no_key_file_means_no_other_key_is_tried(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        with pytest.raises(HostUnreachable, match="key_file"):
            shell.run(server.host(key_file=""), ["true"], timeout_s=20)
        assert server.connections == 0


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604, 0o601])
def test_a_key_file_others_may_use_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    path = ssh_servers.new_key(tmp_path / "key")
    path.chmod(mode)
    text = mended_by(path)
    assert f"mode {mode:04o}" in text
    assert f"chmod 600 {path}" in text


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_a_key_with_a_passphrase_is_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    assert "has a passphrase" in mended_by(ssh_servers.new_key(tmp_path / "key", kind, passphrase="correct horse"))


def test_an_old_pem_key_with_a_passphrase_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "key"
    os.system(f"ssh-keygen -q -m PEM -t rsa -N 'correct horse' -f {path}")
    assert "has a passphrase" in mended_by(path)


@pytest.mark.parametrize(
    "content", [b"", b"hunter2 is not a key", b"\xff\xfe\x00", b"-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"]
)
def test_a_file_that_is_no_key_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    assert "no ed25519, ecdsa or rsa private key" in mended_by(path)
    assert "hunter2" not in mended_by(path)


def test_a_public_key_in_place_of_the_private_one_is_refused(tmp_path: Path) -> None:
    public = Path(f"{ssh_servers.new_key(tmp_path / 'key')}.pub")
    public.chmod(0o600)
    assert "no ed25519, ecdsa or rsa private key" in mended_by(public)


def test_a_key_is_read_again_when_its_file_changed(tmp_path: Path) -> None:
    ring = KeyRing()
    path = ssh_servers.new_key(tmp_path / "key")
    first = ring.load(str(path))
    assert ring.load(str(path)) is first
    ssh_servers.new_key(tmp_path / "new").replace(path)
    assert ring.load(str(path)).fingerprint != first.fingerprint


def test_pins_read_lines_with_and_without_comments(keys: Keys) -> None:
    pin = ssh_servers.pin_of(keys.host_key)
    assert [each.fingerprint for each in parse_pins(f"\n{pin}\n{pin} root@web-1 old\n\n")] == [
        keys.host_key.fingerprint
    ] * 2
