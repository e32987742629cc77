"""Stops and freezes, inside the database and beside it."""

from typing import Protocol

from opsbot.domain import AuditEntry
from opsbot.holds import Hold


class Holds(Protocol):
    """Stops and freezes that people made."""

    async def add(self, hold: Hold, entry: AuditEntry) -> None:
        """Insert with its audit record in one transaction."""
        ...

    async def change(self, hold: Hold, entry: AuditEntry) -> Hold:
        """Write `hold` with its audit record if the stored version is the same; bump the version.

        Raises:
            Conflict: it is not.
        """
        ...

    async def standing(self) -> tuple[Hold, ...]:
        """Those that nobody ended, also past their time; oldest first."""
        ...

    def standing_now(self) -> tuple[Hold, ...]:
        """As `standing`; blocks, for worker threads."""
        ...


class StopSwitch(Protocol):
    """A switch outside the database that stops every action."""

    def thrown(self) -> Hold | None:
        """Return the stop it makes now, None: none. Never raises: a switch that cannot be read is thrown."""
        ...

    def release(self) -> bool:
        """Let go, if that can be done from here; tell whether it was thrown and is not any more. Never raises."""
        ...
