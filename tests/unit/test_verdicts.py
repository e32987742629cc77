"""What stands below an answer: how its requests ended by the record, only those since the last answer, never more."""

from dataclasses import replace

import pytest

from opsbot.domain import ApprovalState, AssistantMessage, HostOutcome, Message, Result, ToolCall, ToolResult
from opsbot.verdicts import verdict
from tests.records import approval, said

CALLS = AssistantMessage("", (ToolCall("c1", "restart_service", "{}"),))
ASKED: tuple[Message, ...] = (said("restart it"), CALLS, ToolResult("c1", "{}"))
FAILED = (HostOutcome("web-1", Result.FAILED, "is not running"),)


def made(state: ApprovalState, call_id: str = "c1", **changes: object):
    return approval(call_id=call_id, state=state, **changes)


def test_a_failure_is_named_with_its_hosts_and_what_was_left() -> None:
    found = made(ApprovalState.FAILED, outcomes=FAILED)
    assert verdict(ASKED, [found]) == (
        "Checked by opsbot, not by the model: request 7KQ2M4 FAILED on web-1 (failed), 1 not touched."
    )


@pytest.mark.parametrize("state", [state for state in ApprovalState if state.final and state is not ApprovalState.DONE])
def test_no_end_but_done_reads_like_success(state: ApprovalState) -> None:
    found = verdict(ASKED, [made(state)])
    assert "7KQ2M4" in found
    assert " done" not in found


def test_what_ended_before_the_last_answer_is_not_said_again() -> None:
    history = (*ASKED, AssistantMessage("It failed."), said("and now?"))
    assert verdict(history, [made(ApprovalState.FAILED)]) == ""


def test_open_requests_and_those_of_other_threads_are_not_said() -> None:
    assert verdict(ASKED, [made(ApprovalState.EXECUTING), made(ApprovalState.DONE, "other")]) == ""


def test_many_requests_are_counted() -> None:
    calls = [ToolCall(f"c{n}", "restart_service", "{}") for n in range(8)]
    history = (said("all"), AssistantMessage("", tuple(calls)), *(ToolResult(f"c{n}", "{}") for n in range(8)))
    found = verdict(history, [replace(made(ApprovalState.DONE, f"c{n}"), id=f"R{n}") for n in range(8)])
    assert "request R4 done" in found
    assert found.endswith("and 3 more requests.")
