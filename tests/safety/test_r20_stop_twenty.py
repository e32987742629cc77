"""R20: a stop while twenty actions are under way: no further host is begun, and people are told of all twenty."""

import asyncio
import time
from dataclasses import replace

from opsbot.domain import ApprovalState, Card, Host, IncomingCommand, Report
from opsbot.policy import ApproverRule, Tiers
from tests.fake_machines import FakeMachines
from tests.safety.conftest import Figures
from tests.scenario.house import ALICE, BOB, CHANNEL, RULES, House, World

ACTIONS = 20
HOSTS_EACH = 3
NAMES = [f"h{n:02}-{part}" for n in range(ACTIONS) for part in "abc"]
PEOPLE = replace(
    RULES,
    approvers=(ApproverRule(("*",), users=frozenset({"UBOB"})),),
    hosts_per_action=HOSTS_EACH,
    tiers=Tiers(last_replica=1),
)


def world() -> World:
    hosts = {name: Host(name, address="192.0.2.9", environment="lab", units=("nginx",), host_key="k") for name in NAMES}
    return World(rules=PEOPLE, hosts=hosts, machines=FakeMachines({name: ["nginx"] for name in NAMES}), threads=64)


async def until(condition, timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


async def test_twenty_actions_are_stopped_and_reported(figures: Figures) -> None:
    house = House(world())
    machines = house.world.machines
    await house.start()
    gates = [machines.hold_restarts(f"h{n:02}-a") for n in range(ACTIONS)]
    for n in range(ACTIONS):
        await house.types(ALICE, f"restart nginx h{n:02}-a h{n:02}-b h{n:02}-c")
    clicks = [house.send(house.click(BOB, "approve", posted)) for posted in house.cards()]
    await asyncio.gather(*clicks)
    await until(lambda: sum(argv == ("restart", "nginx.service") for _, argv in machines.commands) == ACTIONS)

    began_s = time.monotonic()
    await house.send(_stop_all())
    await until(lambda: bool(house.world.chat.whispers) and "stopped by" in house.whispered)
    answered_s = time.monotonic() - began_s
    report = house.world.chat.whispers[-1].content
    assert isinstance(report, Report)
    told = {row[0] for table in report.tables for row in table.rows}
    ids = {approval.id for approval in await house.world.store.approvals.in_state(ApprovalState.EXECUTING)}
    assert told == ids
    assert len(ids) == ACTIONS
    await until(
        lambda: all(isinstance(m.content, Card) and "stopped by <@UBOB>" in m.content.held for m in house.cards())
    )
    shown_s = time.monotonic() - began_s

    for gate in gates:
        gate.set()
    await house.quiet()
    acted_on = {host for (host, _), count in machines.restarts.items() if count}
    assert acted_on == {f"h{n:02}-a" for n in range(ACTIONS)}, "hosts under way are finished, others not begun"
    finals = [posted.content.approval for posted in house.cards() if isinstance(posted.content, Card)]
    assert {final.state for final in finals} == {ApprovalState.FAILED}
    assert all("stale:stop" in final.note and len(final.untouched) == 2 for final in finals)
    await house.stop()
    assert answered_s < 1
    assert shown_s < 5
    figures.note(
        actions_under_way=ACTIONS,
        hosts_begun_after_the_stop=0,
        reported_in_the_answer=f"{len(told)} of {ACTIONS}",
        answered_after=f"{answered_s * 1000:.0f} ms",
        every_card_says_so_after=f"{shown_s * 1000:.0f} ms",
    )


def _stop_all() -> IncomingCommand:
    return IncomingCommand(CHANNEL, BOB, "stop-all now", reply_to="https://reply")
