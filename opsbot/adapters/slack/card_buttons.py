"""What can be pressed on an approval card: each button carries the request's id and its seal, the menu also numbers."""

from opsbot.adapters.slack import pieces
from opsbot.adapters.slack.pieces import Block
from opsbot.adapters.slack.visible import one_line
from opsbot.domain import ApprovalState, Card, OrderVerb

APPROVE = "opsbot.approve"
APPROVE_WHILE = "opsbot.approve_while"
WITHDRAW = "opsbot.withdraw"
LEAVE_OUT = "opsbot.leave_out"
DENY = "opsbot.deny"
PLAN = "opsbot.plan"
PAUSE = "opsbot.pause"
RESUME = "opsbot.resume"
HALT = "opsbot.halt"


def buttons(card: Card, action: str) -> list[Block]:
    """Return the row of buttons; `action` says in a line what would run."""
    approval = card.approval
    look = "Show plan" if approval.state is ApprovalState.PENDING else "Show record"
    return [pieces.actions(*_choices(card, action), pieces.button(look, PLAN, sealed(card)))]


def sealed(card: Card) -> str:
    """Return what a card's buttons carry: the request's id and the seal over what it is now."""
    return f"{card.approval.id}.{card.seal}"


def _choices(card: Card, action: str) -> list[Block]:
    approval, value = card.approval, sealed(card)
    withdraw = pieces.button("Withdraw", WITHDRAW, value)
    match approval.state:
        case ApprovalState.PENDING:
            deny = pieces.button("Deny", DENY, value, style="danger")
            return [*_approve(card, action), deny, withdraw]
        case ApprovalState.APPROVED:
            return [withdraw]
        case ApprovalState.EXECUTING:
            return _orders(card)
        case ApprovalState.DONE if approval.standing is not None and not approval.standing.ended:
            return [pieces.button("End the approval", WITHDRAW, value, style="danger")]
    return []


def _approve(card: Card, action: str) -> list[Block]:
    approve = pieces.button("Approve", APPROVE, sealed(card), style="primary")
    approve["confirm"] = pieces.confirm("Run this?", action, "Approve", "Not now")
    if not card.while_minutes:
        return [approve]
    longer = pieces.button(f"Approve for {card.while_minutes} min", APPROVE_WHILE, sealed(card))
    said = (
        f"It runs now. For {card.while_minutes} min it also runs, without asking, each time the same person asks for "
        "exactly this."
    )
    longer["confirm"] = pieces.confirm("Run this, and again?", said, "Approve", "Not now")
    return [approve, longer]


def leave_out(card: Card) -> list[Block]:
    """The menu of hosts to leave out, while that is possible. It carries numbers; names come from the record."""
    hosts = card.approval.action.hosts
    if card.approval.state is not ApprovalState.PENDING or len(hosts) < 2:
        return []
    menu = pieces.several("Leave hosts out", LEAVE_OUT, [one_line(host, pieces.OPTION_MAX) for host in hosts])
    said = "The request goes on without the chosen hosts. It then needs all its approvals anew."
    menu["confirm"] = pieces.confirm("Leave these out?", said, "Leave out", "Back")
    text = "Not on all of these hosts? Whoever may approve can leave some out first."
    more = f" `/ops leave-out {card.approval.id} HOST…` knows them all." if len(hosts) > pieces.OPTIONS_MAX else ""
    block = pieces.mrkdwn_section(text + more)
    return [block | {"block_id": f"leave_out.{sealed(card)}", "accessory": menu}]


def _orders(card: Card) -> list[Block]:
    """Buttons for an action with hosts that have not been started."""
    open_ones = any(step.state in ("waiting", "paused") for step in card.steps)
    halted = card.order is not None and card.order.verb is OrderVerb.HALT
    if len(card.approval.action.hosts) == 1 or not open_ones or halted:
        return []
    go = ("Resume", RESUME) if card.order is not None else ("Pause", PAUSE)
    stop = pieces.button("Stop", HALT, sealed(card), style="danger")
    stop["confirm"] = pieces.confirm(
        "Stop here?",
        "Hosts under way are finished, all others stay as they are. It cannot go on later.",
        "Stop",
        "Back",
    )
    return [pieces.button(*go, sealed(card)), stop]
