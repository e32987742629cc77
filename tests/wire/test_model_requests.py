"""What is sent to an endpoint: bodies on both wires, what is unlearned after a refusal, the tools rule, addresses."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from opsbot.adapters.openai_chat import ChatWire
from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings, is_strict
from opsbot.adapters.openai_model import OpenAIModel
from opsbot.adapters.openai_responses import ResponsesWire
from opsbot.domain import Actor, AssistantMessage, ToolCall, ToolResult, Usage, UserMessage
from opsbot.errors import ModelUnavailable
from opsbot.ports import Done, ModelRequest, TextDelta, ToolSpec
from tests.model_servers import ModelServer, Raw, Status, Turn, refusal

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ANN, BOB = Actor("T1", "UANN"), Actor("T1", "UBOB")
SCHEMA = {
    "type": "object",
    "properties": {"hosts": {"type": "array", "items": {"type": "string"}}},
    "required": ["hosts"],
    "additionalProperties": False,
}
TOOL = ToolSpec("look", "Look at hosts.", SCHEMA)
CALL = ToolCall("call_1", "look", '{"hosts":["web-1"]}')
ASKED = ModelRequest(
    system="Be brief.",
    messages=(
        UserMessage("how is web-1?", ANN, NOW),
        AssistantMessage("I look.", (CALL,)),
        ToolResult("call_1", '{"results":{"web-1":{}}}'),
        AssistantMessage("It is well."),
        UserMessage("thanks", BOB, NOW),
    ),
    tools=(TOOL,),
    max_output_tokens=800,
    prefix_key="opsbot-T1",
    asker="T1/UBOB",
)
OPENAI = ModelSettings("gpt-6-luna", api_key="sk-x")
LOCAL = ModelSettings("qwen", "http://127.0.0.1:8080/v1")


def chat(settings: ModelSettings, request: ModelRequest = ASKED) -> dict[str, Any]:
    return ChatWire().body(request, settings, Capabilities(settings))


def responses(settings: ModelSettings, request: ModelRequest = ASKED) -> dict[str, Any]:
    return ResponsesWire().body(request, settings, Capabilities(settings))


# --- golden bodies ---------------------------------------------------------------------------------------------------


def test_the_chat_body_for_an_unknown_server_holds_nothing_only_openai_knows():
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"hosts":["web-1"]}'}}
    assert chat(LOCAL) == {
        "model": "qwen",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "<UANN>: how is web-1?"},
            {"role": "assistant", "content": "I look.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": '{"results":{"web-1":{}}}'},
            {"role": "assistant", "content": "It is well."},
            {"role": "user", "content": "<UBOB>: thanks"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "look", "description": "Look at hosts.", "parameters": SCHEMA}}
        ],
        "max_tokens": 800,
        "stream": True,
        "stream_options": {"include_usage": True},
        "parallel_tool_calls": True,
    }


def test_the_responses_body_is_stateless_and_carries_the_whole_history():
    body = responses(OPENAI)
    asker = body.pop("safety_identifier")
    assert len(asker) == 64
    assert "UBOB" not in asker
    assert body == {
        "model": "gpt-6-luna",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "<UANN>: how is web-1?"},
            {"role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"hosts":["web-1"]}'},
            {"type": "function_call_output", "call_id": "call_1", "output": '{"results":{"web-1":{}}}'},
            {"role": "assistant", "content": "It is well."},
            {"role": "user", "content": "<UBOB>: thanks"},
        ],
        "tools": [
            {
                "type": "function",
                "name": "look",
                "description": "Look at hosts.",
                "parameters": SCHEMA,
                "strict": True,
            }
        ],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "max_output_tokens": 800,
        "parallel_tool_calls": True,
        "prompt_cache_key": "opsbot-T1",
        "stream": True,
    }


def test_openais_chat_takes_its_own_parameters():
    body = chat(ModelSettings("gpt-5.4-mini", api="chat"))
    assert body["messages"][0]["role"] == "developer"
    assert body["max_completion_tokens"] == 800
    assert body["prompt_cache_key"] == "opsbot-T1"
    assert body["tools"][0]["function"]["strict"] is True


def test_temperature_and_effort_are_sent_only_if_configured():
    bare = responses(OPENAI)
    assert not {"temperature", "reasoning"} & set(bare)
    tuned = ModelSettings("gpt-6-luna", temperature=0.0, reasoning_effort="low")
    assert responses(tuned)["temperature"] == 0.0
    assert responses(tuned)["reasoning"] == {"effort": "low"}


def test_the_output_limit_is_the_smaller_of_request_and_settings():
    assert responses(ModelSettings("m", max_output_tokens=100))["max_output_tokens"] == 100


def test_without_tools_no_tool_parameter_is_sent():
    request = ModelRequest("", ASKED.messages, ())
    assert not {"tools", "parallel_tool_calls"} & (set(chat(LOCAL, request)) | set(responses(OPENAI, request)))


def test_usage_holds_cached_and_reasoning_tokens_as_parts_never_more_than_the_whole():
    chat = ChatWire().reader(OPENAI)
    details = {"prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 20}}
    chat.feed({"usage": {"prompt_tokens": 100, "completion_tokens": 30, **details}})
    assert chat.result().usage == Usage(100, 30, 64, 20)
    chat.feed({"usage": {"prompt_tokens": 10, "completion_tokens": 3, **details}})
    assert chat.result().usage == Usage(10, 3, 10, 3)
    responses = ResponsesWire().reader(OPENAI)
    details = {"input_tokens_details": {"cached_tokens": 64}, "output_tokens_details": {"reasoning_tokens": 20}}
    usage = {"input_tokens": 100, "output_tokens": 30, **details}
    responses.feed({"type": "response.completed", "response": {"output": [], "usage": usage}})
    assert responses.result().usage == Usage(100, 30, 64, 20)


@pytest.mark.parametrize("render", [chat, responses])
def test_the_prefix_of_the_next_request_is_byte_for_byte_the_same(render):
    longer = ModelRequest("Be brief.", (*ASKED.messages, AssistantMessage("Welcome.")), (TOOL,), 800)
    key = "messages" if render is chat else "input"
    first, second = render(OPENAI)[key], render(OPENAI, longer)[key]
    assert json.dumps(second)[: len(json.dumps(first)) - 1] == json.dumps(first)[:-1]


def test_only_schemas_of_the_strict_kind_are_declared_strict():
    assert is_strict(SCHEMA)
    assert not is_strict({**SCHEMA, "required": []})
    assert not is_strict({**SCHEMA, "additionalProperties": True})
    optional = {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "required": ["a"]}
    assert not is_strict({**optional, "additionalProperties": False})
    assert not is_strict({"type": "array", "items": {"type": "object", "properties": {"a": {}}}})
    assert not is_strict({"anyOf": [{"type": "string"}, {"type": "string", "default": "x"}]})


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "url", "wire", "first_party"),
    [
        ("", "https://api.openai.com/v1", "responses", True),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1", "responses", True),
        ("https://eu.api.openai.com/v1", "https://eu.api.openai.com/v1", "responses", True),
        ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1/", "responses", True),
        ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1", "responses", True),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1", "chat", False),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1", "chat", False),
        ("https://api.openai.com.evil.example/v1", "https://api.openai.com.evil.example/v1", "chat", False),
        ("https://notazure.com/v1", "https://notazure.com/v1", "chat", False),
    ],
)
def test_the_address_decides_the_wire(base_url, url, wire, first_party):
    settings = ModelSettings("m", base_url)
    assert (settings.url, settings.wire, settings.first_party) == (url, wire, first_party)


async def sent_to(settings: ModelSettings) -> httpx2.Request:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(401, json={"error": {"message": "no"}})

    model = OpenAIModel(settings, transport=httpx2.MockTransport(answer))
    with pytest.raises(ModelUnavailable):
        await collect(model)
    await model.close()
    return asked[0]


async def test_azure_is_the_plain_client_at_its_current_api():
    request = await sent_to(ModelSettings("deployment", "https://r.openai.azure.com", "azure-key"))
    assert str(request.url) == "https://r.openai.azure.com/openai/v1/responses"
    assert request.headers["authorization"] == "Bearer azure-key"


async def test_a_dated_azure_version_uses_the_deployments_address():
    settings = ModelSettings(
        "deployment", "https://r.openai.azure.com/", "azure-key", api="chat", azure_api_version="2024-10-21"
    )
    request = await sent_to(settings)
    path = "https://r.openai.azure.com/openai/deployments/deployment/chat/completions?api-version=2024-10-21"
    assert str(request.url) == path
    assert request.headers["api-key"] == "azure-key"


async def test_a_keyless_server_gets_a_dummy_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-somebody-elses")
    request = await sent_to(LOCAL)
    assert request.headers["authorization"] == "Bearer not-needed"


# --- unlearning ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest.fixture
async def make(server: ModelServer) -> AsyncIterator[Callable[..., OpenAIModel]]:
    models = []

    def build(model: str = "m", **rest: Any) -> OpenAIModel:
        models.append(OpenAIModel(ModelSettings(model, server.base_url, **rest)))
        return models[-1]

    yield build
    for model in models:
        await model.close()


async def collect(model: OpenAIModel, request: ModelRequest = ASKED) -> list[Any]:
    return [event async for event in model.reply(request)]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    ("api", "parameter"),
    [
        ("chat", "stream_options"),
        ("chat", "parallel_tool_calls"),
        ("chat", "temperature"),
        ("responses", "include"),
        ("responses", "store"),
        ("responses", "max_output_tokens"),
    ],
)
async def test_a_refused_parameter_is_left_out_from_then_on(server, make, api, parameter, status):
    model = make(api=api, temperature=0.1)
    server.add(refusal(parameter, status=status), Turn("well"), Turn("again"))
    assert (await collect(model))[-1] == Done("stop")
    await collect(model)
    assert [parameter in body for body in server.bodies] == [True, False, False]
    assert parameter in model.capabilities.refused


async def test_several_refusals_are_learned_within_one_call(server, make):
    server.add(refusal("stream_options"), refusal("parallel_tool_calls"), refusal("max_tokens"), Turn("well"))
    assert (await collect(make()))[-1] == Done("stop")
    assert server.bodies[-1]["max_completion_tokens"] == 800


async def test_a_server_that_takes_no_output_limit_at_all_gets_none(server, make):
    server.add(refusal("max_tokens"), refusal("max_completion_tokens"), Turn("well"))
    await collect(make())
    assert not {"max_tokens", "max_completion_tokens"} & set(server.bodies[-1])


async def test_a_parameter_named_only_in_the_message_counts(server, make):
    text = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    server.add(refusal("", text), Turn("well"))
    await collect(make())
    assert "max_tokens" not in server.bodies[1]
    assert "max_completion_tokens" in server.bodies[1]


async def test_an_ordinary_word_of_a_message_is_no_parameter(server, make):
    server.add(refusal("", "Please include a valid input and store nothing strict."), Turn("never asked"))
    with pytest.raises(ModelUnavailable):
        await collect(make(api="responses"))
    assert len(server.requests) == 1


async def test_a_refusal_about_something_that_was_not_sent_is_final(server, make):
    server.add(refusal("logit_bias"), Turn("never asked"))
    with pytest.raises(ModelUnavailable):
        await collect(make())
    assert len(server.requests) == 1


async def test_a_server_that_refuses_for_ever_is_given_up(server, make):
    server.add(*[refusal("", "temperature stream_options max_tokens parallel_tool_calls: none of them")] * 20)
    with pytest.raises(ModelUnavailable):
        await collect(make())
    assert len(server.requests) < 8


def openai_like(model: str = "gpt-5.4-mini") -> tuple[ModelSettings, Capabilities]:
    settings = ModelSettings(model, api="chat")
    return settings, Capabilities(settings)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("messages[0].role", "Invalid value: 'developer'."),
        ("", "Unexpected role developer"),
        ("", "messages[0].role: Input should be 'system'"),
    ],
)
def test_an_unknown_role_becomes_system(parameter, message):
    settings, can = openai_like()
    assert can.unlearn(ChatWire().body(ASKED, settings, can), parameter, message)
    assert ChatWire().body(ASKED, settings, can)["messages"][0]["role"] == "system"


@pytest.mark.parametrize("parameter", ["tools[0].function.strict", "tools[0].function.parameters"])
def test_a_refused_strict_schema_is_sent_without_strict(parameter):
    settings, can = openai_like()
    assert can.unlearn(ChatWire().body(ASKED, settings, can), parameter, "Invalid schema for function 'look'")
    assert "strict" not in ChatWire().body(ASKED, settings, can)["tools"][0]["function"]


# --- the tools rule --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        ("gpt-5.6-luna", None, "none"),
        ("gpt-6-luna", None, "none"),
        ("gpt-6-sol", "high", "none"),
        ("gpt-6.1-terra", None, "none"),
        ("openai/gpt-6-luna", None, "none"),
        ("gpt-5.4", "high", "none"),
        ("gpt-5.5", "low", "none"),
        ("gpt-5.4", None, None),
        ("gpt-5.4-mini", None, None),
        ("gpt-60", "low", "low"),
        ("qwen3", "low", "low"),
        ("qwen3", None, None),
    ],
)
def test_on_chat_with_tools_the_newer_models_get_no_reasoning(model, effort, sent):
    settings = ModelSettings(model, api="chat", reasoning_effort=effort)
    assert chat(settings).get("reasoning_effort") == sent
    assert chat(settings, ModelRequest("", ASKED.messages, ())).get("reasoning_effort") == effort


async def test_the_tools_rule_is_learned_for_a_model_of_another_name(server, make):
    text = "Function tools with reasoning_effort are not supported for this model in /v1/chat/completions."
    server.add(refusal("reasoning_effort", text), Turn("well"))
    await collect(make("my-deployment", reasoning_effort="low"))
    assert [body.get("reasoning_effort") for body in server.bodies] == ["low", "none"]


async def test_an_effort_refused_even_as_none_is_left_out(server, make):
    server.add(refusal("reasoning_effort"), refusal("reasoning_effort"), Turn("well"))
    await collect(make("m", reasoning_effort="low"))
    assert [body.get("reasoning_effort") for body in server.bodies] == ["low", "none", None]


# --- calls on the wire -----------------------------------------------------------------------------------------------


def chunk(*calls: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"tool_calls": list(calls)} if calls else {}, "finish_reason": reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def piece(index: int | None, call_id: str | None, name: str | None, arguments: str) -> dict[str, Any]:
    call: dict[str, Any] = {"function": {"arguments": arguments}}
    if index is not None:
        call["index"] = index
    if call_id:
        call["id"] = call_id
    if name:
        call["function"]["name"] = name
    return call


async def calls_in(server: ModelServer, model: OpenAIModel, *chunks: bytes) -> list[ToolCall]:
    server.add(Raw(b"".join(chunks) + chunk(reason="tool_calls")))
    return [event for event in await collect(model) if isinstance(event, ToolCall)]


async def test_a_reused_index_with_a_new_id_is_a_new_call(server, make):
    calls = await calls_in(
        server,
        make(),
        chunk(piece(0, "a", "look", '{"x":')),
        chunk(piece(0, None, None, "1}")),
        chunk(piece(0, "b", "look", '{"x":')),
        chunk(piece(0, None, None, "2}")),
    )
    assert calls == [ToolCall("a", "look", '{"x":1}'), ToolCall("b", "look", '{"x":2}')]


async def test_an_id_repeated_in_every_piece_is_one_call(server, make):
    calls = await calls_in(
        server,
        make(),
        chunk(piece(0, "a", "look", '{"x":')),
        chunk(piece(0, "a", "look", "1}"), piece(1, "b", "logs", "")),
    )
    assert calls == [ToolCall("a", "look", '{"x":1}'), ToolCall("b", "logs", "{}")]


async def test_interleaved_indexes_are_told_apart(server, make):
    calls = await calls_in(
        server,
        make(),
        chunk(piece(0, "a", "look", "{"), piece(1, "b", "logs", "{")),
        chunk(piece(1, None, None, '"y":2}'), piece(0, None, None, '"x":1}')),
    )
    assert calls == [ToolCall("a", "look", '{"x":1}'), ToolCall("b", "logs", '{"y":2}')]


async def test_calls_without_an_index_are_told_apart_by_id(server, make):
    calls = await calls_in(server, make(), chunk(piece(None, "a", "look", "{}")), chunk(piece(None, "b", "logs", "{}")))
    assert calls == [ToolCall("a", "look", "{}"), ToolCall("b", "logs", "{}")]


async def test_every_call_gets_an_id_of_its_own(server, make):
    calls = await calls_in(
        server,
        make(),
        chunk(piece(0, "call_1", "look", "{}"), piece(1, None, "look", "{}"), piece(2, "x", "look", "{}")),
    )
    ids = [call.call_id for call in calls]
    assert "call_1" not in ids  # the history has one
    assert len({*ids, "call_1", ""}) == 5
    assert ids[2] == "x"


async def test_a_call_without_a_name_spoils_the_answer(server, make):
    server.add(*[Raw(chunk(piece(0, "a", None, "{}")) + chunk(reason="tool_calls"))] * 3)
    with pytest.raises(Exception, match="without a name"):
        await collect(make())


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
async def test_calls_that_end_with_stop_are_calls(server, make, reason):
    server.add(Turn(calls=(("a", "look", "{}"),), reason=reason))
    assert (await collect(make()))[-1] == Done("tool_calls")


# --- salvage ---------------------------------------------------------------------------------------------------------

WRITTEN_CALL = '{"name": "look", "arguments": {"hosts": ["web-1"]}}'


async def test_a_call_written_as_text_stays_text_unless_salvage_is_on(server, make):
    server.add(Turn(WRITTEN_CALL))
    events = await collect(make())
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == WRITTEN_CALL
    assert events[-1] == Done("stop")


async def test_salvage_turns_one_written_call_into_a_call(server, make):
    server.add(Turn(WRITTEN_CALL))
    events = await collect(make(salvage=True))
    (call,) = [event for event in events if isinstance(event, ToolCall)]
    assert (call.tool, json.loads(call.arguments)) == ("look", {"hosts": ["web-1"]})
    assert not [event for event in events if isinstance(event, TextDelta)]
    assert events[-1] == Done("tool_calls")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "rm_rf", "arguments": {}}',
        '{"name": "look", "arguments": "all"}',
        '{"name": "look", "arguments": {}, "more": 1}',
        '{"name": "look", "arguments": {"hosts": ["a"], "hosts": ["b"]}}',
        f"{WRITTEN_CALL} {WRITTEN_CALL}",
        f"Call this: {WRITTEN_CALL}",
        '{"name": "look"',
        "{" * 5000,
        "just words",
    ],
)
async def test_salvage_leaves_everything_else_as_text(server, make, text):
    server.add(Turn(text))
    events = await collect(make(salvage=True))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
    assert events[-1] == Done("stop")


# --- reasoning -------------------------------------------------------------------------------------------------------


async def test_encrypted_reasoning_goes_back_with_its_message_and_in_its_place(server, make):
    server.add(Turn("I look.", calls=(("a", "look", "{}"),), reasoning="gAAA"), Turn("well"))
    model = make(api="responses")
    events = await collect(model)
    reply = AssistantMessage("I look.", (ToolCall("a", "look", "{}"),), opaque=events[-1].opaque)
    await collect(model, ModelRequest("", (*ASKED.messages, reply, ToolResult("a", "{}")), (TOOL,)))
    assert server.bodies[1]["input"][-4:] == [
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA", "summary": []},
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "a", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "{}"},
    ]


@pytest.mark.parametrize(
    "opaque", ["", "not json", "[]", '{"model":"other","layout":[{"type":"reasoning","encrypted_content":"x"}]}']
)
def test_reasoning_of_another_model_or_wire_is_left_out(opaque):
    request = ModelRequest("", (AssistantMessage("Well.", opaque=opaque),), ())
    assert responses(OPENAI, request)["input"] == [{"role": "assistant", "content": "Well."}]
    assert chat(OPENAI, request)["messages"][1:] == [{"role": "assistant", "content": "Well."}]


def test_reasoning_is_dropped_if_the_text_was_changed_since():
    layout = [{"type": "reasoning", "encrypted_content": "x"}, {"type": "message", "length": 5}]
    kept = AssistantMessage("Well.", opaque=json.dumps({"model": "gpt-6-luna", "layout": layout}))
    changed = AssistantMessage("Well. (cut)", opaque=kept.opaque)
    assert len(responses(OPENAI, ModelRequest("", (kept,), ()))["input"]) == 2
    assert len(responses(OPENAI, ModelRequest("", (changed,), ()))["input"]) == 1


# --- the look beforehand ---------------------------------------------------------------------------------------------


async def test_a_known_model_gives_no_findings(server, make):
    assert await make("m").check() == []


async def test_a_missing_model_is_a_finding(server, make):
    (found,) = await make("mm").check()
    assert "no model 'mm'" in found


async def test_a_server_without_the_route_is_only_unsure():
    async with ModelServer(models=None) as server:
        model = OpenAIModel(ModelSettings("m", server.base_url))
        (found,) = await model.check()
        await model.close()
    assert "cannot say" in found


async def test_a_model_with_a_shutdown_day_is_a_finding(server, make):
    found = await make("gpt-4o-mini-2024-07-18").check()
    assert "2027-01-14" in found[0]


async def test_a_server_that_fails_is_a_finding_not_a_crash(server, make):
    await server.stop()
    (found,) = await make().check()
    assert "connection" in found


async def test_bodies_hold_the_messages_once_and_no_key(server, make):
    server.add(Turn("well"))
    await collect(make(api_key="sk-canary-123"))
    body = json.dumps(server.bodies[0])
    assert body.count("how is web-1?") == 1
    assert "sk-canary-123" not in body


async def test_a_status_that_is_no_json_is_still_a_plain_error(server, make):
    server.add(Status(403, "go away", content_type="text/plain"))
    with pytest.raises(ModelUnavailable, match="403"):
        await collect(make())
