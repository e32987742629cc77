"""The chat completions wire: what every server of the OpenAI kind speaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings
from opsbot.adapters.openai_errors import from_event
from opsbot.adapters.openai_format import chat_format, instructions
from opsbot.adapters.openai_history import Answer, Asked, Item, Replied, data_url, ordered, wire_arguments
from opsbot.adapters.openai_reply import MAX_CALLS, Meter, Reply, arguments_text, asker_hash, count
from opsbot.adapters.openai_sse import TooLong
from opsbot.domain import AssistantMessage, ToolCall, Usage
from opsbot.pictures import Developed
from opsbot.ports import ModelRequest, ToolSpec


class ChatWire:
    """Renders requests for, and reads replies of, /chat/completions."""

    def body(self, request: ModelRequest, settings: ModelSettings, can: Capabilities) -> dict[str, Any]:
        tools = [_tool(spec, can) for spec in request.tools]
        optional: dict[str, Any] = {
            can.max_tokens_name: min(request.max_output_tokens, settings.max_output_tokens),
            "stream_options": {"include_usage": True},
            "reasoning_effort": can.chat_effort(tools=bool(tools)),
            "temperature": settings.temperature,
            "parallel_tool_calls": True if tools else None,
            "prompt_cache_key": request.prefix_key if settings.first_party else "",
            "safety_identifier": asker_hash(request.asker) if settings.first_party else "",
        }
        wanted = request.answer_format
        system = {"role": can.system_role, "content": instructions(request.system, wanted, can.format_way)}
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": [system, *_messages(ordered(request.messages, can.pictures(request), can.unseen))],
            "stream": True,
        }
        if tools:
            body["tools"] = tools
        strict = wanted is not None and can.strict(wanted.schema)
        return body | can.accepted(optional) | chat_format(wanted, can.format_way, strict=strict)

    def reader(self, settings: ModelSettings) -> "ChatReader":
        return ChatReader(settings)


@dataclass(slots=True)
class _PartialCall:
    """A call whose pieces are still arriving."""

    index: int | None
    call_id: str = ""
    tool: str = ""
    arguments: list[str] = field(default_factory=list)


class ChatReader:
    """Puts chunks together. Calls are told apart by index and by id: a known index with a new id is a new call."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._meter = Meter()
        self._text: list[str] = []
        self._calls: list[_PartialCall] = []
        self._usage = Usage()
        self._reason = ""
        self._refused = False

    @property
    def finished(self) -> bool:
        return bool(self._reason)

    def feed(self, event: dict[str, Any]) -> str:
        if error := event.get("error"):
            raise from_event(error if isinstance(error, Mapping) else {"message": str(error)}, self._settings)
        if isinstance(usage := event.get("usage"), Mapping):
            self._usage = _usage(usage)
        choices = event.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(first, Mapping) or first.get("index", 0) != 0:
            return ""
        if isinstance(reason := first.get("finish_reason"), str):
            self._reason = reason
        delta = first.get("delta")
        return self._delta(delta) if isinstance(delta, Mapping) else ""

    def result(self) -> Reply:
        calls = [ToolCall(call.call_id, call.tool, "".join(call.arguments) or "{}") for call in self._calls]
        return Reply("".join(self._text), calls, self._usage, self._reason, refused=self._refused)

    def _delta(self, delta: Mapping[str, Any]) -> str:
        pieces = delta.get("tool_calls")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, Mapping):
                self._call_piece(piece)
        self._refused = self._refused or bool(delta.get("refusal"))
        text = "".join(part for key in ("content", "refusal") if isinstance(part := delta.get(key), str))
        self._text.append(self._meter.add(text))
        return text

    def _call_piece(self, piece: Mapping[str, Any]) -> None:
        call = self._call_of(piece.get("index"), piece.get("id"))
        function = piece.get("function")
        if not isinstance(function, Mapping):
            return
        if isinstance(name := function.get("name"), str) and not call.tool:
            call.tool = self._meter.add(name)
        if (arguments := function.get("arguments")) is not None:
            call.arguments.append(self._meter.add(arguments_text(arguments)))

    def _call_of(self, index: object, call_id: object) -> _PartialCall:
        number = index if isinstance(index, int) else None
        name = call_id if isinstance(call_id, str) else ""
        same = [call for call in self._calls if call.index == number] if number is not None else self._calls
        call = same[-1] if same else None
        if call is None or (name and call.call_id and name != call.call_id):
            if len(self._calls) >= MAX_CALLS:
                raise TooLong
            call = _PartialCall(number)
            self._calls.append(call)
        call.call_id = call.call_id or self._meter.add(name)
        return call


def _tool(spec: ToolSpec, can: Capabilities) -> dict[str, Any]:
    function: dict[str, Any] = {"name": spec.name, "description": spec.description, "parameters": dict(spec.schema)}
    if can.strict(spec.schema):
        function["strict"] = True
    return {"type": "function", "function": function}


def _messages(history: Sequence[Item]) -> list[dict[str, Any]]:
    rendered: list[dict[str, Any]] = []
    for item in history:
        match item:
            case Asked(text, pictures):
                rendered.append({"role": "user", "content": _with_pictures(text, pictures) if pictures else text})
            case Answer(call_id, content):
                rendered.append({"role": "tool", "tool_call_id": call_id, "content": content})
            case Replied(message):
                rendered.append(_assistant(message))
    return rendered


def _with_pictures(text: str, pictures: Sequence[Developed]) -> list[dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": data_url(picture)}} for picture in pictures]
    return [{"type": "text", "text": text}, *parts]


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    # Some servers refuse null content; every one takes an empty string.
    rendered: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.calls:
        rendered["tool_calls"] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.tool, "arguments": wire_arguments(call)}}
            for call in message.calls
        ]
    return rendered


def _usage(usage: Mapping[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    written = usage.get("completion_tokens_details")
    reasoning = written.get("reasoning_tokens") if isinstance(written, Mapping) else 0
    read, said = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    return Usage(read, said, min(count(cached), read), min(count(reasoning), said))
