"""The main job, whole conversations on fakes: look, propose, approve, restart once, verify, remember."""

import asyncio
import json

import pytest

from opsbot import dialogue
from opsbot.domain import (
    ApprovalState,
    IncomingMessage,
    IncomingStop,
    MessageRef,
    Place,
    Result,
    ToolResult,
)
from opsbot.errors import ModelUnavailable
from opsbot.turn_limits import Limits
from tests.scenario.house import ALICE, BOB, CAROL, THREAD, House, World
from tests.scripted_model import Cut, Say, call, results_of

NGINX = ("web-1", "nginx.service")
RESTART = call("restart_service", "c1", hosts=["web-1"], unit="nginx")


@pytest.fixture
async def house():
    house = House(World())
    await house.start()
    yield house
    await house.stop()


def audit_kinds(house: House, records) -> list[str]:
    return [record.entry.kind for record in records]


async def test_look_propose_approve_restart_verify(house):
    house.world.model.add(
        call("server_status", "c0", hosts=["web-1"]),
        Say("nginx leaks; I ask for a restart.", (RESTART,)),
        "Restarted and verified.",
    )
    await house.says(ALICE, "web-1 is slow")
    assert house.approval.state is ApprovalState.PENDING
    assert house.world.machines.restarts[NGINX] == 0

    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    assert house.approval.outcomes[0].result is Result.DONE
    assert house.world.machines.restarts[NGINX] == 1
    checked = f"Checked by opsbot, not by the model: request {house.approval.id} done."
    assert house.seen[-2:] == ["Restarted and verified.", f"({checked}\nscripted · 360 tokens)"]
    result = results_of(house.world.model.requests[-1])["c1"]
    assert result["state"] == "done"
    records = await house.world.store.audit.read()
    assert audit_kinds(house, records) == [
        "conversation.asked",
        "conversation.replied",
        "call.finished",
        "conversation.replied",
        "approval.requested",
        "approval.approved",
        "execution.started",
        "execution.intent",
        "execution.host",
        "execution.finished",
        "call.finished",
        "conversation.replied",
    ]


async def test_requesters_own_click_is_refused_with_the_reason(house):
    house.world.model.add(RESTART)
    await house.says(ALICE, "restart nginx on web-1")
    await house.clicks(ALICE, "approve")
    assert "somebody else has to approve" in house.whispered
    assert house.approval.state is ApprovalState.PENDING
    assert house.world.machines.restarts[NGINX] == 0


async def test_one_more_click_is_told_who_decided(house):
    house.world.model.add(RESTART, "Done.")
    await house.says(ALICE, "restart nginx on web-1")
    await house.clicks(BOB, "approve")
    await house.clicks(BOB, "approve")
    assert "Already decided: approved by <@UBOB>" in house.whispered
    assert house.world.machines.restarts[NGINX] == 1


async def test_somebody_without_rights_gets_nothing_and_costs_nothing(house):
    await house.says(CAROL, "restart nginx on web-1")
    await house.types(CAROL, "status web-1")
    await house.types(CAROL, "restart nginx web-1")
    assert house.world.model.requests == []
    assert house.world.machines.commands == []
    assert house.cards() == []
    assert "not on the list" in house.whispered
    records = await house.world.store.audit.read()
    assert audit_kinds(house, records) == ["person.refused"] * 3


async def test_a_denial_is_the_calls_result_and_nothing_runs(house):
    house.world.model.add(RESTART, "Understood, it stays as it is.")
    await house.says(ALICE, "restart nginx on web-1")
    await house.clicks(BOB, "deny")
    assert house.approval.state is ApprovalState.DENIED
    assert results_of(house.world.model.requests[-1])["c1"]["state"] == "denied"
    assert house.world.machines.restarts[NGINX] == 0


async def test_an_expired_request_edits_its_card_and_tells_the_model(house):
    house.world.model.add(RESTART, "It expired.")
    await house.says(ALICE, "restart nginx on web-1")
    await house.passes(299)
    assert house.approval.state is ApprovalState.PENDING
    await house.passes(6)
    assert house.approval.state is ApprovalState.EXPIRED
    await house.clicks(BOB, "approve")
    assert "expired at" in house.whispered
    assert house.world.machines.restarts[NGINX] == 0


async def test_a_target_that_changed_since_the_card_is_not_touched(house):
    house.world.model.add(RESTART, "It changed.")
    await house.says(ALICE, "restart nginx on web-1")
    house.world.machines.unit("web-1", "nginx").run += 1
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.STALE
    assert "changed since the card was made" in house.approval.note
    assert house.world.machines.restarts[NGINX] == 0


async def test_a_unit_that_does_not_come_back_is_reported_failed_with_its_journal(house):
    house.world.model.add(call("restart_service", "c1", hosts=["web-1"], unit="brittle"), "It failed.")
    await house.says(ALICE, "restart brittle on web-1")
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.FAILED
    assert "config error: line 7" in house.approval.outcomes[0].evidence
    assert "config error" in json.dumps(results_of(house.world.model.requests[-1])["c1"])


async def test_several_hosts_stop_at_the_first_failure_and_name_the_rest(house):
    house.world.machines.unit("web-1", "nginx").on_restart = "fails"
    house.world.model.add(call("restart_service", "c1", hosts=["web"], unit="nginx"), "One failed.")
    await house.says(ALICE, "restart nginx on web")
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.FAILED
    assert [outcome.host for outcome in house.approval.outcomes] == ["web-1"]
    assert "Not touched: web-2" in house.approval.note
    assert house.world.machines.restarts["web-2", "nginx.service"] == 0


async def test_one_host_down_does_not_hide_the_others(house):
    house.world.machines.fault("web-2", "down")
    house.world.model.add(call("server_status", "c0", hosts=["all"]), "web-2 is down.")
    await house.says(ALICE, "how are they?")
    result = results_of(house.world.model.requests[-1])["c0"]
    assert set(result["results"]) == {"web-1", "db-1", "lab-1"}
    assert set(result["errors"]) == {"web-2"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"hosts": ["web-9"], "unit": "nginx"}, "web-1"),
        ({"hosts": [], "unit": "nginx"}, "hosts"),
        ({"hosts": ["web-1"], "unit": "sshd"}, "may not be touched"),
        ({"hosts": ["web-1"], "unit": "--root=/x"}, "not a service name"),
        ({"hosts": ["web-1"], "unit": "nginx", "force": True}, "force"),
        ({"hosts": ["lab-1"], "unit": "nginx"}, "Nobody is configured to approve"),
    ],
)
async def test_a_bad_call_is_explained_to_the_model_and_nothing_is_proposed(house, arguments, says):
    house.world.model.add(call("restart_service", "c1", **arguments), "I see.")
    await house.says(ALICE, "restart it")
    assert says in results_of(house.world.model.requests[-1])["c1"]["error"]
    assert house.cards() == []


async def test_an_unknown_tool_is_explained_to_the_model(house):
    house.world.model.add(call("format_disk", "c1", hosts=["web-1"]), "I see.")
    await house.says(ALICE, "format it")
    assert "format_disk" in results_of(house.world.model.requests[-1])["c1"]["error"]


async def test_calls_of_an_unfinished_reply_never_run(house):
    house.world.model.add(Cut("I will", (RESTART,)))
    await house.says(ALICE, "restart nginx on web-1")
    assert house.cards() == []
    assert "broke off" in house.seen[0]


async def test_when_the_model_is_down_the_asker_hears_what_works(house):
    house.world.model.add(ModelUnavailable("The model does not answer (502)."))
    await house.says(ALICE, "hello?")
    assert "502" in house.seen[0]
    assert "/ops help" in house.seen[0]
    await house.types(ALICE, "status web-1")
    assert "web-1" in house.whispered


async def test_a_message_while_an_approval_is_open_is_answered_and_the_outcome_still_arrives(house):
    house.world.model.add(RESTART, "It waits for approval.", "It is done now.")
    await house.says(ALICE, "restart nginx on web-1")
    await house.says(ALICE, "what is it waiting for?")
    assert "It waits for approval." in house.seen
    await house.clicks(BOB, "approve")
    assert "It is done now." in house.seen
    last = house.world.model.requests[-1].messages[-1]
    assert isinstance(last, ToolResult)
    assert last.call_id == "c1"


async def test_the_same_event_five_times_gives_one_answer(house):
    house.world.model.add("Hello.")
    event = IncomingMessage(THREAD, ALICE, "hi", "17.5")
    accepted = [await house.send(event, key="event:Ev1") for _ in range(5)]
    await house.quiet()
    assert accepted == [True, False, False, False, False]
    assert house.seen == ["Hello.", "(scripted · 120 tokens · changed nothing)"]


async def test_turn_limit_ends_gracefully_and_says_what_was_looked_at(house):
    house.world.limits = Limits(rounds=3)
    other = House(house.world)
    await other.start()
    house.world.model.add(*[call("server_status", f"c{n}", hosts=["web-1"]) for n in range(3)])
    await other.says(ALICE, "look again and again")
    said = "\n".join(other.seen)
    assert said.startswith("Stopped at the budget: the limit of 3 model calls for one turn is reached.")
    assert "• `server_status`: web-1: " in said
    assert said.endswith("Next step: Say “go on” and I continue from here.")
    await other.stop()


async def test_stop_ends_a_running_turn_and_the_thread_goes_on_afterwards(house, monkeypatch):
    monkeypatch.setattr(dialogue, "_DRAFT_AFTER_S", 0)
    gate = asyncio.Event()
    house.world.model.add(Say("a long story", gate=gate), "Yes?")
    await house.send(IncomingMessage(THREAD, ALICE, "tell me", "17.6"))
    while not house.world.chat.drafts:
        await asyncio.sleep(0.005)
    await house.send(IncomingStop(THREAD, BOB))
    await house.quiet()
    assert house.seen[0] == "Stopped by <@UBOB>."
    await house.says(ALICE, "still there?")
    assert "Yes?" in house.seen


async def test_restart_by_command_needs_no_model(house):
    await house.types(ALICE, "restart nginx web-1 because it leaks")
    assert house.approval.reason == "it leaks"
    assert house.approval.id in house.whispered
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    assert house.world.machines.restarts[NGINX] == 1
    assert house.world.model.requests == []


async def test_the_same_request_twice_points_to_the_first(house):
    await house.types(ALICE, "restart nginx web-1")
    first = house.approval.id
    await house.types(ALICE, "restart nginx web-1")
    assert len(house.cards()) == 1
    assert first in house.whispered


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("status web-1", "web-1"),
        ("services web-1", "nginx"),
        ("service nginx web-1", "active"),
        ("logs nginx web-1", "started"),
        ("hosts", "db-1"),
        ("tools", "restart_service"),
        ("approvals", "Nothing waits"),
        ("help", "restart UNIT HOST"),
        ("statsu web-1", "Did you mean `status`?"),
        ("status web-9", "web-1"),
        ("explain XXXX", "no request"),
        ("reset", "in a channel"),
    ],
)
async def test_every_command_answers(house, command, says):
    await house.types(ALICE, command)
    assert says in house.whispered


async def test_explain_tells_the_story(house):
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "approve")
    await house.types(ALICE, f"explain {house.approval.id[:4]}")
    for word in ("approvers:production", house.approval.digest, "execution.intent", "<@UBOB>"):
        assert word in house.whispered


async def test_a_bang_command_is_answered_in_its_thread(house):
    await house.types(ALICE, "status web-1", place=THREAD)
    assert house.world.chat.messages[-1].place == THREAD


async def test_reset_forgets_the_thread_and_only_that(house):
    house.world.model.add("one", "two")
    await house.says(ALICE, "my name is Alice")
    await house.types(ALICE, "reset", place=THREAD)
    await house.says(ALICE, "who am I?")
    assert len(house.world.model.requests[-1].messages) == 1


async def test_a_button_on_a_copy_of_the_card_does_not_count(house):
    await house.types(ALICE, "restart nginx web-1")
    posted = house.cards()[-1]
    forged = MessageRef(posted.ref.channel_id, "1700000000.999999")
    click = house.click(BOB, "approve", posted)
    await house.send(type(click)(click.place, BOB, click.approval_id, "approve", forged.message_id))
    await house.quiet()
    assert "not the card" in house.whispered
    assert house.approval.state is ApprovalState.PENDING


async def test_ask_by_slash_command_opens_a_thread_and_answers_there(house):
    house.world.model.add("All well.")
    await house.types(ALICE, "ask how are you?")
    opening, answer = house.world.chat.messages
    assert answer.place == Place("T1", "C1", opening.ref.message_id)


async def test_secrets_in_tool_output_do_not_reach_the_model(house):
    world = World(secrets=("hunter2-hunter2",))
    world.machines.unit("web-1", "nginx").log.append("password is hunter2-hunter2")
    other = House(world)
    await other.start()
    world.model.add(call("service_logs", "c0", hosts=["web-1"], unit="nginx"), "ok")
    await other.says(ALICE, "logs?")
    assert "hunter2" not in str(world.model.requests[-1].messages)
    await other.types(ALICE, "logs nginx web-1")
    assert "hunter2" not in other.whispered
    await other.stop()


async def test_a_thread_reply_in_a_foreign_thread_is_ignored(house):
    await house.send(IncomingMessage(THREAD, ALICE, "lunch?", "17.7", addressed=False))
    await house.quiet()
    assert house.world.model.requests == []


async def test_plan_shows_the_steps_and_changes_nothing(house):
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "plan")
    assert "record the intent" in house.whispered
    assert house.approval.state is ApprovalState.PENDING


async def test_the_button_of_a_decided_card_tells_who_decided_and_the_record(house):
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "approve")
    await house.clicks(ALICE, "plan")
    assert "Already decided: approved by <@UBOB>" in house.whispered
    assert "execution.finished" in house.whispered
