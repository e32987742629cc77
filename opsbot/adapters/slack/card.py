"""The approval card: facts from the record in fixed first blocks, then people's and hosts' own words, labelled."""

import json
import re
from collections import Counter
from datetime import datetime

from opsbot.adapters.slack import pieces
from opsbot.adapters.slack.card_buttons import buttons, leave_out
from opsbot.adapters.slack.mrkdwn import date, defanged, escape
from opsbot.adapters.slack.pieces import Block, Payload
from opsbot.adapters.slack.visible import cut, one_line, spelled_out
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Card,
    HostOutcome,
    Impact,
    Order,
    OrderVerb,
    Result,
    Review,
    Step,
)
from opsbot.policy import tier_text
from opsbot.rollout import shown_steps
from opsbot.taint import caution

# Slack shows about this much before "See more"; the record and `/ops explain` have the rest.
_REASON_MAX = 300
_EVIDENCE_MAX = 2000
# Slack is said to refuse messages of more than 13,200 visible characters (reports of 2026, not documented).
_ALL_EVIDENCE_MAX = 4000
_FACT_MAX = 200
_HOSTS_SHOWN = 8
_NAMED_MAX = 1200
# Once many hosts are decided on, what each of them is doing matters more than what would have been hit.
_DECIDED_SHOWN = 2
_LINES_SHOWN = 50
# With more lines than this each one is kept short.
_LINES_IN_FULL = 10
_DETAIL_MAX = 60

# `stale:policy`: what our own reasons begin with.
_CODE = re.compile(r"[a-z]{1,20}:[a-z_]{1,40}|<@[A-Z0-9]{1,20}> ended it at [0-9:]{8} UTC", re.ASCII)

_MENTION = re.compile(r"&lt;@([A-Z0-9]{1,32})&gt;", re.ASCII)

_TITLES = {
    ApprovalState.PENDING: "Approval needed",
    ApprovalState.APPROVED: "Approved",
    ApprovalState.EXECUTING: "Running",
    ApprovalState.DONE: "Done",
    ApprovalState.FAILED: "Failed",
    ApprovalState.UNKNOWN: "Outcome unknown",
    ApprovalState.DENIED: "Denied",
    ApprovalState.WITHDRAWN: "Withdrawn",
    ApprovalState.EXPIRED: "Expired",
    ApprovalState.STALE: "Stale",
}
_INTEREST = {"running": 0, "failed": 1, "done": 3}
_VERDICTS = {
    Result.DONE: "done, verified on the host",
    Result.FAILED: "FAILED",
    Result.NOT_DONE: "not done, nothing changed",
    Result.UNKNOWN: "UNKNOWN",
}


def render(card: Card) -> Payload:
    """Render a card. The first blocks hold facts only and never depend on what a person, model or host wrote.

    What hosts said before comes next, then progress, results, and people's words: each labelled, none of it parsed.
    """
    approval = card.approval
    facts = [_title(card), _facts(approval), _people(approval), _standing(card)]
    steps = shown_steps(card)
    progress = [_steps(steps)] if steps else []
    blocks = [
        *facts,
        _impacts(approval),
        *progress,
        *_results(approval),
        _quoted(approval),
        *leave_out(card),
        *buttons(card, _action_line(approval)),
    ]
    return Payload(_sentence(card), tuple(blocks), _plain(card))


def fact_blocks(payload: Payload) -> tuple[Block, ...]:
    """Return the blocks of a rendered card that hold its facts."""
    return payload.blocks[:4]


def _title(card: Card) -> Block:
    return pieces.header(f"{_state(card)}: {_action_line(card.approval)}")


def _state(card: Card) -> str:
    approval = card.approval
    if approval.state is ApprovalState.EXECUTING and card.order is not None:
        return "Stopping" if card.order.verb is OrderVerb.HALT else "Paused"
    return "Stopped" if _stopped(approval) else _TITLES[approval.state]


def _stopped(approval: Approval) -> bool:
    """Whether it ended before its last host though nothing went wrong on a host."""
    several = len(approval.action.hosts) > 1 and bool(approval.untouched)
    return several and approval.state is ApprovalState.FAILED and {o.result for o in approval.outcomes} <= {Result.DONE}


def _action_line(approval: Approval) -> str:
    arguments = " ".join(_value(value) for _, value in sorted(approval.action.arguments.items()))
    names = [one_line(host, _FACT_MAX) for host in approval.action.hosts]
    more = len(names) - _HOSTS_SHOWN
    hosts = ", ".join(names[:_HOSTS_SHOWN]) + (f" and {more} more hosts" if more > 0 else "")
    said = " ".join(part for part in (one_line(approval.action.tool, _FACT_MAX), arguments) if part)
    return f"{said} on {hosts}" if hosts else said


def _value(value: object) -> str:
    said = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=True)
    return one_line(said, _FACT_MAX)


def _facts(approval: Approval) -> Block:
    action = approval.action
    rows = [("action", one_line(action.tool, _FACT_MAX))]
    rows += [("caution", one_line(caution(approval), _FACT_MAX))] if approval.tainted_by else []
    named = [(one_line(name, 40), _value(value)) for name, value in sorted(action.arguments.items())]
    named += [("host", one_line(host, _FACT_MAX)) for host in action.hosts]
    rest = [("rollout", one_line(said, _FACT_MAX))] if (said := approval.bindings.get("rollout")) else []
    rest += [("tier", one_line(tier_text(approval.reach), _FACT_MAX))] if approval.reach else []
    rest += [("rule", one_line(approval.rule, _FACT_MAX)), ("digest", one_line(approval.digest[:12], 12))]
    rest += [("approval", one_line(approval.id, 64))]
    # Many or long ones go last, so that none of them pushes a fact out of the block.
    few = len(action.hosts) <= _HOSTS_SHOWN and sum(len(value) for _, value in named) <= _NAMED_MAX
    rows += [*named, *rest] if few else [*rest, *named]
    width = max(len(name) for name, _ in rows)
    return pieces.rich_text(
        pieces.preformatted(cut("\n".join(f"{name:<{width}}  {value}" for name, value in rows), 3000))
    )


def _people(approval: Approval) -> Block:
    return pieces.mrkdwn_fields(
        [
            f"*Requested by* {_person(approval.requester)}",
            f"*Needs* {approval.needed} of {_approvers(approval)}",
            f"*Asked* {_moment(approval.created_at)}",
            f"*Expires* {_moment(approval.expires_at)}",
        ]
    )


def _approvers(approval: Approval) -> str:
    users = [_person(Actor(approval.requester.team_id, user)) for user in sorted(approval.approver_users)]
    groups = [f"<!subteam^{group}>" for group in sorted(approval.approver_groups) if group.isalnum()]
    named = users + groups
    more = f" and {len(named) - 6} more" if len(named) > 6 else ""
    return (", ".join(named[:6]) or "nobody (no approver is configured)") + more


def _person(actor: Actor) -> str:
    return f"<@{actor.user_id}>" if actor.user_id.isalnum() else "somebody"


def _moment(at: datetime) -> str:
    return date(int(at.timestamp()), at.strftime("%Y-%m-%d %H:%M:%S UTC"))


def _impacts(approval: Approval) -> Block:
    decided = approval.state is not ApprovalState.PENDING
    most = _DECIDED_SHOWN if decided and len(approval.impacts) > _HOSTS_SHOWN else _HOSTS_SHOWN
    shown = sorted(approval.impacts.items())[:most]
    elements = [element for host, impact in shown for element in _impact(host, impact)]
    if len(approval.impacts) > len(shown):
        elements.append(pieces.line(pieces.words(f"and {len(approval.impacts) - len(shown)} more hosts: Show plan")))
    return pieces.rich_text(*(elements or [pieces.line(pieces.words("No impact on hosts is known for this action."))]))


def _impact(host: str, impact: Impact) -> list[Block]:
    table = _aligned(impact.facts) or "nothing known"
    return [
        pieces.line(pieces.words(f"What it hits on {one_line(host, 80)}, as the host says", bold=True)),
        pieces.preformatted(table),
    ]


def _aligned(facts: tuple[tuple[str, str], ...]) -> str:
    rows = [(one_line(name, 40), one_line(value, _FACT_MAX)) for name, value in facts]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def _standing(card: Card) -> Block:
    approval = card.approval
    now = _state_line(approval)
    if approval.state is ApprovalState.EXECUTING and card.order is not None:
        now = _order_line(card.order)
    elif _stopped(approval):
        now = _stop_line(approval)
    rows = [now, *_held_line(card), *map(_review, approval.reviews[:10]), *_changes(approval)]
    return pieces.mrkdwn_section("\n".join(rows))


def _changes(approval: Approval) -> list[str]:
    """Say who left hosts out, and what an approval for a while comes from or leads to."""
    said = [
        f"Left out by {_person(each.actor)} {_moment(each.at)}: {_hosts_line(each.hosts)}"
        for each in approval.narrowed[-5:]
    ]
    if approval.stands_on:
        said.append(f"Nobody was asked: request {escape(one_line(approval.stands_on, 64))} was approved for a while.")
    if approval.standing is not None:
        until = f"until {_moment(approval.standing.until)}"
        ended = f", but that was ended: {_code(approval.standing.ended)}" if approval.standing.ended else ""
        said.append(f"Approved for the very same request again {until}{ended}.")
    return said


def _hosts_line(hosts: tuple[str, ...]) -> str:
    more = f" and {len(hosts) - _HOSTS_SHOWN} more" if len(hosts) > _HOSTS_SHOWN else ""
    return ", ".join(escape(one_line(host, 80)) for host in hosts[:_HOSTS_SHOWN]) + more


def _code(reason: str) -> str:
    """Keep the code in front of a reason: the rest may quote a host."""
    found = _CODE.match(reason)
    return found.group() if found else "see `/ops explain`"


def _held_line(card: Card) -> list[str]:
    """Say what holds it back, while that matters."""
    if not card.held or card.approval.state.final:
        return []
    under_way = card.approval.state is ApprovalState.EXECUTING
    what = "Hosts under way are finished; nothing more is started." if under_way else "It cannot be approved meanwhile."
    said = _MENTION.sub(r"<@\1>", escape(one_line(card.held, 600)))
    return [f"*Held back.* {said} {what}"]


def _order_line(order: Order) -> str:
    who = f"by {_person(order.actor)} {_moment(order.at)}"
    if order.verb is OrderVerb.HALT:
        return f"*Stopping*, asked {who}. Hosts under way are finished; nothing more is started."
    return (
        f"*Paused* {who}. Hosts under way are finished; nothing more is started. To go on, press *Resume* (whoever may "
        "approve this, or who paused it); a pause that lasts too long ends it."
    )


def _stop_line(approval: Approval) -> str:
    who = f" by {_person(approval.halted.actor)} {_moment(approval.halted.at)}" if approval.halted else ""
    return f"*Stopped*{who}. Hosts marked untouched were left as they are: {len(approval.untouched)}."


def _review(review: Review) -> str:
    verb = "Approved for a while" if review.for_a_while else "Approved" if review.approve else "Denied"
    return f"{verb} by {_person(review.actor)} {_moment(review.at)}"


def _state_line(approval: Approval) -> str:
    given = sum(review.approve for review in approval.reviews)
    match approval.state:
        case ApprovalState.PENDING:
            return f"*Waiting*: {given} of {approval.needed} approvals. Nothing has been done."
        case ApprovalState.APPROVED:
            return "*Approved*, about to run."
        case ApprovalState.EXECUTING:
            return "*Running now.*"
        case ApprovalState.DONE:
            return "*Done*, and the host confirms it."
        case ApprovalState.FAILED:
            return "*Failed.* What each host says is below."
        case ApprovalState.UNKNOWN:
            return "*Outcome unknown.* It may or may not have run; it will not be repeated by itself."
    return _undone(approval)


def _was_approved(approval: Approval) -> bool:
    ended_later = approval.state in (ApprovalState.EXPIRED, ApprovalState.STALE)
    return ended_later and sum(review.approve for review in approval.reviews) >= approval.needed


def _undone(approval: Approval) -> str:
    # What was approved first has its time beside who approved it.
    when = f" {_moment(approval.decided_at)}" if approval.decided_at and not _was_approved(approval) else ""
    why = {
        ApprovalState.WITHDRAWN: f"*Withdrawn* by {_person(approval.requester)}{when}.",
        ApprovalState.STALE: f"*Stale*{when}: what was asked is no longer what would run.",
    }
    return why.get(approval.state, f"*{_TITLES[approval.state]}*{when}.") + " Nothing was done."


def _steps(steps: tuple[Step, ...]) -> Block:
    """Show one line per host; with very many hosts, those of most interest: under way, then what went wrong."""
    first = sorted(steps, key=lambda step: _INTEREST.get(step.state, 2)) if len(steps) > _LINES_SHOWN else list(steps)
    detail_max = _FACT_MAX if len(steps) <= _LINES_IN_FULL else _DETAIL_MAX
    items = [pieces.line(*_step(step, detail_max)) for step in first[:_LINES_SHOWN]]
    hidden = Counter(step.state for step in first[_LINES_SHOWN:])
    counts = ", ".join(f"{count} {one_line(state, 20)}" for state, count in sorted(hidden.items()))
    more = [pieces.line(pieces.words(f"and {hidden.total()} more hosts: {counts}"))] if hidden else []
    return pieces.rich_text(pieces.bullets(*items, *more))


def _step(step: Step, detail_max: int) -> list[Block]:
    detail = cut(one_line(step.detail, _FACT_MAX), detail_max)
    runs = [pieces.words(f"[{one_line(step.state, 20)}] ", code=True), pieces.words(one_line(step.title, _FACT_MAX))]
    return runs + ([pieces.words(f": {detail}")] if detail else [])


def _results(approval: Approval) -> list[Block]:
    """Show what the hosts say, first where something went wrong; of very many hosts nothing else: each has its line."""
    worst = sorted(approval.outcomes, key=lambda outcome: outcome.result is Result.DONE)
    bad = [outcome for outcome in worst if outcome.result is not Result.DONE]
    shown = (worst if len(approval.action.hosts) <= _LINES_IN_FULL else bad)[:_HOSTS_SHOWN]
    evidence_max = min(_EVIDENCE_MAX, _ALL_EVIDENCE_MAX // max(1, len(bad[:_HOSTS_SHOWN])))
    return [_outcome(outcome, evidence_max) for outcome in shown]


def _outcome(outcome: HostOutcome, evidence_max: int) -> Block:
    verdict = f"{one_line(outcome.host, 80)}: {_VERDICTS[outcome.result]}"
    rows = [pieces.line(pieces.words(verdict, bold=True), pieces.words(f"\n{one_line(outcome.summary, 400)}"))]
    if outcome.facts:
        rows.append(pieces.preformatted(_aligned(outcome.facts)))
    if outcome.result is not Result.DONE:
        rows.append(pieces.line(pieces.words("The host's own log lines (text from the host, not checked):")))
        rows.append(pieces.preformatted(_evidence(outcome.evidence, evidence_max)))
    return pieces.rich_text(*rows)


def _evidence(text: str, longest: int) -> str:
    shown = spelled_out(text).strip("\n")
    # The newest lines say why it failed.
    return ("…" + shown[1 - longest :] if len(shown) > longest else shown) or "none"


def _quoted(approval: Approval) -> Block:
    rows = [
        pieces.line(pieces.words("Reason given (words of whoever asked, not checked):")),
        pieces.quote(_untrusted(approval.reason) or "none given"),
    ]
    if note := _untrusted(approval.note):
        rows += [pieces.line(pieces.words("Note:")), pieces.quote(note)]
    return pieces.rich_text(*rows)


def _untrusted(text: str) -> str:
    return cut(defanged(spelled_out(text[:_REASON_MAX])), _REASON_MAX).strip()


def _sentence(card: Card) -> str:
    said = f"{_state(card)}: {_action_line(card.approval)}"
    return escape(said)


def _plain(card: Card) -> str:
    approval = card.approval
    lines = [f"{_state(card)}: {_action_line(approval)}", f"digest {approval.digest[:12]}, id {approval.id}"]
    lines += [
        f"{host}: {one_line(name, 40)} {one_line(value, _FACT_MAX)}"
        for host, i in approval.impacts.items()
        for name, value in i.facts
    ]
    lines += [f"by {review.actor.user_id}: {'approved' if review.approve else 'denied'}" for review in approval.reviews]
    lines += [f"[{step.state}] {one_line(step.title, _FACT_MAX)}" for step in shown_steps(card)]
    lines += [f"{o.host}: {_VERDICTS[o.result]}. {one_line(o.summary, 400)}" for o in approval.outcomes]
    if approval.state is ApprovalState.PENDING:
        lines.append(f"The buttons could not be shown: `/ops explain {approval.id}` tells more.")
    return "\n".join(lines)
