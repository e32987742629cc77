"""Histories on the wire: whatever happened, every call is answered exactly once and what was sent stays as it was."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.adapters.openai_chat import ChatWire
from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings
from opsbot.adapters.openai_history import NOT_EXECUTED
from opsbot.adapters.openai_responses import ResponsesWire
from opsbot.domain import Actor, AssistantMessage, Message, ToolCall, ToolResult, UserMessage
from opsbot.notes import INTRODUCTIONS
from opsbot.ports import ModelRequest

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ANN = Actor("T1", "UANN")
SETTINGS = ModelSettings("m", "http://127.0.0.1:1/v1")


def user(text: str) -> UserMessage:
    return UserMessage(text, ANN, NOW)


def call(number: int) -> ToolCall:
    return ToolCall(f"c{number}", "restart", "{}")


def chat(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return ChatWire().body(ModelRequest("", tuple(messages), ()), SETTINGS, Capabilities(SETTINGS))["messages"][1:]


def responses(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return ResponsesWire().body(ModelRequest("", tuple(messages), ()), SETTINGS, Capabilities(SETTINGS))["input"]


def test_an_open_call_is_answered_by_a_placeholder():
    rendered = chat([user("restart"), AssistantMessage("", (call(1),)), user("and?")])
    assert rendered[2] == {"role": "tool", "tool_call_id": "c1", "content": NOT_EXECUTED}
    assert rendered[3]["content"] == "<UANN>: and?"


def test_a_late_result_stands_where_it_came_and_the_placeholder_stays():
    history = [
        user("restart"),
        AssistantMessage("", (call(1),)),
        user("and?"),
        AssistantMessage("Waiting."),
        ToolResult("c1", '{"state":"done"}'),
    ]
    assert [(m["role"], m["content"]) for m in chat(history)[2:]] == [
        ("tool", NOT_EXECUTED),
        ("user", "<UANN>: and?"),
        ("assistant", "Waiting."),
        ("user", 'Outcome of call c1 (restart): {"state":"done"}'),
    ]


@pytest.mark.parametrize("note", INTRODUCTIONS)
def test_what_opsbot_tells_itself_is_introduced_and_fenced_off(note: str):
    told = ToolResult(note, "words of others", nonce="abc", untrusted=True)
    expected = f"{INTRODUCTIONS[note]}: <data abc>\nwords of others\n</data abc>"
    assert chat([told, user("and?")])[0] == {"role": "user", "content": expected}
    assert expected in json.dumps(responses([told, user("and?")])[0], ensure_ascii=False).replace("\\n", "\n")


def test_results_of_one_reply_stand_in_call_order():
    history = [AssistantMessage("", (call(1), call(2))), ToolResult("c2", "two"), ToolResult("c1", "one")]
    assert [m.get("content") for m in chat(history)[1:]] == ["one", "two"]


def test_a_late_result_never_comes_between_a_call_and_its_answer():
    history = [
        AssistantMessage("", (call(1),)),
        user("look at the other"),
        AssistantMessage("", (call(2),)),
        ToolResult("c1", "one"),
        ToolResult("c2", "two"),
    ]
    assert [m["role"] for m in chat(history)] == ["assistant", "tool", "user", "assistant", "tool", "user"]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": ', '{"unreadable": "{\\"a\\": "}'),
        ("[1]", '{"unreadable": "[1]"}'),
        ("", '{"unreadable": ""}'),
    ],
)
def test_unreadable_arguments_are_quoted_for_servers_that_parse_the_history(arguments, sent):
    history = [AssistantMessage("", (ToolCall("c1", "look", arguments),)), ToolResult("c1", "{}")]
    assert chat(history)[0]["tool_calls"][0]["function"]["arguments"] == sent
    assert responses(history)[0]["arguments"] == sent


def test_a_reply_without_words_and_calls_is_left_out():
    assert chat([AssistantMessage(""), user("x")]) == [{"role": "user", "content": "<UANN>: x"}]


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Any order of messages; results come at any time after their call, at most once, sometimes never."""
    history: list[Message] = []
    waiting: list[str] = []
    for step in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(["user", "text", "calls", "result", "result", "orphan"]))
        if kind == "user":
            history.append(user(f"words {step}"))
        elif kind == "text":
            history.append(AssistantMessage(draw(st.sampled_from(["", f"reply {step}"]))))
        elif kind == "calls":
            calls = tuple(ToolCall(f"c{step}_{n}", "look", "{}") for n in range(draw(st.integers(1, 3))))
            waiting += [one.call_id for one in calls]
            history.append(AssistantMessage(draw(st.sampled_from(["", "I look."])), calls))
        elif kind == "result" and waiting:
            call_id = waiting.pop(draw(st.integers(0, len(waiting) - 1)))
            history.append(ToolResult(call_id, f"result of {call_id}"))
        elif kind == "orphan":
            history.append(ToolResult(f"gone{step}", "result of a forgotten call"))
    return history


def open_at_the_end(history: Sequence[Message]) -> bool:
    """Whether the newest reply still waits for results: only then may its placeholders give way to them."""
    newest = next((i for i in reversed(range(len(history))) if not isinstance(history[i], ToolResult)), None)
    last = history[newest] if newest is not None else None
    if not isinstance(last, AssistantMessage):
        return False
    there = {m.call_id for m in history if isinstance(m, ToolResult)}
    return any(one.call_id not in there for one in last.calls)


@given(histories())
def test_every_call_is_answered_exactly_once_right_behind_its_reply(history):
    rendered = chat(history)
    position = 0
    while position < len(rendered):
        message = rendered[position]
        assert message["role"] != "tool", "an answer without its call"
        wanted = [one["id"] for one in message.get("tool_calls", [])]
        answers = rendered[position + 1 : position + 1 + len(wanted)]
        assert [answer.get("tool_call_id") for answer in answers] == wanted
        position += 1 + len(wanted)


@given(histories())
def test_the_same_holds_on_the_responses_wire(history):
    rendered = responses(history)
    asked = [item["call_id"] for item in rendered if item.get("type") == "function_call"]
    answered = [item["call_id"] for item in rendered if item.get("type") == "function_call_output"]
    assert sorted(asked) == sorted(answered)
    for call_id in asked:
        places = [i for i, item in enumerate(rendered) if item.get("call_id") == call_id]
        between = rendered[places[0] : places[1] + 1]
        assert all("call_id" in item for item in between), "something stands between a call and its answer"


@given(histories())
def test_no_result_is_lost(history):
    everything = json.dumps(chat(history))
    for message in history:
        if isinstance(message, ToolResult):
            assert everything.count(message.content) >= 1


@given(histories(), st.data())
def test_what_was_sent_stays_as_the_history_grows(history, data):
    shorter = history[: data.draw(st.integers(0, len(history)))]
    if open_at_the_end(shorter):
        return
    for render in (chat, responses):
        before, after = render(shorter), render(history)
        assert after[: len(before)] == before
