"""Health checks from the bot: what passes, what fails and how it is said; and sockets and text of other machines."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from opsbot.adapters.machines import HostMachines
from opsbot.adapters.probes import probe
from opsbot.adapters.services.plain import plain_line
from opsbot.adapters.services.sockets import describe, of_cgroup, of_inodes
from opsbot.adapters.services.supervisord import SupervisordServices
from opsbot.adapters.services.systemd import SystemdServices
from opsbot.domain import Connection, HealthCheck, Host, ServiceManager
from tests.fake_shell import FakeShell

Peer = Callable[[socket.socket], None]


@contextmanager
def server(peer: Peer) -> Iterator[int]:
    """Serve every connection by `peer` on a free port of 127.0.0.1; requests land in nobody's log."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener, peer), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _serve(listener: socket.socket, peer: Peer) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            peer(connection)


def answering(status: str, headers: str = "") -> Peer:
    def peer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n".encode())

    return peer


def check(port: int, path: str = "/health", timeout_s: float = 20) -> str:
    return probe(HealthCheck(url=f"http://127.0.0.1:{port}{path}", timeout_s=timeout_s))


def _checked(peer: Peer) -> str:
    with server(peer) as port:
        return check(port)


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "301 Moved"])
def test_an_answer_below_400_passes(status):
    with server(answering(status)) as port:
        assert check(port) == ""


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "503 Busy", "101 Switching Protocols"])
def test_any_other_status_fails_and_is_named(status):
    with server(answering(status)) as port:
        assert check(port) == f"GET http://127.0.0.1:{port}/health answered {status[:3]}"


def test_a_redirect_is_not_followed():
    hits: list[int] = []
    with server(lambda connection: hits.append(1)) as target:
        redirecting = answering("302 Found", f"Location: http://127.0.0.1:{target}/\r\n")
        assert _checked(redirecting) == ""
    assert hits == []


def test_the_request_asks_for_path_and_query_of_the_url():
    requests: list[bytes] = []

    def peer(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with server(peer) as port:
        assert check(port, "/a/b?c=d") == ""
    assert requests[0].startswith(f"GET /a/b?c=d HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())


def test_what_may_be_secret_in_a_url_is_not_repeated():
    with server(answering("500 Oops")) as port:
        said = probe(HealthCheck(url=f"http://user:canary@127.0.0.1:{port}/x?token=canary", timeout_s=20))
    assert "answered 500" in said
    assert "canary" not in said


def test_a_server_of_another_protocol_fails():
    with server(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n")) as port:
        assert check(port).endswith("did not answer in HTTP")


def test_a_server_that_closes_at_once_fails():
    with server(lambda connection: None) as port:
        assert check(port)


@pytest.mark.parametrize("drip", [b"", b"H"])
def test_silence_and_dripping_end_at_the_deadline(drip):
    stop = threading.Event()

    def peer(connection: socket.socket) -> None:
        while not stop.wait(0.1):
            try:
                connection.sendall(drip)
            except OSError:
                return

    with server(peer) as port:
        began = time.monotonic()
        assert check(port, timeout_s=0.5).endswith("did not answer within 0.5 s")
        stop.set()
    assert time.monotonic() - began < 20


def test_a_closed_port_is_said_to_be_unreachable():
    with server(lambda connection: None) as port:
        pass
    assert "cannot be reached: Connection refused" in check(port)
    assert "cannot be reached: Connection refused" in probe(HealthCheck(tcp=f"127.0.0.1:{port}"))


def test_a_tcp_check_passes_when_the_port_accepts():
    with server(lambda connection: None) as port:
        assert probe(HealthCheck(tcp=f"127.0.0.1:{port}", timeout_s=20)) == ""


def test_https_without_tls_on_the_other_side_fails():
    with server(answering("200 OK")) as port:
        assert "cannot be reached" in probe(HealthCheck(url=f"https://127.0.0.1:{port}/", timeout_s=20))


def test_a_certificate_nobody_vouches_for_fails(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))

    def peer(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            answering("200 OK")(secured)

    with server(peer) as port:
        said = probe(HealthCheck(url=f"https://127.0.0.1:{port}/", timeout_s=20))
    assert "certificate that does not verify" in said


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    file = folder / "server.pem"
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "http://127.0.0.1:99999/", "nonsense"])
def test_urls_of_other_kinds_fail_without_a_connection(url):
    assert "cannot be reached" in probe(HealthCheck(url=url, timeout_s=1))


def test_connection_and_manager_are_those_of_the_inventory():
    ssh, local = FakeShell().on("true", stdout="ssh"), FakeShell().on("true", stdout="local")
    machines = HostMachines(ssh, local)
    assert machines.run(Host("a"), ["true"], timeout_s=1).stdout == "ssh"
    assert machines.run(Host("b", connection=Connection.LOCAL), ["true"], timeout_s=1).stdout == "local"
    assert isinstance(machines.services(Host("a")), SystemdServices)
    supervised = Host("c", service_manager=ServiceManager.SUPERVISORD)
    assert isinstance(machines.services(supervised), SupervisordServices)
    assert machines.healthy(Host("a"), "nginx.service") is None


# --- sockets ---------------------------------------------------------------------------------------------------------

# The form of `ss -Htan --cgroup` of iproute2 6.1 and 6.15, as recorded in tests/tools; addresses changed.
SS = """\
LISTEN 0 511 0.0.0.0:80 0.0.0.0:* cgroup:/system.slice/web.service
LISTEN 0 511 [::]:80 [::]:* cgroup:/system.slice/web.service
LISTEN 0 511 127.0.0.1:6379 0.0.0.0:* cgroup:/system.slice/web.service/child
LISTEN 0 511 [::1]:6379 [::]:* cgroup:/system.slice/web.service
LISTEN 0 511 192.0.2.1:443 0.0.0.0:* cgroup:/system.slice/web.service
LISTEN 0 128 0.0.0.0:22 0.0.0.0:* cgroup:/system.slice/ssh.service
ESTAB 0 0 192.0.2.1:80 198.51.100.7:50000 cgroup:/system.slice/web.service
ESTAB 0 0 192.0.2.1:80 198.51.100.7:50001 cgroup:/system.slice/web.service
ESTAB 0 0 192.0.2.1:80 198.51.100.8:50001 cgroup:/system.slice/web.service
ESTAB 0 0 192.0.2.1:40000 198.51.100.9:5432 cgroup:/system.slice/web.service
ESTAB 0 0 192.0.2.1:80 198.51.100.9:1 cgroup:/system.slice/web.service2
TIME-WAIT 0 0 192.0.2.1:80 198.51.100.9:2
"""


def test_only_the_units_own_sockets_count():
    sockets = of_cgroup(SS, "/system.slice/web.service")
    assert sockets is not None
    assert describe(sockets) == (
        "listens on tcp 80, 443 (192.0.2.1), 6379 (loopback); 3 connections from 2 addresses; 1 outgoing connection"
    )


@pytest.mark.parametrize("name", ["", " cgroup:unreachable:a6a"])
def test_sockets_without_readable_groups_are_unknown_not_none(name):
    assert of_cgroup(SS + f"ESTAB 0 0 192.0.2.1:80 198.51.100.9:2{name}\n", "/system.slice/web.service") is None


def test_no_sockets_at_all_are_said_so():
    assert describe(of_cgroup("", "/x") or ()) == "no TCP listener of its own; 0 connections"


def test_many_listeners_are_cut():
    lines = "".join(f"LISTEN 0 1 0.0.0.0:{n} 0.0.0.0:* cgroup:/x\n" for n in range(1000, 1020))
    assert describe(of_cgroup(lines, "/x") or ()).startswith("listens on tcp 1000, 1001, ")
    assert "12 more" in describe(of_cgroup(lines, "/x") or ())


def test_the_kernels_own_table_is_read_by_inode():
    # Lines of /proc/net/tcp and tcp6 on Linux 6.18 (x86-64), inodes as given.
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100\n"
        "   1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20\n"
        "   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100\n"
        "   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A "
        "00000000:00000000 00:00000000 00000000     0        0 13 1 0 100\n"
        "   3: 0100007F:1F90 0100007F:C001 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0\n"
    )
    said = describe(of_inodes(table, ["11", "12", "13"]))
    assert said == "listens on tcp 80, 8080 (loopback); 1 connection from 1 address"


# --- text ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\tb\nc", "a b c"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;c2VjcmV0\x1b\\after", "after"),
        ("\x1bP1$r\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("\x1bcreset", "reset"),
        ("nul\x00 bell\x07", "nul bell"),
        ("rtl\u202e zero\u200bwidth \ufefftag\U000e0041", "rtl zerowidth tag"),
        ("half\ud800", "half"),
        ("é 🔥 漢", "é 🔥 漢"),
    ],
)
def test_text_of_other_machines_is_made_harmless(text, expected):
    assert plain_line(text) == expected


def test_long_lines_are_cut_and_marked():
    assert plain_line("x" * 5000, limit=10) == "x" * 9 + "…"


@given(st.text(max_size=300))
def test_no_text_keeps_a_control_or_an_invisible_character(text):
    shown = plain_line(text, limit=100)
    assert len(shown) <= 100
    assert shown == "" or shown.isprintable() or all(c.isprintable() or c.isspace() for c in shown)
    assert "\x1b" not in shown
    assert plain_line(shown, limit=100) == shown


def test_escape_sequences_without_end_cost_bounded_time():
    began = time.monotonic()
    plain_line("\x1b]" * 1_000_000)
    plain_line("\x1b[" + ";" * 1_000_000)
    assert time.monotonic() - began < 20
