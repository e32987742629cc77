"""A connection through another host: a channel of its link, made to look like a socket."""

import contextlib
import socket
from collections.abc import Callable

import paramiko

from opsbot.domain import Host
from opsbot.errors import HostUnreachable

# More hops than anybody has; each costs a handshake.
MAX_JUMPS = 3

FindHost = Callable[[str], Host | None]


def no_jumps(name: str) -> Host | None:
    """Know no host: for shells without an inventory."""
    return None


def jump_of(host: Host, find: FindHost) -> Host:
    """Return the record of the host through which this one is reached, once the whole way is known to end.

    Raises:
        HostUnreachable: a name on the way is not in the inventory, the way is a loop, or longer than MAX_JUMPS.
    """
    way = [host]
    while way[-1].jump:
        way.append(_found(way[-1], find))
        names = [hop.name for hop in way]
        if len(set(names)) < len(names):
            raise HostUnreachable(f"The jump hosts of {host.name} form a loop: {' → '.join(names)}. Nothing was run.")
        if len(way) > MAX_JUMPS + 1:
            raise HostUnreachable(f"{host.name} is behind more than {MAX_JUMPS} jump hosts. Nothing was run.")
    return way[1]


def _found(host: Host, find: FindHost) -> Host:
    jump = find(host.jump)
    if jump is None:
        raise HostUnreachable(f"The jump host {host.jump!r} of {host.name} is not in the inventory. Nothing was run.")
    return jump


class Tunnel:
    """The socket of a connection that runs through `channel`. Closing it never waits for anybody."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._farewell: list[paramiko.Message] = []

    def settimeout(self, timeout: float | None) -> None:
        self._channel.settimeout(timeout)

    def send(self, data: bytes) -> int:
        return self._channel.send(data)

    def recv(self, size: int) -> bytes:
        return self._channel.recv(size)

    def getpeername(self) -> tuple[str, int]:
        """The library wants one for its log."""
        return ("tunnel", self._channel.get_id())

    @property
    def _closed(self) -> bool:
        """The library asks sockets for this one of their own, while it ends its thread."""
        return self._channel.closed

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """Close our end, and wake whoever reads or writes; what the other end is told waits for `hang_up`."""
        # `Channel.close` does the same, but sends at once, which blocks for as long as the jump host is stuck.
        with self._channel.lock:
            messages = self._channel._close_internal()  # type: ignore[attr-defined]  # not in the stubs
        self._farewell += [message for message in messages if message is not None]

    def close(self) -> None:
        self.shutdown()

    def hang_up(self) -> None:
        """Tell the jump host, so that it ends its connection to the target."""
        farewell, self._farewell = self._farewell, []
        transport = self._channel.get_transport()
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            for message in farewell:
                transport._send_user_message(message)  # type: ignore[attr-defined]  # not in the stubs

    @property
    def writable(self) -> bool:
        """Whether a few bytes can be sent without waiting."""
        return self._channel.send_ready()
