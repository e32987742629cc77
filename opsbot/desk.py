"""The approval desk: proposals in, clicks counted, approved actions run, expiries and interrupted runs settled."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from opsbot import approvals, standing
from opsbot.actions import Prepared
from opsbot.amendments import Amendments
from opsbot.approvals import Click, Proposal
from opsbot.campaign import Control
from opsbot.delivery import Delivery
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Decision,
    Json,
    Order,
    OrderVerb,
    Place,
    Verdict,
    run_lease,
)
from opsbot.errors import (
    AlreadyDecided,
    ApprovalError,
    Conflict,
    HeldBack,
    NotAllowed,
    ToolError,
    audited,
)
from opsbot.executor import Executor
from opsbot.lasting import Lasting
from opsbot.lifetimes import why_over
from opsbot.openings import Openings, with_others
from opsbot.pace import LONGEST, Pace, check_was_read
from opsbot.policy import PolicyRules, after_reading, decide, needs_reason_text
from opsbot.ports import Clock, Store
from opsbot.register import Register
from opsbot.replica import Replica
from opsbot.runs import Runs
from opsbot.seals import Pressed
from opsbot.settling import Settling

log = structlog.get_logger(__name__)

_KINDS = {
    OrderVerb.PAUSE: "execution.paused",
    OrderVerb.RESUME: "execution.resumed",
    OrderVerb.HALT: "execution.halted",
}

Settled = Callable[[Approval], Awaitable[None]]


@dataclass(slots=True)
class ApprovalDesk:
    """Owns the life of every approval. `settled` is told of each one that reached its end."""

    register: Register
    executor: Executor
    rules: PolicyRules
    lifetime_s: float
    settled: Settled
    replica: Replica
    pace: Pace = field(default_factory=Pace)
    _lasting: set[str] = field(default_factory=set)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _runs: Runs = field(init=False)
    _settling: Settling = field(init=False)

    def __post_init__(self) -> None:
        self._runs = Runs(self.register, self.executor, self.replica, self._report)
        self._settling = Settling(self.executor, self.replica, self.clock, self._runs, self._after)

    @property
    def store(self) -> Store:
        return self.register.store

    @property
    def delivery(self) -> Delivery:
        return self.register.delivery

    @property
    def clock(self) -> Clock:
        return self.register.clock

    @property
    def _openings(self) -> Openings:
        return Openings(self.register, self.rules, self.pace)

    @property
    def _amendments(self) -> Amendments:
        return Amendments(self.register, self.executor, self.rules, self._after)

    @property
    def running(self) -> tuple[asyncio.Task[None], ...]:
        """The actions under way, and the looks at what became of others."""
        return (*self._runs.tasks, *self._settling.tasks)

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
        await self._check_brakes(prepared, requester, place)
        if decision.reason_required and not reason.strip():
            raise ToolError(needs_reason_text(decision))
        others = await self._openings.others(place, prepared, call_id)
        await self._openings.check_may_ask_more(place, requester, call_id)
        impacts = await self.executor.impacts(prepared)
        proposal = Proposal(
            place=place,
            requester=requester,
            prepared=prepared,
            decision=decision,
            impacts={name: with_others(impact, others.get(name, ())) for name, impact in impacts.items()},
            reason=reason,
            call_id=call_id,
            tainted_by=tainted_by,
        )
        async with self._opening:  # else two at once could both be the last one that is allowed
            await self._openings.check_may_ask_more(place, requester, call_id)
            made = approvals.open_approval(proposal, self.rules, now=self.clock.moment(), lifetime_s=self.lifetime_s)
            facts = _asked(made, decision)
            record = approvals.entry(made, "approval.requested", made.created_at, actor=requester, facts=facts)
            approval = await self.store.approvals.add(made, record)
        log.info("approval.requested", approval_id=approval.id, tool=approval.action.tool, hosts=approval.action.hosts)
        if approval.state is ApprovalState.PENDING and (stood := await self._openings.stand(approval, prepared)):
            await self._after(stood)
            return stood
        return await self.register.show(approval)

    async def _check_brakes(self, prepared: Prepared, requester: Actor, place: Place) -> None:
        """Check that nothing holds this back. Raises HeldBack; it is audited."""
        try:
            await self.executor.checkpoint.check_proposal(prepared, self.rules.person(requester))
        except HeldBack as error:
            decision = Decision(Verdict.DENY, error.rule)
            await self.store.audit.append(prepared.denial(decision, requester, place.key, self.clock.now()))
            audited(error)
            raise

    # --- clicks ------------------------------------------------------------------------------------------------------

    async def decide(self, approval_id: str, actor: Actor, click: Click, *, pressed: Pressed | None) -> Approval:
        """Count one person's click, and start the action when it was the last one needed.

        Raises:
            ApprovalError: the click does not count; the text says why. It is audited either way.
        """
        approval = await self.register.known(approval_id)
        while True:
            try:
                await self.register.check(approval, pressed)
                if click.approve:
                    await self._check_not_held(approval)
                decided = self._reviewed(approval, actor, click, await self._approved_last(actor))
            except ApprovalError as error:
                await self.register.refuse(approval, actor, "approve" if click.approve else "deny", error)
                raise
            kind = "approval.approved" if click.approve else "approval.denied"
            facts: dict[str, Json] = {"for_a_while": True} if decided.reviews[-1].for_a_while else {}
            record = approvals.entry(decided, kind, self.clock.now(), actor=actor, facts=facts)
            try:
                decided = await self.store.approvals.change(
                    decided, expected=(approval.state, approval.version), entries=[record]
                )
                break
            except Conflict:
                approval = await self.store.approvals.get(approval_id) or approval
        if decided.standing is not None:
            self._lasting.add(decided.id)
        log.info(kind, approval_id=decided.id, actor=actor.key, state=decided.state)
        await self._after(decided)
        return decided

    async def _check_not_held(self, approval: Approval) -> None:
        """A request that a stop or a freeze covers is not approved meanwhile. Raises NotAllowed."""
        try:
            await self.executor.checkpoint.check(*self.executor.scrutiny.touches(approval))
        except HeldBack as error:
            raise NotAllowed(f"It does not count. {error}") from error

    async def _approved_last(self, actor: Actor) -> datetime | None:
        """When the same person last approved anything, as the store knows: by whichever process, before any restart."""
        now, person = self.clock.now(), self.rules.person(actor)
        recent = await self.store.approvals.since(now - LONGEST)
        counted = [review for approval in recent for review in approval.reviews if review.approve and review.at <= now]
        return max((review.at for review in counted if self.rules.person(review.actor) == person), default=None)

    def _reviewed(self, approval: Approval, actor: Actor, click: Click, last: datetime | None) -> Approval:
        """Return the approval after this click; `last`: the same person's last approval. Raises ApprovalError."""
        now = self.clock.moment()
        minutes = self.executor.scrutiny.standing_minutes(approval)
        if click.for_a_while and minutes <= 0:
            raise NotAllowed("This can be approved for this one time only. Press Approve for that.")
        decided = approvals.review(approval, actor, click, now=now, rules=self.rules)
        if click.approve:
            # Last, so that who may not approve is told that, and not to read first.
            check_was_read(self.pace, approval, last, now.at)
        return standing.granted(decided, minutes, now)

    async def order(self, approval_id: str, actor: Actor, verb: OrderVerb, *, pressed: Pressed | None) -> Order:
        """Pause, resume or halt an action under way; it counts for every host that is not started yet.

        Raises:
            ApprovalError: the order does not count; the text says why. It is audited either way.
        """
        approval = await self.register.known(approval_id)
        try:
            await self.register.check(approval, pressed)
            control = self._runs.control(approval.id) or Control(())
            async with control.lock:
                approvals.check_may_order(approval, actor, verb, self.rules, given=control.order)
                self._check_under_way(approval)
                control.check(verb)
                order = Order(verb, actor, self.clock.now())
                await self.store.audit.append(approvals.entry(approval, _KINDS[verb], order.at, actor=actor))
                control.obey(order, self.clock.monotonic())
        except ApprovalError as error:
            newest = await self.store.approvals.get(approval.id) or approval
            await self.register.refuse(newest, actor, str(verb), error)
            raise
        log.info(_KINDS[verb], approval_id=approval.id, actor=actor.key)
        await self._runs.show_order(approval.id)
        return order

    async def withdraw(self, approval_id: str, actor: Actor, *, pressed: Pressed | None) -> Approval:
        """As `Amendments.withdraw`."""
        return await self._amendments.withdraw(approval_id, actor, pressed=pressed)

    async def named(self, approval_id: str, chosen: Sequence[int]) -> tuple[str, ...]:
        """Return the hosts with these numbers, in the order of the request; a number without one is left out."""
        hosts = (await self.register.known(approval_id)).action.hosts
        return tuple(hosts[number] for number in chosen if 0 <= number < len(hosts))

    async def narrow(self, approval_id: str, actor: Actor, out: Sequence[str], *, pressed: Pressed | None) -> Approval:
        """As `Amendments.narrow`."""
        return await self._amendments.narrow(approval_id, actor, out, pressed=pressed)

    def _check_under_way(self, approval: Approval) -> None:
        if approval.state.final:
            raise AlreadyDecided(f"It is over. {approvals.decided_text(approval)}")
        if self._runs.control(approval.id) is None:
            raise AlreadyDecided(f"It is not under way: request {approval.id} is {approval.state}.")

    async def _after(self, approval: Approval) -> None:
        await self.register.show(approval)
        if approval.state is ApprovalState.APPROVED:
            self._runs.start(approval)
        elif approval.state.final:
            await self.settled(approval)

    # --- running -----------------------------------------------------------------------------------------------------

    async def _report(self, final: Approval) -> None:
        """Show how it ended, and let what waits for it go on."""
        await self.delivery.card(final)
        await self._end_what_it_stood_on(final)
        await self.settled(final)

    async def _end_what_it_stood_on(self, final: Approval) -> None:
        """An approval counts again only as long as all goes well."""
        if final.stands_on and final.state is not ApprovalState.DONE:
            parent = await self.store.approvals.get(final.stands_on)
            if parent is not None:
                await self._amendments.end_standing(parent, f"request {final.id}, which stood on it, is {final.state}")

    # --- upkeep ------------------------------------------------------------------------------------------------------

    async def show_open(self) -> None:
        """Bring the cards of open requests up to date: what holds them back may have changed."""
        for approval in await self.store.approvals.in_state(ApprovalState.PENDING):
            await self.register.show(approval)
        await self._runs.show_all()

    async def recover(self) -> None:
        """At start: settle interrupted runs, run what is approved and in time, post cards that never were."""
        for approval in await self.store.approvals.in_state(ApprovalState.EXECUTING):
            self._settling.settle(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.APPROVED):
            self._runs.start(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.PENDING):
            if await self.delivery.card_ref(approval.id) is None:
                await self.register.show(approval)
        await self.check_standing()

    async def adopt(self, approval_id: str) -> None:
        """Go on with what a replica that is gone was at work on."""
        approval = await self.store.approvals.get(approval_id)
        if approval is not None and approval.state is ApprovalState.APPROVED:
            self._runs.start(approval)
        elif approval is not None and approval.state in (ApprovalState.EXECUTING, ApprovalState.UNKNOWN):
            self._settling.settle(approval)
        elif await self.replica.take(run_lease(approval_id)) is not None:
            if approval is not None and approval.state.final:
                await self._report(approval)
            await self.replica.drop(run_lease(approval_id))

    def runs(self, approval_id: str) -> bool:
        """Whether this process carries it out."""
        return self._runs.has(approval_id)

    async def sweep(self) -> None:
        """Expire what is due, settle runs that lost their task, look again at unknown outcomes."""
        now = self.clock.moment()
        for approval in await self.store.approvals.in_state(ApprovalState.PENDING):
            if why_over(approval.opened, approval.expires_at, now):
                await self._expire(approval)
            elif await self.delivery.card_ref(approval.id) is None:
                await self.register.show(approval)  # whoever asked for it ended before the card was posted
            else:
                await self.register.note_shown(approval)  # a card that was late, or a process that ended in between
        for approval in await self.store.approvals.in_state(ApprovalState.APPROVED):
            self._runs.start(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.EXECUTING):
            self._settling.settle(approval)
        for approval in await self.store.approvals.in_state(ApprovalState.UNKNOWN):
            await self._settling.look_again(approval)
        for approval_id in self._runs.unreported():
            await self.adopt(approval_id)
            self._runs.reported(approval_id)
        await self.check_standing()

    async def check_standing(self) -> None:
        """End approvals that count again and should not any more."""
        await Lasting(self.register, self.executor, self._amendments, self._lasting).check()

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

    async def drain(self, timeout_s: float) -> None:
        """Wait for running actions to end, without beginning more hosts; what does not end is settled at next start."""
        self._settling.cancel()
        await self._runs.drain(timeout_s)


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
