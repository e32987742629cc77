"""Time, as the core reads it."""

from datetime import datetime
from typing import Protocol

from opsbot.domain import Moment


class Clock(Protocol):
    """Wall and monotonic time."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def moment(self) -> Moment:
        """Both clocks at once, with the machine and the boot they belong to."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
