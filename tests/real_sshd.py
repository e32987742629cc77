"""A real OpenSSH server on loopback: an ordinary process on a free port, with keys of its own."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from opsbot.domain import Host
from tests.ports import reserved_port
from tests.ssh_servers import new_key

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
TIMEOUT_S = 30.0

needs_sshd = pytest.mark.skipif(SSHD is None, reason="no sshd here: apt-get install openssh-server")

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
