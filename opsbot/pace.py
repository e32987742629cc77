"""How fast people may be asked for approvals, and may answer: against rubber stamps. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from opsbot.domain import Approval
from opsbot.errors import TooEarly, TooManyRequests

# Nothing that can still be approved was asked for longer ago: `approval_expires_s` is at most 1,800.
LONGEST = timedelta(seconds=1860)


@dataclass(frozen=True, slots=True)
class Pace:
    """An approval counts `read_s` after its card stands there as it is, and after the same person's last one.

    One person has at most `open_requests` open, and asks at most `requests` times within `window_s`.
    """

    read_s: float = 2.0
    open_requests: int = 5
    requests: int = 20
    window_s: float = 600.0


def check_was_read(pace: Pace, approval: Approval, last_approved_at: datetime | None, now: datetime) -> None:
    """Raise TooEarly if nobody can have read the card in this time."""
    if pace.read_s <= 0:
        return
    if approval.shown_at is None:
        raise TooEarly("The card has just changed, or is not there yet. Read it first, then press again.")
    there_s = (now - approval.shown_at).total_seconds()
    if there_s < pace.read_s:
        raise TooEarly(
            f"Too early: this card has been there for {max(there_s, 0):.1f} s. Read the card first; a click counts "
            f"after {pace.read_s:g} s."
        )
    if last_approved_at is not None and 0 <= (now - last_approved_at).total_seconds() < pace.read_s:
        raise TooEarly(
            f"Too early: you approved another request less than {pace.read_s:g} s ago. Read this card first."
        )


def check_may_ask_more(pace: Pace, mine: Collection[Approval], now: datetime) -> None:
    """Check one more request against the same person's: those of the last `window_s` and all that are open.

    Raises:
        TooManyRequests: the text says what to do, or from when on it is possible again.
    """
    still_open = [approval.id for approval in mine if not approval.state.final]
    if len(still_open) >= pace.open_requests:
        raise TooManyRequests(
            f"{len(still_open)} requests of yours are open already ({', '.join(still_open[:10])}), and people read "
            "them one by one. Wait for a decision or withdraw some first; there is no way to approve them together."
        )
    began = now - timedelta(seconds=pace.window_s)
    recent = sorted(approval.created_at for approval in mine if approval.created_at > began)
    if len(recent) >= pace.requests:
        again = recent[-pace.requests] + timedelta(seconds=pace.window_s)
        raise TooManyRequests(
            f"You asked for {len(recent)} approvals within {pace.window_s / 60:g} min. "
            f"The next one is possible at {again:%H:%M:%S} UTC."
        )
