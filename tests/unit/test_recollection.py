"""What stands for older turns: requests to the letter, the rest in short, and all of it within its bytes."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from opsbot.domain import (
    ApprovalState,
    AssistantMessage,
    HostOutcome,
    Result,
    Review,
    ToolCall,
    ToolResult,
    UserMessage,
)
from opsbot.recollection import clipped, ledger, recollected, sampled, summary, transcript
from tests import records


def test_a_request_is_told_with_action_hosts_state_people_times_and_outcomes():
    done = replace(
        records.approval("7KQ2M4"),
        state=ApprovalState.DONE,
        reviews=(Review(records.ANNA, True, records.later(60)),),
        outcomes=(HostOutcome("web-1", Result.DONE, "runs\nsince 12:01"), HostOutcome("web-2", Result.UNKNOWN, "lost")),
    )
    assert ledger([done]) == (
        '- request 7KQ2M4: restart_service {"count": 1, "grace_s": 2.5, "unit": "web.service"} on web-1, web-2: DONE '
        "(asked by <@U1> 2026-11-20 12:00:00Z, approved by <@U1> 2026-11-20 12:01:00Z) "
        "web-1 done: runs since 12:01; web-2 unknown: lost"
    )


def test_every_request_has_its_line_however_many_there_are():
    many = [records.approval(f"A{number}") for number in range(300)]
    told = summary(ledger(many), "looks" * 5000, "prose" * 5000, folded=9, limit=600)
    assert all(f"request A{number}:" in told for number in range(300))
    assert len(told.encode()) < len(ledger(many).encode()) + 600 + 300


def test_looks_questions_and_answers_are_gathered():
    look = ToolCall("c1", "service_logs", '{"hosts": ["web-1", "web-2"], "unit": "nginx"}')
    messages = [
        UserMessage("why is\nit slow?", records.ANNA, records.NOON),
        AssistantMessage("", (look, replace(look, call_id="c2"), ToolCall("c3", "disk_usage", "broken"))),
        ToolResult("c1", "{}"),
        ToolResult("c3", "{}", failed=True),
        AssistantMessage("The disk is full."),
    ]
    assert recollected(messages).splitlines() == [
        "Looked at:",
        "- service_logs hosts=web-1,web-2 unit=nginx x2",
        "- disk_usage (unreadable) (failed)",
        "Asked:",
        "- <@U1> 2026-11-20 12:00:00Z: why is it slow?",
        "Answered:",
        "- The disk is full.",
    ]


def test_of_many_looks_the_newest_are_named_and_the_others_counted():
    calls = tuple(ToolCall(f"c{n}", "look", f'{{"n": {n}}}') for n in range(100))
    told = recollected([AssistantMessage("", calls)]).splitlines()
    assert told[1] == "- 60 more before"
    assert told[-1] == "- look n=99"


@given(st.text(), st.integers(0, 200))
def test_what_is_clipped_fits_and_begins_the_same(text: str, limit: int):
    cut = clipped(text, limit)
    assert len(cut.encode("utf-8", "replace")) <= max(limit, 4)
    assert cut == text or text.startswith(cut[:-1])


@given(st.integers(0, 500), st.integers(1, 100))
def test_a_sample_is_bounded_in_order_and_ends_with_the_last(count: int, most: int):
    chosen = sampled(range(count), most)
    assert len(chosen) <= most
    assert list(chosen) == sorted(set(chosen))
    assert not count or chosen[-1] == count - 1


def test_a_transcript_reaches_from_the_beginning_to_the_end():
    messages = [UserMessage(f"({n}) " + "x" * 3000, records.ANNA, records.NOON) for n in range(1000)]
    told = transcript(messages, limit=12_000)
    assert len(told) <= 12_000
    assert "(999)" in told
    assert any(f"({n})" in told for n in range(20))
