"""What people are told in private when a click or an order of theirs counts."""

from opsbot.approvals import Click
from opsbot.domain import Approval, ApprovalState, Order, OrderVerb

# The decisions a card's buttons stand for.
CLICKS = {
    "approve": Click(approve=True),
    "approve_while": Click(approve=True, for_a_while=True),
    "deny": Click(approve=False),
}


def counted(approval: Approval) -> str:
    """Answer a click that counted."""
    if approval.state is ApprovalState.DENIED:
        return f"Denied. Request {approval.id} will not run."
    missing = approval.needed - len(approval.reviews)
    if approval.state is ApprovalState.PENDING:
        return f"Counted. It takes {missing} more."
    again = f" It counts again until {approval.standing.until:%H:%M} UTC." if approval.standing else ""
    return f"Approved. Request {approval.id} runs now; the card shows the result.{again}"


def withdrawn(approval: Approval) -> str:
    """Answer who took something back."""
    if approval.state is ApprovalState.WITHDRAWN:
        return f"Withdrawn. Request {approval.id} will not run."
    return f"Ended. The approval of request {approval.id} counts for nothing else any more."


def narrowed(approval: Approval) -> str:
    """Answer who left hosts out."""
    out, left = ", ".join(approval.narrowed[-1].hosts), ", ".join(approval.action.hosts)
    return f"Left out: {out}. Request {approval.id} is about {left} now, and needs its approvals anew."


def ordered(order: Order, longest: str) -> str:
    """Answer an order that counts."""
    match order.verb:
        case OrderVerb.PAUSE:
            return (
                "Paused. Hosts under way are finished first; nothing more is started until somebody presses Resume. "
                f"After {longest} it is stopped for good."
            )
        case OrderVerb.RESUME:
            return "It goes on, after another look at the hosts that are next."
        case OrderVerb.HALT:
            return "It is being stopped. Hosts under way are finished first; nothing more is started."
