"""R05: five recorded answers on each wire, cut at every byte: never a call from an unfinished turn, never a crash."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from opsbot.adapters.openai_chat import ChatReader
from opsbot.adapters.openai_errors import TryFailed
from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.adapters.openai_reply import Reply, checked
from opsbot.adapters.openai_responses import ResponsesReader
from opsbot.adapters.openai_sse import NotAStream, payloads
from opsbot.domain import ToolCall
from opsbot.errors import ModelError
from opsbot.ports import Done, ModelRequest, TextDelta
from tests.model_servers import Turn, stream
from tests.safety.conftest import Figures

LOOK = ("call_1", "look", '{"hosts":["web-1","web-2"]}')
ANSWERS = {
    "text": Turn("All is well: load 0.3, memory 41 %, no failed services. Grüße, 你好.", pieces=4),
    "call": Turn(calls=(LOOK,)),
    "text and call": Turn("I look at both.", calls=(LOOK,)),
    "three calls": Turn(calls=(LOOK, ("call_2", "logs", '{"unit":"nginx","lines":20}'), ("call_3", "look", "{}"))),
    "reasoning and call": Turn("Restarting.", calls=(LOOK,), reasoning="gAAAAABencrypted0123456789"),
}
WIRES = ("chat", "responses")
# The offset from which on an answer counts: the event with the finish reason is there, with its closing blank line.
FINISH = {"chat": b'"finish_reason":"', "responses": b"event: response.completed"}


def finished_at(data: bytes, wire: str) -> int:
    return data.index(b"\n\n", data.index(FINISH[wire])) + 2


async def read(data: bytes, wire: str) -> Reply:
    """The adapter's own path from bytes to a checked reply, without the HTTP client."""

    async def body() -> AsyncIterator[bytes]:
        yield data

    settings = ModelSettings("m", "http://127.0.0.1:1/v1")
    reader = ResponsesReader(settings) if wire == "responses" else ChatReader(settings)
    async for event in payloads(body()):
        reader.feed(event)
    return checked(reader.result(), ())


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ANSWERS)
async def test_cut_at_every_byte_no_unfinished_turn_counts(name: str, wire: str, figures: Figures):
    turn = ANSWERS[name]
    data = stream(turn, f"/{wire}")
    whole = finished_at(data, wire)
    for offset in range(len(data) + 1):
        try:
            reply = await read(data[:offset], wire)
        except (TryFailed, NotAStream):
            # The blank line's second half may be missing: a stream's end is no blank line.
            assert offset < whole, f"refused whole answer at {offset}"
        else:
            assert offset >= whole, f"accepted an unfinished answer at {offset}"
            assert [(c.call_id, c.tool, c.arguments) for c in reply.calls] == list(turn.calls)
            assert reply.text == turn.text
    figures.add(streams_cut=len(data) + 1, calls_from_unfinished_replies=0)


class CutTransport(httpx2.AsyncBaseTransport):
    """Answers with the first bytes of a stream, in small chunks, and then breaks or just ends."""

    def __init__(self) -> None:
        self.data = b""
        self.breaks = False
        self.requests = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, stream=CutBody(self.data, self.breaks)
        )


class CutBody(httpx2.AsyncByteStream):
    def __init__(self, data: bytes, breaks: bool) -> None:
        self._data = data
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), 97):
            yield self._data[start : start + 97]
        if self._breaks:
            raise httpx2.ReadError("cut")


@pytest.mark.parametrize("breaks", [True, False], ids=["reset", "eof"])
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("name", ANSWERS)
async def test_cut_streams_through_the_whole_client(name: str, wire: str, breaks: bool):
    turn = ANSWERS[name]
    data = stream(turn, f"/{wire}")
    whole = finished_at(data, wire)
    transport = CutTransport()
    transport.breaks = breaks
    clock = Clock()
    model = OpenAIModel(
        ModelSettings("m", "http://127.0.0.1:1/v1", api=wire),  # type: ignore[arg-type]
        transport=transport,
        sleep=no_sleep,
        monotonic=clock,
    )
    for offset in [*range(0, len(data), 31), whole - 1, whole, len(data)]:
        clock.now_s += 100  # past any pause of the circuit breaker
        transport.data, transport.requests = data[:offset], 0
        text, calls, done = await ask(model)
        assert done == (offset >= whole), offset
        assert calls == (len(turn.calls) if done else 0)
        assert transport.requests <= (1 if text or done else 3)
    await model.close()


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


async def ask(model: OpenAIModel) -> tuple[str, int, bool]:
    text, calls, done = "", 0, False
    try:
        async for event in model.reply(ModelRequest("", (), ())):
            match event:
                case TextDelta():
                    text += event.text
                case ToolCall():
                    calls += 1
                case Done():
                    done = True
    except ModelError:
        assert not done
    return text, calls, done
