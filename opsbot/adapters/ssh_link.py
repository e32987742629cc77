"""One SSH connection to one host: its host key checked, logged in, and closed without a trace."""

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA
from paramiko.packet import Packetizer

from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_jump import Tunnel
from opsbot.adapters.ssh_keys import SIGNATURES, PinnedKey, fingerprint, parse_pins, signatures_of
from opsbot.domain import Host
from opsbot.errors import HostUnreachable, Stage

# What we offer, best first; all else that paramiko 5.1 offers (CBC, 3des, MD5, SHA-1, truncated MACs, finite-field
# groups) is left out. AES-GCM first: paramiko compares MACs byte by byte, 6 to 30% of the CPU (measured, 2026-11).
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
KEY_EXCHANGES = (
    "curve25519-sha256@libssh.org",
    "mlkem768x25519-sha256",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
)
# OpenSSH never sends longer packets (PACKET_MAX_SIZE in packet.c, 9.2); paramiko itself has no limit.
_MAX_PACKET_BYTES = 256 * 1024
# RFC 4253 section 4.2 allows lines before the version; nobody needs more of them.
_MAX_GREETING_BYTES = 16 * 1024
_WINDOW_BYTES = 256 * 1024
# A whole connection goes through it: 256 KiB would hold a flood behind a jump host to that much a round trip.
_TUNNEL_WINDOW_BYTES = 1024 * 1024
_KEEPALIVE_S = 30
_EVENT_POLL_S = 0.1
_JOIN_S = 0.5
_MAX_CAUSE = 200


class _BoundedPacketizer(Packetizer):
    """Refuses what would fill our memory: endless greetings, endless packets."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._greeting_bytes = 0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > _MAX_PACKET_BYTES:
            raise paramiko.SSHException(f"it sent a packet of {n} bytes")
        return super().read_all(n, check_rekey)

    def _read_timeout(self, timeout: float) -> bytes:
        piece: bytes = super()._read_timeout(timeout)  # type: ignore[misc]  # not in the stubs; called by readline
        self._greeting_bytes += len(piece)
        if self._greeting_bytes > _MAX_GREETING_BYTES:
            raise paramiko.SSHException(f": {_MAX_GREETING_BYTES} bytes without a version")
        return piece


_Handler = Callable[[paramiko.Channel, paramiko.Message], None]


def _within_window(feed: _Handler) -> _Handler:
    """Hold a host to the window it was given (RFC 4254, section 5.2): the library would keep whatever it sends."""

    def feed_bounded(channel: paramiko.Channel, message: paramiko.Message) -> None:
        feed(channel, message)
        unread_bytes = len(channel.in_buffer) + len(channel.in_stderr_buffer)
        if unread_bytes > channel.in_window_size:
            raise paramiko.SSHException(f"it sent {unread_bytes} bytes where {channel.in_window_size} were allowed")

    return feed_bounded


class _Transport(paramiko.Transport):
    """Wakes rarely: 100 idle connections cost 1.9% of a core at the default of 0.1 s, 0.05% at 10 s (measured)."""

    _active_check_timeout = 10.0
    _channel_handler_table: ClassVar[Mapping[int, _Handler]] = MappingProxyType(
        {
            **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]  # not in the stubs
            MSG_CHANNEL_DATA: _within_window(paramiko.Channel._feed),  # type: ignore[attr-defined]
            MSG_CHANNEL_EXTENDED_DATA: _within_window(paramiko.Channel._feed_extended),  # type: ignore[attr-defined]
        }
    )


class Link:
    """A connection. Counters are the pool's business and are guarded by its lock.

    `via` is the link of the jump host it runs through; `tunnels` counts the links that run through this one.
    """

    def __init__(self, host: Host, sock: socket.socket | Tunnel, via: "Link | None" = None) -> None:
        self.host = host
        self.via = via
        self.tunnels = 0
        self.channels = 0
        self.served = 0
        self.limit = 0
        self.idle_since = 0.0
        self.retired = False
        # The session kept for probes (see ssh_probe), and whose turn it is to ask on it.
        self.probe: paramiko.Channel | None = None
        self.probe_turn = threading.Lock()
        self._sock = sock
        self._transport = _Transport(sock, packetizer_class=_BoundedPacketizer)  # type: ignore[arg-type]  # a Tunnel is socket enough

    @property
    def alive(self) -> bool:
        """Whether nothing is known against it; a dead link is noticed only when used."""
        return self._transport.is_active()

    @property
    def writable(self) -> bool:
        """Whether a message can be sent now, because no key exchange is under way."""
        return self._transport.clear_to_send.is_set()

    @property
    def unused(self) -> bool:
        """Whether nobody runs a command on it, and no other link runs through it."""
        return not self.channels and not self.tunnels

    @property
    def roomy(self) -> bool:
        """Whether a short message can be sent without waiting for anybody."""
        if not self.writable:
            return False
        if isinstance(self._sock, Tunnel):
            return self._sock.writable and (self.via is None or self.via.roomy)
        poller = select.poll()  # select() knows no descriptor above 1023
        try:
            poller.register(self._sock, select.POLLOUT)
        except (OSError, ValueError):
            return False
        return poller.poll(0) == [(self._sock.fileno(), select.POLLOUT)]

    @property
    def algorithms(self) -> tuple[str, str]:
        """The agreed cipher and host key type."""
        return self._transport.local_cipher, str(self._transport.host_key_type)

    def negotiate(self, key_types: Sequence[str], deadline: Deadline) -> bytes:
        """Agree on keys; return the host's public key in wire form, proven but not yet trusted.

        Raises:
            HostUnreachable: not within the deadline, or nothing safe in common.
        """
        options = self._transport.get_security_options()
        options.ciphers, options.digests, options.key_types = CIPHERS, MACS, key_types
        # Which of these exist depends on how the crypto library was built.
        options.kex = tuple(name for name in KEY_EXCHANGES if name in options.kex)
        # Ours is the deadline; the library's own only must not come before it.
        self._transport.banner_timeout = self._transport.handshake_timeout = deadline.left_s + 1
        agreed = threading.Event()
        self._transport.start_client(event=agreed)
        if not self._wait(agreed, deadline):
            silent = not self._transport.remote_version
            what = "sent no SSH greeting" if silent else "did not finish the key exchange"
            raise self._fault(what, self._greeted, deadline)
        if not self._transport.is_active():
            raise self._fault("broke off the SSH handshake", self._greeted)
        return self._transport.get_remote_server_key().asbytes()

    @property
    def _greeted(self) -> Stage:
        return Stage.HANDSHAKE if self._transport.remote_version else Stage.GREETING

    def authenticate(self, key: paramiko.PKey, deadline: Deadline) -> None:
        """Log in with this key.

        Raises:
            HostUnreachable: refused, or not within the deadline.
        """
        answered = threading.Event()
        try:
            self._transport.auth_publickey(self.host.login_user, key, answered)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self._fault(f"broke off the log-in: {cause_of(error)}", Stage.LOG_IN) from error
        if not self._wait(answered, deadline):
            raise self._fault("did not finish the log-in", Stage.LOG_IN, deadline)
        if not self._transport.is_authenticated():
            raise self._refused_login()
        self._transport.set_keepalive(_KEEPALIVE_S)

    def _refused_login(self) -> HostUnreachable:
        error = self._transport.get_exception()
        # The library keeps no error for a plain "no" to a key.
        if error is not None and not isinstance(error, paramiko.AuthenticationException):
            return self._fault(f"broke off the log-in: {cause_of(error)}", Stage.LOG_IN)
        return self._fault(
            f"refused the log-in of {self.host.login_user!r} with the key {self.host.login_key_file}; "
            "its public half may be missing in that user's authorized_keys",
            Stage.KEY_ACCEPTED,
        )

    def open_channel(self, deadline: Deadline, window_bytes: int = _WINDOW_BYTES) -> paramiko.Channel:
        """Open a session. Nothing has been sent to run yet.

        Raises:
            paramiko.SSHException, OSError, EOFError: the link is dead, or the host refused (ChannelException).
        """
        self._wait_for_keys(deadline)
        return self._transport.open_session(window_size=window_bytes, timeout=deadline.left_s)

    def open_tunnel(self, host: Host, deadline: Deadline) -> paramiko.Channel:
        """Have this host connect to the address of another one.

        Raises:
            paramiko.SSHException, OSError, EOFError: as `open_channel`.
        """
        self._wait_for_keys(deadline)
        # The originator (RFC 4254, section 7.2) is nobody the jump host could use: it must not learn our address.
        return self._transport.open_channel(
            "direct-tcpip",
            dest_addr=(host.address, host.port),
            src_addr=("127.0.0.1", 0),
            window_size=_TUNNEL_WINDOW_BYTES,
            timeout=deadline.left_s,
        )

    def _wait_for_keys(self, deadline: Deadline) -> None:
        # A write during a key exchange would block, for up to 30 s: wait for its end where we can stop waiting.
        if not self._transport.clear_to_send.wait(deadline.left_s):
            raise paramiko.SSHException("it does not finish a key exchange")

    def close(self) -> None:
        """Close without sending anything: never blocks on the peer. Wakes whoever is stuck in a read or a write."""
        # shutdown wakes a thread that is inside recv or send; close alone would not.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._transport.close()
        with contextlib.suppress(OSError):
            self._sock.close()
        # The library's handshake timer is a thread that would outlive a failed handshake.
        self._transport.packetizer.complete_handshake()
        if self._transport.is_alive() and self._transport is not threading.current_thread():
            self._transport.join(_JOIN_S)
            self._transport.packetizer.complete_handshake()
        # If the jump host cannot be told at once, it will learn with the end of its own link.
        if isinstance(self._sock, Tunnel) and self.via and self.via.alive and self.via.roomy:
            self._sock.hang_up()

    def _wait(self, event: threading.Event, deadline: Deadline) -> bool:
        """Wait for an answer or the connection's end; False when the deadline passed first."""
        while not event.wait(min(_EVENT_POLL_S, deadline.left_s)):
            if not self._transport.is_active():
                return True
            if deadline.passed:
                return False
        return True

    def _fault(self, what: str, failed_at: Stage, deadline: Deadline | None = None) -> HostUnreachable:
        error = self._transport.get_exception()
        within = f" within {deadline.timeout_s:.1f} s" if deadline else ""
        why = f": {cause_of(error)}" if error else ""
        return HostUnreachable(f"{place_of(self.host)} {what}{within}{why}. Nothing was run.", failed_at=failed_at)


def check_host_key(link: Link, pins: Sequence[PinnedKey], deadline: Deadline) -> None:
    """Compare the host's key with the inventory's pins, before anything of ours is shown to it.

    Raises:
        HostUnreachable: another key than pinned, or no safe algorithm in common.
    """
    blob = link.negotiate(signatures_of(pins), deadline)
    if blob not in {pin.blob for pin in pins}:
        raise HostUnreachable(_mismatch(link.host, pins, blob), failed_at=Stage.HOST_KEY)


def pins_of(host: Host) -> tuple[PinnedKey, ...]:
    """The host's pinned keys, at least one.

    Raises:
        HostUnreachable: there is none, or it cannot be read.
    """
    try:
        pins = parse_pins(host.host_key)
    except ValueError as error:
        raise HostUnreachable(f"`host_key` of {host.name} in the inventory cannot be used: {error}.") from error
    if not pins:
        raise HostUnreachable(
            f"{host.name} has no pinned host key, so opsbot does not connect. `opsbot hosts trust {host.name}` shows "
            "the one it offers: compare it with /etc/ssh/ssh_host_ed25519_key.pub on the host itself, and pin it."
        )
    return pins


def shown_key(link: Link, pins: Sequence[PinnedKey], deadline: Deadline) -> str:
    """Return the key the host proves, as `ssh-ed25519 AAAA…`: of a pinned kind if it has one. Not to be trusted yet.

    Raises:
        HostUnreachable: it does not answer in time, or has no acceptable key.
    """
    every_kind = [*signatures_of(pins), *(name for names in SIGNATURES.values() for name in names)]
    key = paramiko.PKey.from_type_string(*_typed(link.negotiate(tuple(dict.fromkeys(every_kind)), deadline)))
    return f"{key.get_name()} {key.get_base64()}"


def cause_of(error: BaseException | None) -> str:
    """One short printable line of what went wrong; it may quote the host, so it is bounded."""
    text = str(error) or ("the other side closed it" if isinstance(error, EOFError) else type(error).__name__)
    return "".join(c if c.isprintable() else " " for c in text)[:_MAX_CAUSE].strip().rstrip(".")


def place_of(host: Host) -> str:
    """`web-1 (192.0.2.7:22)`, or `web-1 (192.0.2.7:22 through gate-1)`."""
    through = f" through {host.jump}" if host.jump else ""
    return f"{host.name} ({host.address}:{host.port}{through})"


def _typed(blob: bytes) -> tuple[str, bytes]:
    return paramiko.Message(blob).get_text(), blob


def _mismatch(host: Host, pins: Sequence[PinnedKey], blob: bytes) -> str:
    expected = " or ".join(pin.fingerprint for pin in pins)
    return (
        f"{place_of(host)} shows another host key than the pinned one: expected {expected}, seen {fingerprint(blob)}. "
        "opsbot did not log in. If the host was reinstalled, check the new key on the host itself and pin it "
        f"(`opsbot hosts trust --replace {host.name}`); if not, somebody may be in between."
    )
