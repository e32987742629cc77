"""A request, looked at anew: what tools, hosts, policy, people, brakes and its targets say of it now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opsbot import approvals, bindings, standing
from opsbot.actions import Catalogue, Prepared
from opsbot.checkpoint import Checkpoint
from opsbot.domain import Action, Approval, Decision, Host, Verdict
from opsbot.errors import HeldBack, Stale, ToolError
from opsbot.holds import told
from opsbot.identity import Identify
from opsbot.policy import PolicyRules, after_reading, decide
from opsbot.ports import Clock, Store
from opsbot.reads import Reads


@dataclass(slots=True)
class Scrutiny:
    """Looks, writes nothing. `identify`: who somebody is now."""

    catalogue: Catalogue
    store: Store
    rules: PolicyRules
    clock: Clock
    identify: Identify
    checkpoint: Checkpoint
    reads: Reads

    async def recheck(self, approval: Approval, hosts: Sequence[str]) -> Prepared:
        """Check that what was approved is still what would run, and that these of its hosts are as on the card.

        Raises:
            ApprovalError: it is not.
        """
        prepared, decision = await self.judged(approval, approval.action)
        approvals.check_tier(approval, decision)
        reviewers = [await self.identify(review.actor) for review in approval.reviews if review.approve]
        approvals.check_reviews(approval, reviewers, self.rules)
        await self._check_standing(approval)
        await self.check_brakes([host for host in prepared.hosts if host.name in hosts], prepared)
        try:
            now = await self.reads.impacts(
                replace(prepared, hosts=tuple(host for host in prepared.hosts if host.name in hosts))
            )
        except ToolError as error:
            raise Stale(f"stale:target: {error}") from error
        for name in now:
            impact = approval.impacts[name]
            changed = [key for key, value in impact.fingerprint.items() if now[name].fingerprint.get(key) != value]
            if changed:
                what = ", ".join(key.replace("_", " ") for key in changed)
                raise Stale(f"stale:target: {name} changed since the card was made ({what}). Ask again.")
        return prepared

    async def judged(self, approval: Approval, action: Action) -> tuple[Prepared, Decision]:
        """Return this action, the request's own or a part of it, as tools, hosts and policy are now.

        Raises:
            Stale: the request is no longer what was asked.
        """
        prepared, decision = await self._judge(approval, approval.action)
        bindings.check_unchanged(approval, bindings.bind(prepared, self.rules))
        return (prepared, decision) if action == approval.action else await self._judge(approval, action)

    async def _judge(self, approval: Approval, action: Action) -> tuple[Prepared, Decision]:
        try:
            prepared = self.catalogue.from_words(action.tool, action.hosts, action.arguments)
        except ToolError as error:
            raise Stale(f"stale:inventory: {error}") from error
        requester = await self.identify(approval.requester)
        decision = decide(self.rules, prepared.question(requester, approval.place, self.clock.now()))
        decision = after_reading(self.rules, decision, approval.tainted_by)
        if decision.verdict is not Verdict.NEED_APPROVAL:
            raise Stale(f"stale:policy: {decision.reason or decision.rule}")
        return prepared, decision

    async def _check_standing(self, approval: Approval) -> None:
        """Check that the approval this one stands on counts still, and for this. Raises Stale."""
        if not approval.stands_on:
            return
        parent = await self.store.approvals.get(approval.stands_on)
        if parent is None or parent.id != approval.stands_on:
            raise Stale(f"stale:standing: there is no request {approval.stands_on} any more. Ask again.")
        if why := standing.why_not(parent, approval.bindings, self.clock.moment()):
            raise Stale(f"stale:standing: request {parent.id} does not count for this: {why}. Ask again.")

    async def check_brakes(self, hosts: Sequence[Host], prepared: Prepared) -> None:
        """Check that no stop, freeze or cap of hosts holds the action back on these hosts. Raises Stale."""
        try:
            self.checkpoint.check_hosts(prepared.hosts)
            await self.checkpoint.check(hosts, prepared.targets)
        except HeldBack as error:
            raise Stale(f"stale:{error.rule}: {error}") from error

    def held(self, approval: Approval) -> str:
        """Say what held a request back when brakes were last looked at; for what is shown."""
        hold = self.checkpoint.held(*self.touches(approval))
        return told(hold) if hold is not None else ""

    def touches(self, approval: Approval) -> tuple[tuple[Host, ...], tuple[str, ...]]:
        """Return the hosts of a request that there are still, and what it touches there."""
        hosts = self.catalogue.current_hosts(approval.action)
        try:
            return hosts, Prepared(self.catalogue.registry.get(approval.action.tool), approval.action, hosts).targets
        except ToolError:
            return hosts, ()

    def standing_minutes(self, approval: Approval) -> int:
        """Return for how long this request can be approved; 0: only once."""
        try:
            risk = self.catalogue.registry.get(approval.action.tool).risk
        except ToolError:
            return 0
        return standing.minutes_for(self.rules, risk, approval)
