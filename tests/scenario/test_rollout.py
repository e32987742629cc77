"""People and an action on many hosts: batches, Pause, Resume and Stop, wrong people, late clicks, a crash."""

import asyncio
from dataclasses import replace

import pytest

from opsbot.domain import ApprovalState, Card, Host, OrderVerb, Rollout
from tests.scenario.house import ALICE, BOB, CAROL, HOSTS, RULES, House, World, machines

WEBS = tuple(f"web-{number}" for number in range(1, 7))
PATIENCE_S = 10


def six(rollout: Rollout = Rollout()) -> World:  # noqa: B008
    hosts = {name: Host(name, address=f"192.0.2.{n}", environment="production", units=("nginx",), host_key=f"k{n}")
             for n, name in enumerate(WEBS, 10)}  # fmt: skip
    field = machines()
    for name in WEBS[2:]:
        field.add(name, "nginx")
    rules = replace(RULES, rollout=rollout, asker_users=RULES.asker_users | {"UERIN"})
    return World(machines=field, hosts={**HOSTS, **hosts}, rules=rules)


@pytest.fixture
async def house():
    house = House(six())
    await house.start()
    yield house
    for name in WEBS:
        house.world.machines.hold_restarts(name).set()
    await house.stop()


ERIN = replace(ALICE, user_id="UERIN")


async def ask(house: House) -> None:
    await house.types(ALICE, f"restart nginx {' '.join(WEBS)} because of new certificates")


async def begin(house: House) -> None:
    """Approve it and let it run, without waiting for its end."""
    await house.send(house.click(BOB, "approve", house.cards()[-1]))


async def press(house: House, actor, verb: str) -> str:
    """Press a button while it runs; return the private answer."""
    before = len(house.world.chat.whispers)
    await house.send(house.click(actor, verb, house.cards()[-1]))
    await until(lambda: len(house.world.chat.whispers) > before)
    return house.whispered


async def until(holds) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.002)


def card(house: House) -> Card:
    return house.cards()[-1].content


def states(house: House) -> dict[str, str]:
    return {step.title: step.state for step in card(house).steps}


def restarted(house: House) -> list[str]:
    return [name for name in WEBS if house.world.machines.restarts[name, "nginx.service"]]


async def kinds(house: House) -> list[tuple[str, str]]:
    records = await house.world.store.audit.about(house.approval.id)
    return [(record.entry.kind, record.entry.actor) for record in records]


async def test_the_plan_shows_the_batches_by_name(house):
    house.world.rules = replace(house.world.rules, rollout=Rollout(batch=2, max_unavailable=2))
    other = House(house.world)
    await other.start()
    await ask(other)
    assert other.approval.bindings["rollout"].startswith("one canary, then 2 at a time, at most 2 unavailable")
    await other.clicks(BOB, "plan")
    rows = [line for line in other.whispered.splitlines() if "record the intent" in line]
    assert [[name for name in WEBS if f"{name} (" in row] for row in rows] == [
        ["web-1"],
        ["web-2", "web-3"],
        ["web-4", "web-5"],
        ["web-6"],
    ]
    await other.stop()


async def test_paused_between_two_hosts_and_resumed_by_who_may_approve(house):
    await ask(house)
    gate = house.world.machines.hold_restarts("web-2")
    await begin(house)
    await until(lambda: states(house).get("web-2") == "running")
    assert "Paused. Hosts under way are finished first" in await press(house, ERIN, "pause")
    gate.set()
    await until(lambda: states(house).get("web-2") == "done")
    assert states(house)["web-3"] == "paused"
    assert card(house).order.actor == ERIN
    assert restarted(house) == ["web-1", "web-2"]
    assert "paused already, as <@UERIN>" in await press(house, ALICE, "pause")
    assert "somebody else has to approve" in await press(house, ALICE, "resume")
    assert "not among the approvers" in await press(house, CAROL, "resume")
    assert restarted(house) == ["web-1", "web-2"]
    assert "It goes on" in await press(house, BOB, "resume")
    await house.quiet()
    assert house.approval.state is ApprovalState.DONE
    assert restarted(house) == list(WEBS)
    found = await kinds(house)
    assert ("execution.paused", ERIN.key) in found
    assert ("execution.resumed", BOB.key) in found
    assert [actor for kind, actor in found if kind == "decision.refused"] == [ALICE.key, ALICE.key, CAROL.key]


async def test_who_paused_may_go_on(house):
    await ask(house)
    gate = house.world.machines.hold_restarts("web-1")
    await begin(house)
    await until(lambda: states(house).get("web-1") == "running")
    await press(house, ALICE, "pause")
    gate.set()
    assert "It goes on" in await press(house, ALICE, "resume")
    await house.quiet()
    assert house.approval.state is ApprovalState.DONE


async def test_stopped_by_who_may_only_ask(house):
    await ask(house)
    gate = house.world.machines.hold_restarts("web-3")
    await begin(house)
    await until(lambda: states(house).get("web-3") == "running")
    assert "You are not among the approvers" in await press(house, CAROL, "halt")
    assert "being stopped" in await press(house, ERIN, "halt")
    await until(lambda: card(house).order is not None and card(house).order.verb is OrderVerb.HALT)
    assert "being stopped already, as <@UERIN>" in await press(house, BOB, "halt")
    gate.set()
    await house.quiet()
    assert house.approval.state is ApprovalState.FAILED
    assert house.approval.halted.actor == ERIN
    assert house.approval.untouched == ("web-4", "web-5", "web-6")
    assert restarted(house) == ["web-1", "web-2", "web-3"]
    assert ("execution.halted", ERIN.key) in await kinds(house)


async def test_too_late_to_stop_the_last_host(house):
    await ask(house)
    gate = house.world.machines.hold_restarts("web-6")
    await begin(house)
    await until(lambda: states(house).get("web-6") == "running")
    assert "Every host has been started" in await press(house, BOB, "halt")
    gate.set()
    await house.quiet()
    assert house.approval.state is ApprovalState.DONE
    for verb in OrderVerb:
        assert "It is over. Already decided: approved by <@UBOB>" in await press(house, BOB, verb)


async def test_nothing_can_be_ordered_before_it_was_approved(house):
    await ask(house)
    assert "It is not under way: request" in await press(house, BOB, "pause")
    assert "not under way" in await press(house, BOB, "halt")
    assert house.approval.state is ApprovalState.PENDING


async def test_a_copied_card_orders_nothing(house):
    await ask(house)
    gate = house.world.machines.hold_restarts("web-1")
    await begin(house)
    await until(lambda: states(house).get("web-1") == "running")
    before = len(house.world.chat.whispers)
    await house.send(replace(house.click(BOB, "halt", house.cards()[-1]), message_id="17.999"))
    await until(lambda: len(house.world.chat.whispers) > before)
    assert "not the card" in house.whispered
    gate.set()
    await house.quiet()
    assert house.approval.state is ApprovalState.DONE


async def test_a_storm_of_clicks_runs_every_host_once(house):
    await ask(house)
    await begin(house)
    for actor, verb in [(ERIN, "pause"), (ERIN, "pause"), (BOB, "resume"), (ALICE, "pause"), (CAROL, "halt")] * 5:
        await house.send(house.click(actor, verb, house.cards()[-1]))
    await house.send(house.click(BOB, "approve", house.cards()[-1]))

    async def go_on() -> None:
        while not card(house).approval.state.final:
            await house.send(house.click(BOB, "resume", house.cards()[-1]))
            await asyncio.sleep(0.01)

    await asyncio.wait_for(go_on(), PATIENCE_S)
    await house.quiet()
    assert house.approval.state is ApprovalState.DONE
    assert [house.world.machines.restarts[name, "nginx.service"] for name in WEBS] == [1] * 6


async def test_without_a_database_an_order_does_not_count(house):
    await ask(house)
    gate = house.world.machines.hold_restarts("web-1")
    await begin(house)
    await until(lambda: states(house).get("web-1") == "running")
    append = house.world.store.audit.append
    house.world.store.audit.append = broken
    assert "nothing was done" in await press(house, BOB, "pause")
    house.world.store.audit.append = append
    gate.set()
    await house.quiet()
    assert house.approval.state is ApprovalState.DONE


async def broken(entry):
    from opsbot.errors import StoreError

    raise StoreError("disk full")


async def test_a_crash_while_paused_is_settled_and_names_the_untouched():
    world = six()
    first = House(world)
    await first.start()
    await ask(first)
    gate = world.machines.hold_restarts("web-2")
    await begin(first)
    await until(lambda: states(first).get("web-2") == "running")
    await press(first, BOB, "pause")
    gate.set()
    await until(lambda: states(first).get("web-2") == "done")
    await asyncio.gather(*dying(first), return_exceptions=True)

    second = House(world)
    await second.start()
    await second.quiet()
    assert second.approval.state is ApprovalState.FAILED
    assert [str(outcome.result) for outcome in second.approval.outcomes] == ["done", "done"]
    assert second.approval.untouched == WEBS[2:]
    assert "Not touched: web-3, web-4, web-5, web-6." in second.approval.note
    assert restarted(second) == ["web-1", "web-2"]
    assert "It is over" in await press(second, BOB, "resume")
    await second.stop()


def dying(house: House) -> list:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    house.die()
    return tasks


async def test_an_orderly_end_while_paused_is_settled_at_once(house):
    await ask(house)
    gate = house.world.machines.hold_restarts("web-1")
    await begin(house)
    await until(lambda: states(house).get("web-1") == "running")
    await press(house, BOB, "pause")
    gate.set()
    await until(lambda: states(house).get("web-1") == "done")
    await house.stop()
    assert house.approval.state is ApprovalState.FAILED
    assert "opsbot was shut down in between. Not touched: web-2" in house.approval.note
