"""Deterministic identifiers and message timestamps, in Slack's forms."""

from collections import Counter

from opsbot.workbench.clock import Clock


class Ids:
    """Counts up per prefix, so that two equal runs see equal identifiers (timestamps excepted)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._skipped = 0
        self._last_us: dict[str, int] = {}

    def skip(self, count: int) -> None:
        """Number from `count` on: an app that outlives a workbench must not meet an identifier again."""
        self._skipped = count

    def next(self, prefix: str) -> str:
        """Return a new identifier such as `V00000001`."""
        self._counts[prefix] += 1
        return f"{prefix}{self._skipped + self._counts[prefix]:08X}"

    def ts(self, channel: str) -> str:
        """Return a message timestamp, `seconds.microseconds`, unique and rising within the channel."""
        moment_us = max(int(self._clock.now() * 1_000_000), self._last_us.get(channel, 0) + 1)
        self._last_us[channel] = moment_us
        return f"{moment_us // 1_000_000}.{moment_us % 1_000_000:06d}"
