"""Real SSH servers on 127.0.0.1 for tests: one that runs a Python callback per command, and one below SSH."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST, cMSG_CHANNEL_SUCCESS

from opsbot.domain import Host

JOIN_S = 5.0


@dataclass
class Keys:
    """A client key file and its public half, and the servers' host key; made once per test session."""

    key_file: Path
    client_key: paramiko.PKey
    host_key: paramiko.PKey

    @classmethod
    def make(cls, folder: Path) -> "Keys":
        return cls(
            key_file=new_key(folder / "client"),
            client_key=paramiko.PKey.from_path(folder / "client"),
            host_key=paramiko.PKey.from_path(new_key(folder / "host")),
        )


def new_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair with ssh-keygen, as people do."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def pin_of(key: paramiko.PKey) -> str:
    """`ssh-ed25519 AAAA…`, as an inventory pins it."""
    return f"{key.get_name()} {key.get_base64()}"


@dataclass
class Exec:
    """One command at the server: what was asked, and how to answer."""

    line: bytes
    channel: paramiko.Channel
    server: "SshServer"

    def say(self, text: str | bytes) -> None:
        self.channel.sendall(text.encode() if isinstance(text, str) else text)

    def say_error(self, text: str | bytes) -> None:
        self.channel.sendall_stderr(text.encode() if isinstance(text, str) else text)

    def read_stdin(self) -> bytes:
        """Everything up to its end."""
        return b"".join(iter(lambda: self.channel.recv(65536), b""))

    def hold(self) -> None:
        """Stay silent until the server is stopped or the client goes away."""
        while not self.server.stopping.wait(0.05) and not self.channel.closed:
            pass

    @property
    def wanted(self) -> bool:
        return not self.server.stopping.is_set() and not self.channel.closed

    def request(self, kind: str, *fields: object) -> None:
        """Send a channel request of this kind, by hand."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(self.channel.remote_chanid)
        message.add_string(kind)
        message.add_boolean(False)
        message.add(*fields)
        self.channel.get_transport()._send_user_message(message)


# Returns the exit status to send, or None to close the channel without one.
Answer = Callable[[Exec], int | None]


class _ServerTransport(paramiko.Transport):
    """Tells when an exec request was confirmed: answering before that is a fault of the server."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.confirmed: dict[int, threading.Event] = {}

    def confirmation(self, remote_chanid: int) -> threading.Event:
        return self.confirmed.setdefault(remote_chanid, threading.Event())

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)
        raw = data.asbytes()
        if raw[:1] == cMSG_CHANNEL_SUCCESS:
            self.confirmation(int.from_bytes(raw[1:5], "big")).set()


class _Interface(paramiko.ServerInterface):
    """Accepts the client's key and starts a thread per command. The `block_*` switches hang one step."""

    def __init__(self, server: "SshServer", transport: _ServerTransport) -> None:
        self._server = server
        self._transport = transport

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self._server.block("auth")
        accepted = key == self._server.client_key
        return paramiko.AUTH_SUCCESSFUL if accepted else paramiko.AUTH_FAILED

    def check_global_request(self, kind: str, msg: paramiko.Message) -> bool:
        self._server.global_requests.append(kind)
        return False

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self._server.block("channel")
        if self._server.refuse_channels():
            return paramiko.OPEN_FAILED_RESOURCE_SHORTAGE
        return paramiko.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self._server.block("tunnel")
        if not self._server.forwards:
            return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        try:
            sock = socket.create_connection(destination, timeout=JOIN_S)
        except OSError:
            return paramiko.OPEN_FAILED_CONNECT_FAILED
        self._server.tunnelled.append(destination)
        thread = threading.Thread(target=self._server.forward, args=(self._transport, chanid, sock), daemon=True)
        self._server.track(thread)
        thread.start()
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self._server.commands.append(command)
        self._server.block("exec")
        if self._server.drop_at_exec:
            self._transport.close()
            return False
        thread = threading.Thread(target=self._serve, args=(channel, command), daemon=True)
        self._server.track(thread)
        thread.start()
        return True

    def _serve(self, channel: paramiko.Channel, command: bytes) -> None:
        if not self._transport.confirmation(channel.remote_chanid).wait(JOIN_S):
            return
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException), self._server.busy():
            status = self._server.answer(Exec(command, channel, self._server))
            if status is not None:
                channel.send_exit_status(status)
            channel.close()


@dataclass
class SshServer:
    """An SSH server on a free port of 127.0.0.1. Use as a context manager; leaves no thread.

    `blocked`: steps that hang ("auth", "channel", "tunnel", "exec"). `max_sessions`: refuse more channels at once.
    `forwards`: whether it may be a jump host; `tunnelled` and `tunnels` are where to, and how many are open.
    """

    keys: Keys
    answer: Answer = lambda exec_: 0
    blocked: frozenset[str] = frozenset()
    max_sessions: int = 1000
    drop_at_exec: bool = False
    prepare: Callable[[paramiko.Transport], None] = lambda transport: None
    host_key: paramiko.PKey | None = None
    commands: list[bytes] = field(default_factory=list)
    connections: int = 0
    most_busy: int = 0
    global_requests: list[str] = field(default_factory=list)
    forwards: bool = True
    tunnelled: list[tuple[str, int]] = field(default_factory=list)
    tunnels: int = 0

    def __post_init__(self) -> None:
        self.client_key = self.keys.client_key
        self.stopping = threading.Event()
        self.transports: list[paramiko.Transport] = []
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join(JOIN_S)

    def host(self, name: str = "web-1", **changes: object) -> Host:
        """The inventory's record of this server."""
        fields: dict[str, object] = {
            "address": "127.0.0.1",
            "port": self.port,
            "user": "bot",
            "key_file": str(self.keys.key_file),
            "host_key": pin_of(self.keys.host_key),
        }
        return Host(name=name, **{**fields, **changes})  # type: ignore[arg-type]

    def drop(self) -> None:
        """Cut every connection."""
        for transport in self.transports:
            with contextlib.suppress(OSError):
                transport.sock.shutdown(socket.SHUT_RDWR)
            transport.close()
            transport.packetizer.complete_handshake()
            if transport.ident is not None:  # it may have been accepted this very moment
                transport.join(JOIN_S)
            transport.packetizer.complete_handshake()
        self.transports.clear()

    def block(self, step: str) -> None:
        if step in self.blocked:
            self.stopping.wait()

    def forward(self, transport: paramiko.Transport, chanid: int, sock: socket.socket) -> None:
        """Copy between a tunnel and its target until either ends."""
        # The channel exists once the request was answered.
        channel = None
        while channel is None and transport.is_active():
            channel = transport._channels.get(chanid)
        self.tunnels += 1
        back = threading.Thread(target=_copy, args=(sock.recv, channel.sendall), daemon=True)
        back.start()
        _copy(channel.recv, sock.sendall)
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        back.join(JOIN_S)
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            channel.close()
        self.tunnels -= 1

    def refuse_channels(self) -> bool:
        with self._lock:
            return self._busy >= self.max_sessions

    def track(self, thread: threading.Thread) -> None:
        self._threads.append(thread)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
            self.most_busy = max(self.most_busy, self._busy)
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, daemon=True)
        self.track(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = _ServerTransport(sock)
            transport.add_server_key(self.host_key or self.keys.host_key)
            self.prepare(transport)
            self.transports.append(transport)
            # The event keeps this thread from waiting for the handshake.
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                transport.start_server(event=threading.Event(), server=_Interface(self, transport))


def _copy(receive: Callable[[int], bytes], send: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while piece := receive(65536):
            send(piece)


@dataclass
class RawServer:
    """A TCP server that runs a callback per connection; for hosts that do not speak SSH, or not to its end."""

    talk: Callable[[socket.socket, threading.Event], None]

    def __post_init__(self) -> None:
        self.stopping = threading.Event()
        self.connections = 0
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for sock in (self._listener, *self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(JOIN_S)

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._socks.append(sock)
            thread = threading.Thread(target=self._talk, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self.talk(sock, self.stopping)
