"""What a pool knows of each host it was asked for: its link, its past, and what must not be tried with it now."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from opsbot.adapters.ssh_history import HostHistory
from opsbot.adapters.ssh_link import Link
from opsbot.domain import Host

# More hosts than an inventory has; beyond, the past of those without a connection is forgotten.
_MAX_SLOTS = 10_000

_Key: TypeAlias = tuple[str, int, str, str, str, str]


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much is kept open, and for how long.

    `channels_per_host` and the probe's stay under sshd's default MaxSessions of 10 (sshd_config(5)). After a failed
    connection, calls within `suspect_s` (twice as long after each failure in a row, at most a minute) are answered at
    once with that failure. A connection is renewed after
    `commands_per_connection`, because paramiko remembers every channel it ever had (`Transport.channels_seen`).
    """

    connections: int = 512
    channels_per_host: int = 8
    idle_s: float = 300.0
    suspect_s: float = 5.0
    commands_per_connection: int = 10_000


@dataclass(slots=True)
class Slot:
    """What is known about one host and user; guarded by the pool's lock."""

    history: HostHistory
    link: Link | None = None
    connecting: bool = False
    no_probe_until: float = float("-inf")


class Slots:
    """All slots of a pool, guarded by its lock."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._slots: dict[_Key, Slot] = {}

    def of(self, host: Host) -> Slot:
        """Return the slot of this host, log-in, pin and way there: one account that looks, another that acts."""
        key = (host.address, host.port, host.login_user, host.login_key_file, host.host_key, host.jump)
        slot = self._slots.get(key)
        if slot is None:
            if len(self._slots) >= _MAX_SLOTS:
                self._slots = {k: v for k, v in self._slots.items() if v.link or v.connecting}
            slot = self._slots[key] = Slot(HostHistory(self._limits.suspect_s))
        return slot

    def links(self) -> Iterator[Link]:
        """All links that are kept."""
        return (slot.link for slot in self._slots.values() if slot.link)

    def surplus(self) -> list[Link]:
        """Idle links over the limit, longest unused first."""
        if len(self._slots) <= self._limits.connections:
            return []
        links = list(self.links())
        idle = sorted((link for link in links if link.unused), key=lambda link: link.idle_since)
        return idle[: max(0, len(links) - self._limits.connections)]

    def expired(self, now: float) -> list[Link]:
        """Links that nobody has used for too long."""
        return [link for link in self.links() if link.unused and now - link.idle_since >= self._limits.idle_s]

    def forget(self, links: Collection[Link]) -> None:
        """Keep these links no longer; what is known of their hosts stays."""
        for slot in self._slots.values() if links else ():
            if slot.link in links:
                slot.link = None

    def clear(self) -> None:
        """Forget everything."""
        self._slots.clear()
