"""The TCP connection under an SSH link: to the inventory's address and to nothing else, within the deadline."""

import contextlib
import socket
import threading
from collections.abc import Callable

from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_link import Link, cause_of, place_of, shown_key
from opsbot.domain import Host
from opsbot.errors import HostUnreachable, Stage

# The kernel gives a connection up when sent bytes stay unacknowledged so long: a dead host is noticed, not waited for.
_USER_TIMEOUT_MS = 20_000


def dial(host: Host, deadline: Deadline) -> Link:
    """Make the TCP connection to the inventory's address, and to nothing else.

    Raises:
        HostUnreachable: no answer in time, refused, no route, or no such name.
    """
    problem = "has no address"
    for family, kind, protocol, _, address in _resolve(host, deadline):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max(deadline.left_s, 0.001))
            sock.connect(address)
            _tune(sock)
            return Link(host, sock)
        except TimeoutError:
            sock.close()
            problem = f"did not accept a connection within {deadline.timeout_s:.1f} s"
        except OSError as error:
            sock.close()
            problem = f"cannot be connected to: {error.strerror or cause_of(error)}"
    raise HostUnreachable(f"{place_of(host)} {problem}. Nothing was run.", failed_at=Stage.CONNECT)


def scan_host_key(address: str, port: int, timeout_s: float) -> str:
    """Ask a host for its key and return it as `ssh-ed25519 AAAA…`. No log-in is tried; whether to trust it is yours.

    Raises:
        HostUnreachable: it does not answer in time, or has no acceptable key.
    """
    deadline = Deadline(timeout_s)
    link = dial(Host(name=address, address=address, port=port), deadline)
    try:
        return shown_key(link, (), deadline)
    finally:
        link.close()


def _tune(sock: socket.socket) -> None:
    # Without it Nagle and delayed ACK cost 43 ms a command (measured).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]


def _resolve(host: Host, deadline: Deadline) -> list[_Address]:
    """Look the address up within the deadline; numbers are taken as they are, without any query."""
    if not host.address:
        raise HostUnreachable(f"{host.name} has no address in the inventory.", failed_at=Stage.ADDRESS)
    with contextlib.suppress(socket.gaierror, UnicodeError):
        return _lookup(host, socket.AI_NUMERICHOST)
    return _in_time(lambda: _lookup(host, 0), host, deadline)


def _lookup(host: Host, flags: int) -> list[_Address]:
    found = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM, flags=flags)
    return found  # type: ignore[return-value]  # the stubs add a form for builds without IPv6


def _in_time(lookup: Callable[[], list[_Address]], host: Host, deadline: Deadline) -> list[_Address]:
    """Run the system's resolver, which has no time-out of its own, in a thread that may be left behind."""
    found: list[_Address] = []
    problem = [f"did not resolve within {deadline.timeout_s:.1f} s"]

    def look() -> None:
        try:
            found.extend(lookup())
        except (OSError, UnicodeError) as error:
            problem[0] = f"does not resolve: {cause_of(error)}"

    thread = threading.Thread(target=look, name=f"opsbot-ssh-resolve-{host.name}", daemon=True)
    thread.start()
    thread.join(deadline.left_s)
    if not found:
        raise HostUnreachable(f"{place_of(host)} {problem[0]}. Nothing was run.", failed_at=Stage.ADDRESS)
    return found
