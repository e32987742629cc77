"""Requests that people decided, and that nobody has begun to carry out: as a process that ends leaves them."""

from opsbot.approvals import Click, review
from opsbot.domain import Actor, Approval, ApprovalState
from tests.scenario.house import BOB, House


async def approved_only(house: House, who: Actor = BOB) -> Approval:
    """Let this person approve the newest waiting request, and nothing more happen."""
    store = house.world.store.approvals
    pending = (await store.in_state(ApprovalState.PENDING))[-1]
    now = house.world.clock.moment()
    reviewed = review(pending, who, Click(approve=True), now=now, rules=house.world.rules)
    return await store.change(reviewed, expected=(pending.state, pending.version), entries=[])
