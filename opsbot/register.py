"""Requests as they are kept and shown: found by id, their cards up to date, clicks held to the card, refusals noted."""

from dataclasses import dataclass, replace

from opsbot import approvals
from opsbot.delivery import Delivery
from opsbot.domain import Actor, Approval, ApprovalState, MessageRef
from opsbot.errors import ApprovalError, Conflict, NotAllowed, WrongCard, audited
from opsbot.ports import Clock, Store
from opsbot.seals import ButtonSeals, Pressed


@dataclass(frozen=True, slots=True)
class Register:
    """What every click needs, whatever it asks for."""

    store: Store
    delivery: Delivery
    clock: Clock
    seals: ButtonSeals

    async def known(self, approval_id: str) -> Approval:
        """Return the request with exactly this id. Raises NotAllowed."""
        approval = await self.store.approvals.get(approval_id)
        if approval is None or approval.id != approval_id:
            raise NotAllowed("There is no such request any more.")
        return approval

    async def check(self, approval: Approval, pressed: Pressed | None) -> None:
        """Check that a button was one of the request's card, as it is now; None: no card was involved.

        Raises:
            WrongCard: it was not; the text says what to do.
        """
        if pressed is None:
            return
        if await self._posted(approval) != pressed.card:
            raise WrongCard("That is not the card this request was posted with. Use the original card.")
        self.seals.check(approval, pressed.seal)

    async def _posted(self, approval: Approval) -> MessageRef | None:
        posted = await self.delivery.card_ref(approval.id)
        if posted is None:
            await self.delivery.resend()
            posted = await self.delivery.card_ref(approval.id) or await self.delivery.find_card(approval)
        return posted

    async def show(self, approval: Approval) -> Approval:
        """Bring the card up to date; a waiting request is noted as shown, so that clicks can count."""
        if await self.delivery.card(approval) is None:
            return approval
        return await self.note_shown(approval)

    async def note_shown(self, approval: Approval) -> Approval:
        """Note since when the card stands, if it does; whoever changed the request meanwhile goes first."""
        waiting = approval.state is ApprovalState.PENDING and approval.shown_at is None
        if not waiting or await self.delivery.card_ref(approval.id) is None:
            return approval
        shown = replace(approval, shown_at=self.clock.now())
        try:
            return await self.store.approvals.change(shown, expected=(approval.state, approval.version), entries=[])
        except Conflict:
            return await self.store.approvals.get(approval.id) or approval

    async def refuse(self, approval: Approval, actor: Actor, verb: str, error: ApprovalError) -> None:
        """Write down that a click did not count."""
        facts = {"verb": verb, "reason": type(error).__name__}
        record = approvals.entry(approval, "decision.refused", self.clock.now(), actor=actor, facts=dict(facts))
        await self.store.audit.append(record)
        audited(error)
