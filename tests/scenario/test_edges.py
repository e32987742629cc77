"""What goes wrong around the main job: lost connections, a full database, a silent Slack, a rude model."""

import asyncio
from dataclasses import replace

import pytest

from opsbot import dialogue, looking
from opsbot.domain import (
    ApprovalState,
    IncomingDecision,
    IncomingMessage,
    IncomingStop,
    Result,
    ToolCall,
    ToolResult,
)
from opsbot.errors import ChatError, ContextTooLong, MessageGone, ModelMisbehaved, StoreError
from opsbot.policy import ApproverRule
from opsbot.turn_limits import Limits
from tests.scenario.house import ALICE, BOB, CAROL, CHANNEL, RULES, THREAD, House, World
from tests.scripted_model import Say, call, results_of

NGINX = ("web-1", "nginx.service")
RESTART = call("restart_service", "c1", hosts=["web-1"], unit="nginx")
TWO = replace(RULES, approvers=(ApproverRule(("*",), frozenset({"UBOB"}), frozenset({"SSRE"}), needed=2),))


@pytest.fixture
async def house():
    house = House(World())
    await house.start()
    yield house
    await house.stop()


async def live(world: World) -> House:
    house = House(world)
    await house.start()
    return house


async def approved_restart(house: House) -> None:
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(BOB, "approve")


# --- hosts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "state", "result", "restarts"),
    [
        ("lost", ApprovalState.DONE, Result.DONE, 1),
        ("lost-before", ApprovalState.FAILED, Result.NOT_DONE, 0),
        ("lost-for-good", ApprovalState.UNKNOWN, Result.UNKNOWN, 1),
        ("no-sudo", ApprovalState.FAILED, Result.NOT_DONE, 0),
    ],
)
async def test_a_connection_lost_in_mid_command_is_settled_by_the_host(house, fault, state, result, restarts):
    house.world.machines.fault("web-1", fault)
    await approved_restart(house)
    assert house.approval.state is state
    assert house.approval.outcomes[0].result is result
    assert house.world.machines.restarts[NGINX] == restarts


async def test_an_unknown_outcome_is_looked_at_again_until_the_host_answers(house):
    house.world.machines.fault("web-1", "lost-for-good")
    await approved_restart(house)
    assert house.approval.state is ApprovalState.UNKNOWN
    await house.passes(6)
    assert house.approval.state is ApprovalState.UNKNOWN
    house.world.machines.heal("web-1")
    await house.passes(10)
    assert house.approval.state is ApprovalState.UNKNOWN  # not asked again before its time
    await house.passes(31)
    assert house.approval.state is ApprovalState.DONE
    assert house.world.machines.restarts[NGINX] == 1


async def test_an_unknown_outcome_is_given_up_after_an_hour(house):
    house.world.machines.fault("web-1", "lost-for-good")
    await approved_restart(house)
    house.world.clock.advance(5000)
    house.world.machines.heal("web-1")
    await house.passes(31)
    assert house.approval.state is ApprovalState.UNKNOWN


async def test_a_host_that_went_down_after_the_card_is_not_touched(house):
    await house.types(ALICE, "restart nginx web-1")
    house.world.machines.fault("web-1", "down")
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.STALE
    assert "could not be examined" in house.approval.note


async def test_a_target_that_cannot_be_examined_is_not_proposed(house):
    house.world.machines.fault("web-1", "down")
    await house.types(ALICE, "restart nginx web-1")
    assert house.cards() == []
    assert "could not be examined" in house.whispered


async def test_a_slow_host_is_announced_and_the_others_answer(house, monkeypatch):
    monkeypatch.setattr(looking, "_PATIENCE_S", 0.01)
    house.world.machines.fault("web-2", "hang")
    reading = asyncio.create_task(house.types(ALICE, "status web-1 web-2"))
    while not house.world.chat.whispers:
        await asyncio.sleep(0.005)
    assert "Still looking at 2 hosts" in house.whispered
    house.world.machines.heal("web-2")
    await reading
    assert "1 of 2 hosts answered" in house.whispered


async def test_a_tool_with_a_bug_is_reported_by_name_only(house, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(house.world.machines, "facts", broken)
    await house.types(ALICE, "status web-1")
    assert "ZeroDivisionError" in house.whispered
    assert "secret detail" not in house.whispered


async def test_journal_lines_on_the_card_are_redacted():
    world = World(secrets=("hunter2-hunter2",))
    world.machines.unit("web-1", "brittle").log_on_failure = ("login with hunter2-hunter2 failed",)
    house = await live(world)
    await house.types(ALICE, "restart brittle web-1")
    await house.clicks(BOB, "approve")
    assert "failed" in house.approval.outcomes[0].evidence
    assert "hunter2" not in str(house.approval)
    await house.stop()


# --- the database ----------------------------------------------------------------------------------------------------


async def test_without_an_audit_record_nothing_runs(house, monkeypatch):
    async def full(*_):
        raise StoreError("The disk is full.")

    await house.types(ALICE, "restart nginx web-1")
    monkeypatch.setattr(house.world.store.operations, "claim", full)
    await house.clicks(BOB, "approve")
    assert house.world.machines.restarts[NGINX] == 0
    monkeypatch.undo()
    await house.passes(6)
    assert house.approval.state is ApprovalState.FAILED
    assert "nothing was run" in house.approval.note


async def test_an_event_the_database_refused_is_handled_after_the_next_start(house):
    house.world.model.add("Hello again.")
    await house.send(IncomingMessage(THREAD, ALICE, "hi", "17.1"))
    house.world.store.outage.reason = "The disk is full."
    await house.quiet()
    assert "database" in house.whispered
    house.world.store.outage.reason = ""
    second = await live(house.world)
    await second.quiet()
    assert "Hello again." in second.seen
    await second.stop()


async def test_an_approved_action_that_nobody_started_runs_at_the_next_start_if_in_time(house):
    await house.types(ALICE, "restart nginx web-1")
    (pending,) = await house.world.store.approvals.in_state(ApprovalState.PENDING)
    approved = replace(pending, state=ApprovalState.APPROVED)
    await house.world.store.approvals.change(approved, expected=(pending.state, pending.version), entries=[])
    house.world.clock.advance(400)
    second = await live(house.world)
    await second.quiet()
    assert second.approval.state is ApprovalState.EXPIRED
    assert house.world.machines.restarts[NGINX] == 0
    await second.stop()


async def test_a_record_edited_after_approval_is_refused(house):
    await house.types(ALICE, "restart nginx web-1")
    stored = house.world.store.approvals.stored
    (key,) = stored
    stored[key] = replace(stored[key], action=replace(stored[key].action, arguments={"unit": "brittle.service"}))
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.STALE
    assert "stale:arguments" in house.approval.note
    assert not house.world.machines.restarts


# --- Slack -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("draft_after_s", "failures"), [(1.0, 1), (0, 2)])
async def test_an_answer_slack_did_not_take_is_sent_by_the_sweep(house, monkeypatch, draft_after_s, failures):
    monkeypatch.setattr(dialogue, "_DRAFT_AFTER_S", draft_after_s)
    house.world.model.add(Say("Hello.", pieces=1))
    house.world.chat.failures += [ChatError("Slack is down.")] * failures
    await house.says(ALICE, "hi")
    assert house.seen == []
    await house.passes(6)
    assert house.seen[0] == "Hello."


async def test_a_deleted_card_is_posted_anew(house, monkeypatch):
    await house.types(ALICE, "restart nginx web-1")
    edit = house.world.chat.edit

    async def gone_once(place, ref, content):
        monkeypatch.setattr(house.world.chat, "edit", edit)
        raise MessageGone("It was deleted.")

    monkeypatch.setattr(house.world.chat, "edit", gone_once)
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    assert len(house.cards()) == 2


async def test_groups_that_cannot_be_read_count_as_none(house):
    world = World(rules=replace(RULES, asker_users=frozenset(), asker_groups=frozenset({"SOPS"})))
    other = await live(world)
    world.directory.groups = {"SOPS": frozenset({ALICE.key})}
    world.directory.down = True
    await other.says(ALICE, "hi")
    assert "not on the list" in other.whispered
    await other.stop()


async def test_two_people_of_whom_one_by_group(house):
    world = World(rules=TWO)
    world.directory.groups = {"SSRE": frozenset({CAROL.key})}
    other = await live(world)
    await other.types(ALICE, "restart nginx web-1")
    await other.clicks(BOB, "approve")
    assert "It takes 1 more" in other.whispered
    await other.clicks(BOB, "approve")
    assert "another person" in other.whispered
    assert world.machines.restarts[NGINX] == 0
    await other.clicks(CAROL, "approve")
    assert other.approval.state is ApprovalState.DONE
    await other.stop()


async def test_two_clicks_at_once_have_one_winner(house):
    await house.types(ALICE, "restart nginx web-1")
    posted = house.cards()[-1]
    await asyncio.gather(*(house.send(house.click(BOB, verb, posted)) for verb in ("approve", "deny") * 10))
    await house.quiet()
    assert house.approval.state in (ApprovalState.DONE, ApprovalState.DENIED)
    assert len(house.approval.reviews) == 1
    assert house.world.machines.restarts[NGINX] == (house.approval.state is ApprovalState.DONE)
    told = [w for w in house.world.chat.whispers if "Already decided" in w.content.markdown]
    assert len(told) == 19


@pytest.mark.parametrize(
    ("approval_id", "verb", "says"),
    [("XXXXXXXX", "approve", "no such request"), ("XXXXXXXX", "plan", "no request"), ("XXXXXXXX", "eat", "decision")],
)
async def test_a_click_on_nothing_is_answered(house, approval_id, verb, says):
    await house.send(IncomingDecision(THREAD, BOB, approval_id, verb, "17.1"))
    await house.quiet()
    assert says in house.whispered


async def test_a_prefix_of_an_id_does_not_decide(house):
    await house.types(ALICE, "restart nginx web-1")
    posted = house.cards()[-1]
    await house.send(replace(house.click(BOB, "approve", posted), approval_id=house.approval.id[:5]))
    await house.quiet()
    assert "no such request" in house.whispered


async def test_a_card_whose_post_was_never_confirmed_is_found_again_by_the_click(house):
    await house.types(ALICE, "restart nginx web-1")
    item = house.world.store.outbox.items.popitem()[1]
    house.world.store.outbox.items[item.key] = replace(item, ref=None)
    house.world.chat.messages.clear()
    await house.send(IncomingDecision(CHANNEL, BOB, item.content.approval.id, "approve", "17.1"))
    await house.quiet()
    assert "not the card" in house.whispered


async def test_stop_without_a_turn_and_by_somebody_without_rights(house):
    await house.send(IncomingStop(THREAD, BOB))
    await house.quiet()
    assert "Nothing is running" in house.whispered
    await house.send(IncomingStop(THREAD, CAROL))
    await house.quiet()
    assert "not on the list" in house.whispered


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Say("half", reason="content_filter"), "ended early (content_filter)"),
        (Say("", (RESTART,), reason="length"), "ended early (length)"),
        (Say("  "), "answered with nothing"),
        (ModelMisbehaved("Unreadable."), "Unreadable."),
    ],
)
async def test_an_unusable_reply_is_not_used(house, reply, says):
    house.world.model.add(reply)
    await house.says(ALICE, "restart it")
    assert says in house.seen[0]
    assert house.cards() == []


async def test_a_long_answer_is_shown_and_marked_as_cut(house):
    house.world.model.add(Say("once upon a time", reason="length"))
    await house.says(ALICE, "tell me")
    assert house.seen[0] == "once upon a time"
    assert "go on" in house.seen[2]


async def test_repeated_call_ids_are_told_apart(house):
    same = ToolCall("call_0", "list_hosts", "{}")
    house.world.model.add(Say(calls=(same, same)), Say(calls=(same,)), "Three lists.")
    await house.says(ALICE, "hosts?")
    assert len(results_of(house.world.model.requests[-1])) == 3


async def test_no_call_passes_for_what_opsbot_tells_the_model_itself(house):
    house.world.model.add(Say(calls=(ToolCall("note:thread", "list_hosts", "{}"),)), "One list.")
    await house.says(ALICE, "hosts?")
    (only,) = results_of(house.world.model.requests[-1])
    assert only != "note:thread"


async def test_calls_beyond_the_limit_are_not_run(house):
    world = World(limits=Limits(calls=2))
    other = await live(world)
    world.model.add(Say(calls=tuple(call("server_status", f"c{n}", hosts=["web-1"]) for n in range(4))))
    await other.says(ALICE, "look")
    conversation = await world.store.conversations.load(THREAD)
    refused = [m.content for m in conversation.messages if "limit of 2 tool calls" in getattr(m, "content", "")]
    assert len(refused) == 2
    assert "limit of 2 tool calls" in other.seen[0]
    await other.stop()


async def test_a_history_that_does_not_fit_is_asked_once_more_with_its_older_turns_summed_up(house):
    house.world.model.add("one", "two", ContextTooLong("Too long."), "People said a and b.", "three")
    for text in ("a" * 6000, "b" * 6000, "c" * 300):
        await house.says(ALICE, text)
    assert "three" in house.seen
    refused, side, last = house.world.model.requests[-3:]
    assert (side.tools, len(side.messages)) == ((), 1)
    earlier, *shown = last.messages
    assert isinstance(earlier, ToolResult)
    assert "People said a and b." in earlier.content
    assert shown[-1] == refused.messages[-1]
    assert len(shown) < len(refused.messages)


async def test_a_history_that_is_refused_twice_is_said_so(house):
    house.world.model.add("one", "two", ContextTooLong("Too long."), "Words.", ContextTooLong("Too long; `reset` it."))
    for text in ("a" * 6000, "b" * 6000, "c" * 300):
        await house.says(ALICE, text)
    assert "`reset` it" in house.seen[-1]
    assert house.world.model.left == 0


async def test_a_single_message_that_does_not_fit_is_said_so(house):
    house.world.model.add(ContextTooLong("This thread is too long for the model."))
    await house.says(ALICE, "a" * 300)
    assert "too long" in house.seen[0]


async def test_a_bug_is_told_by_id_only(house, monkeypatch):
    async def broken(*_):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(house.world.store.conversations, "load", broken)
    await house.says(ALICE, "hi")
    assert "error " in house.whispered
    assert "secret detail" not in house.whispered


async def test_a_silent_model_is_announced(house, monkeypatch):
    monkeypatch.setattr(dialogue, "_SIGN_OF_LIFE_S", 0.01)
    monkeypatch.setattr(dialogue, "_PATIENCE_S", 0.03)
    gate = asyncio.Event()

    async def late(request):
        await gate.wait()
        yield

    monkeypatch.setattr(house.world.model, "reply", late)
    await house.send(IncomingMessage(THREAD, ALICE, "hi", "17.1"))
    while not house.world.chat.whispers:
        await asyncio.sleep(0.005)
    assert "Still thinking" in house.whispered
    assert any("thinking… " in text for _, text in house.world.chat.statuses)
    gate.set()
    await house.quiet()
    assert "broke off" in house.seen[0]


async def test_a_turn_cut_by_a_shutdown_is_resumed_at_the_next_start(house, monkeypatch):
    monkeypatch.setattr(dialogue, "_DRAFT_AFTER_S", 0)
    gate = asyncio.Event()
    house.world.model.add(Say("never finished", gate=gate))
    await house.send(IncomingMessage(THREAD, ALICE, "tell me", "17.1"))
    while not house.world.chat.drafts:
        await asyncio.sleep(0.005)
    await house.stop()
    house.world.model.add("Here I am again.")
    second = await live(house.world)
    await second.quiet()
    assert [line for line in second.seen if not line.startswith("(")] == ["Here I am again."]
    await second.stop()


@pytest.mark.parametrize("draft_after_s", [0, 1.0])
async def test_words_before_a_proposal_stay_before_its_card(house, monkeypatch, draft_after_s):
    monkeypatch.setattr(dialogue, "_DRAFT_AFTER_S", draft_after_s)
    house.world.model.add(Say("nginx leaks, so:", (RESTART,)), "Done.")
    await house.says(ALICE, "web-1 is slow")
    await house.clicks(BOB, "approve")
    assert house.seen[0] == "nginx leaks, so:"
    assert house.seen[1].startswith("[card done]")
    assert "Done." in house.seen


async def test_a_quick_answer_is_posted_whole_and_a_slow_one_grows(house):
    house.world.model.add("At once.")
    await house.says(ALICE, "hi")
    assert house.world.chat.drafts == []
    gate = asyncio.Event()
    house.world.model.add(Say("word by word by word", gate=gate))
    await house.send(IncomingMessage(THREAD, ALICE, "tell me", "17.9"))
    while len(house.world.model.requests) < 2:
        await asyncio.sleep(0.005)
    house.world.clock.advance(2)
    gate.set()
    await house.quiet()
    assert house.world.chat.drafts
    assert "word by word by word" in house.seen


# --- the desk --------------------------------------------------------------------------------------------------------


async def test_a_restart_that_nobody_may_approve_is_denied_and_recorded(house):
    await house.types(ALICE, "restart nginx lab-1")
    assert "Nobody is configured to approve" in house.whispered
    assert house.cards() == []
    (record,) = await house.world.store.audit.read()
    assert (record.entry.kind, record.entry.facts["rule"]) == ("call.denied", "approvers.none:lab")


async def test_other_open_requests_on_the_host_stand_on_the_card(house):
    await house.types(ALICE, "restart nginx web-1")
    first = house.approval.id
    await house.types(ALICE, "restart brittle web-1")
    assert ("other open requests", first) in house.approval.impacts["web-1"].facts


async def test_an_execution_that_fell_over_before_it_began_is_begun_again_by_the_sweep(house, monkeypatch):
    executor = house.service._parts.executor

    async def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(executor, "execute", broken)
    await approved_restart(house)
    assert house.world.machines.restarts[NGINX] == 0
    monkeypatch.undo()
    await house.passes(6)
    assert house.approval.state is ApprovalState.DONE
    assert house.world.machines.restarts[NGINX] == 1


async def test_a_whisper_slack_does_not_take_harms_nothing(house):
    house.world.chat.failures.append(ChatError("Slack is down."))
    await house.types(ALICE, "help")
    await house.types(ALICE, "help")
    assert "restart UNIT HOST" in house.whispered
