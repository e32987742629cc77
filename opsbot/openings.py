"""What is looked at before a request is opened: other requests, how many there are, and approvals that count again."""

from dataclasses import dataclass, replace
from datetime import timedelta

from opsbot import approvals, standing
from opsbot.actions import Prepared
from opsbot.domain import Actor, Approval, ApprovalState, AuditEntry, Impact, Json, Place
from opsbot.errors import Conflict, ToolError, TooManyRequests, audited
from opsbot.pace import Pace, check_may_ask_more
from opsbot.policy import PolicyRules
from opsbot.register import Register

_OPEN = (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING)


@dataclass(frozen=True, slots=True)
class Openings:
    """Looks at the requests there are."""

    register: Register
    rules: PolicyRules
    pace: Pace

    async def check_may_ask_more(self, place: Place, requester: Actor, call_id: str) -> None:
        """Check that people are not asked for too much at once. A call asked again after a crash was counted before.

        Raises:
            TooManyRequests: they are; it is audited.
        """
        now = self.register.clock.now()
        lately = await self.register.store.approvals.since(now - timedelta(seconds=self.pace.window_s))
        known = {approval.id: approval for approval in (*await self.register.store.approvals.in_state(*_OPEN), *lately)}
        if any(each.conversation_id == place.key and each.call_id == call_id for each in known.values()):
            return
        try:
            person = self.rules.person
            mine = [each for each in known.values() if person(each.requester) == person(requester)]
            check_may_ask_more(self.pace, mine, now)
        except TooManyRequests as error:
            facts: dict[str, Json] = {"why": str(error)}
            await self.register.store.audit.append(
                AuditEntry("request.refused", now, requester.key, place.key, facts=facts)
            )
            audited(error)
            raise

    async def stand(self, approval: Approval, prepared: Prepared) -> Approval | None:
        """Approve a request by an approval that counts again, if there is one for exactly this."""
        now = self.register.clock.moment()
        lately = await self.register.store.approvals.since(now.at - standing.LONGEST)
        parent = standing.found(lately, approval, now) if self.rules.standing_minutes else None
        if parent is None or parent.standing is None:
            return None
        stood = approvals.stand(approval, parent, prepared, now, self.rules)
        until = parent.standing.until.isoformat()
        record = approvals.entry(stood, "approval.stood", now.at, actor=approval.requester, facts={"until": until})
        expected = (approval.state, approval.version)
        try:
            return await self.register.store.approvals.change(stood, expected=expected, entries=[record])
        except Conflict:
            return None  # a click was faster

    async def others(self, place: Place, prepared: Prepared, call_id: str) -> dict[str, tuple[str, ...]]:
        """Return ids of other open requests per host. Raises ToolError if the very same action is open already."""
        found: dict[str, tuple[str, ...]] = {}
        for other in await self.register.store.approvals.in_state(*_OPEN):
            same_call = other.conversation_id == place.key and other.call_id == call_id
            if other.action == prepared.action and not same_call:
                raise ToolError(f"Already asked for: request {other.id} is {other.state}. Decide that one first.")
            for name in set(other.action.hosts) & set(prepared.action.hosts):
                found[name] = (*found.get(name, ()), other.id)
        return found


def with_others(impact: Impact, ids: tuple[str, ...]) -> Impact:
    facts = (*impact.facts, ("other open requests", ", ".join(ids) or "none"))
    return replace(impact, facts=facts)
