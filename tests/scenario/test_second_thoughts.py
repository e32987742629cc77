"""What people do with a card besides approving and denying: leave hosts out, withdraw, approve for a while."""

from dataclasses import replace
from datetime import datetime

import pytest

from opsbot.checkpoint import NoSwitch
from opsbot.domain import ApprovalState, IncomingDecision
from opsbot.holds import Hold, HoldKind, Scope, Where, new_id
from opsbot.inventory import Inventory
from opsbot.pace import Pace
from opsbot.policy import ApproverRule
from tests.records import entry
from tests.scenario.house import ALICE, BOB, CAROL, CHANNEL, GROUPS, HOSTS, RULES, THREAD, House, World
from tests.scripted_model import call, results_of

NGINX = ("web-1", "nginx.service")
BOTH = call("restart_service", "c1", hosts=["web"], unit="nginx")


async def opened(world: World) -> House:
    house = House(world)
    await house.start()
    return house


@pytest.fixture
async def house():
    house = await opened(World())
    yield house
    await house.stop()


def leaving_out(house: House, *numbers: int, number: int = -1) -> IncomingDecision:
    return replace(house.click(BOB, "narrow", house.cards()[number]), chosen=numbers)


def moved(house: House, name: str, address: str) -> None:
    """Let the inventory say that a host is somewhere else."""
    hosts = dict(house.catalogue.inventory.hosts)
    hosts[name] = replace(hosts[name], address=address)
    house.catalogue.inventory = Inventory(hosts, GROUPS)


async def kinds(house: House) -> list[str]:
    return [record.entry.kind for record in await house.world.store.audit.read()]


# --- leaving hosts out -----------------------------------------------------------------------------------------------


async def test_an_approver_leaves_a_host_out_and_only_the_rest_is_touched(house):
    house.world.model.add(BOTH, "Only web-2 was restarted.")
    await house.says(ALICE, "restart nginx on web")
    before = house.approval
    await house.send(leaving_out(house, 0))
    await house.quiet()
    after = house.approval
    assert after.action.hosts == ("web-2",)
    assert set(after.impacts) == {"web-2"}
    assert after.digest != before.digest
    assert after.expires_at == before.expires_at
    assert "Left out: web-1" in house.whispered
    assert "<@UALICE>" in house.seen[-1]
    assert "<@UBOB> left out web-1" in house.seen[-1]
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    assert house.world.machines.restarts[NGINX] == 0
    assert house.world.machines.restarts["web-2", "nginx.service"] == 1
    assert results_of(house.world.model.requests[-1])["c1"]["left_out"] == ["web-1"]
    assert "approval.narrowed" in await kinds(house)


async def test_approvals_begin_anew_after_hosts_were_left_out():
    world = World(
        rules=replace(RULES, approvers=(ApproverRule(("production",), frozenset({"UBOB", "UCAROL"}), needed=2),))
    )
    house = await opened(world)
    await house.types(ALICE, "restart nginx web")
    await house.clicks(CAROL, "approve")
    assert len(house.approval.reviews) == 1
    await house.send(leaving_out(house, 1))
    await house.quiet()
    assert house.approval.reviews == ()
    await house.clicks(CAROL, "approve")
    assert house.approval.state is ApprovalState.PENDING
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    await house.stop()


async def test_a_button_of_the_card_before_hosts_were_left_out_does_not_count(house):
    await house.types(ALICE, "restart nginx web")
    old = house.click(BOB, "approve", house.cards()[-1])
    await house.send(leaving_out(house, 0))
    await house.quiet()
    await house.send(old)
    await house.quiet()
    assert "as it stands now" in house.whispered
    assert house.approval.state is ApprovalState.PENDING
    assert not house.world.machines.restarts


@pytest.mark.parametrize(
    ("numbers", "says"),
    [((0, 1), "leave at least one"), ((), "at least one host to leave out"), ((7,), "at least one host to leave out")],
)
async def test_one_host_at_least_is_left_out_and_one_at_least_stays(house, numbers, says):
    await house.types(ALICE, "restart nginx web")
    await house.send(leaving_out(house, *numbers))
    await house.quiet()
    assert says in house.whispered
    assert house.approval.action.hosts == ("web-1", "web-2")


@pytest.mark.parametrize(("actor", "says"), [(ALICE, "somebody else"), (CAROL, "not among the approvers")])
async def test_only_who_may_approve_leaves_hosts_out(house, actor, says):
    await house.types(ALICE, "restart nginx web")
    await house.send(replace(leaving_out(house, 0), actor=actor))
    await house.quiet()
    assert says in house.whispered
    assert house.approval.action.hosts == ("web-1", "web-2")
    assert "decision.refused" in await kinds(house)


async def test_hosts_are_left_out_by_command_and_never_added(house):
    await house.types(ALICE, "restart nginx web")
    await house.types(BOB, f"leave-out {house.approval.id} db-1")
    assert "never added" in house.whispered
    await house.types(BOB, f"leave-out {house.approval.id} web-2")
    assert house.approval.action.hosts == ("web-1",)
    await house.types(BOB, f"leave-out {house.approval.id} web-1")
    assert "leave at least one" in house.whispered


async def test_nothing_is_left_out_of_what_is_decided_expired_or_changed(house):
    await house.types(ALICE, "restart nginx web")
    moved(house, "web-2", "192.0.2.99")
    await house.send(leaving_out(house, 0))
    await house.quiet()
    assert "stale:host_records" in house.whispered
    house.world.clock.advance(300)
    await house.send(leaving_out(house, 0))
    await house.quiet()
    assert "expired" in house.whispered
    await house.passes(6)
    await house.send(leaving_out(house, 0))
    await house.quiet()
    assert "expired at" in house.whispered


# --- withdrawing -----------------------------------------------------------------------------------------------------


async def test_who_asked_withdraws_and_nothing_runs(house):
    house.world.model.add(call("restart_service", "c1", hosts=["web-1"], unit="nginx"), "You took it back.")
    await house.says(ALICE, "restart nginx on web-1")
    await house.clicks(ALICE, "withdraw")
    assert house.approval.state is ApprovalState.WITHDRAWN
    assert "Withdrawn" in house.whispered
    assert results_of(house.world.model.requests[-1])["c1"]["state"] == "withdrawn"
    await house.clicks(BOB, "approve")
    assert "withdrawn by <@UALICE>" in house.whispered
    assert not house.world.machines.restarts


async def test_nobody_withdraws_what_others_asked_for(house):
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "withdraw")
    assert "Only whoever asked" in house.whispered
    assert house.approval.state is ApprovalState.PENDING


async def test_it_is_withdrawn_after_the_approval_and_before_it_runs(house):
    """The executor's own compare-and-swap decides: what was withdrawn cannot begin."""
    await house.types(ALICE, "restart nginx web-1")
    await house.send(house.click(BOB, "approve", house.cards()[-1]))
    while not [a for a in house.world.store.approvals.stored.values() if a.state is ApprovalState.APPROVED]:
        await house.world.store.outage.step()
    stored = next(iter(house.world.store.approvals.stored.values()))
    withdrawn = await house.service._parts.desk.withdraw(stored.id, ALICE, pressed=None)
    await house.quiet()
    assert withdrawn.state is ApprovalState.WITHDRAWN
    assert not house.world.machines.restarts
    assert house.approval.state is ApprovalState.WITHDRAWN


async def test_what_runs_or_is_over_is_not_withdrawn(house):
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "approve")
    await house.types(ALICE, f"withdraw {house.approval.id}")
    assert "Already decided: approved by <@UBOB>" in house.whispered
    await house.types(ALICE, "withdraw NOSUCH23")
    assert "no request" in house.whispered


# --- time to read, and few at a time ---------------------------------------------------------------------------------


async def test_a_click_counts_only_after_the_card_can_have_been_read():
    house = await opened(World(pace=Pace(read_s=2)))
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "approve")
    assert "Read the card first" in house.whispered
    house.world.clock.advance(1.9)
    await house.clicks(BOB, "approve")
    assert "Read the card first" in house.whispered
    assert house.approval.state is ApprovalState.PENDING
    house.world.clock.advance(0.1)
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    await house.stop()


async def test_refusing_needs_no_time_to_read():
    house = await opened(World(pace=Pace(read_s=2)))
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "deny")
    assert house.approval.state is ApprovalState.DENIED
    await house.stop()


async def test_time_to_read_begins_anew_when_the_card_changes():
    house = await opened(World(pace=Pace(read_s=2)))
    await house.types(ALICE, "restart nginx web")
    house.world.clock.advance(5)
    await house.send(leaving_out(house, 0))
    await house.quiet()
    await house.clicks(BOB, "approve")
    assert "Read the card first" in house.whispered
    house.world.clock.advance(2)
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    await house.stop()


async def test_one_person_has_few_requests_open_and_is_told_which():
    house = await opened(World(pace=Pace(read_s=0, open_requests=2)))
    for host in ("web-1", "web-2"):
        await house.types(ALICE, f"restart nginx {host}")
    await house.types(ALICE, "restart redis-server db-1")
    assert len(house.cards()) == 2
    for card in house.cards():
        assert card.content.approval.id in house.whispered
    await house.types(BOB, "restart redis-server db-1")
    assert len(house.cards()) == 3
    await house.clicks(ALICE, "withdraw", 0)
    await house.types(ALICE, "restart nginx web-1")
    assert len(house.cards()) == 4
    assert "request.refused" in await kinds(house)
    await house.stop()


async def test_who_asked_often_has_to_wait_and_is_told_until_when():
    house = await opened(World(pace=Pace(read_s=0, requests=3, window_s=600)))
    for _ in range(3):
        await house.types(ALICE, "restart nginx web-1")
        await house.clicks(BOB, "deny")
        house.world.clock.advance(60)
    await house.types(ALICE, "restart nginx web-1")
    assert "possible at 03:10:00" in house.whispered
    house.world.clock.advance(420)
    await house.types(ALICE, "restart nginx web-1")
    assert house.approval.state is ApprovalState.PENDING
    await house.stop()


# --- for a while -----------------------------------------------------------------------------------------------------

WHILE = replace(RULES, standing_minutes=15)


@pytest.fixture
async def lasting():
    house = await opened(World(rules=WHILE))
    await house.types(ALICE, "restart nginx web-1 because it leaks")
    await house.clicks(BOB, "approve_while")
    assert house.approval.state is ApprovalState.DONE
    yield house
    await house.stop()


async def test_the_very_same_request_runs_again_without_asking_and_is_recorded(lasting):
    first = lasting.approval
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    again = lasting.approval
    assert (again.state, again.stands_on) == (ApprovalState.DONE, first.id)
    assert again.id != first.id
    assert lasting.world.machines.restarts[NGINX] == 2
    records = await lasting.world.store.audit.about(again.id)
    assert [r.entry.kind for r in records][:2] == ["approval.requested", "approval.stood"]
    assert records[1].entry.facts["stands_on"] == first.id
    await lasting.types(BOB, "approvals")
    assert "Approved for a while" in lasting.whispered
    assert f"{first.id} | restart_service unit=nginx.service on web-1 | <@UALICE> | <@UBOB>" in lasting.whispered
    assert lasting.whispered.strip().endswith("| 1")


@pytest.mark.parametrize(
    "other",
    [
        "restart nginx web-2 because it leaks",
        "restart nginx web because it leaks",
        "restart brittle web-1 because it leaks",
        "start nginx web-1 because it leaks",
        "restart nginx web-1 because I like to",
        "restart nginx web-1",
    ],
)
async def test_anything_else_is_asked_for(lasting, other):
    await lasting.types(ALICE, other)
    assert lasting.approval.state is ApprovalState.PENDING


async def test_another_person_or_place_is_asked_for(lasting):
    await lasting.types(BOB, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING
    await lasting.clicks(BOB, "withdraw")
    await lasting.types(ALICE, "restart nginx web-1 because it leaks", THREAD)
    assert lasting.approval.state is ApprovalState.PENDING


async def test_it_ends_with_its_time(lasting):
    lasting.world.clock.advance(15 * 60)
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING


async def test_a_clock_set_back_does_not_make_it_longer(lasting):
    lasting.world.clock.advance(14 * 60)
    lasting.world.clock.jump(-13 * 60)
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING


@pytest.mark.parametrize("actor", [ALICE, BOB])
async def test_who_asked_and_who_may_approve_can_end_it(lasting, actor):
    await lasting.clicks(actor, "withdraw")
    assert "counts for nothing else" in lasting.whispered
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING
    assert "approval.standing_ended" in await kinds(lasting)


async def test_nobody_else_can_end_it(lasting):
    await lasting.clicks(CAROL, "withdraw")
    assert "not among the approvers" in lasting.whispered


async def test_any_change_of_what_was_approved_ends_it_for_good(lasting):
    moved(lasting, "web-1", "192.0.2.77")
    await lasting.passes(6)
    moved(lasting, "web-1", HOSTS["web-1"].address)
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING
    await lasting.types(ALICE, f"explain {lasting.cards()[0].content.approval.id}")
    assert "stale:host_records" in lasting.whispered


@pytest.mark.parametrize(
    ("kind", "scope", "ends"),
    [
        (HoldKind.STOP, Scope(Where.ALL), True),
        (HoldKind.FREEZE, Scope(Where.ALL), True),
        (HoldKind.FREEZE, Scope(Where.GROUP, "web", hosts=("web-1", "web-2")), True),
        (HoldKind.FREEZE, Scope(Where.HOST, "web-1", "nginx", hosts=("web-1",)), True),
        (HoldKind.FREEZE, Scope(Where.HOST, "db-1", hosts=("db-1",)), False),
    ],
)
async def test_a_stop_or_a_freeze_of_its_hosts_ends_it_for_good(lasting, kind, scope, ends):
    now = lasting.world.clock.now()
    hold = Hold(new_id(), kind, scope, BOB.key, now)
    await lasting.world.store.holds.add(hold, entry())
    await lasting.passes(6)
    over = replace(hold, ended_by=BOB.key, ended_at=now, end_reason="over")
    await lasting.world.store.holds.change(over, entry())
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert (lasting.approval.state is ApprovalState.PENDING) is ends


class Thrown(NoSwitch):
    """A stop file that is there, until two people say that actions may go on."""

    def __init__(self, at: datetime) -> None:
        self._at: datetime | None = at

    def thrown(self) -> Hold | None:
        return Hold("FILE", HoldKind.STOP, Scope(Where.ALL), "file/stop", self._at) if self._at else None

    def release(self) -> bool:
        self._at = None
        return True


@pytest.mark.parametrize(
    ("begun", "ended"),
    [
        ("stop-all it burns", "resume-all it is out"),
        ("freeze web because of a look", "unfreeze web because it was had"),
        ("", "resume-all it is out"),
    ],
    ids=["stop", "freeze", "stop file"],
)
async def test_however_short_a_stop_or_a_freeze_was_it_ends_it_for_good(lasting, begun, ended):
    if begun:
        await lasting.types(BOB, begun)
    else:
        brakes = lasting.service._parts.executor.checkpoint.brakes
        lasting.service._parts.executor.checkpoint.brakes = replace(brakes, switch=Thrown(lasting.world.clock.now()))
    await lasting.types(ALICE, ended)
    await lasting.types(BOB, ended)
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING


async def test_a_stop_file_ends_it_for_good(lasting):
    checkpoint = lasting.service._parts.executor.checkpoint
    checkpoint.brakes = replace(checkpoint.brakes, switch=Thrown(lasting.world.clock.now()))
    await lasting.passes(6)
    checkpoint.brakes.switch.release()
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING


@pytest.mark.parametrize("jump", [-60, 86_400], ids=["set back", "ahead by a day"])
async def test_a_clock_that_was_wrong_for_a_while_brings_nothing_back(lasting, jump):
    lasting.world.clock.jump(jump)
    await lasting.passes(6)
    lasting.world.clock.jump(-jump)
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING


async def test_rules_that_had_none_for_a_while_bring_nothing_back(lasting):
    world = lasting.world
    lasting.die()
    world.rules = replace(world.rules, standing_minutes=0)
    other = await opened(world)
    await other.stop()
    world.rules = WHILE
    again = await opened(world)
    await again.types(ALICE, "restart nginx web-1 because it leaks")
    assert again.approval.state is ApprovalState.PENDING
    await again.stop()


async def test_a_run_that_does_not_go_well_ends_it(lasting):
    lasting.world.machines.unit("web-1", "nginx").on_restart = "fails"
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.FAILED
    lasting.world.machines.unit("web-1", "nginx").on_restart = "works"
    await lasting.types(ALICE, "restart nginx web-1 because it leaks")
    assert lasting.approval.state is ApprovalState.PENDING


async def test_everybody_needed_has_to_want_it():
    rules = replace(WHILE, approvers=(ApproverRule(("production",), frozenset({"UBOB", "UCAROL"}), needed=2),))
    for verbs, standing in ((("approve_while", "approve"), False), (("approve_while", "approve_while"), True)):
        house = await opened(World(rules=rules))
        await house.types(ALICE, "restart nginx web-1")
        await house.clicks(BOB, verbs[0])
        await house.clicks(CAROL, verbs[1])
        assert house.approval.state is ApprovalState.DONE
        assert (house.approval.standing is not None) is standing
        await house.stop()


async def test_without_leave_of_the_policy_it_is_refused():
    house = await opened(World())
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "approve_while")
    assert "one time only" in house.whispered
    assert house.approval.state is ApprovalState.PENDING
    await house.stop()


async def test_danger_is_never_approved_for_a_while():
    hosts = World().hosts
    hosts["web-1"] = replace(hosts["web-1"], actions=("restart", "stop"))
    rules = replace(WHILE, approvers=(ApproverRule(("production",), frozenset({"UBOB", "UCAROL"})),))
    house = await opened(World(rules=rules, hosts=hosts))
    await house.types(ALICE, "stop nginx web-1 because maintenance", CHANNEL)
    assert house.cards()[-1].content.while_minutes == 0
    await house.clicks(BOB, "approve_while")
    assert "one time only" in house.whispered
    await house.stop()


async def test_what_was_asked_after_reading_untrusted_text_is_never_approved_for_a_while():
    house = await opened(World(rules=WHILE))
    house.world.model.add(call("service_logs", "c0", hosts=["web-1"], unit="nginx"))
    house.world.model.add(call("restart_service", "c1", hosts=["web-1"], unit="nginx"))
    await house.says(ALICE, "why is it slow? restart it if need be")
    assert house.approval.tainted_by
    await house.clicks(BOB, "approve_while")
    assert "one time only" in house.whispered
    await house.stop()
