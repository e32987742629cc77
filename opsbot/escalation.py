"""When nobody decides: the next one is told in the card's thread, each step once, also across restarts."""

from dataclasses import dataclass, replace

import structlog

from opsbot import approvals
from opsbot.delivery import Delivery
from opsbot.domain import Approval, ApprovalState, Json, Place, Text
from opsbot.errors import Conflict
from opsbot.policy import TERMINAL_TEAM, PolicyRules
from opsbot.policy_rules import group, user
from opsbot.ports import Clock, Store

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Escalation:
    """Looks at undecided requests. It tells only who may approve a request, and changes nothing about it but a count.

    A step is counted together with its audit record, then told. What a crash leaves untold is told at the next look.
    """

    store: Store
    delivery: Delivery
    rules: PolicyRules
    clock: Clock

    async def look(self) -> None:
        """Take every step that is due. Raises StoreError."""
        if not self.rules.escalation.after_s:
            return
        for approval in await self.store.approvals.in_state(ApprovalState.PENDING):
            place = await self._thread(approval)
            if place is not None and self.clock.now() < approval.expires_at:
                await self._tend(approval, place)

    async def _thread(self, approval: Approval) -> Place | None:
        """Return the thread of the card; None where nobody else would read it, or before the card is there."""
        if approval.place.direct or approval.place.team_id == TERMINAL_TEAM:
            return None
        if approval.place.thread_id:
            return approval.place
        card = await self.delivery.card_ref(approval.id)
        return replace(approval.place, thread_id=card.message_id) if card else None

    async def _tend(self, approval: Approval, place: Place) -> None:
        waited_s = (self.clock.now() - approval.created_at).total_seconds()
        steps = self._steps(approval)
        due = steps[: int(waited_s // self.rules.escalation.after_s)]
        for number, (target, told) in enumerate(due, 1):
            if number > approval.escalated:
                counted = await self._count(approval, number, target, told)
                if counted is None:
                    return  # somebody decided, or another replica counts
                approval = counted
            await self._tell(approval, place, number, told)

    def _steps(self, approval: Approval) -> list[tuple[str, tuple[str, ...]]]:
        """Return whom each step tells: those of its people and groups who may approve this; nobody is no step."""
        found = []
        for target, approvers in self.rules.escalation.to:
            users = approvers.users_at(approval.created_at) & approval.approver_users
            asker = self.rules.person(approval.requester)
            others = sorted(u for u in users if self.rules.person_of(approval.requester.team_id, u) != asker)
            told = (*map(user, others), *map(group, sorted(approvers.groups & approval.approver_groups)))
            if told:
                found.append((target, told))
        return found

    async def _count(self, approval: Approval, number: int, target: str, told: tuple[str, ...]) -> Approval | None:
        counted = replace(approval, escalated=number)
        facts: dict[str, Json] = {"step": number, "target": target, "told": [*told]}
        record = approvals.entry(counted, "approval.escalated", self.clock.now(), facts=facts)
        try:
            counted = await self.store.approvals.change(
                counted, expected=(approval.state, approval.version), entries=[record]
            )
        except Conflict:
            return None
        log.info("approval.escalated", approval_id=approval.id, step=number, target=target)
        return counted

    async def _tell(self, approval: Approval, place: Place, number: int, told: tuple[str, ...]) -> None:
        key = f"escalation:{approval.id}:{number}"
        done = {user(review.actor.user_id) for review in approval.reviews}
        waiting_for = tuple(each for each in told if each not in done)
        if waiting_for and await self.store.outbox.get(key) is None:
            missing = approval.needed - len(approval.reviews)
            text = (
                f"Request {approval.id} waits for {missing} more approval{'' if missing == 1 else 's'}, until "
                f"{approval.expires_at:%H:%M:%S} UTC. You may approve or deny it on its card above."
            )
            await self.delivery.send(key, place, Text(text, trusted=True, to=waiting_for))
