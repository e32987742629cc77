"""Events of the Responses wire that a whole, friendly stream does not have."""

import json
from typing import Any

import pytest

from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.openai_errors import TryFailed
from opsbot.adapters.openai_reply import checked
from opsbot.adapters.openai_responses import ResponsesReader
from opsbot.domain import ToolCall
from opsbot.errors import ContextTooLong, ModelMisbehaved, ModelUnavailable


def reader(*events: dict[str, Any]) -> ResponsesReader:
    made = ResponsesReader(ModelSettings("m"))
    for event in events:
        made.feed(event)
    return made


def completed(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": list(output), **more}}


def call(**more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}", **more}


def message(*texts: str, **more: Any) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": text} for text in texts]
    return {"type": "message", "role": "assistant", "content": parts, **more}


def test_a_text_that_came_without_deltas_is_taken_from_the_end():
    assert reader(completed(message("All ", "well."))).result().text == "All well."


def test_a_refusal_is_text():
    events = [{"type": "response.refusal.delta", "delta": "I "}, {"type": "response.refusal.delta", "delta": "cannot."}]
    assert reader(*events, completed()).result().text == "I cannot."


def test_items_of_a_final_event_without_output_are_those_seen_before():
    done = {"type": "response.output_item.done", "output_index": 0, "item": call(status="completed")}
    assert checked(reader(done, completed()).result(), ()).calls == [ToolCall("a", "look", "{}")]


def test_an_item_that_was_never_called_complete_by_the_response_is_dropped():
    done = {"type": "response.output_item.done", "output_index": 0, "item": call(status="completed")}
    with pytest.raises(TryFailed) as caught:
        checked(reader(done).result(), ())
    assert isinstance(caught.value.error, ModelMisbehaved)


@pytest.mark.parametrize("status", ["incomplete", "in_progress"])
def test_an_incomplete_call_in_a_complete_response_spoils_it(status):
    with pytest.raises(TryFailed, match="cut"):
        checked(reader(completed(call(status=status))).result(), ())


@pytest.mark.parametrize(
    ("error", "kind", "retry"),
    [
        ({"code": "server_error", "message": "oops"}, ModelMisbehaved, True),
        ({"code": "insufficient_quota", "message": "no credit"}, ModelUnavailable, False),
        ({"code": "context_length_exceeded", "message": "too long"}, ContextTooLong, False),
        (None, ModelMisbehaved, True),
    ],
)
@pytest.mark.parametrize("shape", ["failed", "error", "flat", "bare"])
def test_an_error_event_is_judged_by_its_code(shape, error, kind, retry):
    event: dict[str, Any] = {
        "failed": {"type": "response.failed", "response": {"error": error}},
        "error": {"type": "error", "error": error},
        "flat": {"type": "error", **(error or {})},
        "bare": {"error": error or {"message": "x"}},
    }[shape]
    with pytest.raises(TryFailed) as caught:
        reader(event)
    assert isinstance(caught.value.error, kind)
    assert caught.value.retry is retry


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta", "delta": None},
        {"type": "response.output_item.done", "item": "x"},
        {"type": "response.something.new"},
        {"type": None},
        {},
    ],
)
def test_odd_events_are_passed_over(event):
    assert reader(event, completed(message("well"))).result().text == "well"


def test_the_phase_of_a_message_is_kept_for_the_next_request():
    opaque = reader(completed(message("Looking.", phase="commentary"), call())).result().opaque
    assert json.loads(opaque)["layout"] == [
        {"type": "message", "length": 8, "phase": "commentary"},
        {"type": "function_call"},
    ]


def test_without_reasoning_nothing_opaque_is_kept():
    assert reader(completed(message("x"), call())).result().opaque == ""


def test_missing_usage_counts_as_nothing():
    assert (
        reader(completed(message("x"), usage={"input_tokens": None, "output_tokens": -3})).result().usage.input_tokens
        == 0
    )
