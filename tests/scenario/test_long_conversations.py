"""Conversations longer than the model's context: what of them it is shown, and that nothing gets lost by that."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from opsbot.compaction import estimate
from opsbot.condensing import Window
from opsbot.discovery import DESCRIBE_TOOLS
from opsbot.domain import AssistantMessage, Json, ToolResult, UserMessage
from opsbot.errors import ContextTooLong, ModelUnavailable
from opsbot.notes import EARLIER
from opsbot.output_spec import READ_OUTPUT
from opsbot.ports import ModelRequest
from opsbot.spending import Spending
from tests.scenario.house import ALICE, BOB, THREAD, House, World
from tests.scripted_model import SOME_USAGE, Say, call

# A third of a turn's tokens are 15,000 a request; what goes along takes about 4,000 of the estimate.
WINDOW = Window(context=20_000, max_output=1_000, turn=45_000)
LOUD = '''
from opsbot import Context, Host, tool


@tool(risk="read")
def loud_log(ctx: Context, host: Host, lines: int = 100) -> dict[str, object]:
    """Read a long log.

    Args:
        lines: How many.
    """
    told = [f"12:00:00 app: line {number} is fine and rather long, as lines of logs are" for number in range(lines)]
    if lines > 5000:
        told[lines // 2] = "12:00:01 app: out of file descriptors"
    return {"lines": told}
'''


@pytest.fixture
async def house(tmp_path: Path):
    (tmp_path / "loud_log.py").write_text(LOUD)
    house = House(World(window=WINDOW), tools=(tmp_path,))
    await house.start()
    yield house
    await house.stop()


def earlier(request: ModelRequest) -> str:
    return next((m.content for m in request.messages if isinstance(m, ToolResult) and m.call_id == EARLIER), "")


def is_side(request: ModelRequest) -> bool:
    return not request.tools


def result(request: ModelRequest, call_id: str) -> dict[str, Json]:
    (found,) = (m for m in request.messages if isinstance(m, ToolResult) and m.call_id == call_id)
    return dict(json.loads(found.content))


def names(request: ModelRequest) -> list[str]:
    return [spec.name for spec in request.tools]


def answering(request: ModelRequest) -> Say:
    """Sum up where that is asked for, look where something was asked, answer what was found."""
    usage = replace(SOME_USAGE, input_tokens=estimate(request.messages) + 4_000)
    if is_side(request):
        return Say("Prose: the log was fine.", usage=usage)
    last = request.messages[-1]
    if isinstance(last, UserMessage):
        return Say(
            calls=(call("loud_log", f"c{len(request.messages)}{last.text}", hosts=["web-1"], lines=60),), usage=usage
        )
    return Say("It is fine. " * 20, usage=usage)


async def talk(house: House, turns: int) -> list[ModelRequest]:
    house.world.model.add(*[answering] * (4 * turns))
    for number in range(turns):
        await house.says(ALICE, f"question {number}")
    return list(house.world.model.requests)


async def test_every_request_fits_and_the_prefix_changes_only_in_rare_steps(house):
    requests = [request for request in await talk(house, 24) if not is_side(request)]
    steps = 0
    for one, two in pairwise(requests):
        assert estimate(two.messages) < 15_000
        steps += two.messages[: len(one.messages)] != one.messages
        assert two.system == one.system
    assert 1 <= steps <= 8
    assert "messages are not shown" in earlier(requests[-1])
    assert "loud_log hosts=web-1" in earlier(requests[-1])
    assert "question 3" in earlier(requests[-1])


async def test_the_stored_history_stays_whole(house):
    await talk(house, 12)
    conversation = await house.world.store.conversations.load(THREAD)
    assert [m.text for m in conversation.messages if isinstance(m, UserMessage)] == [f"question {n}" for n in range(12)]
    assert conversation.compaction is not None


async def test_the_models_words_of_what_was_are_counted_on_the_person_and_kept(house):
    requests = await talk(house, 16)
    sides = [request for request in requests if is_side(request)]
    assert sides
    assert "Prose: the log was fine." in earlier(requests[-1])
    assert len(house.world.store.usage.calls) == len(requests)


async def test_without_the_models_words_code_sums_up_alone(house):
    def failing(request: ModelRequest):
        return ModelUnavailable("Down.") if is_side(request) else answering(request)

    house.world.model.add(*[failing] * 70)
    for number in range(16):
        await house.says(ALICE, f"question {number}")
    assert "loud_log hosts=web-1" in earlier(house.world.model.requests[-1])
    assert "In short" not in earlier(house.world.model.requests[-1])
    assert house.seen[-2].startswith("It is fine.")


async def test_a_spent_budget_is_not_spent_on_summaries(tmp_path):
    (tmp_path / "loud_log.py").write_text(LOUD)
    world = World(window=WINDOW, spending=Spending(endpoint="none"))
    house = House(world, tools=(tmp_path,))
    await house.start()
    assert not any(is_side(request) for request in await talk(house, 16))
    await house.stop()


async def test_an_open_request_survives_compaction_and_its_outcome_is_told(house):
    house.world.model.add(Say("I propose it.", calls=(call("restart_service", "r1", hosts=["web-1"], unit="nginx"),)))
    await house.says(ALICE, "restart nginx on web-1")
    request_id = house.approval.id
    requests = await talk(house, 16)
    calls = [c.call_id for m in requests[-1].messages if isinstance(m, AssistantMessage) for c in m.calls]
    assert "r1" in calls
    assert f"request {request_id}: restart_service" in earlier(requests[-1])
    assert "PENDING" in earlier(requests[-1])
    await house.clicks(BOB, "approve")
    told = result(house.world.model.requests[-1], "r1")
    assert (told["approval"], told["state"]) == (request_id, "done")


async def test_an_action_that_was_done_stays_in_the_record_told_to_the_model(house):
    house.world.model.add(call("restart_service", "r1", hosts=["web-1"], unit="nginx"), "Done.")
    await house.says(ALICE, "restart nginx on web-1")
    await house.clicks(BOB, "approve")
    requests = await talk(house, 24)
    approval = house.approval
    assert "r1" not in [c.call_id for m in requests[-1].messages if isinstance(m, AssistantMessage) for c in m.calls]
    line = next(line for line in earlier(requests[-1]).splitlines() if approval.id in line)
    assert '{"unit": "nginx.service"} on web-1: DONE' in line
    assert "asked by <@UALICE>" in line
    assert "approved by <@UBOB>" in line
    assert "web-1 done" in line


async def test_what_was_read_before_a_compaction_still_marks_what_is_proposed_after_it(house):
    requests = await talk(house, 24)
    assert earlier(requests[-1])
    house.world.model._replies.clear()
    house.world.model.add(call("restart_service", "r9", hosts=["web-1"], unit="nginx"))
    await house.says(ALICE, "restart nginx")
    assert "loud_log" in house.approval.tainted_by


async def test_a_reset_forgets_the_summary_and_keeps_the_system_prompt(house):
    before = await talk(house, 16)
    house.world.model._replies.clear()
    await house.types(ALICE, "reset", THREAD)
    house.world.model.add("Hello.")
    await house.says(ALICE, "hello")
    request = house.world.model.requests[-1]
    assert request.system == before[0].system
    assert earlier(request) == ""
    assert len(request.messages) == 1
    assert READ_OUTPUT not in names(request)


async def test_a_restarted_bot_shows_the_same_bytes(house, tmp_path):
    requests = await talk(house, 16)
    house.world.model._replies.clear()
    await house.stop()
    again = House(house.world, tools=(tmp_path,))
    await again.start()
    house.world.model.add(answering, answering, answering)
    await again.says(ALICE, "on")
    last = next(r for r in house.world.model.requests[len(requests) :] if not is_side(r))
    known = [r for r in requests if not is_side(r)][-1]
    assert last.messages[: len(known.messages)] == known.messages
    await again.stop()


# --- outputs that are kept -------------------------------------------------------------------------------------------


async def test_one_line_of_a_long_output_is_found_by_search(house):
    def searching(request: ModelRequest):
        (shown,) = (m for m in request.messages if isinstance(m, ToolResult))
        assert "descriptors" not in shown.content
        return call(READ_OUTPUT, "c2", ref=shown.ref, grep="file descriptors|no space")

    house.world.model.add(call("loud_log", "c1", hosts=["web-1"], lines=40_000), searching, "Out of descriptors.")
    await house.says(ALICE, "what is wrong?")
    first, second, third = house.world.model.requests
    assert READ_OUTPUT not in names(first)
    assert names(second) == names(third) == [*names(first), READ_OUTPUT]
    found = result(third, "c2")
    assert found["matches"] == 1
    assert found["lines"][0].endswith("12:00:01 app: out of file descriptors")
    assert found["of"].startswith('loud_log {"hosts": ["web-1"]')
    assert house.seen[0] == "Out of descriptors."


async def test_another_thread_reads_nothing_of_it(house):
    house.world.model.add(call("loud_log", "c1", hosts=["web-1"], lines=40_000), "Fine.")
    await house.says(ALICE, "look")
    conversation = await house.world.store.conversations.load(THREAD)
    ref = next(m.ref for m in conversation.messages if isinstance(m, ToolResult))
    other = replace(THREAD, thread_id="1800.1")
    house.world.model.add(call(READ_OUTPUT, "c3", ref=ref), "Nothing.")
    await house.says(ALICE, "read it", other)
    assert "No output" in str(result(house.world.model.requests[-1], "c3"))


async def test_the_reading_tool_stands_where_it_was_first_needed(house):
    house.world.model.add(
        call("loud_log", "c1", hosts=["web-1"], lines=40_000),
        call(DESCRIBE_TOOLS, "c2", names=["kernel_messages"]),
        "Both.",
    )
    await house.says(ALICE, "look")
    first, second, third = house.world.model.requests
    assert names(second) == [*names(first), READ_OUTPUT]
    assert names(third)[: len(names(second))] == names(second)


async def test_outputs_are_forgotten_after_a_week(house):
    house.world.model.add(call("loud_log", "c1", hosts=["web-1"], lines=40_000), "Fine.")
    await house.says(ALICE, "look")
    assert len(house.world.store.outputs.kept) == 1
    await house.passes(7 * 86_400 + 60)
    assert house.world.store.outputs.kept == {}


async def test_shortened_results_of_the_history_can_be_read_on(house):
    requests = await talk(house, 16)
    short = [m for m in requests[-1].messages if isinstance(m, ToolResult) and "left out here" in m.content]
    assert READ_OUTPUT in names(requests[-1])
    house.world.model._replies.clear()
    if not short:
        return
    house.world.model.add(call(READ_OUTPUT, "c9", ref=short[0].ref, grep="line 30 "), "Read.")
    await house.says(ALICE, "what did line 30 say?")
    assert "line 30 is fine" in str(result(house.world.model.requests[-1], "c9")["lines"])


async def test_a_model_that_refuses_length_is_not_asked_for_so_much_again(tmp_path):
    """What is configured or guessed may be wrong: the model's own word counts."""
    (tmp_path / "loud_log.py").write_text(LOUD)
    house = House(World(window=Window(turn=300_000)), tools=(tmp_path,))
    await house.start()
    sizes: list[int] = []

    def small(request: ModelRequest):
        if not is_side(request):
            sizes.append(estimate(request.messages))
        return ContextTooLong("Too long; `reset` it.") if sizes[-1:] > [6_000] else answering(request)

    house.world.model.add(*[small] * 140)
    for number in range(30):
        await house.says(ALICE, f"question {number}")
    assert not any("reset" in line for line in house.seen)
    assert 1 <= sum(size > 6_000 for size in sizes) <= 3
    await house.stop()
