"""T31: people are asked for few approvals at a time, have to have had time to read, and never approve in bulk."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from opsbot import command_forms
from opsbot.adapters.slack import card as slack_card
from opsbot.config import parse
from opsbot.domain import ApprovalState, Host, IncomingCommand
from opsbot.pace import Pace
from tests.fake_machines import FakeMachines
from tests.safety.conftest import Figures, Scale
from tests.scenario.house import ALICE, BOB, CHANNEL, House, World
from tests.scripted_model import Say, call, results_of

DEFAULT = Pace()
MANY = 50


def world(pace: Pace = DEFAULT) -> World:
    """Fifty hosts with nginx, and the pace of an installation that configured nothing."""
    hosts = {
        f"app-{n}": Host(f"app-{n}", address=f"192.0.2.{n}", environment="production", units=("nginx",), host_key="k")
        for n in range(MANY)
    }
    return World(hosts=hosts, pace=pace, machines=FakeMachines({name: ["nginx"] for name in hosts}))


async def started(of: World) -> House:
    house = House(of)
    await house.start()
    return house


def test_the_defaults_are_those_of_the_configuration() -> None:
    assert parse('policy: {askers: {users: ["*"]}}', environ={}).pace() == DEFAULT
    assert DEFAULT.read_s == 2


async def test_of_fifty_requests_by_the_model_at_once_few_are_asked(figures: Figures) -> None:
    house = await started(world())
    calls = tuple(call("restart_service", f"c{n}", hosts=[f"app-{n}"], unit="nginx") for n in range(MANY))
    house.world.limits = replace(house.world.limits, calls=MANY * 2)
    await house.stop()
    house = await started(house.world)
    house.world.model.add(Say("All of them.", calls), "I asked for a few.")
    await house.says(ALICE, "restart nginx everywhere")
    assert len(house.cards()) == DEFAULT.open_requests
    pending = await house.world.store.approvals.in_state(ApprovalState.PENDING)
    assert len(pending) == DEFAULT.open_requests
    figures.note(cards_for_50_requests_at_once=len(house.cards()))
    await house.stop()


async def test_fifty_commands_at_once_do_not_slip_past_the_limit() -> None:
    """They are handled side by side; the last free place is given to one of them."""
    house = await started(world())
    await asyncio.gather(
        *(
            house.send(IncomingCommand(CHANNEL, ALICE, f"restart nginx app-{n}", reply_to="https://reply"))
            for n in range(MANY)
        )
    )
    await house.quiet()
    assert len(house.cards()) == DEFAULT.open_requests
    said = Counter("open already" in str(w.content) for w in house.world.chat.whispers)
    assert said[True] == MANY - DEFAULT.open_requests
    records = await house.world.store.audit.read()
    assert sum(r.entry.kind == "request.refused" for r in records) == MANY - DEFAULT.open_requests
    await house.stop()


async def test_a_model_that_asks_again_and_again_runs_into_the_cool_down(figures: Figures) -> None:
    house = await started(world())
    for n in range(MANY):
        await house.types(ALICE, f"restart nginx app-{n}")
        await house.clicks(BOB, "deny")
        house.world.clock.advance(5)
    asked = len(house.cards())
    assert asked == DEFAULT.requests
    assert any("The next one is possible at" in str(each.content) for each in house.world.chat.whispers)
    house.world.clock.advance(DEFAULT.window_s)
    await house.types(ALICE, "restart nginx app-49")
    assert len(house.cards()) == asked + 1
    figures.note(cards_in_ten_minutes_of_asking=asked)
    await house.stop()


async def test_no_approval_within_two_seconds_of_the_card_counts(figures: Figures, scale: Scale) -> None:
    early = counted = 0
    for tenth in range(0, 30, scale(5, 1)):
        house = await started(world())
        await house.types(ALICE, "restart nginx app-1")
        house.world.clock.advance(tenth / 10)
        await house.clicks(BOB, "approve")
        ran = house.world.machines.restarts["app-1", "nginx.service"]
        assert bool(ran) is (tenth >= 20), tenth
        if not ran:
            early += 1
            assert "Read the card first" in house.whispered
            assert (await house.world.store.audit.read())[-1].entry.facts["reason"] == "TooEarly"
        counted += ran
        await house.stop()
    figures.note(early_clicks_refused=f"{early} of {early}", clicks_after_two_seconds_counted=counted)


async def test_one_person_cannot_press_through_cards_that_have_been_there_for_long() -> None:
    house = await started(world())
    for n in range(DEFAULT.open_requests):
        await house.types(ALICE, f"restart nginx app-{n}")
    house.world.clock.advance(60)
    for number in range(DEFAULT.open_requests):
        await house.clicks(BOB, "approve", number)
    assert sum(house.world.machines.restarts.values()) == 1
    assert "you approved another request" in house.whispered
    house.world.clock.advance(2)
    await house.clicks(BOB, "approve", 1)
    assert sum(house.world.machines.restarts.values()) == 2
    await house.stop()


async def test_a_restart_does_not_forget_when_somebody_last_approved() -> None:
    house = await started(world())
    for n in range(2):
        await house.types(ALICE, f"restart nginx app-{n}")
    house.world.clock.advance(60)
    await house.clicks(BOB, "approve", 0)
    await house.stop()
    again = await started(house.world)
    await again.clicks(BOB, "approve", 1)
    assert sum(again.world.machines.restarts.values()) == 1
    assert "you approved another request" in again.whispered
    again.world.clock.advance(2)
    await again.clicks(BOB, "approve", 1)
    assert sum(again.world.machines.restarts.values()) == 2
    await again.stop()


async def test_a_card_that_was_never_shown_cannot_be_approved() -> None:
    """The record is there, the card is not: whoever knows the id still cannot approve what nobody can read."""
    house = await started(world())
    await house.types(ALICE, "restart nginx app-1")
    (pending,) = await house.world.store.approvals.in_state(ApprovalState.PENDING)
    house.world.store.approvals.stored[pending.id] = replace(pending, shown_at=None)
    await house.clicks(BOB, "approve")
    assert not house.world.machines.restarts
    assert "not there yet" in house.whispered
    await house.stop()


@pytest.mark.parametrize("text", ["approve all", "approve", "approve ABCD2345", "yes", "do approve"])
async def test_there_is_no_command_that_approves(text: str) -> None:
    assert "approve" not in command_forms.WORDS
    house = await started(world())
    await house.types(ALICE, "restart nginx app-1")
    await house.types(BOB, text)
    await house.types(BOB, text, house.cards()[-1].place)
    house.world.model.add(call("approve", "c1"), "I cannot.")
    await house.says(BOB, text)
    assert not house.world.machines.restarts
    assert house.approval.state is ApprovalState.PENDING
    await house.stop()


async def test_a_card_has_buttons_for_its_own_request_only() -> None:
    house = await started(world())
    for n in range(3):
        await house.types(ALICE, f"restart nginx app-{n}")
    for posted in house.cards():
        rendered = str(slack_card.render(posted.content).blocks)
        others = {other.content.approval.id for other in house.cards()} - {posted.content.approval.id}
        assert not [each for each in others if each in rendered]
    await house.stop()


async def test_the_model_is_told_that_people_are_asked_for_too_much() -> None:
    house = await started(world(replace(DEFAULT, open_requests=1)))
    first = call("restart_service", "c1", hosts=["app-1"], unit="nginx")
    second = call("restart_service", "c2", hosts=["app-2"], unit="nginx")
    house.world.model.add(Say("Both.", (first, second)), "One of them waits.")
    await house.says(ALICE, "restart nginx on app-1 and app-2")
    house.world.clock.advance(2)
    await house.clicks(BOB, "approve")
    told = results_of(house.world.model.requests[-1])
    assert sorted("open already" in str(told[each]) for each in ("c1", "c2")) == [False, True]
    await house.stop()
