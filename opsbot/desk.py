"""The approval desk: proposals in, clicks counted, approved actions run, expiries and interrupted runs settled."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from opsbot import approvals
from opsbot.actions import Prepared
from opsbot.approvals import Proposal
from opsbot.campaign import Control
from opsbot.delivery import Delivery
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Decision,
    Impact,
    Json,
    MessageRef,
    Order,
    OrderVerb,
    Place,
    Step,
    Text,
    Verdict,
)
from opsbot.errors import AlreadyDecided, ApprovalError, Conflict, NotAllowed, StoreError, ToolError, audited
from opsbot.executor import Executor
from opsbot.lifetimes import why_over
from opsbot.policy import PolicyRules, after_reading, decide, needs_reason_text
from opsbot.ports import Clock, Store

log = structlog.get_logger(__name__)

# An UNKNOWN outcome is looked at again by itself this long, this often.
_RECONCILE_FOR = timedelta(hours=1)
_RECONCILE_EVERY_S = 30.0
_OPEN = (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING)

_KINDS = {
    OrderVerb.PAUSE: "execution.paused",
    OrderVerb.RESUME: "execution.resumed",
    OrderVerb.HALT: "execution.halted",
}

Settled = Callable[[Approval], Awaitable[None]]


@dataclass(slots=True)
class ApprovalDesk:
    """Owns the life of every approval. `settled` is told of each one that reached its end."""

    store: Store
    delivery: Delivery
    executor: Executor
    rules: PolicyRules
    clock: Clock
    lifetime_s: float
    settled: Settled
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _controls: dict[str, Control] = field(default_factory=dict)
    _newest: dict[str, tuple[Approval, tuple[Step, ...]]] = field(default_factory=dict)
    _refreshing: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _looked_at: dict[str, float] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    @property
    def running(self) -> tuple[asyncio.Task[None], ...]:
        """The actions under way."""
        return tuple(self._running.values())

    # --- proposals ---------------------------------------------------------------------------------------------------

    async def propose(
        self,
        place: Place,
        requester: Actor,
        prepared: Prepared,
        *,
        call_id: str,
        reason: str = "",
        tainted_by: tuple[str, ...] = (),
    ) -> Approval:
        """Open an approval and post its card; for a call id seen before, the existing one.

        `tainted_by`: what untrusted text was read before (see `taint.sources`).

        Raises:
            ToolError: policy denies it, the same is already asked for, or the target cannot be examined.
        """
        decision = decide(self.rules, prepared.question(requester, place, self.clock.now()))
        decision = after_reading(self.rules, decision, tainted_by)
        if decision.verdict is not Verdict.NEED_APPROVAL:
            await self.store.audit.append(prepared.denial(decision, requester, place.key, self.clock.now()))
            raise audited(ToolError(f"Denied by policy ({decision.rule}): {decision.reason}"))
        if decision.reason_required and not reason.strip():
            raise ToolError(needs_reason_text(decision))
        others = await self._others(place, prepared, call_id)
        impacts = await self.executor.impacts(prepared)
        proposal = Proposal(
            place=place,
            requester=requester,
            prepared=prepared,
            decision=decision,
            impacts={name: _with_others(impact, others.get(name, ())) for name, impact in impacts.items()},
            reason=reason,
            call_id=call_id,
            tainted_by=tainted_by,
        )
        made = approvals.open_approval(proposal, self.rules, now=self.clock.moment(), lifetime_s=self.lifetime_s)
        approval = await self.store.approvals.add(
            made,
            approvals.entry(made, "approval.requested", made.created_at, actor=requester, facts=_asked(made, decision)),
        )
        log.info("approval.requested", approval_id=approval.id, tool=approval.action.tool, hosts=approval.action.hosts)
        await self.delivery.card(approval)
        return approval

    async def _others(self, place: Place, prepared: Prepared, call_id: str) -> dict[str, tuple[str, ...]]:
        """Return ids of other open requests per host. Raises ToolError if the very same action is open already."""
        found: dict[str, tuple[str, ...]] = {}
        for other in await self.store.approvals.in_state(*_OPEN):
            same_call = other.conversation_id == place.key and other.call_id == call_id
            if other.action == prepared.action and not same_call:
                raise ToolError(f"Already asked for: request {other.id} is {other.state}. Decide that one first.")
            for name in set(other.action.hosts) & set(prepared.action.hosts):
                found[name] = (*found.get(name, ()), other.id)
        return found

    # --- clicks ------------------------------------------------------------------------------------------------------

    async def decide(self, approval_id: str, actor: Actor, *, approve: bool, card: MessageRef | None) -> Approval:
        """Count one person's click, and start the action when it was the last one needed.

        Raises:
            ApprovalError: the click does not count; the text says why. It is audited either way.
        """
        approval = await self._known(approval_id)
        while True:
            try:
                await self._check_card(approval, card)
                decided = approvals.review(approval, actor, approve=approve, now=self.clock.moment(), rules=self.rules)
            except ApprovalError as error:
                await self._audit_refusal(approval, actor, "approve" if approve else "deny", error)
                raise
            kind = "approval.approved" if approve else "approval.denied"
            record = approvals.entry(decided, kind, self.clock.now(), actor=actor)
            try:
                decided = await self.store.approvals.change(
                    decided, expected=(approval.state, approval.version), entries=[record]
                )
                break
            except Conflict:
                approval = await self.store.approvals.get(approval_id) or approval
        log.info(kind, approval_id=decided.id, actor=actor.key, state=decided.state)
        await self._after(decided)
        return decided

    async def order(self, approval_id: str, actor: Actor, verb: OrderVerb, *, card: MessageRef | None) -> Order:
        """Pause, resume or halt an action under way; it counts for every host that is not started yet.

        Raises:
            ApprovalError: the order does not count; the text says why. It is audited either way.
        """
        approval = await self._known(approval_id)
        try:
            await self._check_card(approval, card)
            control = self._controls.get(approval.id) or Control(())
            async with control.lock:
                approvals.check_may_order(approval, actor, verb, self.rules, given=control.order)
                self._check_under_way(approval)
                control.check(verb)
                order = Order(verb, actor, self.clock.now())
                await self.store.audit.append(approvals.entry(approval, _KINDS[verb], order.at, actor=actor))
                control.obey(order, self.clock.monotonic())
        except ApprovalError as error:
            newest = await self.store.approvals.get(approval.id) or approval
            await self._audit_refusal(newest, actor, str(verb), error)
            raise
        log.info(_KINDS[verb], approval_id=approval.id, actor=actor.key)
        await self._show_order(approval.id)
        return order

    def _check_under_way(self, approval: Approval) -> None:
        if approval.state.final:
            raise AlreadyDecided(f"It is over. {approvals.decided_text(approval)}")
        if approval.id not in self._controls:
            raise AlreadyDecided(f"It is not under way: request {approval.id} is {approval.state}.")

    async def _show_order(self, approval_id: str) -> None:
        """Refresh the card at once, not only when a host has something new to say."""
        if approval_id in self._newest:
            await self._progress(*self._newest[approval_id])

    async def _known(self, approval_id: str) -> Approval:
        approval = await self.store.approvals.get(approval_id)
        if approval is None or approval.id != approval_id:
            raise NotAllowed("There is no such request any more.")
        return approval

    async def _check_card(self, approval: Approval, card: MessageRef | None) -> None:
        """A button counts only on the card opsbot posted. `card` None: no card was involved (terminal)."""
        if card is None:
            return
        posted = await self.delivery.card_ref(approval.id)
        if posted is None:
            await self.delivery.resend()
            posted = await self.delivery.card_ref(approval.id)
        if posted != card:
            raise NotAllowed("That is not the card this request was posted with. Use the original card.")

    async def _audit_refusal(self, approval: Approval, actor: Actor, verb: str, error: ApprovalError) -> None:
        reason = type(error).__name__
        record = approvals.entry(
            approval, "decision.refused", self.clock.now(), actor=actor, facts={"verb": verb, "reason": reason}
        )
        await self.store.audit.append(record)
        audited(error)

    async def _after(self, approval: Approval) -> None:
        await self.delivery.card(approval)
        if approval.state is ApprovalState.APPROVED:
            self._start(approval)
        elif approval.state.final:
            await self.settled(approval)

    # --- running -----------------------------------------------------------------------------------------------------

    def _start(self, approval: Approval) -> None:
        if approval.id not in self._running:
            control = self._controls[approval.id] = Control(approval.action.hosts)
            task = asyncio.create_task(self._run(approval, control), name=f"execute {approval.id}")
            self._running[approval.id] = task
            task.add_done_callback(lambda _: self._forget(approval.id))

    def _forget(self, approval_id: str) -> None:
        for kept in (self._running, self._controls, self._newest):
            kept.pop(approval_id, None)

    async def _run(self, approval: Approval, control: Control) -> None:
        """Execute, keep the card current, report the end. The sweep settles whatever is cut short here."""
        try:
            final = await self.executor.execute(approval, self._progress, control)
        except (Conflict, StoreError) as error:
            log.error("execution.interrupted", approval_id=approval.id, error=str(error))
            await self._tell_trouble(approval, error)
            return
        except Exception:
            log.exception("execution.crashed", approval_id=approval.id)
            return
        log.info("execution.finished", approval_id=final.id, state=final.state)
        if approval.id in self._refreshing:
            await asyncio.wait({self._refreshing[approval.id]})  # else an old state could overtake the last one
        await self.delivery.card(final)
        await self.settled(final)

    async def _tell_trouble(self, approval: Approval, error: Conflict | StoreError) -> None:
        """Tell who approved, once, why it does not go on: the card cannot be written either."""
        if isinstance(error, Conflict) or approval.id in self._told:
            return
        self._told.add(approval.id)
        text = (
            f"Request {approval.id} was not carried out further, since I can write nothing down: {error} Nothing is "
            "run unrecorded. The card shows how it ended once I can write again."
        )
        for actor in (approval.requester, *(review.actor for review in approval.reviews)):
            await self.delivery.whisper(approval.place, actor, Text(text, trusted=True))

    async def _progress(self, approval: Approval, steps: tuple[Step, ...]) -> None:
        """Refresh the card beside the action: a slow chat service must not hold up what happens on hosts."""
        self._newest[approval.id] = (approval, steps)
        if approval.id not in self._refreshing:
            task = asyncio.create_task(self._refresh(approval.id))
            self._refreshing[approval.id] = task
            task.add_done_callback(lambda _: self._refreshing.pop(approval.id, None))

    async def _refresh(self, approval_id: str) -> None:
        """Show the newest state, and again while there is a newer one: the last before a pause must not be missed."""
        shown: tuple[object, ...] = ()
        while (newest := self._newest.get(approval_id)) is not None:
            control = self._controls.get(approval_id)
            order = control.order if control else None
            if shown == (*newest, order):
                return
            shown = (*newest, order)
            try:
                await self.delivery.card(*newest, order)
            except StoreError as error:
                log.warning("card.not_refreshed", approval_id=approval_id, error=str(error))

    # --- upkeep ------------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """At start: settle interrupted runs, run what is approved and in time, post cards that never were."""
        for approval in await self.store.approvals.in_state(ApprovalState.EXECUTING):
            await self._reconcile(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.APPROVED):
            self._start(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.PENDING):
            if await self.delivery.card_ref(approval.id) is None:
                await self.delivery.card(approval)

    async def sweep(self) -> None:
        """Expire what is due, settle runs that lost their task, look again at unknown outcomes."""
        now = self.clock.moment()
        for approval in await self.store.approvals.in_state(ApprovalState.PENDING):
            if why_over(approval.opened, approval.expires_at, now):
                await self._expire(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.APPROVED):
            self._start(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.EXECUTING):
            if approval.id not in self._running:
                await self._reconcile(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.UNKNOWN):
            await self._look_again(approval)

    async def _expire(self, approval: Approval) -> None:
        expired = approvals.expire(approval, self.clock.moment())
        record = approvals.entry(expired, "approval.expired", self.clock.now())
        try:
            expired = await self.store.approvals.change(
                expired, expected=(approval.state, approval.version), entries=[record]
            )
        except Conflict:
            return  # a click was faster
        await self._after(expired)

    async def _reconcile(self, approval: Approval) -> None:
        try:
            final = await self.executor.reconcile(approval)
        except Conflict:
            return
        if final is not approval:
            log.info("execution.reconciled", approval_id=final.id, state=final.state)
            await self._after(final)

    async def _look_again(self, approval: Approval) -> None:
        if self.clock.now() - approval.expires_at > _RECONCILE_FOR:
            return
        last = self._looked_at.get(approval.id)
        if last is not None and self.clock.monotonic() - last < _RECONCILE_EVERY_S:
            return
        self._looked_at[approval.id] = self.clock.monotonic()
        await self._reconcile(approval)

    async def drain(self, timeout_s: float) -> None:
        """Wait for running actions to end, without beginning more hosts; what does not end is settled at next start."""
        for control in self._controls.values():
            control.leave()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=timeout_s)


def _asked(approval: Approval, decision: Decision) -> dict[str, Json]:
    """What the audit keeps of a request: what is shown, the rule, the tier and why, who may approve."""
    return {
        **approvals.asked_facts(approval),
        "rule": approval.rule,
        "reason": approval.reason,
        "needed": approval.needed,
        "approvers": [*sorted(approval.approver_users), *sorted(approval.approver_groups)],
        **({"tier": str(decision.reach.tier), "tier_why": decision.reach.why} if decision.reach else {}),
    }


def _with_others(impact: Impact, ids: tuple[str, ...]) -> Impact:
    facts = (*impact.facts, ("other open requests", ", ".join(ids) or "none"))
    return replace(impact, facts=facts)
