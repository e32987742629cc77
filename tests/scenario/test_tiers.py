"""What can break decides how many must approve, and whether a person has to say why."""

from dataclasses import replace

import pytest

from opsbot.domain import ApprovalState, Tier
from opsbot.policy import ApproverRule, Tiers
from tests.scenario.house import ALICE, BOB, HOSTS, RULES, THREAD, House, World
from tests.scripted_model import Say, call

EVERYBODY = ApproverRule(("*",), frozenset({"UALICE", "UBOB", "UDAVE"}))
STRICT = replace(RULES, approvers=(EVERYBODY,), tiers=Tiers())
BOTH = call("restart_service", hosts=["web-1", "web-2"], unit="nginx")


@pytest.fixture
async def house():
    hosts = {**HOSTS, "db-1": replace(HOSTS["db-1"], data_stores=("redis-server",))}
    house = House(World(rules=STRICT, hosts=hosts))
    await house.start()
    yield house
    await house.stop()


async def test_one_replica_takes_one_person_and_no_reason(house):
    await house.types(ALICE, "restart nginx web-1", THREAD)
    assert (house.approval.reach.tier, house.approval.needed) == (Tier.REPLICA, 1)
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE


@pytest.mark.parametrize(("what", "tier"), [("nginx web", Tier.LAST_REPLICA), ("redis-server db-1", Tier.DATA_STORE)])
async def test_the_top_tier_takes_two_people_and_a_reason_and_says_so(house, what, tier):
    await house.types(ALICE, f"restart {what}", THREAD)
    assert house.cards() == []
    assert "needs a reason" in house.whispered
    await house.types(ALICE, f"restart {what} because it leaks", THREAD)
    assert (house.approval.reach.tier, house.approval.needed, house.approval.reason) == (tier, 2, "it leaks")
    records = await house.world.store.audit.about(house.approval.id)
    asked = next(record.entry.facts for record in records if record.entry.kind == "approval.requested")
    assert (asked["tier"], asked["tier_why"], asked["needed"]) == (tier, house.approval.reach.why, 2)
    await house.types(BOB, f"explain {house.approval.id}", THREAD)
    story = "\n".join(house.seen)
    assert f"tier | {tier.replace('_', ' ')}: {house.approval.reach.why}" in story
    assert "approvers | 2 of <@UALICE>, <@UBOB>, <@UDAVE>; never whoever asked" in story


async def test_a_reason_is_a_persons_and_never_the_models(house):
    house.world.model.add(Say(calls=(BOTH,)), "Why? Please write `because …`.")
    await house.says(ALICE, "restart nginx on all web servers")
    assert house.cards() == []
    assert "needs a reason in a person's own words" in house.world.model.requests[-1].messages[-1].content
    house.world.model.add(Say(calls=(replace(BOTH, call_id="c2"),)), "It waits.")
    await house.says(ALICE, "Because the certificate\nis new")
    assert house.approval.reason == "the certificate is new"


async def test_a_tier_that_rose_after_the_approval_makes_it_stale(house):
    """One of two approvals is there when the other replica leaves the inventory."""
    house.world.rules = replace(STRICT, tiers=Tiers(replica=2))
    await house.stop()
    again = House(house.world)
    await again.start()
    await again.types(ALICE, "restart nginx web-1 because it leaks", THREAD)
    await again.clicks(BOB, "approve")
    again.catalogue.inventory = type(again.catalogue.inventory)(again.world.hosts, {"web": ("web-1",)})
    await again.clicks(replace(BOB, user_id="UDAVE"), "approve")
    assert again.approval.state is ApprovalState.STALE
    assert again.approval.note.startswith("stale:tier: it was approved as replica: web-2 of group web")
    assert not again.world.machines.restarts
    await again.stop()
