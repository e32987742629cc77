"""A fake ChatModel that plays a script: texts, tool calls, errors and cuts, in order, recording every request."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from zlib import crc32

from opsbot.domain import Json, ToolCall, ToolResult, Usage
from opsbot.errors import ModelError, ModelMisbehaved
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta

SOME_USAGE = Usage(input_tokens=100, output_tokens=20)


def call(tool: str, call_id: str = "", /, **arguments: Json) -> ToolCall:
    """Write a tool call; without an id it gets one from the tool and its arguments."""
    text = json.dumps(arguments)
    return ToolCall(call_id or f"call_{tool}_{crc32(text.encode()):08x}", tool, text)


@dataclass(frozen=True, slots=True)
class Say:
    """A complete reply: text (streamed in `pieces`), then the calls, usage and Done.

    `gate`: the reply waits for this event after its first piece, so that a test can act while it is streaming.
    """

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = SOME_USAGE
    reason: str = ""
    opaque: str = ""
    pieces: int = 3
    gate: asyncio.Event | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """A reply that breaks off: some text and calls arrive, `Done` never does, `error` is raised instead."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    error: ModelError = field(default_factory=lambda: ModelMisbehaved("The model's answer broke off. Ask again."))


Reply: TypeAlias = "Say | Cut | ModelError | str | ToolCall | Callable[[ModelRequest], Reply]"


class ScriptedModel:
    """Plays replies in order; a request beyond the end of the script is a test failure, not a quiet default.

    A reply is `Say`, `Cut`, a ModelError to raise before anything is streamed, or for short a text, one ToolCall,
    or a function of the request that returns one of these.
    """

    def __init__(self, *replies: Reply, name: str = "scripted") -> None:
        self._replies = list(replies)
        self._name = name
        self.requests: list[ModelRequest] = []
        self.closed = False

    @property
    def name(self) -> str:
        return self._name

    @property
    def left(self) -> int:
        """Replies not played yet."""
        return len(self._replies)

    def add(self, *replies: Reply) -> None:
        """Append to the script."""
        self._replies.extend(replies)

    async def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        self.requests.append(request)
        if not self._replies:
            raise AssertionError(f"the script has no reply number {len(self.requests)}: {request.messages[-1:]}")
        played = _resolve(self._replies.pop(0), request)
        await asyncio.sleep(0)  # a real model yields to the loop before it answers
        async for event in _play(played):
            yield event

    async def close(self) -> None:
        self.closed = True


def _resolve(reply: Reply, request: ModelRequest) -> Say | Cut | ModelError:
    match reply:
        case str():
            return Say(reply)
        case ToolCall():
            return Say(calls=(reply,))
        case Say() | Cut() | ModelError():
            return reply
        case _:
            return _resolve(reply(request), request)


async def _play(reply: Say | Cut | ModelError) -> AsyncIterator[ModelEvent]:
    match reply:
        case ModelError():
            raise reply
        case Cut(text, calls, error):
            async for event in _spoken(text, 2, None):
                yield event
            for one in calls:
                yield one
            raise error
        case Say():
            async for event in _spoken(reply.text, reply.pieces, reply.gate):
                yield event
            for one in reply.calls:
                yield one
            yield reply.usage
            yield Done(reply.reason or ("tool_calls" if reply.calls else "stop"), reply.opaque, reply.refused)


async def _spoken(text: str, pieces: int, gate: asyncio.Event | None) -> AsyncIterator[TextDelta]:
    size = max(1, -(-len(text) // pieces))
    for start in range(0, len(text), size):
        yield TextDelta(text[start : start + size])
        await asyncio.sleep(0)
        if gate is not None:
            await gate.wait()


def results_of(request: ModelRequest) -> Mapping[str, Json]:
    """Return the parsed tool results in a request's history, by call id."""
    return {m.call_id: json.loads(m.content) for m in request.messages if isinstance(m, ToolResult)}
