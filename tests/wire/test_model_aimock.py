"""A second independent server: aimock's exact conversations, parallel calls, refusals and forms, on both wires.

It is an npm package: `make test-aimock` installs it and runs this; without `AIMOCK_CLI_PATH` it is skipped.
"""

import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.answer_format import AnswerFormat
from opsbot.domain import Actor, AssistantMessage, Picture, ToolCall, ToolResult, Usage, UserMessage
from opsbot.errors import ContextTooLong, ModelError
from opsbot.pictures import Developed
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta, ToolSpec
from tests.hostile_pictures import encoded, picture
from tests.ports import reserved_port

pytestmark = pytest.mark.timeout(300)

ANN, NOW = Actor("T1", "U1"), datetime(2026, 11, 22, tzinfo=UTC)
LOOK = ToolSpec("look", "Look.", {"type": "object", "properties": {"host": {"type": "string"}}})
CALLS = [{"id": f"call_{n}", "name": "look", "arguments": json.dumps({"host": f"h{n}"})} for n in (1, 2)]
TOO_LONG = {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}
FIXTURES = [
    {"match": {"userMessage": "greet"}, "response": {"content": "All is well."}},
    {"match": {"userMessage": "look around", "hasToolResult": True}, "response": {"content": "Both are up."}},
    {"match": {"userMessage": "look around"}, "response": {"toolCalls": CALLS}},
    {
        "match": {"userMessage": "limited", "sequenceIndex": 0},
        "response": {"error": {"message": "slow"}, "status": 429},
    },
    {"match": {"userMessage": "limited"}, "response": {"content": "Now I can."}},
    {"match": {"userMessage": "long story"}, "response": {"error": TOO_LONG, "status": 400}},
    {"match": {"userMessage": "no key"}, "response": {"error": {"message": "no"}, "status": 401}},
    {"match": {"userMessage": "fill in"}, "response": {"content": '{"state":"up"}'}},
    {"match": {"userMessage": "what is this"}, "response": {"content": "A screenshot."}},
]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a running aimock with our fixtures."""
    cli = os.environ.get("AIMOCK_CLI_PATH", "")
    if not cli or not Path(cli).exists():
        said = "aimock is not installed (AIMOCK_CLI_PATH); `make test-aimock` does it with npm"
        if os.environ.get("AIMOCK_REQUIRED"):
            pytest.fail(said)
        pytest.skip(said)
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}), encoding="utf-8")
    with reserved_port() as port:
        argv = ["node", cli, "-p", str(port), "-f", str(fixtures), "--strict", "--log-level", "silent"]
        server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1/models", server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.kill()
            server.wait()


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Wait until it listens; the test's own time limit is the end of patience."""
    while server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            continue
    raise AssertionError(f"aimock ended with {server.returncode}")


@pytest.fixture(params=["chat", "responses"])
async def model(request: pytest.FixtureRequest, aimock: str) -> AsyncIterator[OpenAIModel]:
    async def at_once(_: float) -> None:
        return None

    built = OpenAIModel(ModelSettings("gpt-5.5", aimock, "sk-test", api=request.param), sleep=at_once)
    yield built
    await built.close()


def asked(words: str, *more: object, **changes: object) -> ModelRequest:
    request = ModelRequest("Be brief.", (UserMessage(words, ANN, NOW), *more), (LOOK,))  # type: ignore[arg-type]
    return replace(request, **changes)  # type: ignore[arg-type]


async def heard(model: OpenAIModel, request: ModelRequest) -> list[ModelEvent]:
    return [event async for event in model.reply(request)]


def words(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_a_text_comes_whole_with_usage_and_an_end(model: OpenAIModel) -> None:
    events = await heard(model, asked("greet"))
    assert words(events) == "All is well."
    assert isinstance(events[-2], Usage)
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "stop"


async def test_two_calls_at_once_and_their_results_make_a_conversation(model: OpenAIModel) -> None:
    calls = tuple(event for event in await heard(model, asked("look around")) if isinstance(event, ToolCall))
    assert [json.loads(call.arguments)["host"] for call in calls] == ["h1", "h2"]
    results = [ToolResult(call.call_id, '{"up":true}') for call in calls]
    events = await heard(model, asked("look around", AssistantMessage("", calls), *results))
    assert words(events) == "Both are up."


async def test_a_limit_is_waited_for(model: OpenAIModel) -> None:
    assert words(await heard(model, asked("limited"))) == "Now I can."


async def test_too_long_and_refused_are_told_apart(model: OpenAIModel) -> None:
    with pytest.raises(ContextTooLong):
        await heard(model, asked("long story"))
    with pytest.raises(ModelError, match="401"):
        await heard(model, asked("no key"))


async def test_a_form_is_taken(model: OpenAIModel) -> None:
    schema = {"type": "object", "properties": {"state": {"type": "string"}}, "required": ["state"]}
    form = AnswerFormat("state", {**schema, "additionalProperties": False})
    assert json.loads(words(await heard(model, asked("fill in", answer_format=form)))) == {"state": "up"}


async def test_a_picture_is_taken(model: OpenAIModel) -> None:
    shown = UserMessage("what is this", ANN, NOW, (Picture("T1/F1", "a.png", "d", 320, 180),))
    seen = {"T1/F1": Developed("image/png", 320, 180, encoded(picture(), "PNG"))}
    assert words(await heard(model, asked("", messages=(shown,), pictures=seen))) == "A screenshot."
    assert model.capabilities.looks_at_pictures
