"""Stops and freezes in chat: what they hold back, at which moment, who ends them, and what people see."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.domain import Actor, ApprovalState, Card
from opsbot.errors import StoreError
from opsbot.freezes import PlannedFreeze
from opsbot.holdings import Holdings
from opsbot.holds import Scope, Where, read_scope
from opsbot.policy import ApproverRule
from opsbot.throttle import Rates
from tests.scenario.house import ALICE, BOB, CAROL, RULES, House, World
from tests.scripted_model import call

DAVE = Actor("T1", "UDAVE")
ERIN = Actor("T1", "UERIN")
NGINX = ("web-1", "nginx.service")
PEOPLE = replace(
    RULES,
    asker_users=frozenset({"UALICE", "UBOB", "UDAVE", "UERIN"}),
    approvers=(ApproverRule(("*",), users=frozenset({"UBOB", "UDAVE"})),),
    people={"UDAVE": "dave", "UDAVE2": "dave"},
)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House(World(rules=PEOPLE))
    await made.start()
    yield made
    await made.stop()


async def kinds(house: House) -> list[str]:
    return [record.entry.kind for record in await house.world.store.audit.read(limit=1000)]


def restarts(house: House) -> int:
    return house.world.machines.restarts[NGINX]


def held(house: House) -> str:
    card = house.cards()[-1].content
    assert isinstance(card, Card)
    return card.held


# --- the stop --------------------------------------------------------------------------------------------------------


async def test_a_stop_refuses_new_requests_and_looking_goes_on_and_says_so(house: House) -> None:
    await house.types(ALICE, "stop-all the network is burning")
    assert "All actions are stopped by <@UALICE>" in house.whispered
    assert "Nothing is under way" in house.whispered
    await house.types(ALICE, "restart nginx web-1")
    assert "Held back: All actions are stopped" in house.whispered
    assert house.cards() == []
    await house.types(ALICE, "status web-1")
    assert house.whispered.startswith("All actions are stopped by <@UALICE>")
    assert "the network is burning" in house.whispered
    assert "load" in house.whispered
    await house.types(ALICE, "help")
    assert "All actions are stopped" in house.whispered
    assert (await kinds(house))[:2] == ["actions.stopped", "call.denied"]


async def test_a_request_from_before_the_stop_is_not_approved_meanwhile_and_its_card_says_so(house: House) -> None:
    await house.types(ALICE, "restart nginx web-1")
    await house.types(BOB, "stop-all")
    assert held(house).startswith("All actions are stopped by <@UBOB>")
    await house.clicks(BOB, "approve")
    assert "It does not count. Held back" in house.whispered
    assert house.approval.state is ApprovalState.PENDING
    await house.clicks(BOB, "deny")
    assert house.approval.state is ApprovalState.DENIED
    assert restarts(house) == 0


async def test_two_approvers_let_actions_go_on(house: House) -> None:
    await house.types(ALICE, "restart nginx web-1")
    await house.types(ALICE, "stop-all")
    await house.types(BOB, "resume-all it was nothing")
    assert "Another approver has to say" in house.whispered
    await house.types(BOB, "resume-all")
    assert "counted already" in house.whispered
    await house.clicks(BOB, "approve")
    assert restarts(house) == 0
    await house.types(DAVE, "resume-all because it was nothing")
    assert "Actions go on: two people said so" in house.whispered
    assert held(house) == ""
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    assert [kind for kind in await kinds(house) if kind.startswith("actions.")] == [
        "actions.stopped",
        "actions.resume_asked",
        "actions.resumed",
    ]


async def test_two_accounts_of_one_person_do_not_let_actions_go_on(house: House) -> None:
    house.world.rules = replace(PEOPLE, asker_users=PEOPLE.asker_users | {"UDAVE2"})
    await house.stop()
    rule = ApproverRule(("*",), users=frozenset({"UDAVE", "UDAVE2"}))
    again = House(replace(house.world, rules=replace(house.world.rules, approvers=(rule,))))
    await again.start()
    await again.types(DAVE, "stop-all")
    await again.types(DAVE, "resume-all")
    await again.types(Actor("T1", "UDAVE2"), "resume-all")
    assert "counted already" in again.whispered
    await again.stop()


@pytest.mark.parametrize(("actor", "said"), [(ERIN, "Only approvers"), (CAROL, "not on the list")])
async def test_who_is_no_approver_does_not_let_actions_go_on(house: House, actor: Actor, said: str) -> None:
    await house.types(ALICE, "stop-all")
    await house.types(actor, "resume-all")
    assert said in house.whispered
    assert len(await house.world.store.holds.standing()) == 1


async def test_a_stop_outlives_the_process(house: House) -> None:
    await house.types(ALICE, "stop-all")
    await house.stop()
    again = House(house.world)
    await again.start()
    await again.types(ALICE, "restart nginx web-1")
    assert "Held back" in again.whispered
    await again.stop()


async def test_a_stop_that_stands_already_is_named_and_not_made_again(house: House) -> None:
    await house.types(ALICE, "stop-all one")
    await house.types(BOB, "stop-all two")
    assert "stopped by <@UALICE>" in house.whispered
    assert len(await house.world.store.holds.standing()) == 1


async def test_the_model_is_told_and_its_answer_carries_the_note(house: House) -> None:
    await house.types(BOB, "stop-all")
    house.world.model.add(call("restart_service", "c1", hosts=["web-1"], unit="nginx"), "It is stopped, I see.")
    await house.says(ALICE, "restart nginx on web-1")
    assert any("All actions are stopped by <@UBOB>" in line for line in house.seen)
    assert "Held back" in str(house.world.model.requests[-1].messages[-1])


async def test_who_only_looks_is_not_told_of_what_is_over(house: House) -> None:
    await house.types(ALICE, "stop-all")
    await house.types(BOB, "resume-all")
    await house.types(DAVE, "resume-all")
    await house.types(ALICE, "status web-1")
    assert "stopped" not in house.whispered


# --- freezes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "refused"),
    [("all", True), ("environment:production", True), ("web", True), ("nginx@web", True), ("web-2", False)],
)
async def test_a_freeze_holds_back_what_its_scope_names(house: House, scope: str, refused: bool) -> None:
    await house.types(BOB, f"freeze {scope} for 2h because of works")
    assert "is frozen until 2026-11-22 05:00 UTC by <@UBOB>" in house.whispered
    await house.types(ALICE, "restart nginx web-1")
    assert ("Held back" in house.whispered) is refused
    assert (house.cards() == []) is refused


async def test_a_freeze_ends_by_itself(house: House) -> None:
    await house.types(BOB, "freeze all for 30m because of works")
    house.world.clock.advance(1800)
    await house.types(ALICE, "restart nginx web-1")
    assert len(house.cards()) == 1


async def test_a_freeze_set_after_the_approval_makes_it_stale(house: House) -> None:
    await house.types(ALICE, "restart nginx web-1")
    store = house.world.store

    async def freeze_first(approval, **rest):
        if approval.state is ApprovalState.APPROVED:
            scope = read_scope("web", house.world.hosts, {"web": ("web-1", "web-2")})
            await Holdings(store.holds, house.world.clock).freeze(scope, DAVE.key, reason="works", until=None)
        return await change(approval, **rest)

    change, store.approvals.change = store.approvals.change, freeze_first
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.STALE
    assert house.approval.note.startswith("stale:freeze: Held back: group:web is frozen")
    assert restarts(house) == 0


@pytest.mark.parametrize(("actor", "ends"), [(ERIN, True), (BOB, True), (ALICE, False)])
async def test_a_freeze_is_ended_by_who_made_it_or_an_approver(house: House, actor: Actor, ends: bool) -> None:
    await house.types(ERIN, "freeze web because of works")
    await house.types(actor, "unfreeze web because they are over")
    assert (await house.world.store.holds.standing() == ()) is ends
    assert ("freeze.lifted" in await kinds(house)) is ends


async def test_freezes_and_stops_are_listed(house: House) -> None:
    await house.types(BOB, "freeze nginx@web because of a <!channel> leak")
    await house.types(ALICE, "freezes")
    assert "nginx@group:web" in house.whispered
    assert "it is ended" in house.whispered
    await house.types(ALICE, "approvals")
    assert "nginx@group:web" in house.whispered


@pytest.mark.parametrize(
    "text",
    ["freeze web", "freeze web for 2h", "freeze because x", "freeze nope because x", "freeze web for ages because x"],
)
async def test_what_is_no_freeze_is_refused(house: House, text: str) -> None:
    await house.types(BOB, text)
    assert await house.world.store.holds.standing() == ()
    assert "freeze.made" not in await kinds(house)


async def test_a_planned_freeze_holds_in_its_time_and_nobody_lifts_it(house: House) -> None:
    start = house.world.clock.now()
    planned = PlannedFreeze("works", Scope(Where.ALL), "works", begins=start, ends=start + timedelta(hours=1))
    house.world.brakes = Brakes(freezes=(planned,))
    await house.stop()
    again = House(house.world)
    await again.start()
    await again.types(ALICE, "restart nginx web-1")
    assert "by the configuration (works)" in again.whispered
    await again.types(BOB, "unfreeze works because we must")
    assert "There is no freeze" in again.whispered
    again.world.clock.advance(3600)
    await again.types(ALICE, "restart nginx web-1")
    assert len(again.cards()) == 1
    await again.stop()


# --- caps ------------------------------------------------------------------------------------------------------------


async def test_caps_refuse_by_name_and_time(house: House) -> None:
    house.world.brakes = Brakes(Caps(an_hour=5, an_hour_per_person=1, hosts_in={"production": 1}))
    await house.stop()
    again = House(house.world)
    await again.start()
    await again.types(ALICE, "restart nginx web-1 web-2")
    assert "2 hosts of production in one action; 1 at most (limits.hosts_per_action_in)" in again.whispered
    await again.types(ALICE, "restart nginx web-1")
    await again.clicks(BOB, "approve")
    assert again.approval.state is ApprovalState.DONE
    await again.types(ALICE, "restart nginx web-2")
    assert "1 are the most (limits.actions_per_hour_per_person). There is room again at" in again.whispered
    again.world.clock.advance(3600)
    await again.types(ALICE, "restart nginx web-2")
    assert len(again.cards()) == 2
    await again.stop()


async def test_a_database_that_cannot_be_read_holds_everything_back(house: House) -> None:
    await house.types(ALICE, "restart nginx web-1")

    def broken():
        raise StoreError("It is gone.")

    house.world.store.holds.standing_now = broken
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.STALE
    assert "stops and freezes cannot be read" in house.approval.note
    assert restarts(house) == 0
    assert (await kinds(house))[-4:-1] == ["execution.intent", "execution.host", "execution.not_begun"]


async def test_stops_are_taken_in_however_many_messages_there_are(house: House) -> None:
    house.world.rates = Rates(messages_per_person=20)
    await house.stop()
    again = House(house.world)
    await again.start()
    for _ in range(25):
        await again.types(ALICE, "hosts")
    assert "Not read: more than 20 messages of yours" in again.whispered
    await again.types(ALICE, "stop-all")
    assert len(await again.world.store.holds.standing()) == 1
    await again.types(BOB, "hosts")
    assert "web-1" in again.whispered
    assert (await kinds(again)).count("event.refused") == 1
    await again.stop()
