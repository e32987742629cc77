"""Approvals that count again, looked after: each ends for good as soon as anything is seen that ends it."""

from collections.abc import Sequence
from dataclasses import dataclass

from opsbot import standing
from opsbot.amendments import Amendments
from opsbot.domain import Approval, ApprovalState
from opsbot.errors import Stale
from opsbot.executor import Executor
from opsbot.holds import Hold
from opsbot.register import Register

_MAY_STILL_BE_DONE = (ApprovalState.APPROVED, ApprovalState.EXECUTING, ApprovalState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Lasting:
    """`known`: ids of those that counted when it was last looked, kept by the caller: clocks that jump hide none."""

    register: Register
    executor: Executor
    amendments: Amendments
    known: set[str]

    async def check(self) -> None:
        """End every one that is over, held, or of which anything is different from what was approved.

        Also under rules by which none counts: with the old rules in force again they must not come back.
        """
        holds = await self.executor.checkpoint.in_force()
        for parent in await self._candidates():
            if parent.standing is None or parent.standing.ended:
                self.known.discard(parent.id)
            elif why := await self._why_over(parent, holds):
                await self.amendments.end_standing(parent, why)
                self.known.discard(parent.id)
            else:
                self.known.add(parent.id)

    async def _candidates(self) -> list[Approval]:
        now, approvals = self.register.clock.now(), self.register.store.approvals
        found = {approval.id: approval for approval in await approvals.since(now - standing.LONGEST)}
        others = [await approvals.get(approval_id) for approval_id in self.known - found.keys()]
        return [*found.values(), *(approval for approval in others if approval is not None)]

    async def _why_over(self, parent: Approval, holds: Sequence[Hold]) -> str:
        if parent.state in _MAY_STILL_BE_DONE:
            return ""
        if why := standing.why_not(parent, parent.bindings, self.register.clock.moment()):
            return why
        try:
            await self.executor.judged(parent, parent.action)
        except Stale as error:
            return str(error)
        return standing.held_text(parent, holds)
