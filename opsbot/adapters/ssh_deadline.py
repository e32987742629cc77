"""One total deadline, handed through every step of a call, because the library's own time-outs are per step."""

import time


class Deadline:
    """A moment on the monotonic clock, `timeout_s` seconds after construction."""

    __slots__ = ("_at", "timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._at = time.monotonic() + timeout_s

    @property
    def at(self) -> float:
        """The moment, in `time.monotonic` seconds."""
        return self._at

    @property
    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._at
