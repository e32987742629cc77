"""Health checks and certificates from the bot, against servers that are right, wrong, slow and hostile, on loopback."""

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
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from opsbot.adapters import certificates as certificates_module
from opsbot.adapters import probes
from opsbot.adapters.addresses import addresses
from opsbot.adapters.certificates import certificates, of_endpoint, parse_files
from opsbot.adapters.probes import check_all, lookups
from opsbot.domain import CommandResult, HealthCheck, Host
from opsbot.errors import HostUnreachable
from tests.fake_shell import FakeShell

Peer = Callable[[socket.socket], None]
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@contextmanager
def server(peer: Peer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve every connection by `peer`, each in its own thread, on a free port of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(listener, peer, context), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _serve(listener: socket.socket, peer: Peer, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_one, args=(connection, peer, context), daemon=True).start()


def _one(connection: socket.socket, peer: Peer, context: ssl.SSLContext | None) -> None:
    with suppress(OSError), connection:
        if context is None:
            peer(connection)
        else:
            with context.wrap_socket(connection, server_side=True) as secured:
                peer(secured)


def saying(answer: bytes) -> Peer:
    def peer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    return peer


def silent(connection: socket.socket) -> None:
    """Accept and never speak: ends when the other side does."""
    while connection.recv(4096):
        pass


def dripping(first: bytes) -> Peer:
    """Send a byte now and then for ever, so that no single read ever times out."""

    def peer(connection: socket.socket) -> None:
        connection.sendall(first)
        gone = threading.Event()
        while not gone.wait(0.02):
            connection.sendall(b"x")

    return peer


# --- certificates made here ------------------------------------------------------------------------------------------


class Authority:
    """Makes certificates, and server contexts with them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Authority")])
        self.certificate = self._build(self.name, self.key.public_key(), NOW - DAY, NOW + 900 * DAY, ca=True)

    def _build(self, subject, public_key, begins, ends, *, ca=False, names=(), issuer=None):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, *, begins=NOW - DAY, ends=NOW + 90 * DAY, names=None, key=None):
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop \x1b[31mfront")])
        if names is None:
            names = [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("shop.test")]
        return self._build(subject, key.public_key(), begins, ends, names=names), key

    def context(self, **kwargs) -> ssl.SSLContext:
        certificate, key = self.issue(**kwargs)
        path = self._folder / f"{certificate.serial_number}.pem"
        path.write_bytes(
            pem(certificate)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def trusted(authority: Authority, tmp_path: Path, monkeypatch) -> Authority:
    """The authority, in the trust store of this process."""
    store = tmp_path / "store.pem"
    store.write_bytes(pem(authority.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    return authority


# --- TLS endpoints ---------------------------------------------------------------------------------------------------


def look(context: ssl.SSLContext):
    with server(silent, context) as port:
        return of_endpoint(f"127.0.0.1:{port}")


def test_a_good_certificate_is_described_and_verified(trusted):
    report = look(trusted.context())
    (certificate,) = report.chain
    assert (report.failure, report.problems, report.verified) == ("", (), True)
    assert certificate.subject == "shop front"  # without its escape sequence
    assert certificate.issuer == "Test Authority"
    assert certificate.names == ("shop.test", "127.0.0.1")
    assert certificate.key == "EC secp256r1"
    assert abs(certificate.not_after - (NOW + 90 * DAY)) < timedelta(seconds=2)
    assert len(certificate.sha256) == 64


def test_a_certificate_nobody_vouches_for_is_still_read(authority):
    report = look(authority.context())
    assert len(report.chain) == 1
    assert report.verified is False
    assert "unable to get local issuer certificate (a private authority" in " ".join(report.problems)


def test_an_expired_certificate_is_read_and_said_to_be(trusted):
    report = look(trusted.context(begins=NOW - 9 * DAY, ends=NOW - 2 * DAY))
    assert report.chain[0].not_after < NOW
    assert "it has expired" in report.problems
    assert "does not verify: certificate has expired" in report.problems


def test_a_certificate_not_yet_valid_is_said_to_be(trusted):
    report = look(trusted.context(begins=NOW + 2 * DAY))
    assert "it is not valid yet" in report.problems
    assert report.verified is False


@pytest.mark.parametrize("names", [[x509.DNSName("other.test")], []])
def test_a_certificate_of_another_name_is_said_to_be(trusted, names):
    report = look(trusted.context(names=names))
    assert "is not for 127.0.0.1" in report.problems
    assert report.verified is False


def test_a_weak_key_is_a_problem(trusted, monkeypatch):
    certificate, _ = trusted.issue(key=rsa.generate_private_key(65537, 1024))
    report = parse_files(f"@@opsbot certificate /a\n{pem(certificate).decode()}", ["/a"])["/a"]
    assert "its key is weak (RSA 1024)" in report.problems


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (silent, "no TLS handshake within 0.4 s"),
        (dripping(b"\x16\x03\x03\x3f\xff"), "no TLS handshake within 0.4 s|does not speak TLS"),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it does not speak TLS with us: "),
        (lambda connection: None, "it does not speak TLS with us: |it cannot be reached: "),
    ],
)
def test_a_server_that_does_not_shake_hands_is_a_failure_in_time(peer, expected, monkeypatch):
    monkeypatch.setattr(certificates_module, "HANDSHAKE_S", 0.4)
    began = time.monotonic()
    with server(peer) as port:
        report = of_endpoint(f"127.0.0.1:{port}")
    assert time.monotonic() - began < 1.4
    assert report.chain == ()
    assert any(each in report.failure for each in expected.split("|"))


@pytest.mark.parametrize("place", ["127.0.0.1:1", "127.0.0.1:port", "nothing", ":", "127.0.0.1:99999999"])
def test_a_place_that_cannot_be_reached_or_read_is_a_failure(place):
    assert of_endpoint(place).failure


def test_endpoints_are_looked_at_side_by_side(monkeypatch):
    monkeypatch.setattr(certificates_module, "HANDSHAKE_S", 0.5)
    with server(silent) as port, server(silent) as second, server(silent) as third:
        host = Host("box-1", certificates=tuple(f"127.0.0.1:{each}" for each in (port, second, third)))
        began = time.monotonic()
        reports = certificates(host, FakeShell(), timeout_s=5)
    assert time.monotonic() - began < 1.4
    assert [report.place for report in reports] == list(host.certificates)


# --- files of the host -----------------------------------------------------------------------------------------------


class Files(FakeShell):
    """A host whose certificate script prints this."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self.output = output
        self.argv: tuple[str, ...] = ()

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.argv = tuple(argv)
        return CommandResult(self.argv, 0, self.output)


def test_a_chain_in_a_file_is_read_in_order(authority):
    leaf, _ = authority.issue()
    text = (pem(leaf) + pem(authority.certificate)).decode()
    shell = Files(f"@@opsbot certificate /etc/a.pem\n{text}")
    (report,) = certificates(Host("box-1", certificates=("/etc/a.pem",)), shell, timeout_s=5)
    assert [certificate.subject for certificate in report.chain] == ["shop front", "Test Authority"]
    assert (report.problems, report.verified) == ((), None)
    assert shell.argv[3:] == ("sh", "/etc/a.pem")


def test_a_chain_in_the_wrong_order_is_a_problem(authority):
    leaf, _ = authority.issue()
    text = (pem(authority.certificate) + pem(leaf)).decode()
    report = parse_files(f"@@opsbot certificate /a\n{text}", ["/a"])["/a"]
    assert "certificate 1 is not issued by the one after it" in report.problems


def test_a_certificate_signed_by_itself_is_said_to_be(authority):
    report = parse_files(f"@@opsbot certificate /a\n{pem(authority.certificate).decode()}", ["/a"])["/a"]
    assert "it is signed by itself" in report.problems


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "no PEM certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", "no PEM certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be parsed"),
        ("-----BEGIN CERTIFICATE-----\n\udcff\n-----END CERTIFICATE-----\n", "cannot be parsed"),
        ("@@opsbot failure the bot's user may not read it", "may not read it"),
    ],
)
def test_a_file_without_a_certificate_is_a_failure(body, expected):
    assert expected in parse_files(f"@@opsbot certificate /a\n{body}", ["/a"])["/a"].failure


def test_a_file_the_answer_does_not_reach_is_a_failure():
    assert "cut" in parse_files("", ["/a"])["/a"].failure


def test_the_script_sends_no_private_key(authority, tmp_path):
    authority.context()
    (bundle,) = tmp_path.glob("*.pem")
    assert "PRIVATE KEY" in bundle.read_text()
    from opsbot.adapters.local import LocalShell

    sent: list[str] = []

    class Spy(LocalShell):
        def run(self, *args, **kwargs):
            result = super().run(*args, **kwargs)
            sent.append(result.stdout)
            return result

    places = (str(bundle), str(tmp_path), str(tmp_path / "nope.pem"))
    reports = certificates(Host("box-1", certificates=places), Spy(), timeout_s=20)
    assert "PRIVATE" not in sent[0]
    assert reports[0].chain[0].subject == "shop front"
    assert [report.failure.split(",")[0] for report in reports[1:]] == ["it is a directory", "there is no such file"]


def test_an_unreachable_host_costs_its_files_only():
    with server(saying(b"x")) as port:
        host = Host("box-1", certificates=("/etc/a.pem", f"127.0.0.1:{port}"))
        shell = FakeShell().down("box-1", HostUnreachable("box-1 does not answer."))
        reports = certificates(host, shell, timeout_s=5)
    assert reports[0].failure == "box-1 does not answer."
    assert "TLS" in reports[1].failure


# --- health checks ---------------------------------------------------------------------------------------------------


def check(url: str, timeout_s: float = 5.0):
    return check_all({"a": HealthCheck(url=url, timeout_s=timeout_s)}, timeout_s=10)["a"]


def test_an_answer_is_looked_at_in_full():
    with server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more")) as port:
        seen = check(f"http://127.0.0.1:{port}/")
    assert (seen.failure, seen.status, seen.note, seen.tls_not_after) == ("", 200, "", None)
    assert seen.body_bytes >= 5
    assert 0 <= seen.latency_ms < 5000


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://login.test/a?token=canary", "login.test"),
        ("http://user:canary@other.test:8443/", "other.test:8443"),
        ("/there", "127.0.0.1:PORT"),
        ("http://[::1", "unreadable"),
    ],
)
def test_a_redirect_is_named_by_its_host_and_not_followed(location, expected):
    with server(saying(f"HTTP/1.1 302 Found\r\nlocation: {location}\r\n\r\n".encode())) as port:
        seen = check(f"http://127.0.0.1:{port}/")
    assert seen.failure == ""
    assert seen.redirect_host == expected.replace("PORT", str(port))


def test_tls_days_come_from_the_verified_certificate(trusted):
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n"), trusted.context(ends=NOW + 12 * DAY)) as port:
        seen = check(f"https://127.0.0.1:{port}/")
    assert seen.failure == ""
    assert abs(seen.tls_not_after - (NOW + 12 * DAY)) < timedelta(seconds=2)


def test_a_certificate_that_does_not_verify_fails_the_check(authority):
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n"), authority.context()) as port:
        assert "does not verify" in check(f"https://127.0.0.1:{port}/").failure


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_page_that_never_ends_passes_with_a_note_in_time(first):
    began = time.monotonic()
    with server(dripping(first)) as port:
        seen = check(f"http://127.0.0.1:{port}/", 0.4)
    assert time.monotonic() - began < 1.4
    assert (seen.failure, seen.status, seen.body_bytes) == ("", 200, None)
    assert seen.note == "the answer stalled before its end"


@pytest.mark.parametrize("peer", [silent, dripping(b"")])
def test_a_server_that_never_answers_fails_at_the_deadline(peer):
    began = time.monotonic()
    with server(peer) as port:
        seen = check(f"http://127.0.0.1:{port}/", 0.4)
    assert time.monotonic() - began < 1.4
    assert seen.failure


def test_an_endless_body_is_read_to_its_bound():
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000)) as port:
        seen = check(f"http://127.0.0.1:{port}/")
    assert seen.body_bytes <= 140_000
    assert seen.note == "the body is longer than was read"


def test_checks_run_side_by_side_and_keep_the_callers_deadline():
    with server(silent) as port:
        wanted = {f"u{n}": HealthCheck(url=f"http://127.0.0.1:{port}/", timeout_s=60) for n in range(10)}
        began = time.monotonic()
        seen = check_all(wanted, timeout_s=0.5)
    assert time.monotonic() - began < 1.6
    assert {each.failure for each in seen.values()} == {f"GET http://127.0.0.1:{port}/ did not answer within 0.5 s"}


def test_a_port_is_checked_and_a_closed_one_named():
    with server(silent) as port:
        seen = check_all({"a": HealthCheck(tcp=f"127.0.0.1:{port}"), "b": HealthCheck(tcp="127.0.0.1:1")}, timeout_s=5)
    assert (seen["a"].failure, seen["a"].target) == ("", f"127.0.0.1:{port}")
    assert seen["b"].failure == "127.0.0.1:1 cannot be reached: Connection refused"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/", "http://", "http://127.0.0.1:99999999/"])
def test_a_url_that_is_no_http_is_refused_without_a_connection(url, monkeypatch):
    monkeypatch.setattr(probes.socket, "socket", lambda *args: pytest.fail("connected"))
    assert check(url).failure


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_resolver_that_hangs_is_left_at_the_deadline(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(probes.socket, "getaddrinfo", lambda *args, **kwargs: [][: release.wait(20)])
    began = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            addresses("shop.test", 80, time.monotonic() + 0.2)
        assert lookups(["shop.test"], timeout_s=0.2) == {"shop.test": None}
        assert check_all({"a": HealthCheck(url="http://shop.test/")}, timeout_s=0.2)["a"].failure
    finally:
        release.set()
    assert time.monotonic() - began < 1.6


def test_a_name_is_resolved_once_and_the_answer_is_what_is_connected_to(monkeypatch):
    asked: list[str] = []

    def answer(name, port, **kwargs):
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(probes.socket, "getaddrinfo", answer)
    with server(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert check(f"http://shop.test:{port}/").failure == ""
    assert asked == ["shop.test"]


def test_lookups_tell_no_such_name_from_no_answer(monkeypatch):
    def answer(name, port, **kwargs):
        if name == "gone.test":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name == "mute.test":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
        return [(socket.AF_INET, 1, 6, "", (each, port)) for each in ("192.0.2.2", "192.0.2.1", "192.0.2.2")]

    monkeypatch.setattr(probes.socket, "getaddrinfo", answer)
    assert lookups(["shop.test", "gone.test", "mute.test"], timeout_s=5) == {
        "shop.test": ("192.0.2.1", "192.0.2.2"),
        "gone.test": (),
        "mute.test": None,
    }
