"""What people ask about requests: the plan of one, its whole story, and which are open. Nothing is changed."""

from dataclasses import dataclass

from opsbot import answers, standing
from opsbot.actions import Catalogue
from opsbot.domain import Approval, ApprovalState, Report
from opsbot.errors import BadArguments
from opsbot.executor import Executor
from opsbot.policy import PolicyRules
from opsbot.ports import Clock, Store


@dataclass(frozen=True, slots=True)
class Inquiries:
    """Looks requests up, and shows them."""

    store: Store
    catalogue: Catalogue
    executor: Executor
    rules: PolicyRules
    clock: Clock

    async def find(self, approval_id: str) -> Approval:
        """Return a request by its id, as somebody typed it. Raises BadArguments when there is none."""
        approval = await self.store.approvals.get(approval_id.strip().upper())
        if approval is None:
            raise BadArguments(f"There is no request {approval_id[:20]!r}. `approvals` lists the open ones.")
        return approval

    async def plan(self, approval_id: str) -> Report:
        """Show what approving would do; once that is decided, what became of it."""
        approval = await self.find(approval_id)
        if approval.state is not ApprovalState.PENDING:
            return await self.story(approval.id)
        hosts = self.catalogue.current_hosts(approval.action)
        return answers.plan_report(approval, hosts, self.rules.rollout)

    async def story(self, approval_id: str) -> Report:
        """Tell everything recorded about a request."""
        approval = await self.find(approval_id)
        return answers.explain_report(approval, await self.store.audit.about(approval.id))

    async def listed(self) -> Report:
        """List the open requests, approvals that count again for a while, and what holds actions back."""
        states = (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING, ApprovalState.UNKNOWN)
        now = self.clock.moment()
        lately = await self.store.approvals.since(now.at - standing.LONGEST)
        holds = await self.executor.checkpoint.in_force()
        return answers.approvals_report(await self.store.approvals.in_state(*states), lately, now, holds=holds)
