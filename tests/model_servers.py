"""A scripted model server on loopback: both OpenAI wires, whole answers and every fault a client must survive.

`python -m tests.model_servers SCRIPT.json [PORT]` serves a script of `{"text": ..., "calls": [[tool, arguments], ...]}`
objects, one per request and the last one for ever, and prints its base URL.
"""

import asyncio
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

from aiohttp import web

Body: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Turn:
    """A whole answer of the model, said on whichever wire asks. `calls`: (call id, tool, arguments as JSON text).

    `refusal`: why the model will not, marked as such on the wire.
    """

    text: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    reason: str = ""
    reasoning: str = ""
    usage: tuple[int, int, int] = (120, 30, 64)
    pieces: int = 3
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """An HTTP error (or any other answer that is not a stream)."""

    status: int
    body: str = '{"error":{"message":"no","type":"server_error","code":null,"param":null}}'
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer at all, not even headers, for so long."""

    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Raw:
    """These very bytes as a stream. `end`: clean, reset (the connection breaks) or stall (nothing more comes)."""

    data: bytes
    end: str = "clean"
    delay_s: float = 0.0
    chunk_bytes: int = 0
    content_type: str = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Cut:
    """A turn whose stream ends after so many bytes."""

    turn: Turn
    at: int
    end: str = "reset"


@dataclass(frozen=True, slots=True)
class Slow:
    """A turn whose events come one by one."""

    turn: Turn
    delay_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Vectors:
    """An answer with a vector for each text. `order`: how the items are sent, for servers that mix them.

    `tokens` 0: a server that does not say what it took.
    """

    dimensions: int = 16
    order: int = 1
    tokens: int = 8

    def body(self, asked: Body) -> Body:
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        items = [
            {"object": "embedding", "index": index, "embedding": bag_of_words(text, self.dimensions)}
            for index, text in enumerate(texts)
        ]
        usage = {"usage": {"prompt_tokens": self.tokens, "total_tokens": self.tokens}} if self.tokens else {}
        return {"object": "list", "model": asked["model"], "data": items[:: self.order], **usage}


def bag_of_words(text: str, dimensions: int) -> list[float]:
    """A vector in which texts with the same words are near."""
    numbers = [0.0] * dimensions
    for word in re.findall(r"[a-z0-9]+", text.lower()):
        numbers[zlib.crc32(word.encode()) % dimensions] += 1.0
    return numbers


Step: TypeAlias = "Turn | Status | Hang | Raw | Cut | Slow | Vectors | str | Callable[[Body], Step]"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent."""

    path: str
    headers: Mapping[str, str]
    body: Body


def refusal(parameter: str, message: str = "", status: int = 400, code: str = "unsupported_parameter") -> Status:
    """A 400 that names a parameter, as OpenAI words it."""
    text = message or f"Unsupported parameter: '{parameter}' is not supported with this model."
    error = {"message": text, "type": "invalid_request_error", "param": parameter, "code": code}
    return Status(status, json.dumps({"error": error}))


def chat_events(turn: Turn) -> Iterator[bytes]:
    """The turn as chat completion chunks."""

    def chunk(**rest: Any) -> bytes:
        shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "m"}
        return _sse({**shared, **rest})

    def choice(delta: Body, reason: str | None = None) -> bytes:
        return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": reason}])

    yield choice({"role": "assistant", "content": ""})
    for piece in _pieces(turn.text, turn.pieces):
        yield choice({"content": piece})
    for piece in _pieces(turn.refusal, turn.pieces) if turn.refusal else ():
        yield choice({"refusal": piece})
    for index, (call_id, tool, arguments) in enumerate(turn.calls):
        head = {"index": index, "id": call_id, "type": "function", "function": {"name": tool, "arguments": ""}}
        yield choice({"tool_calls": [head]})
        for piece in _pieces(arguments, turn.pieces):
            yield choice({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield choice({}, turn.reason or ("tool_calls" if turn.calls else "stop"))
    read, written, cached = turn.usage
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    yield chunk(choices=[], usage={**usage, "prompt_tokens_details": {"cached_tokens": cached}})
    yield b"data: [DONE]\n\n"


def responses_events(turn: Turn) -> Iterator[bytes]:
    """The turn as Responses events."""
    output: list[Body] = []

    def event(kind: str, **rest: Any) -> bytes:
        return f"event: {kind}\n".encode() + _sse({"type": kind, **rest})

    def done(item: Body) -> bytes:
        output.append(item)
        return event("response.output_item.done", output_index=len(output) - 1, item=item)

    yield event("response.created", response={"id": "resp_1", "status": "in_progress", "output": []})
    if turn.reasoning:
        yield done({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": turn.reasoning})
    if turn.text:
        for piece in _pieces(turn.text, turn.pieces):
            yield event("response.output_text.delta", output_index=len(output), content_index=0, delta=piece)
        part = {"type": "output_text", "text": turn.text, "annotations": []}
        yield done({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]})
    if turn.refusal:
        yield event("response.refusal.delta", output_index=len(output), content_index=0, delta=turn.refusal)
        said = [{"type": "refusal", "refusal": turn.refusal}]
        yield done({"id": "msg_2", "type": "message", "role": "assistant", "status": "completed", "content": said})
    for call_id, tool, arguments in turn.calls:
        for piece in _pieces(arguments, turn.pieces):
            yield event("response.function_call_arguments.delta", output_index=len(output), delta=piece)
        call = {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": call_id}
        yield done({**call, "name": tool, "arguments": arguments})
    read, written, cached = turn.usage
    usage = {"input_tokens": read, "output_tokens": written, "input_tokens_details": {"cached_tokens": cached}}
    final: Body = {"id": "resp_1", "status": "completed", "output": output, "usage": usage}
    if turn.reason in ("length", "content_filter"):
        why = "max_output_tokens" if turn.reason == "length" else "content_filter"
        final |= {"status": "incomplete", "incomplete_details": {"reason": why}}
        yield event("response.incomplete", response=final)
    else:
        yield event("response.completed", response=final)


def stream(turn: Turn, path: str) -> bytes:
    """The whole stream of a turn on the wire of this path."""
    return b"".join(responses_events(turn) if path.endswith("/responses") else chat_events(turn))


def _sse(payload: Body) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def _pieces(text: str, count: int) -> Sequence[str]:
    size = max(1, -(-len(text) // count))
    return [text[start : start + size] for start in range(0, len(text), size)]


class ModelServer:
    """Plays steps in order, one per request; the last one for ever if `repeat`. Any OpenAI-shaped path is served."""

    def __init__(self, *steps: Step, repeat: bool = False, models: Sequence[str] | None = ("m",)) -> None:
        self._steps = list(steps)
        self._repeat = repeat
        self._models = models
        self._stop = asyncio.Event()
        self.requests: list[Request] = []
        self.base_url = ""

    @property
    def bodies(self) -> list[Body]:
        return [request.body for request in self.requests]

    def add(self, *steps: Step) -> None:
        """Append to the script."""
        self._steps.extend(steps)

    async def start(self, port: int = 0) -> Self:
        app = web.Application(client_max_size=32 * 1024 * 1024)
        app.router.add_post("/{path:.*}", self._answer)
        app.router.add_get("/{path:.*}", self._model)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        address = self._runner.addresses[0]
        self.base_url = f"http://127.0.0.1:{address[1]}/v1"
        return self

    async def stop(self) -> None:
        self._stop.set()
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _model(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        if self._models is None:
            return web.Response(status=404, text="404: Not Found")
        if name in self._models:
            return web.json_response({"id": name, "object": "model", "created": 1, "owned_by": "me"})
        error = {"message": f"The model '{name}' does not exist", "code": "model_not_found", "param": None, "type": "x"}
        return web.json_response({"error": error}, status=404)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(Request(request.path_qs, dict(request.headers), body))
        step: Step = Status(500, '{"error":{"message":"the script has ended"}}')
        if self._steps:
            step = self._steps[0] if self._repeat and len(self._steps) == 1 else self._steps.pop(0)
        while callable(step):
            step = step(body)
        return await self._play(Turn(step) if isinstance(step, str) else step, request)

    async def _play(
        self, step: "Turn | Status | Hang | Raw | Cut | Slow | Vectors", request: web.Request
    ) -> web.StreamResponse:
        match step:
            case Status(status, body, headers, kind):
                return web.Response(status=status, text=body, headers=dict(headers), content_type=kind)
            case Vectors():
                return web.json_response(step.body(await request.json()))
            case Hang(seconds):
                await self._wait(seconds)
                return web.Response(status=504)
            case Turn():
                return await self._stream(Raw(stream(step, request.path)), request)
            case Cut(turn, at, end):
                return await self._stream(Raw(stream(turn, request.path)[:at], end), request)
            case Slow(turn, delay_s):
                events = stream(turn, request.path).split(b"\n\n")
                return await self._stream(Raw(b"\n\n".join(events), delay_s=delay_s), request)
            case Raw():
                return await self._stream(step, request)

    async def _stream(self, raw: Raw, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"x-request-id": "req_test", "content-type": raw.content_type})
        await response.prepare(request)
        try:
            for part in _parts(raw):
                await response.write(part)
                if raw.delay_s:
                    await self._wait(raw.delay_s)
            if raw.end == "stall":
                await self._wait(600)
            if raw.end == "reset" and request.transport is not None:
                request.transport.abort()
            else:
                await response.write_eof()
        except ConnectionError:
            pass  # the client had enough, which is what some tests are about
        return response

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass


def _parts(raw: Raw) -> Sequence[bytes]:
    if raw.chunk_bytes:
        return [raw.data[i : i + raw.chunk_bytes] for i in range(0, len(raw.data), raw.chunk_bytes)]
    if raw.delay_s:
        return [part + b"\n\n" for part in raw.data.split(b"\n\n") if part]
    return [raw.data]


def script(text: str) -> list[Step]:
    """Read a script file's content."""
    steps: list[Step] = []
    for number, entry in enumerate(json.loads(text)):
        calls = [
            (f"call_{number}_{index}", tool, json.dumps(arguments))
            for index, (tool, arguments) in enumerate(entry.get("calls", []))
        ]
        steps.append(Turn(entry.get("text", ""), tuple(calls)))
    return steps


async def _serve(path: str, port: int) -> None:
    server = ModelServer(*script(Path(path).read_text("utf-8")), repeat=True)
    await server.start(port)
    print(server.base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
