"""Which TCP sockets belong to a service, and how to say so in a few words; pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

UNKNOWN: Final = "unknown"

# include/net/tcp_states.h of Linux: the states as /proc/net/tcp spells them.
_PROC_STATES = {"01": "ESTAB", "0A": "LISTEN"}
_MAX_LISTENERS = 8


@dataclass(frozen=True, slots=True)
class Socket:
    """A listening or connected TCP socket; `peer` is "" for a listener."""

    address: str
    port: int
    peer: str = ""

    @property
    def listens(self) -> bool:
        return not self.peer


def of_cgroup(ss_output: str, cgroup: str) -> tuple[Socket, ...] | None:
    """Pick a control group's sockets from `ss -Htan --cgroup`; None if that `ss` names no groups.

    Any user may see a socket's group, while its process is shown to root only.
    """
    lines = [line for line in ss_output.splitlines() if line.startswith(("LISTEN", "ESTAB"))]
    if any(" cgroup:" not in line or " cgroup:unreachable" in line for line in lines):
        return None
    mine = re.compile(rf" cgroup:{re.escape(cgroup)}(?:/\S*)?(?:\s|$)")
    found = (_from_ss(line) for line in lines if mine.search(line))
    return tuple(socket for socket in found if socket)


def of_inodes(proc_net_tcp: str, inodes: Iterable[str]) -> tuple[Socket, ...]:
    """Pick the sockets with these inodes from the text of /proc/net/tcp and tcp6."""
    wanted = frozenset(inodes)
    rows = (line.split() for line in proc_net_tcp.splitlines())
    found = (_from_proc(row) for row in rows if len(row) > 9 and row[9] in wanted and row[3] in _PROC_STATES)
    return tuple(socket for socket in found if socket)


def describe(sockets: Iterable[Socket]) -> str:
    """Say what listens and who is connected."""
    every = tuple(sockets)
    ports = {socket.port for socket in every if socket.listens}
    names = sorted({_listener(socket) for socket in every if socket.listens}, key=_by_port)
    incoming = [socket for socket in every if not socket.listens and socket.port in ports]
    outgoing = len([socket for socket in every if not socket.listens]) - len(incoming)
    words = [f"listens on tcp {', '.join(_bounded(names))}" if names else "no TCP listener of its own"]
    peers = len({socket.peer for socket in incoming})
    sources = f" from {_count(peers, 'address')}" if incoming else ""
    words.append(_count(len(incoming), "connection") + sources)
    if outgoing:
        words.append(_count(outgoing, "outgoing connection"))
    return "; ".join(words)


def _count(number: int, noun: str) -> str:
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{'' if number == 1 else plural}"


def _bounded(names: list[str]) -> list[str]:
    return names if len(names) <= _MAX_LISTENERS else [*names[:_MAX_LISTENERS], f"{len(names) - _MAX_LISTENERS} more"]


def _by_port(name: str) -> tuple[int, str]:
    return int(re.split(r"\D", name, maxsplit=1)[0]), name


def _listener(socket: Socket) -> str:
    address = _address(socket.address)
    if address is None or address.is_unspecified:
        return str(socket.port)
    return f"{socket.port} (loopback)" if address.is_loopback else f"{socket.port} ({address})"


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:  # `*`: every address
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _from_ss(line: str) -> Socket | None:
    words = line.split()
    if len(words) < 5:
        return None
    address, _, port = words[3].rpartition(":")
    peer = "" if words[0] == "LISTEN" else words[4].rpartition(":")[0]
    return Socket(address, int(port), peer) if port.isdecimal() else None


def _from_proc(row: list[str]) -> Socket | None:
    (address, port), (peer, _) = _proc_end(row[1]), _proc_end(row[2])
    return Socket(address, port, "" if _PROC_STATES[row[3]] == "LISTEN" else peer)


def _proc_end(text: str) -> tuple[str, int]:
    """Read `0100007F:1F90`: the address as 32-bit words in the machine's byte order (little-endian here)."""
    words, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(words[at : at + 8])[::-1] for at in range(0, len(words), 8))
    return str(ip_address(raw)), int(port, 16)
