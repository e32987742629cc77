"""The state machine of an approval: open, review, expire, conclude; and who may decide. Pure."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import rfc8785

from opsbot.actions import Prepared
from opsbot.bindings import bind, bind_own, digest
from opsbot.domain import (
    Action,
    Actor,
    Approval,
    ApprovalState,
    AuditEntry,
    Decision,
    HostOutcome,
    Impact,
    Json,
    Membership,
    Moment,
    Narrowing,
    Order,
    OrderVerb,
    Place,
    Result,
    Review,
    ToolResult,
    Verdict,
)
from opsbot.errors import AlreadyDecided, Expired, NotAllowed, Stale
from opsbot.lifetimes import why_over
from opsbot.policy import TERMINAL_TEAM, PolicyRules, may_ask, tier_text

# Crockford's base 32 without letters that read like digits: ids are spoken over the phone at 3 a.m.
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_LENGTH = 8
# Ends of an approval in which its note says why it was not carried out.
_NOT_RUN = (ApprovalState.STALE, ApprovalState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything an approval is made from."""

    place: Place
    requester: Actor
    prepared: Prepared
    decision: Decision
    impacts: Mapping[str, Impact]
    reason: str = ""
    call_id: str = ""
    tainted_by: tuple[str, ...] = ()


def open_approval(proposal: Proposal, rules: PolicyRules, *, now: Moment, lifetime_s: float) -> Approval:
    """Make the pending record of a proposal."""
    made = Approval(
        id="".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH)),
        conversation_id=proposal.place.key,
        place=proposal.place,
        call_id=proposal.call_id,
        requester=proposal.requester,
        action=proposal.prepared.action,
        tool_sha256=proposal.prepared.tool.sha256,
        reason=proposal.reason,
        rule=proposal.decision.rule,
        reach=proposal.decision.reach,
        needed=proposal.decision.needed,
        approver_users=proposal.decision.approver_users,
        approver_groups=proposal.decision.approver_groups,
        impacts=proposal.impacts,
        created_at=now.at,
        expires_at=now.at + timedelta(seconds=lifetime_s),
        digest="",
        opened=now,
        tainted_by=proposal.tainted_by,
    )
    return bound(made, bind(proposal.prepared, rules))


def bound(approval: Approval, current: Mapping[str, str]) -> Approval:
    """Return the record bound to what would run now and to what it says itself, with the digest of both."""
    bindings = {**current, **bind_own(approval)}
    return replace(approval, bindings=bindings, digest=digest(bindings))


@dataclass(frozen=True, slots=True)
class Click:
    """What a person wants: to approve or not, `for_a_while` for the same thing again as well."""

    approve: bool
    for_a_while: bool = False


def review(approval: Approval, actor: Actor, click: Click, *, now: Moment, rules: PolicyRules) -> Approval:
    """Return the approval after this person's click.

    Raises:
        AlreadyDecided, Expired, NotAllowed: the click does not count; the text says why.
    """
    if approval.state is not ApprovalState.PENDING:
        raise AlreadyDecided(decided_text(approval))
    check_in_time(approval, now)
    check_may_decide(approval, actor, approve=click.approve, rules=rules)
    if any(rules.person(done.actor) == rules.person(actor) for done in approval.reviews):
        raise AlreadyDecided("Your approval is already counted; it takes another person as well.")
    reviews = (*approval.reviews, Review(actor, click.approve, now.at, click.approve and click.for_a_while))
    if not click.approve:
        return replace(approval, state=ApprovalState.DENIED, reviews=reviews, decided_at=now.at)
    if len(reviews) < approval.needed:
        return replace(approval, reviews=reviews)
    return replace(approval, state=ApprovalState.APPROVED, reviews=reviews, decided_at=now.at)


def check_tier(approval: Approval, decision: Decision) -> None:
    """Check that it can break no other things than when it was approved. Raises Stale."""
    was, now = approval.reach, decision.reach
    if was is not None and now is not None and was.tier is not now.tier:
        raise Stale(f"stale:tier: it was approved as {tier_text(was)}; it is {tier_text(now)}. Ask again.")


def check_reviews(approval: Approval, reviewers: Sequence[Actor], rules: PolicyRules) -> None:
    """Check that enough people, who may, approved it; `reviewers` as they are now (T06 of the threat table).

    Raises:
        Stale: somebody may no longer, or they are too few.
    """
    for actor in reviewers:
        try:
            check_may_decide(approval, actor, approve=True, rules=rules)
        except NotAllowed as error:
            raise Stale(f"stale:approver: <@{actor.user_id}> may no longer approve this. Ask again.") from error
    if len({rules.person(actor) for actor in reviewers}) < approval.needed:
        raise Stale("stale:approver: fewer people than needed approved this. Ask again.")


def check_may_decide(approval: Approval, actor: Actor, *, approve: bool, rules: PolicyRules) -> None:
    """Check whether this person, as they are now, may approve or deny it. Raises NotAllowed."""
    is_requester = rules.person(actor) == rules.person(approval.requester)
    if actor.membership is not Membership.MEMBER:
        raise NotAllowed(may_ask(rules, actor).reason)
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
    if not is_approver(approval, actor):
        raise NotAllowed(f"You are not among the approvers for this ({approval.rule}). Nothing was changed.")


def is_approver(approval: Approval, actor: Actor) -> bool:
    """Whether this member is among the people or in the groups who may approve it, whoever asked."""
    named = actor.user_id in approval.approver_users or bool(actor.groups & approval.approver_groups)
    ours = actor.team_id == approval.requester.team_id and actor.membership is Membership.MEMBER
    return named and ours


def withdraw(approval: Approval, actor: Actor, now: Moment, rules: PolicyRules) -> Approval:
    """Return the approval as taken back by whoever asked: as long as it does not run, also after it was approved.

    Raises:
        AlreadyDecided, Expired, NotAllowed: it cannot be; the text says why.
    """
    if approval.state is ApprovalState.EXECUTING:
        stop = "Stop on its card keeps it from hosts that have not been begun."
        raise AlreadyDecided(f"{decided_text(approval)} {stop}")
    if approval.state not in (ApprovalState.PENDING, ApprovalState.APPROVED):
        raise AlreadyDecided(decided_text(approval))
    check_in_time(approval, now)
    if rules.person(actor) != rules.person(approval.requester):
        raise NotAllowed("Only whoever asked for this can withdraw it. Whoever may approve it can deny it.")
    return replace(approval, state=ApprovalState.WITHDRAWN, decided_at=now.at)


def hosts_left(approval: Approval, actor: Actor, out: Sequence[str], now: Moment, rules: PolicyRules) -> Action:
    """Return what remains of the action when this person leaves these hosts out.

    Raises:
        AlreadyDecided, Expired, NotAllowed: they cannot be left out; the text says why.
    """
    if approval.state is not ApprovalState.PENDING:
        raise AlreadyDecided(decided_text(approval))
    check_in_time(approval, now)
    check_may_decide(approval, actor, approve=True, rules=rules)
    strangers = sorted(set(out) - set(approval.action.hosts))
    if strangers:
        raise NotAllowed(f"{', '.join(strangers)[:200]}: not among its hosts. Hosts can be left out, never added.")
    left = tuple(host for host in approval.action.hosts if host not in out)
    if not out or not left:
        raise NotAllowed("Name at least one host to leave out, and leave at least one. To refuse them all, deny it.")
    return replace(approval.action, hosts=left)


def narrow(approval: Approval, by: Narrowing, proposal: Proposal, rules: PolicyRules) -> Approval:
    """Return the approval for fewer hosts: bound anew, reviewed by nobody yet, and due no later than before.

    `proposal` is what remains, as policy judges it now; fewer hosts never need fewer people.
    """
    decision = proposal.decision
    left = replace(
        approval,
        action=proposal.prepared.action,
        impacts={name: approval.impacts[name] for name in proposal.prepared.action.hosts},
        rule=decision.rule,
        reach=decision.reach,
        needed=max(approval.needed, decision.needed),
        approver_users=decision.approver_users,
        approver_groups=decision.approver_groups,
        reviews=(),
        shown_at=None,
        narrowed=(*approval.narrowed, by),
    )
    return bound(left, bind(proposal.prepared, rules))


def stand(approval: Approval, parent: Approval, prepared: Prepared, now: Moment, rules: PolicyRules) -> Approval:
    """Return a pending request as approved by an approval that counts again (see `standing`), bound to that one.

    Its reviews are taken over, so that whoever gave them has to be somebody who may give them still.
    """
    stood = replace(
        approval, stands_on=parent.id, reviews=parent.reviews, state=ApprovalState.APPROVED, decided_at=now.at
    )
    return bound(stood, bind(prepared, rules))


def check_may_order(
    approval: Approval, actor: Actor, verb: OrderVerb, rules: PolicyRules, *, given: Order | None
) -> None:
    """Check whether this person may pause, resume or halt the action while it is under way; `given` counts now.

    Raises:
        NotAllowed: pausing and halting are safe, so whoever may ask may do it; going on takes whoever may approve it,
            or the one who paused.
    """
    is_pauser = given is not None and rules.person(given.actor) == rules.person(actor)
    if verb is OrderVerb.RESUME and is_pauser and actor.membership is Membership.MEMBER:
        return
    same_team = actor.team_id in (approval.requester.team_id, TERMINAL_TEAM)
    if verb is not OrderVerb.RESUME and same_team and may_ask(rules, actor).verdict is Verdict.ALLOW:
        return
    check_may_decide(approval, actor, approve=True, rules=rules)


def check_in_time(approval: Approval, now: Moment) -> None:
    """Raise Expired if the request's time is over by any clock; the text says by which."""
    if why := why_over(approval.opened, approval.expires_at, now):
        raise Expired(f"This request expired: {why}. Nothing was run. Ask again for a fresh one.")


def expire(approval: Approval, now: Moment) -> Approval:
    """Return the approval as expired. Raises AlreadyDecided or (too early) NotAllowed."""
    if approval.state not in (ApprovalState.PENDING, ApprovalState.APPROVED):
        raise AlreadyDecided(decided_text(approval))
    why = why_over(approval.opened, approval.expires_at, now)
    if not why:
        raise NotAllowed("It has not expired yet.")
    note = approval.note if now.at >= approval.expires_at else f"It expired: {why}."
    return replace(approval, state=ApprovalState.EXPIRED, decided_at=approval.decided_at or now.at, note=note)


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
    when = f"{approval.decided_at:%H:%M:%S} UTC" if approval.decided_at else "an unknown time"
    if approval.state is ApprovalState.WITHDRAWN:
        return (
            f"This request was withdrawn by <@{approval.requester.user_id}>, who made it, at {when}; nothing was run."
        )
    if approval.state is ApprovalState.EXPIRED and not approval.reviews:
        return f"This request expired at {when}; nothing was run. {approval.note}".strip()
    verb = "denied" if approval.state is ApprovalState.DENIED else "approved"
    people = " and ".join(f"<@{done.actor.user_id}>" for done in approval.reviews) or "nobody"
    why = f": {approval.note}" if approval.note and approval.state in _NOT_RUN else ""
    return f"Already decided: {verb} by {people} at {when}. It is now {approval.state}{why}"[:900].rstrip(".") + "."


def result_for_model(approval: Approval) -> ToolResult:
    """The one result of the call that proposed this approval, once it is final."""
    content: dict[str, Json] = {
        "approval": approval.id,
        "digest": approval.digest[:12],
        "state": str(approval.state),
        "outcomes": [
            {"host": o.host, "result": str(o.result), "summary": o.summary, "evidence": o.evidence[:2000]}
            for o in approval.outcomes
        ],
        "note": approval.note,
    }
    if approval.reviews:
        content["decided_by"] = [f"<@{done.actor.user_id}>" for done in approval.reviews]
    if approval.narrowed:
        content["left_out"] = [host for each in approval.narrowed for host in each.hosts]
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
    if approval.stands_on:
        base["stands_on"] = approval.stands_on
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


def asked_facts(approval: Approval) -> dict[str, Json]:
    """What an approver is shown, for the audit: arguments, the facts of each host, and until when."""
    shown: dict[str, Json] = {
        host: [[name, value] for name, value in impact.facts] for host, impact in approval.impacts.items()
    }
    return {
        "arguments": dict(approval.action.arguments),
        "shown": shown,
        "tool_sha256": approval.tool_sha256,
        "expires_at": approval.expires_at.isoformat(),
        "tainted_by": [*approval.tainted_by],
    }


def ending(approval: Approval, outcome: HostOutcome, at: datetime) -> AuditEntry:
    """The audit entry that closes an operation, with what the host said: each intent has exactly one.

    The evidence is there by its hash.
    """
    evidence = hashlib.sha256(outcome.evidence.encode(errors="surrogatepass")).hexdigest()
    facts = {
        "host": outcome.host,
        "result": str(outcome.result),
        "summary": outcome.summary,
        "evidence_sha256": evidence if outcome.evidence else "",
    }
    return entry(approval, "execution.host", at, facts=facts)
