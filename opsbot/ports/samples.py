"""What was measured of hosts: as it is kept, and as tools see it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from opsbot.domain import History, Metric, Sample


class Samples(Protocol):
    """What was measured of hosts: worth keeping, never worth waiting for. Old ones are thinned (see `thinning`)."""

    async def add(self, samples: Sequence[Sample]) -> None:
        """Store them in one transaction; a host that has samples of that very second keeps those instead."""
        ...

    def window(self, host: str, metrics: Sequence[Metric], *, since: datetime) -> tuple[Sample, ...]:
        """Return a host's samples from that time on, oldest first. Blocks: for worker threads. Raises StoreError."""
        ...

    def oldest(self, host: str) -> datetime | None:
        """Return the time of the first sample kept of a host. Blocks, as `window`."""
        ...

    async def thin(self, now: datetime, *, after: str = "") -> str:
        """Replace what is old by means, and forget what is very old, of the next host by name after this one.

        Returns that host's name, "" when there was none. Does a bounded amount; what is left waits for the next round.
        """
        ...


class Past(Protocol):
    """What was measured earlier; blocking, called from worker threads."""

    def history(self, host: str, metrics: Sequence[Metric], *, hours: float) -> History:
        """Return these metrics of a host over the last hours, measured at most some seconds ago. Raises StoreError."""
        ...
