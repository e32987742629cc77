"""Approvals that count again for a while: for the same requester and exactly what was approved, nothing else. Pure.

Policy has to allow it, everybody needed has to want it, and danger and what was proposed after reading untrusted text
never have it. It counts once the action it was given for is done and verified, until its time is over or it is ended.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from opsbot.bindings import digest
from opsbot.domain import Approval, ApprovalState, Moment, Risk, StandingApproval
from opsbot.errors import NotAllowed
from opsbot.holds import Hold, HoldKind, Where
from opsbot.lifetimes import why_over
from opsbot.policy import PolicyRules

# What is bound to one request and its time. All else has to be equal for an approval to count again: what acts where,
# by which files, rules and people, asked by whom, where, and in which words.
_ONCE = frozenset({"request", "opened", "expires_at", "target", "stands_on"})
# Longer ago no approval was asked for that can still count: 30 min to decide, 60 min to count again.
LONGEST = timedelta(minutes=95)


def pattern(bindings: Mapping[str, str]) -> str:
    """Return the digest of everything that has to be equal."""
    return digest({name: value for name, value in bindings.items() if name not in _ONCE})


def minutes_for(rules: PolicyRules, risk: Risk, approval: Approval) -> int:
    """Return for how long this can be approved; 0: only this once."""
    plain = risk is Risk.CHANGE and not approval.tainted_by and not approval.stands_on
    return rules.standing_minutes if plain else 0


def granted(approval: Approval, minutes: int, now: Moment) -> Approval:
    """Return a just approved record with its standing, if everybody needed wanted that and policy allows it."""
    wanted = all(review.for_a_while for review in approval.reviews) and len(approval.reviews) >= approval.needed
    if approval.state is not ApprovalState.APPROVED or not wanted or minutes <= 0:
        return approval
    standing = StandingApproval(now, now.at + timedelta(minutes=minutes), pattern(approval.bindings))
    return replace(approval, standing=standing)


def why_not(parent: Approval, bindings: Mapping[str, str], now: Moment) -> str:
    """Say why this approval does not count for what is bound so, or "" if it does."""
    standing = parent.standing
    if standing is None:
        return "it was approved for once only"
    if standing.ended:
        return f"it was ended: {standing.ended}"
    if parent.state is not ApprovalState.DONE:
        return f"its own action is {parent.state}, not done"
    if why := why_over(standing.begun, standing.until, now):
        return f"its time is over: {why}"
    return "" if pattern(bindings) == standing.pattern else "not everything is as it was approved"


def alive(parent: Approval, now: Moment) -> bool:
    """Tell whether this approval counts again for what it was given."""
    return not why_not(parent, parent.bindings, now)


def held_text(parent: Approval, holds: Iterable[Hold]) -> str:
    """Say which of these holds ends this approval for good, or "". One on a part of a host is enough."""
    for hold in holds:
        everywhere = hold.kind is HoldKind.STOP or hold.scope.where is Where.ALL
        if everywhere or set(hold.scope.hosts) & set(parent.action.hosts):
            return f"held back by {hold.kind} {hold.id} ({hold.scope})"
    return ""


def found(lately: Iterable[Approval], approval: Approval, now: Moment) -> Approval | None:
    """Return the approval that counts for this request as well, if there is one; the one that counts longest."""
    fitting = [parent for parent in lately if parent.standing and not why_not(parent, approval.bindings, now)]
    return max(fitting, key=_until, default=None)


def _until(parent: Approval) -> datetime:
    return parent.standing.until if parent.standing else parent.expires_at


def end(parent: Approval, why: str) -> Approval:
    """Return the approval as counting no more. Raises NotAllowed if it does not."""
    if parent.standing is None or parent.standing.ended:
        raise NotAllowed(f"Request {parent.id} does not count again, so there is nothing to end.")
    return replace(parent, standing=replace(parent.standing, ended=why))
