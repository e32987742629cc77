"""Whether something that was to last for a while is over, by every clock there is. Pure.

Both clocks of the machine count, and whichever is first ends it: a wall clock set back gives nobody more time, and
neither does a machine that slept. What cannot be told counts as over.
"""

from datetime import datetime

from opsbot.domain import Moment

# Slewing (chrony: 10 % at most, for seconds) and rounding move the clocks of one machine apart by less than this.
_DRIFT_S = 5.0
# Clocks of two machines that are kept in time agree far better than this.
_SKEW_S = 30.0


def why_over(begun: Moment | None, ends_at: datetime, now: Moment) -> str:
    """Say why what began at `begun` and was to end at `ends_at` is over, or "" while it lasts.

    Monotonic time compares only within one boot of one machine. After another boot of the same machine nothing tells
    how long it was away, so it is over. On another machine the wall clock alone decides.
    """
    if begun is None:
        return "it was asked by an older opsbot, which did not note all clocks"
    if now.at >= ends_at:
        return f"its time ended at {ends_at:%H:%M:%S} UTC"
    by_wall_s = (now.at - begun.at).total_seconds()
    if now.boot_id != begun.boot_id:
        if now.machine == begun.machine:
            return "opsbot's machine was started anew since, and nothing tells how long it was away"
        return "" if by_wall_s > -_SKEW_S else _behind(by_wall_s)
    by_monotonic_s = now.monotonic_s - begun.monotonic_s
    if by_monotonic_s >= (ends_at - begun.at).total_seconds():
        return f"its time is over, whatever the clock says ({by_monotonic_s:.0f} s passed)"
    if by_monotonic_s < 0:
        return "the clocks of opsbot's machine contradict each other"
    return "" if by_wall_s > by_monotonic_s - _DRIFT_S else _behind(by_wall_s - by_monotonic_s)


def _behind(seconds: float) -> str:
    return f"the clock of opsbot's machine was set back by {-seconds:.0f} s since, so nothing tells how late it is"
