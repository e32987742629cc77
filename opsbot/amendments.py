"""Second thoughts about a request: hosts left out, the request taken back, an approval that counts again ended."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from opsbot import approvals, standing
from opsbot.approvals import Proposal
from opsbot.domain import Actor, Approval, ApprovalState, AuditEntry, Narrowing, Text
from opsbot.errors import ApprovalError, Conflict, NotAllowed
from opsbot.executor import Executor
from opsbot.policy import PolicyRules
from opsbot.register import Register
from opsbot.seals import Pressed

log = structlog.get_logger(__name__)

Change = Callable[[Approval], Awaitable[tuple[Approval, str, dict[str, str]]]]


@dataclass(frozen=True, slots=True)
class Amendments:
    """Each change is one compare-and-swap with its audit record: against a click in the same moment exactly one wins.

    `after` is told of what was changed.
    """

    register: Register
    executor: Executor
    rules: PolicyRules
    after: Callable[[Approval], Awaitable[None]]

    async def withdraw(self, approval_id: str, actor: Actor, *, pressed: Pressed | None) -> Approval:
        """Take a request back that does not run yet, or end an approval that counts again.

        Raises:
            ApprovalError: it cannot be; the text says why. It is audited either way.
        """

        async def change(approval: Approval) -> tuple[Approval, str, dict[str, str]]:
            now = self.register.clock.moment()
            if approval.standing is not None and approval.state is ApprovalState.DONE:
                self._check_may_end(approval, actor)
                ended = standing.end(approval, f"<@{actor.user_id}> ended it at {now.at:%H:%M:%S} UTC")
                return ended, "approval.standing_ended", {}
            return approvals.withdraw(approval, actor, now, self.rules), "approval.withdrawn", {}

        return await self._change(approval_id, actor, "withdraw", change, pressed)

    async def narrow(self, approval_id: str, actor: Actor, out: Sequence[str], *, pressed: Pressed | None) -> Approval:
        """Leave hosts out of a request before it is decided. Reviews begin anew, and the requester is told.

        Raises:
            ApprovalError: they cannot be left out; the text says why. It is audited either way.
        """

        async def change(approval: Approval) -> tuple[Approval, str, dict[str, str]]:
            moment = self.register.clock.moment()
            action = approvals.hosts_left(approval, actor, out, moment, self.rules)
            prepared, decision = await self.executor.judged(approval, action)
            gone = tuple(host for host in approval.action.hosts if host not in action.hosts)
            left = Proposal(approval.place, approval.requester, prepared, decision, approval.impacts)
            narrowed = approvals.narrow(approval, Narrowing(actor, moment.at, gone), left, self.rules)
            return narrowed, "approval.narrowed", {"left_out": ", ".join(gone), "digest_before": approval.digest}

        narrowed = await self._change(approval_id, actor, "narrow", change, pressed)
        await self._tell_requester(narrowed)
        return narrowed

    async def end_standing(self, parent: Approval, why: str) -> None:
        """End an approval that counts again, for a reason nobody gave in person."""
        try:
            ended = standing.end(parent, why)
            record = self._entry(ended, "approval.standing_ended", None, {"why": why})
            ended = await self.register.store.approvals.change(
                ended, expected=(parent.state, parent.version), entries=[record]
            )
        except (NotAllowed, Conflict):
            return  # somebody was faster
        log.info("approval.standing_ended", approval_id=parent.id, why=why)
        await self.register.delivery.card(ended)

    def _check_may_end(self, approval: Approval, actor: Actor) -> None:
        if self.rules.person(actor) != self.rules.person(approval.requester):
            approvals.check_may_decide(approval, actor, approve=True, rules=self.rules)

    async def _change(
        self, approval_id: str, actor: Actor, verb: str, change: Change, pressed: Pressed | None
    ) -> Approval:
        approval = await self.register.known(approval_id)
        while True:
            try:
                await self.register.check(approval, pressed)
                changed, kind, facts = await change(approval)
            except ApprovalError as error:
                await self.register.refuse(approval, actor, verb, error)
                raise
            record = self._entry(changed, kind, actor, facts)
            try:
                changed = await self.register.store.approvals.change(
                    changed, expected=(approval.state, approval.version), entries=[record]
                )
                break
            except Conflict:
                approval = await self.register.known(approval_id)
        log.info(kind, approval_id=changed.id, actor=actor.key, state=changed.state)
        await self.after(changed)
        return changed

    def _entry(self, approval: Approval, kind: str, actor: Actor | None, facts: dict[str, str]) -> AuditEntry:
        return approvals.entry(approval, kind, self.register.clock.now(), actor=actor, facts=dict(facts))

    async def _tell_requester(self, approval: Approval) -> None:
        last = approval.narrowed[-1]
        text = (
            f"<@{approval.requester.user_id}> request {approval.id}: <@{last.actor.user_id}> left out "
            f"{', '.join(last.hosts)}. What remains: {', '.join(approval.action.hosts)}. It needs its approvals anew."
        )
        key = f"narrowed:{approval.id}:{len(approval.narrowed)}"
        await self.register.delivery.send(key, approval.place, Text(text, trusted=True))
