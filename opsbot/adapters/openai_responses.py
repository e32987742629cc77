"""The responses wire: OpenAI's and Azure's own, stateless, with encrypted reasoning carried in our history."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings
from opsbot.adapters.openai_errors import from_event
from opsbot.adapters.openai_format import instructions, responses_format
from opsbot.adapters.openai_history import Answer, Asked, Item, Replied, data_url, ordered, wire_arguments
from opsbot.adapters.openai_reply import Meter, Reply, arguments_text, asker_hash, count
from opsbot.domain import AssistantMessage, ToolCall, Usage
from opsbot.pictures import Developed
from opsbot.ports import ModelRequest, ToolSpec

_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesWire:
    """Renders requests for, and reads replies of, /responses."""

    def body(self, request: ModelRequest, settings: ModelSettings, can: Capabilities) -> dict[str, Any]:
        tools = [_tool(spec, can) for spec in request.tools]
        optional: dict[str, Any] = {
            # The service's default is to store; nothing of ours is to be kept there.
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "max_output_tokens": min(request.max_output_tokens, settings.max_output_tokens),
            "reasoning": {"effort": settings.reasoning_effort} if settings.reasoning_effort else None,
            "temperature": settings.temperature,
            "parallel_tool_calls": True if tools else None,
            "prompt_cache_key": request.prefix_key if settings.first_party else "",
            "safety_identifier": asker_hash(request.asker) if settings.first_party else "",
        }
        wanted = request.answer_format
        body: dict[str, Any] = {
            "model": settings.model,
            "instructions": instructions(request.system, wanted, can.format_way),
            "input": _input(ordered(request.messages, can.pictures(request), can.unseen), settings.model),
            "stream": True,
        }
        if tools:
            body["tools"] = tools
        strict = wanted is not None and can.strict(wanted.schema)
        return body | can.accepted(optional) | responses_format(wanted, can.format_way, strict=strict)

    def reader(self, settings: ModelSettings) -> "ResponsesReader":
        return ResponsesReader(settings)


class ResponsesReader:
    """Reads events; what counts is the output of the final one, the deltas are only for showing."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._meter = Meter()
        self._shown: list[str] = []
        self._items: dict[int, Mapping[str, Any]] = {}
        self._response: Mapping[str, Any] | None = None
        self._reason = ""

    @property
    def finished(self) -> bool:
        return bool(self._reason)

    def feed(self, event: dict[str, Any]) -> str:
        match event.get("type"):
            case "response.output_text.delta" | "response.refusal.delta":
                return self._text(event.get("delta"))
            case "response.output_item.done":
                self._item(event)
            case "response.completed":
                self._end(event, "stop")
            case "response.incomplete":
                details = _mapping(_mapping(event.get("response")).get("incomplete_details"))
                self._end(event, _INCOMPLETE.get(str(details.get("reason")), "unknown"))
            case "response.failed":
                raise from_event(_mapping(_mapping(event.get("response")).get("error")), self._settings)
            case "error":
                raise from_event(_mapping(event.get("error")) or event, self._settings)
            case None if event.get("error"):
                raise from_event(_mapping(event["error"]), self._settings)
        return ""

    def result(self) -> Reply:
        if self._response is None:
            return Reply("".join(self._shown))
        output = self._output()
        text = "".join(self._shown) or "".join(_text_of(item) for item in output)
        calls = [_call(item) for item in output if item.get("type") == "function_call"]
        cut = any(item.get("status") in ("incomplete", "in_progress") for item in output if _is_call(item))
        reason = "length" if cut and self._reason == "stop" else self._reason
        opaque = _opaque(output, self._settings.model)
        self._meter.add(opaque)
        usage = _usage(_mapping(self._response.get("usage")))
        return Reply(text, calls, usage, reason, opaque, refused=any(map(_refuses, output)))

    def _text(self, delta: object) -> str:
        if not isinstance(delta, str):
            return ""
        self._shown.append(self._meter.add(delta))
        return delta

    def _item(self, event: Mapping[str, Any]) -> None:
        if isinstance(item := event.get("item"), Mapping):
            index = event.get("output_index")
            self._items[index if isinstance(index, int) else len(self._items)] = item

    def _end(self, event: Mapping[str, Any], reason: str) -> None:
        self._response = _mapping(event.get("response"))
        self._reason = reason

    def _output(self) -> Sequence[Mapping[str, Any]]:
        final = self._response.get("output") if self._response else None
        items: Iterable[Any] = final if isinstance(final, list) and final else self._items.values()
        return [item for item in items if isinstance(item, Mapping)]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_call(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "function_call"


def _call(item: Mapping[str, Any]) -> ToolCall:
    arguments = item.get("arguments")
    text = "{}" if arguments in (None, "") else arguments_text(arguments)
    return ToolCall(str(item.get("call_id") or ""), str(item.get("name") or ""), text)


def _refuses(item: Mapping[str, Any]) -> bool:
    parts = item.get("content") if item.get("type") == "message" else None
    return isinstance(parts, list) and any(_mapping(part).get("type") == "refusal" for part in parts)


def _text_of(item: Mapping[str, Any]) -> str:
    parts = item.get("content") if item.get("type") == "message" else None
    texts = (_mapping(part) for part in parts) if isinstance(parts, list) else ()
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in texts)


def _opaque(output: Sequence[Mapping[str, Any]], model: str) -> str:
    """Keep encrypted reasoning and the order it stood in: text by its length, calls by their turn."""
    layout: list[dict[str, Any]] = []
    for item in output:
        match item.get("type"):
            case "reasoning" if item.get("encrypted_content"):
                kept = {key: item[key] for key in ("id", "encrypted_content") if key in item}
                layout.append({"type": "reasoning", **kept, "summary": item.get("summary") or []})
            case "message":
                phase = {"phase": item["phase"]} if item.get("phase") else {}
                layout.append({"type": "message", "length": len(_text_of(item)), **phase})
            case "function_call":
                layout.append({"type": "function_call"})
    if all(set(entry) <= {"type", "length"} for entry in layout):
        return ""
    return json.dumps({"model": model, "layout": layout}, separators=(",", ":"))


def _input(history: Sequence[Item], model: str) -> list[dict[str, Any]]:
    rendered: list[dict[str, Any]] = []
    for item in history:
        match item:
            case Asked(text, pictures):
                rendered.append({"role": "user", "content": _with_pictures(text, pictures) if pictures else text})
            case Answer(call_id, content):
                rendered.append({"type": "function_call_output", "call_id": call_id, "output": content})
            case Replied(message):
                rendered += _assistant(message, model)
    return rendered


def _with_pictures(text: str, pictures: Sequence[Developed]) -> list[dict[str, Any]]:
    parts = [{"type": "input_image", "image_url": data_url(picture), "detail": "auto"} for picture in pictures]
    return [{"type": "input_text", "text": text}, *parts]


def _assistant(message: AssistantMessage, model: str) -> list[dict[str, Any]]:
    calls = [
        {"type": "function_call", "call_id": call.call_id, "name": call.tool, "arguments": wire_arguments(call)}
        for call in message.calls
    ]
    layout = _layout(message, model)
    if not layout:
        text = [{"role": "assistant", "content": message.text}] if message.text else []
        return text + calls
    rendered: list[dict[str, Any]] = []
    position = 0
    for entry in layout:
        match entry["type"]:
            case "reasoning":
                rendered.append(entry)
            case "function_call":
                rendered.append(calls.pop(0))
            case _:
                end = position + entry["length"]
                phase = {"phase": entry["phase"]} if "phase" in entry else {}
                rendered.append({"role": "assistant", "content": message.text[position:end], **phase})
                position = end
    return rendered


def _layout(message: AssistantMessage, model: str) -> list[dict[str, Any]]:
    """Read `opaque` back, if it was written by this wire for this model and still fits the message."""
    try:
        stored = _mapping(json.loads(message.opaque or "{}"))
    except ValueError:
        return []
    layout = stored.get("layout")
    if stored.get("model") != model or not isinstance(layout, list):
        return []
    length = sum(entry["length"] for entry in layout if entry["type"] == "message")
    calls = sum(entry["type"] == "function_call" for entry in layout)
    return layout if length == len(message.text) and calls == len(message.calls) else []


def _tool(spec: ToolSpec, can: Capabilities) -> dict[str, Any]:
    return {
        "type": "function",
        "name": spec.name,
        "description": spec.description,
        "parameters": dict(spec.schema),
        # Required here, and true when left out.
        "strict": can.strict(spec.schema),
    }


def _usage(usage: Mapping[str, Any]) -> Usage:
    cached = _mapping(usage.get("input_tokens_details")).get("cached_tokens")
    reasoning = _mapping(usage.get("output_tokens_details")).get("reasoning_tokens")
    read, said = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
    return Usage(read, said, min(count(cached), read), min(count(reasoning), said))
