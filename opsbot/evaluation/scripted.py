"""A scripted model behind a real endpoint on loopback: replies in order, with values from what the tools said."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from opsbot.evaluation.placeholders import filled, with_known_facts, with_results
from opsbot.evaluation.tasks import ScriptedReply

NAME = "scripted"
_AT_THE_END = ScriptedReply(say="The script has ended.")
_MAX_BODY = 32 * 1024 * 1024
# What a token is roughly, in bytes of a request: scripted models are counted as if they were real.
_TOKEN_BYTES = 4


@dataclass(slots=True)
class ScriptedEndpoint:
    """One conversation at a time: `begin` sets what is played next."""

    base_url: str = ""
    _replies: Sequence[ScriptedReply] = ()
    _facts: Mapping[str, str] = field(default_factory=dict)
    _played: int = 0
    _tools: dict[str, str] = field(default_factory=dict)

    def begin(self, replies: Sequence[ScriptedReply], facts: Mapping[str, str]) -> None:
        """Play these replies from the first one on; `facts` are what a cheat knows."""
        self._replies, self._facts, self._played = replies, facts, 0
        self._tools.clear()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a completion, as a stream."""
        raw = await request.read()
        body = json.loads(raw)
        reply = self._replies[self._played] if self._played < len(self._replies) else _AT_THE_END
        self._played += 1
        results = self._results(body["messages"])
        said = with_results(with_known_facts(reply.say, self._facts), results)
        calls = []
        for index, call in enumerate(reply.calls):
            call_id = f"call_{self._played}_{index}"
            self._tools[call_id] = call.tool
            arguments = {name: filled(value, results, self._facts) for name, value in call.arguments.items()}
            calls.append((call_id, call.tool, json.dumps(arguments)))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for chunk in _chunks(said, calls, len(raw) // _TOKEN_BYTES):
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    def _results(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the newest result of each tool."""
        found = {}
        for message in messages:
            if message.get("role") == "tool":
                found[self._tools.get(str(message["tool_call_id"]), "")] = str(message["content"])
        return found


def _chunks(said: str, calls: Sequence[tuple[str, str, str]], read: int) -> Iterator[dict[str, Any]]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": NAME}

    def choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield choice({"role": "assistant", "content": said})
    for index, (call_id, tool, arguments) in enumerate(calls):
        function = {"name": tool, "arguments": arguments}
        yield choice({"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})
    yield choice({}, "tool_calls" if calls else "stop")
    written = (len(said) + sum(len(arguments) for _, _, arguments in calls)) // _TOKEN_BYTES
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    yield {**head, "choices": [], "usage": usage}


@asynccontextmanager
async def scripted_endpoint() -> AsyncIterator[ScriptedEndpoint]:
    """Serve on a free port of 127.0.0.1."""
    endpoint = ScriptedEndpoint()
    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_post("/v1/chat/completions", endpoint.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        endpoint.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield endpoint
    finally:
        await runner.cleanup()
