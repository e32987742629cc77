"""The brakes together: whatever holds an action back is found, and what cannot be read holds everything back."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from opsbot.actions import Prepared
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes, Checkpoint, NoSwitch
from opsbot.domain import Action, ApprovalState, Host, Operation, Risk
from opsbot.errors import CapReached, Held, HeldBack, StoreError
from opsbot.freezes import PlannedFreeze
from opsbot.holds import Hold, HoldKind, Scope, Where
from opsbot.tooling import Parameter, Tool, Unit
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore
from tests.records import approval, entry

WEB = Host("web-1", environment="production")
LAB = Host("lab-1", environment="lab")
NGINX, REDIS = ("nginx.service",), ("redis.service",)
ON_WEB = Scope(Where.HOST, "web-1")
NGINX_ON_WEB = Scope(Where.HOST, "web-1", "nginx")
TOOL = Tool("change_it", "Change it.", Risk.CHANGE, 90, lambda: None, (), True)
CLOCK = FakeClock()
NOW = CLOCK.now()
FREEZE = Hold("F7KQ2M", HoldKind.FREEZE, NGINX_ON_WEB, "T1/UBOB", NOW, "works")
STOP = Hold("S7KQ2M", HoldKind.STOP, Scope(Where.ALL), "file//run/stop", NOW, "fire")


@dataclass
class Switch:
    """A switch beside the database, as an operator set it."""

    hold: Hold | None = STOP

    def thrown(self) -> Hold | None:
        return self.hold

    def release(self) -> bool:
        return False


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def checkpoint(store: MemoryStore, clock: FakeClock, **brakes: object) -> Checkpoint:
    return Checkpoint(store, clock, Brakes(**brakes))


def prepared(*hosts: Host) -> Prepared:
    return Prepared(TOOL, Action("change_it", {}, tuple(host.name for host in hosts)), hosts)


async def both_refuse(point: Checkpoint, hosts=(WEB,), targets=NGINX) -> HeldBack:
    """Return what both ways of looking say: the one for tasks and the one for threads."""
    with pytest.raises(Held) as for_tasks:
        await point.check(hosts, targets)
    with pytest.raises(Held) as for_threads:
        point.check_now(hosts, targets)
    assert (str(for_tasks.value), for_tasks.value.rule) == (str(for_threads.value), for_threads.value.rule)
    return for_threads.value


async def test_nothing_holds_back_where_nothing_was_said(store, clock):
    point = checkpoint(store, clock)
    await point.check([WEB], NGINX)
    point.check_now([WEB], NGINX)
    assert await point.in_force() == point.in_force_now() == ()
    assert await point.stopped() is None
    assert not NoSwitch().release()


async def test_a_freeze_holds_what_it_names_and_says_why(store, clock):
    await store.holds.add(FREEZE, entry())
    point = checkpoint(store, clock)
    error = await both_refuse(point)
    assert error.rule == "freeze"
    assert str(error) == (
        "Held back: nginx@host:web-1 is frozen by <@UBOB> since 2026-11-22 03:00:00 UTC (freeze F7KQ2M). Reason: works"
    )
    for hosts, targets in (((LAB,), NGINX), ((WEB,), REDIS)):
        await point.check(hosts, targets)
        point.check_now(hosts, targets)


@pytest.mark.parametrize(
    "brakes",
    [
        {"switch": Switch()},
        {"freezes": (PlannedFreeze("weekend", ON_WEB, "rest"),)},
        {"switch": Switch(None), "freezes": (PlannedFreeze("weekend", ON_WEB, "rest"),)},
    ],
)
async def test_the_switch_and_the_configuration_hold_back_beside_the_store(store, clock, brakes):
    await both_refuse(checkpoint(store, clock, **brakes))


async def test_a_stop_is_told_whatever_else_is_frozen_and_a_freeze_is_no_stop(store, clock):
    await store.holds.add(FREEZE, entry())
    assert await checkpoint(store, clock).stopped() is None
    thrown = checkpoint(store, clock, switch=Switch())
    assert await thrown.stopped() == STOP
    assert (await both_refuse(thrown)).rule == "stop"


async def test_what_is_over_or_not_yet_due_holds_nothing(store, clock):
    await store.holds.add(replace(FREEZE, until=NOW + timedelta(seconds=60)), entry())
    planned = PlannedFreeze("later", ON_WEB, "", begins=NOW + timedelta(seconds=120))
    point = checkpoint(store, clock, freezes=(planned,))
    await both_refuse(point)
    clock.advance(60)
    await point.check([WEB], NGINX)
    point.check_now([WEB], NGINX)
    clock.advance(60)
    await both_refuse(point)


async def test_a_store_that_cannot_be_read_holds_everything_back(store, clock):
    store.outage.reason = "The disk is gone."
    point = checkpoint(store, clock)
    with pytest.raises(StoreError):
        await point.check([LAB], REDIS)
    with pytest.raises(Held) as refused:
        point.check_now([LAB], REDIS)
    assert refused.value.rule == "stop"
    assert str(refused.value) == "Held back, since stops and freezes cannot be read: The disk is gone."


async def test_what_is_shown_is_what_was_seen_last_and_only_for_what_it_holds(store, clock):
    await store.holds.add(FREEZE, entry())
    point = checkpoint(store, clock)
    assert point.held([WEB], NGINX) is None, "nobody looked yet"
    await point.in_force()
    assert point.held([WEB], NGINX) == FREEZE
    assert point.held([LAB], NGINX) is None
    assert point.held([WEB], REDIS) is None
    store.outage.reason = "The disk is gone."
    assert point.held([WEB], NGINX) == FREEZE


async def test_what_was_seen_is_not_shown_past_its_time(store, clock):
    await store.holds.add(replace(FREEZE, until=NOW + timedelta(seconds=60)), entry())
    point = checkpoint(store, clock)
    await point.in_force()
    clock.advance(60)
    assert point.held([WEB], NGINX) is None


# --- proposals -------------------------------------------------------------------------------------------------------


async def test_a_proposal_is_refused_by_a_hold_on_it_alone(store, clock):
    await store.holds.add(replace(FREEZE, scope=ON_WEB), entry())
    point = checkpoint(store, clock)
    with pytest.raises(Held, match="web-1 is frozen"):
        await point.check_proposal(prepared(WEB), "T1/UALICE")
    await point.check_proposal(prepared(LAB), "T1/UALICE")


async def test_a_proposal_is_refused_for_what_it_touches_and_not_for_what_is_beside_it(store, clock):
    await store.holds.add(FREEZE, entry())
    point = checkpoint(store, clock)
    unit = Parameter("unit", Unit, "The service.", required=True)
    on_unit = replace(prepared(WEB), tool=replace(TOOL, parameters=(unit,)))
    for name, refused in (("nginx.service", True), ("redis.service", False)):
        asked = replace(on_unit, action=replace(on_unit.action, arguments={"unit": name}))
        if refused:
            with pytest.raises(Held):
                await point.check_proposal(asked, "T1/UALICE")
        else:
            await point.check_proposal(asked, "T1/UALICE")


async def test_a_proposal_is_refused_by_the_caps_on_hosts_and_on_the_hour(store, clock):
    point = checkpoint(store, clock, caps=Caps(3, 2, {"production": 1}))
    await point.check_proposal(prepared(WEB, LAB), "T1/UALICE")
    with pytest.raises(CapReached) as too_many:
        await point.check_proposal(prepared(WEB, replace(WEB, name="web-2")), "T1/UALICE")
    assert too_many.value.rule == "limits.hosts_per_action_in:production"
    with pytest.raises(CapReached) as more:
        await point.check_proposal(prepared(*(replace(LAB, name=f"lab-{n}") for n in range(3))), "T1/UALICE")
    assert more.value.rule == "limits.actions_per_hour_per_person"


async def test_what_somebody_had_done_counts_for_them_for_an_hour(store, clock):
    point = checkpoint(store, clock, caps=Caps(10, 1))
    running = await store.approvals.add(approval("7KQ2M4", state=ApprovalState.EXECUTING), entry())
    operation = Operation(running, "lab-1", (), point.moment(), "T1/UALICE")
    assert await store.operations.claim(operation, entry(), caps=point.caps)
    clock.advance(600)
    with pytest.raises(CapReached) as full:
        await point.check_proposal(prepared(LAB), "T1/UALICE")
    assert full.value.free_at == NOW + timedelta(seconds=3600)
    await point.check_proposal(prepared(LAB), "T1/UERIN")
    clock.advance(3000)
    await point.check_proposal(prepared(LAB), "T1/UALICE")


# --- the time that effects are counted by ----------------------------------------------------------------------------


def test_a_clock_set_back_since_the_start_goes_on_from_the_start(store, clock):
    point = checkpoint(store, clock)
    clock.advance(60)
    clock.jump(-3600)
    assert point.moment() == replace(clock.moment(), at=NOW + timedelta(seconds=60))


def test_a_clock_set_forward_is_believed(store, clock):
    point = checkpoint(store, clock)
    clock.advance(60)
    clock.jump(3600)
    assert point.moment() == clock.moment()


def test_another_boot_of_the_machine_is_not_counted_from_the_start_of_this_process(store, clock):
    point = checkpoint(store, clock)
    clock.reboot()
    clock.jump(-3600)
    assert point.moment() == clock.moment()
