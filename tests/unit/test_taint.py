"""The mark of untrusted text: what sets it, and that a proposal made under it is bound to it and never easier."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from opsbot.approvals import entry
from opsbot.bindings import check_unchanged
from opsbot.domain import (
    Actor,
    AssistantMessage,
    Conversation,
    Decision,
    Message,
    Place,
    ToolCall,
    ToolResult,
    UserMessage,
    Verdict,
)
from opsbot.errors import Stale
from opsbot.policy import PolicyRules, Tainted, after_reading
from opsbot.taint import OTHERS, PASTED, caution, sources
from tests import records
from tests.scenario.house import ALICE, BOB, House, World
from tests.scripted_model import call

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ASKED = Decision(Verdict.NEED_APPROVAL, "approvers:*", needed=1)


def said(text: str, actor: Actor = ALICE) -> UserMessage:
    return UserMessage(text, actor, NOW)


def read(tool: str, *, untrusted: bool = True) -> tuple[Message, Message]:
    return AssistantMessage("", (ToolCall(tool, tool, "{}"),)), ToolResult(tool, "{}", untrusted=untrusted)


def talk(*messages: Message) -> Conversation:
    return Conversation(Place("T1", "C1", "1.0"), messages)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ((said("is web-1 well?"),), ()),
        ((said("why?"), *read("service_logs")), ("service_logs",)),
        ((said("why?"), *read("service_logs"), *read("top_processes")), ("service_logs", "top_processes")),
        ((said("which hosts?"), *read("list_hosts", untrusted=False)), ()),
        ((said("restart nginx", BOB), said("go on")), (OTHERS,)),
        ((said("first"), said("second")), ()),
        ((said("look:\n> restart db-1 now"),), (PASTED,)),
        ((said("```\nrestart db-1 now\n```"),), (PASTED,)),
        ((said("restart db-1 now " * 60),), (PASTED,)),
        ((said("1\n2\n3\n4\n5\n6"),), (PASTED,)),
    ],
)
def test_what_was_read_is_named(messages: tuple[Message, ...], expected: tuple[str, ...]) -> None:
    assert sources(talk(*messages)) == expected


@pytest.mark.parametrize("setting", Tainted)
def test_no_setting_makes_a_tainted_change_easier(setting: Tainted) -> None:
    rules = PolicyRules(tainted=setting)
    for needed in (1, 2, 5):
        asked = replace(ASKED, needed=needed)
        after = after_reading(rules, asked, ["service_logs"])
        assert after.verdict is Verdict.DENY or after.needed >= needed
        assert after_reading(rules, asked, []) == asked


def test_two_asks_two_and_deny_denies_naming_what_was_read() -> None:
    assert after_reading(PolicyRules(tainted=Tainted.TWO), ASKED, ["service_logs"]).needed == 2
    denied = after_reading(PolicyRules(tainted=Tainted.DENY), ASKED, ["service_logs"])
    assert denied.verdict is Verdict.DENY
    assert "service_logs" in denied.reason


def test_a_denied_read_stays_denied() -> None:
    denied = Decision(Verdict.DENY, "askers")
    assert after_reading(PolicyRules(), denied, ["service_logs"]) == denied


async def test_a_proposal_after_logs_carries_the_mark_everywhere() -> None:
    world = World()
    house = House(world)
    await house.start()
    world.model.add(call("service_logs", hosts=["web-1"], unit="nginx"))
    world.model.add(call("restart_service", hosts=["web-1"], unit="nginx"))
    await house.says(ALICE, "why is nginx slow?")
    assert house.approval.tainted_by == ("service_logs",)
    assert "service_logs" in caution(house.approval)
    await house.types(ALICE, f"explain {house.approval.id}")
    assert "read before | service_logs" in house.whispered
    requested = [r.entry for r in await world.store.audit.about(house.approval.id)]
    assert requested[0].facts["tainted_by"] == ["service_logs"]
    await house.stop()


async def test_a_command_and_a_proposal_before_reading_carry_none() -> None:
    world = World()
    house = House(world)
    await house.start()
    await house.types(ALICE, "restart nginx web-1")
    assert house.approval.tainted_by == ()
    # Proposed in the same breath as the reading: its answer was not there yet.
    world.model.add(call("restart_service", hosts=["web-2"], unit="nginx"))
    await house.says(ALICE, "restart nginx on web-2")
    assert house.approval.tainted_by == ()
    await house.stop()


async def test_a_reset_forgets_what_was_read() -> None:
    world = World()
    house = House(world)
    await house.start()
    world.model.add(call("service_logs", hosts=["web-1"], unit="nginx"), "it is well")
    await house.says(ALICE, "logs?")
    await house.types(ALICE, "reset", replace(house.world.chat.messages[-1].place))
    world.model.add(call("restart_service", hosts=["web-1"], unit="nginx"))
    await house.says(ALICE, "restart nginx")
    assert house.approval.tainted_by == ()
    await house.stop()


def test_the_mark_is_part_of_what_is_approved() -> None:
    made = records.approval(tainted_by=("service_logs",))
    assert entry(made, "approval.requested", NOW).facts["tainted_by"] == ["service_logs"]


async def test_taking_the_mark_off_a_record_makes_it_stale() -> None:
    world = World()
    house = House(world)
    await house.start()
    world.model.add(call("service_logs", hosts=["web-1"], unit="nginx"))
    world.model.add(call("restart_service", hosts=["web-1"], unit="nginx"))
    await house.says(ALICE, "why is nginx slow?")
    with pytest.raises(Stale, match="tainted"):
        check_unchanged(replace(house.approval, tainted_by=()), house.approval.bindings)
    await house.stop()


def test_what_approving_means_depends_on_the_setting() -> None:
    assert len({PolicyRules(tainted=each).revision for each in Tainted}) == 3
