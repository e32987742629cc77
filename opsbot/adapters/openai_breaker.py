"""A circuit breaker: after failures in a row, spare a broken service and its askers for a while."""

import time
from collections.abc import Callable

# security.md R04.
MAX_FAILURES = 5
PAUSE_S = 30.0


class Breaker:
    """Closed: every request goes. Open: none for PAUSE_S. Then half open: one probe decides.

    After `wait_s()` returned 0, exactly one of `succeeded`, `failed` and `dropped` must follow.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._open_until = 0.0
        self._probing = False

    def wait_s(self) -> float:
        """Seconds until a request may be made; 0 admits this one."""
        if self._failures < MAX_FAILURES:
            return 0.0
        left = self._open_until - self._monotonic()
        if left > 0:
            return left
        if self._probing:
            return 1.0
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """The service answered, if only to refuse."""
        self._failures = 0
        self._probing = False

    def failed(self) -> None:
        """The service did not answer, or not sensibly."""
        self._failures += 1
        self._probing = False
        if self._failures >= MAX_FAILURES:
            self._open_until = self._monotonic() + PAUSE_S

    def dropped(self) -> None:
        """Nobody waited for the end, so nothing is known."""
        self._probing = False
