"""Answers in a form that code reads: how it is asked for on both wires, what is unlearned, how an answer can end."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from opsbot.adapters.openai_chat import ChatWire
from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings
from opsbot.adapters.openai_format import FormatWay
from opsbot.adapters.openai_model import OpenAIModel
from opsbot.adapters.openai_responses import ResponsesWire
from opsbot.answer_format import AnswerFormat
from opsbot.domain import Actor, UserMessage
from opsbot.hearing import Heard
from opsbot.ports import Done, ModelRequest, ToolSpec
from tests.model_servers import ModelServer, Turn, refusal

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}
FORM = AnswerFormat("incident", SCHEMA)
ASKED = ModelRequest(
    system="Write a report.",
    messages=(UserMessage("go", Actor("T1", "UANN"), datetime(2026, 11, 22, tzinfo=UTC)),),
    tools=(),
    answer_format=FORM,
)
OPENAI = ModelSettings("gpt-6-luna", api_key="sk-x")
LOCAL = ModelSettings("qwen", "http://127.0.0.1:8080/v1")
WIRES = pytest.mark.parametrize("api", ["chat", "responses"])

Make = Callable[[str], OpenAIModel]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest.fixture
async def make(server: ModelServer) -> AsyncIterator[Make]:
    made: list[OpenAIModel] = []

    def build(api: str) -> OpenAIModel:
        made.append(OpenAIModel(ModelSettings("m", server.base_url, api=api)))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for model in made:
        await model.close()


async def heard(model: OpenAIModel) -> Heard:
    found = Heard()
    async for event in model.reply(ASKED):
        found.take(event)
    return found


def asked_for(body: dict[str, Any]) -> str:
    """Say by which way a request asks for the form."""
    form = body.get("response_format") or (body.get("text") or {}).get("format")
    return form["type"] if form else "words"


def told(body: dict[str, Any]) -> str:
    return body["instructions"] if "instructions" in body else body["messages"][0]["content"]


def test_openais_responses_carry_the_schema_and_are_strict():
    body = ResponsesWire().body(ASKED, OPENAI, Capabilities(OPENAI))
    assert body["text"] == {"format": {"type": "json_schema", "name": "incident", "schema": SCHEMA, "strict": True}}
    assert body["instructions"] == "Write a report."


def test_openais_chat_carries_the_schema_and_is_strict():
    body = ChatWire().body(ASKED, OPENAI, Capabilities(OPENAI))
    form = {"name": "incident", "schema": SCHEMA, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": form}


def test_an_unknown_server_is_not_asked_to_be_strict():
    chat = ChatWire().body(ASKED, LOCAL, Capabilities(LOCAL))
    assert "strict" not in chat["response_format"]["json_schema"]
    assert ResponsesWire().body(ASKED, LOCAL, Capabilities(LOCAL))["text"]["format"]["strict"] is False


def test_a_schema_that_is_not_of_the_strict_kind_is_not_sent_as_strict():
    open_form = AnswerFormat("open", {"type": "object", "properties": {"title": {"type": "string"}}})
    body = ResponsesWire().body(replace(ASKED, answer_format=open_form), OPENAI, Capabilities(OPENAI))
    assert body["text"]["format"]["strict"] is False


@pytest.mark.parametrize("wire", [ChatWire(), ResponsesWire()])
def test_ordinary_questions_ask_for_no_form(wire):
    tool = ToolSpec("look", "Look.", SCHEMA)
    body = wire.body(replace(ASKED, answer_format=None, tools=(tool,)), OPENAI, Capabilities(OPENAI))
    assert asked_for(body) == "words"
    assert told(body) == "Write a report."


@WIRES
@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("response_format", "Invalid parameter: 'response_format' of type 'json_schema' is not supported."),
        ("text.format.type", "Unsupported value: 'json_schema'."),
        ("text", "Unknown parameter."),
        ("", "response_format is not supported by this server"),
        ("", "Structured outputs are not enabled"),
    ],
)
async def test_a_refused_form_is_asked_for_in_the_next_way(server, make, api, parameter, message):
    server.add(refusal(parameter, message), refusal(parameter, message), Turn('{"title":"x"}'), Turn('{"title":"y"}'))
    model = make(api)
    assert (await heard(model)).text == '{"title":"x"}'
    assert [asked_for(body) for body in server.bodies] == ["json_schema", "json_object", "words"]
    assert [FORM.in_words in told(body) for body in server.bodies] == [False, True, True]
    await heard(model)
    assert asked_for(server.bodies[-1]) == "words", "what was learned is remembered"
    assert model.capabilities.format_way is FormatWay.WORDS


@WIRES
async def test_json_mode_is_kept_where_only_the_schema_is_refused(server, make, api):
    server.add(refusal("response_format", "json_schema is unknown"), Turn('{"title":"x"}'), Turn('{"title":"y"}'))
    model = make(api)
    await heard(model)
    await heard(model)
    assert [asked_for(body) for body in server.bodies] == ["json_schema", "json_object", "json_object"]


@WIRES
async def test_a_refusal_of_another_parameter_leaves_the_form_as_it_is(server, make, api):
    limit = {"chat": "max_tokens", "responses": "max_output_tokens"}[api]
    server.add(refusal(limit), Turn('{"title":"x"}'))
    model = make(api)
    await heard(model)
    assert model.capabilities.format_way is FormatWay.JSON_SCHEMA


@WIRES
async def test_a_server_that_ignores_the_form_answers_all_the_same(server, make, api):
    server.add(Turn("Sure! Here is your report: the disk was full."))
    assert (await heard(make(api))).done == Done("stop")


@WIRES
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_cut_at_its_limit_is_told_from_one_that_was_filtered(server, make, api, reason):
    server.add(Turn('{"title":"the di', reason=reason))
    done = (await heard(make(api))).done
    assert done is not None
    assert done.reason == reason
    assert not done.refused


@WIRES
async def test_a_refusal_of_the_model_is_marked_as_one(server, make, api):
    server.add(Turn(refusal="I will not write that."))
    found = await heard(make(api))
    assert found.text == "I will not write that."
    assert found.done == Done("stop", refused=True)
