"""What every store promises of brakes: locks on targets, one end for each operation, effects of an hour, holds."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from opsbot.caps import Caps
from opsbot.domain import ApprovalState, Moment, Result
from opsbot.errors import CapReached, Conflict, StoreError, TargetTaken
from opsbot.holds import Hold, HoldKind, Scope, Where
from opsbot.ports import Store
from tests.records import ANNA, CAPS, NOON, approval, closing, entry, executing, later, operation

EXECUTING = ApprovalState.EXECUTING


async def kinds(store: Store) -> list[str]:
    return [record.entry.kind for record in await store.audit.read(limit=1000)]


async def two(store: Store):
    """Two approvals that execute."""
    return [await store.approvals.add(executing(name), entry("requested")) for name in ("FIRST", "SECOND")]


async def ends(store: Store, made, *closings):
    return await store.approvals.change(made, expected=(made.state, made.version), entries=[], closings=closings)


# --- locks -----------------------------------------------------------------------------------------------------------


async def test_the_same_target_of_a_host_is_locked_until_the_operation_ends(store: Store) -> None:
    first, second = await two(store)
    assert await store.operations.claim(operation(first), entry("claimed"), caps=CAPS)
    with pytest.raises(TargetTaken, match="Request FIRST is under way there on web-1"):
        await store.operations.claim(operation(second), entry("no"), caps=CAPS)
    assert await store.operations.started(second.id) == frozenset()
    await ends(store, first, closing())
    assert await store.operations.claim(operation(second), entry("claimed"), caps=CAPS)


@pytest.mark.parametrize(("host", "targets"), [("web-1", ("other.service",)), ("web-2", ("web.service",))])
async def test_other_targets_and_other_hosts_are_free(store: Store, host: str, targets: tuple[str, ...]) -> None:
    first, second = await two(store)
    assert await store.operations.claim(operation(first), entry("claimed"), caps=CAPS)
    assert await store.operations.claim(operation(second, host, *targets), entry("claimed"), caps=CAPS)


@pytest.mark.parametrize(
    ("host", "targets", "overtaken"),
    [
        ("web-1", ("web.service",), True),
        ("web-1", ("other.service", "web.service"), True),
        ("web-1", ("other.service",), False),
        ("web-2", ("web.service",), False),
    ],
)
async def test_who_acts_on_the_same_since_is_named(
    store: Store, host: str, targets: tuple[str, ...], overtaken: bool
) -> None:
    first, second = await two(store)
    assert await store.operations.claim(operation(first), entry("claimed"), caps=CAPS)
    first = await ends(store, first, closing(result=Result.UNKNOWN))
    assert await store.operations.overtaken(first.id, "web-1") is None
    after = operation(second, host, *targets, at=later(5))
    assert await store.operations.claim(after, entry("claimed"), caps=CAPS)
    assert await store.operations.overtaken(first.id, "web-1") == (second.id if overtaken else None)
    assert await store.operations.overtaken(second.id, host) is None
    await ends(store, second, closing(host))
    assert await store.operations.overtaken(first.id, "web-1") == (second.id if overtaken else None)


async def test_who_changed_nothing_overtakes_nobody_and_the_whole_host_is_everything_there(store: Store) -> None:
    first, second = await two(store)
    third = await store.approvals.add(executing("THIRD"), entry("requested"))
    for made, at, targets, result in (
        (first, NOON, ("web.service",), Result.UNKNOWN),
        (second, later(5), ("web.service",), Result.NOT_DONE),
        (third, later(9), (), Result.DONE),
    ):
        assert await store.operations.overtaken(first.id, "web-1") is None
        acting = replace(operation(made, at=at), targets=targets)
        assert await store.operations.claim(acting, entry("claimed"), caps=CAPS)
        await ends(store, made, closing(result=result))
    assert await store.operations.overtaken(first.id, "web-1") == third.id
    assert await store.operations.overtaken("NOBODY", "web-1") is None


@pytest.mark.parametrize("whole_first", [True, False])
async def test_an_action_on_the_whole_host_is_alone_there(store: Store, whole_first: bool) -> None:
    first, second = await two(store)
    whole, one = replace(operation(first), targets=()), operation(second)
    before, after = (whole, one) if whole_first else (one, whole)
    assert await store.operations.claim(before, entry("claimed"), caps=CAPS)
    with pytest.raises(TargetTaken):
        await store.operations.claim(after, entry("no"), caps=CAPS)


async def test_one_of_20_simultaneous_approvals_gets_the_target(store: Store) -> None:
    made = [await store.approvals.add(executing(f"A{n}"), entry("requested")) for n in range(20)]

    async def attempt(each) -> str:
        try:
            return str(await store.operations.claim(operation(each), entry("claimed"), caps=CAPS))
        except TargetTaken:
            return "taken"

    assert Counter(await asyncio.gather(*map(attempt, made))) == {"True": 1, "taken": 19}


# --- one end for each operation --------------------------------------------------------------------------------------


async def test_an_operation_ends_once_and_its_record_is_written_once(store: Store) -> None:
    made = await store.approvals.add(executing(), entry("requested"))
    await store.operations.claim(operation(made), entry("claimed"), caps=CAPS)
    made = await ends(store, made, closing())
    made = await ends(store, made, closing(result=Result.UNKNOWN), closing("web-2"))
    assert await kinds(store) == ["requested", "claimed", "execution.host"]


async def test_an_end_is_not_written_without_its_change(store: Store) -> None:
    made = await store.approvals.add(executing(), entry("requested"))
    await store.operations.claim(operation(made), entry("claimed"), caps=CAPS)
    with pytest.raises(Conflict):
        await store.approvals.change(made, expected=(EXECUTING, 7), entries=[], closings=[closing()])
    assert await kinds(store) == ["requested", "claimed"]
    other = await store.approvals.add(executing("OTHER"), entry("requested"))
    with pytest.raises(TargetTaken):
        await store.operations.claim(operation(other), entry("no"), caps=CAPS)


async def test_what_changed_nothing_is_no_effect(store: Store) -> None:
    made = await store.approvals.add(executing(), entry("requested"))
    for host in ("web-1", "web-2"):
        await store.operations.claim(operation(made, host), entry("claimed"), caps=CAPS)
    await ends(store, made, closing("web-1", Result.NOT_DONE))
    assert await store.operations.started(made.id) == {"web-1", "web-2"}
    assert len(await store.operations.effects(operation(made).moment)) == 1
    assert await store.operations.claim(operation(made), entry("no"), caps=CAPS) is False


# --- effects of an hour ----------------------------------------------------------------------------------------------


async def done(store: Store, name: str, **moment):
    """One finished effect of an approval of its own."""
    made = await store.approvals.add(executing(name), entry("requested"))
    await store.operations.claim(operation(made, **moment), entry("claimed"), caps=CAPS)
    await ends(store, made, closing())


async def test_effects_of_the_last_hour_count_and_older_ones_do_not(store: Store) -> None:
    await done(store, "OLD", at=later(0))
    await done(store, "NEW", at=later(600))
    ages = [effect.age_s for effect in await store.operations.effects(operation(approval(), at=later(3601)).moment)]
    assert ages == [3001]


@pytest.mark.parametrize("jump_s", [-86_400, -3_600, 0, 3_600, 86_400])
async def test_a_clock_that_was_set_changes_nothing_within_a_boot(store: Store, jump_s: float) -> None:
    await done(store, "ONE")
    ten_minutes_on = Moment(later(600 + jump_s), "m1", "b1", 1600)
    assert [effect.age_s for effect in await store.operations.effects(ten_minutes_on)] == [600]
    assert await store.operations.effects(Moment(later(3700 + jump_s), "m1", "b1", 4700)) == ()


def booted(seconds: float, up_s: float, *, machine: str = "m1") -> Moment:
    """So long after noon by the clock, so long after the next boot."""
    return Moment(later(seconds), machine, "b2", up_s)


async def ages(store: Store, now: Moment) -> list[float]:
    return sorted(effect.age_s for effect in await store.operations.effects(now))


async def test_after_a_reboot_a_clock_that_is_behind_frees_nothing_before_an_hour(store: Store) -> None:
    await done(store, "ONE")
    assert await ages(store, booted(900, 5)) == [900]
    assert await ages(store, booted(3601, 5)) == []
    assert await ages(store, booted(-86_400, 5)) == [5]
    assert await ages(store, booted(-82_000, 3601)) == []
    assert await ages(store, booted(-60, 5, machine="m2")) == [0]


async def test_what_is_done_after_the_clock_was_set_back_counts_in_full_after_a_reboot(store: Store) -> None:
    await done(store, "ONE")
    made = await store.approvals.add(executing("TWO"), entry("requested"))
    half_an_hour_on = replace(operation(made).moment, at=later(600), monotonic_s=2800.0)
    await store.operations.claim(replace(operation(made), moment=half_an_hour_on), entry("claimed"), caps=CAPS)
    assert await ages(store, booted(2400, 5)) == [600, 2400]


async def test_what_is_done_while_a_machine_came_up_behind_is_as_old_as_the_next_boot(store: Store) -> None:
    await done(store, "ONE")
    made = await store.approvals.add(executing("TWO"), entry("requested"))
    await store.operations.claim(replace(operation(made), moment=booted(-86_400, 100.0)), entry("claimed"), caps=CAPS)
    assert await ages(store, replace(booted(4000, 7), boot_id="b3")) == [7]
    assert await ages(store, replace(booted(9000, 3601), boot_id="b3")) == []


async def test_a_cap_refuses_in_the_claim_itself_and_says_when_there_is_room(store: Store) -> None:
    caps = Caps(an_hour=2, an_hour_per_person=2)
    made = [await store.approvals.add(executing(f"A{n}"), entry("requested")) for n in range(20)]

    async def attempt(n: int) -> str:
        one = operation(made[n], "web-1", f"u{n}.service", at=later(n))
        try:
            return str(await store.operations.claim(one, entry("claimed"), caps=caps))
        except CapReached as error:
            return error.rule if f"{error.free_at:%H:%M:%S} UTC" in str(error) else str(error)

    counts = Counter(await asyncio.gather(*map(attempt, range(20))))
    assert counts == {"True": 2, "limits.actions_per_hour_per_person": 18}


# --- holds -----------------------------------------------------------------------------------------------------------

FREEZE = Hold("F7KQ2M", HoldKind.FREEZE, Scope(Where.GROUP, "web", "nginx", ("web-1",)), ANNA.key, NOON, "é", later(9))
STOP = Hold("S7KQ2M", HoldKind.STOP, Scope(Where.ALL), "shell/root", later(1), votes=((ANNA.key, later(2)),))


async def test_a_hold_stands_until_somebody_ends_it(store: Store) -> None:
    await store.holds.add(STOP, entry("stopped"))
    await store.holds.add(FREEZE, entry("frozen"))
    assert await store.holds.standing() == (FREEZE, STOP)
    assert await asyncio.to_thread(store.holds.standing_now) == (FREEZE, STOP)
    ended = await store.holds.change(replace(FREEZE, ended_at=later(3), ended_by="U2"), entry("lifted"))
    assert ended.version == 2
    assert await store.holds.standing() == (STOP,)
    assert await kinds(store) == ["stopped", "frozen", "lifted"]


async def test_a_hold_changed_meanwhile_is_not_overwritten(store: Store) -> None:
    await store.holds.add(STOP, entry("stopped"))
    await store.holds.change(replace(STOP, votes=()), entry("vote"))
    with pytest.raises(Conflict):
        await store.holds.change(replace(STOP, ended_at=later(5)), entry("no"))
    assert await kinds(store) == ["stopped", "vote"]


async def test_a_hold_whose_record_cannot_be_written_does_not_hold(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.holds.add(STOP, entry("bad", fact=float("inf")))
    assert await store.holds.standing() == ()
