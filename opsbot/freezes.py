"""Freezes that stand in the configuration: hours of every week, or from one time to another. Pure."""

from dataclasses import dataclass
from datetime import datetime

from opsbot.holds import CONFIGURATION, Hold, HoldKind, Scope
from opsbot.policy_rules import Window


@dataclass(frozen=True, slots=True)
class PlannedFreeze:
    """One freeze of the configuration. `weekly`, or else from `begins` until `ends` (aware; None: open)."""

    name: str
    scope: Scope
    reason: str
    weekly: Window | None = None
    begins: datetime | None = None
    ends: datetime | None = None

    def at(self, now: datetime) -> Hold | None:
        """Return the hold it is at this time, None: it does not hold now."""
        if self.weekly is not None:
            return self._hold(now, None) if self.weekly.holds(now) else None
        begun = self.begins is None or self.begins <= now
        over = self.ends is not None and self.ends <= now
        return self._hold(self.begins or now, self.ends) if begun and not over else None

    def _hold(self, at: datetime, until: datetime | None) -> Hold:
        by = f"{CONFIGURATION}/{self.name}"
        return Hold(self.name, HoldKind.FREEZE, self.scope, by, at, self.reason, until)

    def __str__(self) -> str:
        if self.weekly is not None:
            return str(self.weekly)
        begins = f"{self.begins:%Y-%m-%d %H:%M} UTC" if self.begins else "the start"
        return f"{begins} to {self.ends:%Y-%m-%d %H:%M} UTC" if self.ends else f"from {begins}"
