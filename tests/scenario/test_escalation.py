"""Nobody clicks: the next who may approve is told, once a step, and nothing else changes."""

from dataclasses import replace
from datetime import date, time
from zoneinfo import ZoneInfo

import pytest

from opsbot.domain import ApprovalState, Place, Text
from opsbot.policy import Escalation
from opsbot.policy_rules import Approvers, Effect, Role, Rule
from opsbot.rota import Rota
from tests.fake_chat import FakeDirectory
from tests.scenario.house import ALICE, BOB, CHANNEL, RULES, THREAD, House, World

ONCALL = Rota("second", ("UDAVE",), date(2026, 1, 5), time(9), ZoneInfo("UTC"))
RULE = Rule(
    "ask-ops",
    Effect.APPROVE,
    (Role.of("all", ["*"]),),
    approvers=Approvers(frozenset({"UBOB", "UALICE"}), frozenset({"SOPS"}), (ONCALL,)),
)
TO = (
    ("oncall:second", Approvers(rotas=(ONCALL,))),
    ("user:UNOBODY", Approvers(frozenset({"UNOBODY"}))),
    ("group:SOPS", Approvers(groups=frozenset({"SOPS"}))),
)


@pytest.fixture
async def house():
    rules = replace(RULES, rules=(RULE,), escalation=Escalation(60, TO))
    house = House(World(rules=rules, directory=FakeDirectory({"SOPS": frozenset({"T1/UERIN"})})))
    await house.start()
    yield house
    await house.stop()


def told(house: House) -> list[tuple[str, ...]]:
    contents = [message.content for message in house.world.chat.messages]
    return [content.to for content in contents if isinstance(content, Text) and content.to]


async def wait(house: House, seconds: int) -> None:
    for _ in range(seconds // 5):
        await house.passes(5)


async def records(house: House, kind: str) -> list[dict]:
    entries = [record.entry for record in await house.world.store.audit.about(house.approval.id)]
    return [dict(entry.facts) for entry in entries if entry.kind == kind]


async def test_each_step_tells_the_next_who_may_approve_and_is_audited(house):
    await house.types(ALICE, "restart nginx web-1", THREAD)
    await wait(house, 55)
    assert told(house) == []
    await wait(house, 10)
    assert told(house) == [("user:UDAVE",)]
    await wait(house, 60)
    assert told(house) == [("user:UDAVE",), ("group:SOPS",)]  # who may not approve is no step
    await wait(house, 120)
    assert len(told(house)) == 2
    steps = [(facts["step"], facts["target"]) for facts in await records(house, "approval.escalated")]
    assert steps == [(1, "oncall:second"), (2, "group:SOPS")]


async def test_it_is_said_in_the_thread_of_the_card(house):
    await house.types(ALICE, "restart nginx web-1", CHANNEL)
    await wait(house, 65)
    (message,) = [m for m in house.world.chat.messages if isinstance(m.content, Text) and m.content.to]
    assert message.place == Place("T1", "C1", house.cards()[-1].ref.message_id)


async def test_a_decision_ends_it(house):
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "deny")
    await wait(house, 200)
    assert told(house) == []


async def test_it_changes_neither_the_approvers_nor_the_expiry(house):
    await house.types(ALICE, "restart nginx web-1")
    before = house.approval
    await wait(house, 65)
    after = await house.world.store.approvals.get(before.id)
    unchanged = ("expires_at", "digest", "bindings", "approver_users", "approver_groups", "needed", "state")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]
    await wait(house, 240)
    assert house.approval.state is ApprovalState.EXPIRED


async def test_a_restart_tells_nobody_twice_and_forgets_no_step(house):
    await house.types(ALICE, "restart nginx web-1")
    await wait(house, 65)
    house.die()
    second = House(house.world)
    await second.start()
    await wait(second, 20)
    assert len(told(second)) == 1
    await wait(second, 60)
    assert len(told(second)) == 2
    await second.stop()


async def test_what_a_crash_left_untold_is_told(house):
    await house.types(ALICE, "restart nginx web-1")
    store = house.world.store.approvals
    pending = await store.get(house.approval.id)
    assert pending is not None
    await store.change(replace(pending, escalated=1), expected=(pending.state, pending.version), entries=[])
    await wait(house, 65)
    assert told(house) == [("user:UDAVE",)]
    assert await records(house, "approval.escalated") == []


async def test_the_requester_is_never_asked_to_approve(house):
    house.world.rules = replace(house.world.rules, escalation=Escalation(60, (("role:all", RULE.approvers),)))
    await house.stop()
    again = House(house.world)
    await again.start()
    await again.types(ALICE, "restart nginx web-1")
    await wait(again, 65)
    assert told(again) == [("user:UBOB", "user:UDAVE", "group:SOPS")]
    await again.stop()


async def test_in_a_direct_message_nobody_else_would_read_it(house):
    await house.types(ALICE, "restart nginx web-1", Place("T1", "D1", "1.1", direct=True))
    await wait(house, 200)
    assert told(house) == []
