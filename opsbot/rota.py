"""Who is on call: a weekly rotation in wall-clock time, with overrides. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody else's days: from the handover on `first` until the handover on `until`."""

    first: date
    until: date
    user_id: str


@dataclass(frozen=True, slots=True)
class Rota:
    """A week for each of `user_ids` in turn, the first from the handover on `starts_on`."""

    name: str
    user_ids: tuple[str, ...]
    starts_on: date
    handover: time
    zone: ZoneInfo
    overrides: tuple[Override, ...] = ()

    def on_call(self, at: datetime) -> str | None:
        """Return the user on call at this (aware) time; None before the rotation starts."""
        for override in self.overrides:
            if self._handover(override.first) <= at < self._handover(override.until):
                return override.user_id
        weeks = self._weeks(at)
        return self.user_ids[weeks % len(self.user_ids)] if weeks >= 0 and self.user_ids else None

    def _weeks(self, at: datetime) -> int:
        """Count the handovers since the start; the wall clock finds the week, instants decide at its edges."""
        weeks = (at.astimezone(self.zone).date() - self.starts_on).days // 7
        if at < self._handover(self.starts_on + weeks * _WEEK):
            weeks -= 1
        return weeks

    def _handover(self, day: date) -> datetime:
        """Return the instant of that day's handover; one that the clock skips in spring comes right after the gap."""
        return datetime.combine(day, self.handover, self.zone).astimezone(UTC)
