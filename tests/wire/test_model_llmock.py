"""An independent judge: llmock's server plays the faults and grades how the client took them."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
from llmock.pytest_plugin import LLMock

from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.domain import Actor, ToolCall, UserMessage
from opsbot.errors import ContextTooLong, ModelError
from opsbot.ports import Done, ModelEvent, ModelRequest, ToolSpec

TOOL = ToolSpec("look", "Look.", {"type": "object", "properties": {"host": {"type": "string"}}})
HELLO = ModelRequest(
    "Be brief.", (UserMessage("hello", Actor("T1", "U1"), datetime(2026, 11, 22, tzinfo=UTC)),), (TOOL,)
)


@pytest.fixture(params=["chat", "responses"])
async def model(request: pytest.FixtureRequest, llmock: LLMock) -> AsyncIterator[OpenAIModel]:
    built = OpenAIModel(ModelSettings("gpt-4o-mini", llmock.base_url(), api=request.param, read_timeout_s=5))
    llmock.tool_mode("off")
    yield built
    await built.close()


async def collect(model: OpenAIModel) -> list[ModelEvent]:
    return [event async for event in model.reply(HELLO)]


RECOVERED: dict[str, Callable[[LLMock], LLMock]] = {
    "rate limit": lambda mock: mock.rate_limit(times=2, retry_after=0.2),
    "server error": lambda mock: mock.fail(500, times=2),
    "overloaded": lambda mock: mock.fail(503, times=1),
    "truncated before the first word": lambda mock: mock.truncate(after_chunks=0),
    "corrupt first chunk": lambda mock: mock.corrupt(after_chunks=0),
    "cut before the first word": lambda mock: mock.disconnect(after_chunks=0),
}


@pytest.mark.parametrize("fault", RECOVERED)
async def test_a_passing_fault_is_survived_as_llmock_wants_it(model, llmock, fault):
    RECOVERED[fault](llmock).reply("All is well.")
    events = await collect(model)
    assert isinstance(events[-1], Done)
    assert len(llmock.requests) > 1
    llmock.assert_resilient()


FATAL: dict[str, Callable[[LLMock], LLMock]] = {
    "bad key": lambda mock: mock.fail(401),
    "forbidden": lambda mock: mock.fail(403),
    "no such model": lambda mock: mock.fail(404),
    "context overflow": lambda mock: mock.context_overflow(),
}


@pytest.mark.parametrize("fault", FATAL)
async def test_a_lasting_fault_is_told_and_not_repeated(model, llmock, fault):
    FATAL[fault](llmock)
    with pytest.raises(ContextTooLong if fault == "context overflow" else ModelError):
        await collect(model)
    assert len(llmock.requests) == 1
    llmock.assert_resilient()


@pytest.mark.parametrize("fault", ["truncate", "disconnect", "corrupt", "stall"])
async def test_a_stream_broken_in_the_middle_never_counts(model, llmock, fault):
    getattr(llmock.reply("one two three four five six seven eight", times=None), fault)(after_chunks=4, times=None)
    seen: list[ModelEvent] = []
    error: ModelError | None = None
    try:
        async for event in model.reply(HELLO):
            seen.append(event)
    except ModelError as raised:
        error = raised
    assert error is not None
    assert not [event for event in seen if isinstance(event, Done | ToolCall)]


async def test_broken_arguments_arrive_as_they_are(model, llmock):
    llmock.tool_mode("auto").call_tool("look", {"host": "web-1"}).break_tool_call()
    events = await collect(model)
    (call,) = [event for event in events if isinstance(event, ToolCall)]
    assert call.tool == "look"
    assert not _is_json(call.arguments)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
