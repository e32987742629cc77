"""The state machine of an approval: open, review, expire; what it binds, and who may decide. Pure."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import rfc8785

from opsbot.domain import (
    Action,
    Actor,
    Approval,
    ApprovalState,
    AuditEntry,
    Decision,
    Host,
    HostOutcome,
    Impact,
    Json,
    Order,
    OrderVerb,
    Place,
    Result,
    Review,
    ToolResult,
    Verdict,
)
from opsbot.errors import AlreadyDecided, Expired, NotAllowed, Stale
from opsbot.policy import TERMINAL_TEAM, PolicyRules, may_ask
from opsbot.rollout import agreed_text
from opsbot.tooling import Tool

# Crockford's base 32 without letters that read like digits: ids are spoken over the phone at 3 a.m.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything an approval is made from."""

    place: Place
    requester: Actor
    tool: Tool
    action: Action
    hosts: tuple[Host, ...]
    decision: Decision
    impacts: Mapping[str, Impact]
    reason: str = ""
    call_id: str = ""
    tainted_by: tuple[str, ...] = ()


def open_approval(proposal: Proposal, rules: PolicyRules, *, now: datetime, lifetime_s: float) -> Approval:
    """Make the pending record of a proposal."""
    expires_at = now + timedelta(seconds=lifetime_s)
    bindings = bind(proposal.tool, proposal.action, proposal.hosts, rules)
    bindings |= _own_bindings(proposal.requester, proposal.decision.needed, expires_at, proposal.tainted_by)
    return Approval(
        id="".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH)),
        conversation_id=proposal.place.key,
        place=proposal.place,
        call_id=proposal.call_id,
        requester=proposal.requester,
        action=proposal.action,
        tool_sha256=proposal.tool.sha256,
        reason=proposal.reason,
        rule=proposal.decision.rule,
        needed=proposal.decision.needed,
        approver_users=proposal.decision.approver_users,
        approver_groups=proposal.decision.approver_groups,
        impacts=proposal.impacts,
        created_at=now,
        expires_at=expires_at,
        digest=digest(bindings),
        bindings=bindings,
        tainted_by=proposal.tainted_by,
    )


def bind(tool: Tool, action: Action, hosts: Sequence[Host], rules: PolicyRules) -> dict[str, str]:
    """Name what an approver agrees to, each field as text or hash (T07 of the threat table)."""
    return {
        "tool": action.tool,
        "tool_file": tool.sha256,
        "arguments": rfc8785.dumps(dict(action.arguments)).decode(),
        "hosts": ",".join(action.hosts),
        "host_records": _hash([_host_record(host) for host in sorted(hosts, key=lambda host: host.name)]),
        "policy": rules.revision,
        "rollout": agreed_text(rules.rollout, len(hosts)),
    }


def digest(bindings: Mapping[str, str]) -> str:
    """Hex SHA-256 over the canonical JSON (RFC 8785) of the bindings."""
    return hashlib.sha256(rfc8785.dumps(dict(bindings))).hexdigest()


def check_unchanged(approval: Approval, current: Mapping[str, str]) -> None:
    """Compare what was approved with what would run now.

    Raises:
        Stale: the record was altered, or a bound field differs; the text names it.
    """
    own = _own_bindings(approval.requester, approval.needed, approval.expires_at, approval.tainted_by)
    expected = dict(approval.bindings)
    for name, value in (dict(current) | own).items():
        if expected.get(name) != value:
            raise Stale(f"stale:{name}: {name.replace('_', ' ')} changed since this was approved. Ask again.")
    if digest(approval.bindings) != approval.digest:
        raise Stale("stale:digest: the record does not match what was approved. Ask again.")


def review(approval: Approval, actor: Actor, *, approve: bool, now: datetime, rules: PolicyRules) -> Approval:
    """Return the approval after this person's click.

    Raises:
        AlreadyDecided, Expired, NotAllowed: the click does not count; the text says why.
    """
    if approval.state is not ApprovalState.PENDING:
        raise AlreadyDecided(decided_text(approval))
    if now >= approval.expires_at:
        raise Expired(f"This request expired at {approval.expires_at:%H:%M:%S} UTC. Ask again for a fresh one.")
    _check_may_decide(approval, actor, approve=approve, rules=rules)
    if any(done.actor.key == actor.key for done in approval.reviews):
        raise AlreadyDecided("Your approval is already counted; it takes another person as well.")
    reviews = (*approval.reviews, Review(actor, approve, now))
    if not approve:
        return replace(approval, state=ApprovalState.DENIED, reviews=reviews, decided_at=now)
    if len(reviews) < approval.needed:
        return replace(approval, reviews=reviews)
    return replace(approval, state=ApprovalState.APPROVED, reviews=reviews, decided_at=now)


def _check_may_decide(approval: Approval, actor: Actor, *, approve: bool, rules: PolicyRules) -> None:
    is_requester = actor.key == approval.requester.key
    if actor.team_id == TERMINAL_TEAM:
        if not rules.terminal_operator and approve:
            raise NotAllowed(
                "The person at the terminal may not approve: set policy.terminal_operator to true to allow it."
            )
        return
    if is_requester and not approve:
        return  # withdrawing one's own request needs no second person
    if is_requester:
        raise NotAllowed("You asked for this, so somebody else has to approve it.")
    if actor.team_id != approval.requester.team_id:
        raise NotAllowed("Only people of the team that asked may decide this.")
    if actor.user_id not in approval.approver_users and not actor.groups & approval.approver_groups:
        raise NotAllowed(f"You are not among the approvers for this ({approval.rule}). Nothing was changed.")


def check_may_order(
    approval: Approval, actor: Actor, verb: OrderVerb, rules: PolicyRules, *, given: Order | None
) -> None:
    """Check whether this person may pause, resume or halt the action while it is under way; `given` counts now.

    Raises:
        NotAllowed: pausing and halting are safe, so whoever may ask may do it; going on takes whoever may approve it,
            or the one who paused.
    """
    if verb is OrderVerb.RESUME and given is not None and given.actor.key == actor.key:
        return
    same_team = actor.team_id in (approval.requester.team_id, TERMINAL_TEAM)
    if verb is not OrderVerb.RESUME and same_team and may_ask(rules, actor).verdict is Verdict.ALLOW:
        return
    _check_may_decide(approval, actor, approve=True, rules=rules)


def expire(approval: Approval, now: datetime) -> Approval:
    """Return the approval as expired. Raises AlreadyDecided or (too early) NotAllowed."""
    if approval.state not in (ApprovalState.PENDING, ApprovalState.APPROVED):
        raise AlreadyDecided(decided_text(approval))
    if now < approval.expires_at:
        raise NotAllowed("It has not expired yet.")
    return replace(approval, state=ApprovalState.EXPIRED, decided_at=now)


def conclude(approval: Approval, outcomes: Sequence[HostOutcome], *, note: str = "") -> Approval:
    """Return the approval in the final state its outcomes call for; hosts without one were not touched."""
    results = {outcome.result for outcome in outcomes}
    ended = replace(approval, outcomes=tuple(outcomes))
    untouched = ended.untouched
    if Result.UNKNOWN in results:
        state = ApprovalState.UNKNOWN
    elif results == {Result.DONE} and not untouched:
        state = ApprovalState.DONE
    else:
        state = ApprovalState.FAILED
    if untouched:
        note = f"{note} Not touched: {', '.join(untouched)}.".strip()
    return replace(ended, state=state, note=note)


def decided_text(approval: Approval) -> str:
    """Say who decided and when, for somebody who came too late."""
    if approval.state is ApprovalState.EXPIRED:
        return f"This request expired at {approval.expires_at:%H:%M:%S} UTC; nothing was run."
    if approval.state is ApprovalState.STALE:
        return f"This request is out of date: {approval.note}"
    verb = "denied" if approval.state is ApprovalState.DENIED else "approved"
    people = " and ".join(f"<@{done.actor.user_id}>" for done in approval.reviews) or "nobody"
    when = f"{approval.decided_at:%H:%M:%S} UTC" if approval.decided_at else "an unknown time"
    return f"Already decided: {verb} by {people} at {when}. It is now {approval.state}."


def result_for_model(approval: Approval) -> ToolResult:
    """The one result of the call that proposed this approval, once it is final."""
    content: dict[str, Json] = {
        "approval": approval.id,
        "state": str(approval.state),
        "outcomes": [
            {"host": o.host, "result": str(o.result), "summary": o.summary, "evidence": o.evidence[:2000]}
            for o in approval.outcomes
        ],
        "note": approval.note,
    }
    if approval.reviews:
        content["decided_by"] = [f"<@{done.actor.user_id}>" for done in approval.reviews]
    if approval.halted:
        content["stopped_by"] = f"<@{approval.halted.actor.user_id}>"
    text = rfc8785.dumps(content).decode()
    failed = approval.state is not ApprovalState.DONE
    return ToolResult(approval.call_id, text, failed, untrusted=bool(approval.outcomes))


def entry(
    approval: Approval,
    kind: str,
    at: datetime,
    *,
    actor: Actor | None = None,
    facts: Mapping[str, Json] | None = None,
) -> AuditEntry:
    """An audit entry about an approval."""
    base: dict[str, Json] = {
        "tool": approval.action.tool,
        "hosts": list(approval.action.hosts),
        "digest": approval.digest,
        "state": str(approval.state),
    }
    if approval.tainted_by:
        base["tainted_by"] = [*approval.tainted_by]
    return AuditEntry(
        kind=kind,
        at=at,
        actor=actor.key if actor else "",
        conversation_id=approval.conversation_id,
        approval_id=approval.id,
        facts=base | dict(facts or {}),
    )


def _own_bindings(requester: Actor, needed: int, expires_at: datetime, tainted_by: tuple[str, ...]) -> dict[str, str]:
    return {
        "requester": requester.key,
        "needed": str(needed),
        "expires_at": expires_at.isoformat(),
        "tainted_by": ", ".join(tainted_by),
    }


def _host_record(host: Host) -> Json:
    return [
        host.name,
        str(host.connection),
        host.address,
        host.port,
        host.user,
        host.host_key,
        host.environment,
        [*sorted(host.units)],
        str(host.service_manager),
        [*host.service_command],
        host.sudo,
        [*sorted(host.actions)],
        [*sorted(host.containers)],
        host.jump,
    ]


def _hash(content: Json) -> str:
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()
