"""Where a name of the inventory leads: looked up once, within a deadline, and never to places that no name may mean."""

import socket
import threading
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Found: TypeAlias = tuple[socket.AddressFamily, tuple[str, int]]

# Where clouds tell a machine its credentials, besides the link-local 169.254.169.254: EC2 by IPv6, Azure, Alibaba
# (their documentation, 2026-11).
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "168.63.129.16", "100.100.100.200")))
# RFC 6052, section 2.1: an IPv4 address in its last 32 bits.
_NAT64 = IPv6Network("64:ff9b::/96")


def addresses(name: str, port: int, deadline: float) -> list[Found]:
    """Resolve a name once, to be connected to as it is: an answer that changes in between changes nothing.

    Raises:
        TimeoutError: the resolver did not answer before the deadline (its thread is left to end by itself).
        OSError: there is no such name.
    """
    try:
        literal = ip_address(name)
        return [(socket.AF_INET if literal.version == 4 else socket.AF_INET6, (name, port))]
    except ValueError:
        pass
    answer: list[list[Found] | OSError | ValueError] = []

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
            answer.append([(entry[0], (str(entry[4][0]), port)) for entry in found])
        except (OSError, ValueError) as error:  # ValueError: no name at all, by IDNA
            answer.append(error)

    thread = threading.Thread(target=resolve, name="opsbot-resolve", daemon=True)
    thread.start()
    thread.join(left(deadline))
    if not answer:
        raise TimeoutError
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def permitted(name: str, found: Sequence[Found]) -> list[Found]:
    """Return where a name leads, if no address among these is one that only an address in the inventory may mean.

    Whoever answers for a name could lead us to link-local and metadata services, which trust whoever can reach them.

    Raises:
        OSError: it leads to such a place; nothing was connected to.
    """
    if _is_address(name):
        return list(found)
    for _, (address, _port) in found:
        if why := _reserved(address):
            raise OSError(f"the name leads to {address}, {why}; write the address itself there if it is meant")
    return list(found)


def left(deadline: float) -> float:
    """Return the seconds until a moment of the monotonic clock. Raises TimeoutError when it has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _reserved(text: str) -> str:
    """Say what an address is that no name may lead to, or ""."""
    address = _innermost(ip_address(text))
    if address in _METADATA:
        return "a metadata service"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified or address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "no address of one host"
    return ""


def _innermost(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
