"""What opsbot remembers of a host's connections: when it was last there, and whether it is worth another try now."""

from dataclasses import dataclass
from datetime import datetime

from opsbot.readable import duration_text

# However often a host failed, somebody asks it again after so long.
MAX_SUSPECT_S = 60.0
_NEVER = float("-inf")


@dataclass(slots=True)
class HostHistory:
    """One host's past. Moments are `time.monotonic` seconds; guarded by the pool's lock.

    Each failure in a row doubles the time in which callers are answered at once, without a new attempt.
    """

    suspect_s: float
    failures: int = 0
    failure: str = ""
    failed_at: float = _NEVER
    seen_at: float = _NEVER
    seen_utc: datetime | None = None

    def seen(self, now: float, utc: datetime) -> None:
        """The host answered: whatever was held against it is forgotten."""
        self.failures, self.failure = 0, ""
        self.seen_at, self.seen_utc = now, utc

    def failed(self, now: float, failure: str) -> None:
        """A fair attempt to connect failed, with this text."""
        self.failures, self.failure, self.failed_at = self.failures + 1, failure, now

    @property
    def suspected(self) -> bool:
        """Whether the last attempt failed, and failures count."""
        return self.failures > 0 and self.suspect_s > 0

    def refusal(self, now: float, *, under_way: bool) -> str:
        """Say why nobody is to wait for this host now, or "" if the caller may try.

        `under_way`: another caller is trying right now, and one is enough.
        """
        if not self.suspected:
            return ""
        left_s = self.failed_at + self._pause_s - now
        if left_s <= 0 and not under_way:
            return ""
        again = "being tried again just now" if under_way else f"not tried again for {left_s:.0f} s"
        return f"{self.failure} (That was {now - self.failed_at:.1f} s ago; {again}. {self._last_seen(now)})"

    @property
    def _pause_s(self) -> float:
        # The exponent is bounded: a host may fail for weeks.
        return min(self.suspect_s * 2.0 ** min(self.failures - 1, 16), max(MAX_SUSPECT_S, self.suspect_s))

    def _last_seen(self, now: float) -> str:
        if self.seen_utc is None:
            return "Never seen since opsbot started."
        return f"Last seen {self.seen_utc:%H:%M:%S} UTC, {duration_text(now - self.seen_at)} ago."
