"""How compatible servers differ from OpenAI in a chat stream, from their documentation and sources, November 2026."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.domain import Actor, ToolCall, Usage, UserMessage
from opsbot.errors import ModelMisbehaved
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta, ToolSpec
from tests.model_servers import ModelServer, Raw

LOOK = ToolSpec("look", "Look.", {"type": "object", "properties": {"host": {"type": "string"}}})
ASKED = ModelRequest(
    "Be brief.", (UserMessage("hello", Actor("T1", "U1"), datetime(2026, 11, 22, tzinfo=UTC)),), (LOOK,)
)


def chunk(delta: Any = None, reason: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    } | more


def piece(index: Any = 0, call_id: Any = None, name: Any = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    found = {"index": index, "id": call_id, "type": "function", "function": function}
    return chunk({"tool_calls": [{key: value for key, value in found.items() if value is not None}]}, **more)


USAGE = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
END = {"object": "chat.completion.chunk", "choices": [], "usage": USAGE}

# Each: the chunks, whether `[DONE]` follows, and what has to come of it: text, calls as (tool, arguments), reason.
DIALECTS: dict[str, tuple[Sequence[dict[str, Any]], bool, str, list[tuple[str, str]], str]] = {
    "vLLM: a chunk with the role alone, reasoning apart, usage in a last chunk without choices": (
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "They greet."}),
            chunk({"reasoning": "So do I.", "reasoning_content": None}),
            chunk({"content": "Hello"}),
            chunk({"content": ""}, "stop", stop_reason=None),
            END,
        ],
        True, "Hello", [], "stop",
    ),
    "vLLM: a call in pieces, its name once, its id once": (
        [
            chunk({"role": "assistant"}),
            piece(0, "chatcmpl-tool-1", "look", ""),
            piece(0, None, None, '{"host":'),
            piece(0, None, None, ' "web-1"}'),
            chunk({"content": ""}, "tool_calls"),
            END,
        ],
        True, "", [("look", '{"host": "web-1"}')], "tool_calls",
    ),
    "vLLM: several calls at once in one chunk": (
        [
            chunk({"tool_calls": [
                {"index": n, "id": f"t{n}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                for n in range(2)
            ]}),
            chunk({}, "tool_calls"),
        ],
        True, "", [("look", "{}"), ("look", "{}")], "tool_calls",
    ),
    "Ollama: a whole call in one chunk, the index used again by the next, and `stop` at the end": (
        [
            piece(0, "call_a", "look", '{"host":"web-1"}'),
            piece(0, "call_b", "look", '{"host":"web-2"}'),
            chunk({"role": "assistant", "content": ""}, "stop"),
            END,
        ],
        True, "", [("look", '{"host":"web-1"}'), ("look", '{"host":"web-2"}')], "tool_calls",
    ),
    "Ollama: arguments as the object itself": (
        [piece(0, "call_a", "look", {"host": "web-1"}), chunk({}, "tool_calls")],
        True, "", [("look", '{"host": "web-1"}')], "tool_calls",
    ),
    "arguments of a call without any, left out or null": (
        [piece(0, "call_a", "look"), chunk({"tool_calls": [{"index": 0, "function": {"arguments": None}}]}),
         chunk({}, "tool_calls")],
        True, "", [("look", "{}")], "tool_calls",
    ),
    "no `[DONE]`": ([chunk({"content": "Hello"}), chunk({}, "stop")], False, "Hello", [], "stop"),
    "no delta in the last chunk, and null in the first": (
        [chunk(None), chunk({"content": "Hello"}), {"choices": [{"index": 0, "finish_reason": "stop"}]}],
        True, "Hello", [], "stop",
    ),
    "Azure: a first chunk with filter results and no choices": (
        [
            {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
            chunk({"content": "Hello"}),
            chunk({}, "stop"),
        ],
        True, "Hello", [], "stop",
    ),
    "an empty finish reason is none yet": (
        [chunk({"content": "Hel"}, ""), chunk({"content": "lo"}, None), chunk({}, "stop")], True, "Hello", [], "stop",
    ),
    "llama.cpp: null content with the role, and timings": (
        [chunk({"role": "assistant", "content": None}), chunk({"content": "Hello"}), chunk({}, "stop"),
         {"choices": [], "usage": USAGE, "timings": {"prompt_n": 1}}],
        True, "Hello", [], "stop",
    ),
    "OpenRouter: choices of other numbers are not ours": (
        [chunk({"content": "Hello"}), {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}]},
         chunk({}, "stop")],
        True, "Hello", [], "stop",
    ),
}  # fmt: skip


def stream(chunks: Sequence[dict[str, Any]], *, done: bool) -> Raw:
    events = [f"data: {json.dumps(each)}\n\n" for each in chunks]
    return Raw("".join([*events, *(["data: [DONE]\n\n"] if done else [])]).encode())


async def heard(server: ModelServer) -> list[ModelEvent]:
    async def at_once(_: float) -> None:
        return None

    model = OpenAIModel(ModelSettings("m", server.base_url), sleep=at_once)
    try:
        return [event async for event in model.reply(ASKED)]
    finally:
        await model.close()


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_dialect_is_understood(name: str) -> None:
    chunks, done, text, calls, reason = DIALECTS[name]
    async with ModelServer(stream(chunks, done=done)) as server:
        events = await heard(server)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
    found = [event for event in events if isinstance(event, ToolCall)]
    assert [(call.tool, call.arguments) for call in found] == calls
    assert len({call.call_id for call in found}) == len(calls)
    assert events[-1] == Done(reason)
    counted = any(each.get("usage") for each in chunks)
    assert [event for event in events if isinstance(event, Usage)] == [Usage(20, 5) if counted else Usage()]


# What looks like an answer and is none: nothing of it may be used.
BROKEN: dict[str, tuple[Sequence[dict[str, Any]], bool]] = {
    "a call without a finish reason, though `[DONE]` came": ([piece(0, "a", "look", "{}")], True),
    "the announced calls never came": ([chunk({"content": ""}, "tool_calls")], True),
    "usage alone": ([END], True),
    "arguments as a list": ([piece(0, "a", "look", ["web-1"]), chunk({}, "tool_calls")], True),
    "arguments as a number": ([piece(0, "a", "look", 7), chunk({}, "tool_calls")], True),
    "an unknown finish reason": ([chunk({"content": "Hello"}, "eos_token")], True),
    "reasoning and nothing else": ([chunk({"reasoning_content": "hm"}), chunk({}, "stop")], True),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_only_looks_like_an_answer_is_refused(name: str) -> None:
    chunks, done = BROKEN[name]
    async with ModelServer(stream(chunks, done=done), repeat=True) as server:
        with pytest.raises(ModelMisbehaved):
            await heard(server)
