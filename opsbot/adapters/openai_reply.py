"""What both wire adapters have in common: a reply being put together, and the checks before it counts."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import uuid4

from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings
from opsbot.adapters.openai_errors import misbehaved
from opsbot.adapters.openai_sse import TooLong
from opsbot.domain import AssistantMessage, Message, ToolCall, Usage
from opsbot.ports import ModelRequest

# security.md T19: text, arguments and opaque items of one answer together.
MAX_ANSWER_BYTES = 1024 * 1024
MAX_CALLS = 128


@dataclass(slots=True)
class Reply:
    """A reply as far as it arrived. `reason` "" means that the wire did not say it is complete."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    reason: str = ""
    opaque: str = ""
    # The wire marked (part of) the text as the model's refusal.
    refused: bool = False


class Reader(Protocol):
    """Puts one streamed reply together."""

    def feed(self, event: dict[str, Any]) -> str:
        """Take one event; return the new text in it. Raises TryFailed for an error event."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the wire said that the reply is complete."""
        ...

    def result(self) -> Reply:
        """Return what arrived."""
        ...


class Wire(Protocol):
    """One of the two APIs."""

    def body(self, request: ModelRequest, settings: ModelSettings, can: Capabilities) -> dict[str, Any]:
        """Render a request."""
        ...

    def reader(self, settings: ModelSettings) -> Reader:
        """Start reading a reply."""
        ...


class Meter:
    """Counts the bytes of an answer. Raises TooLong beyond the limit."""

    def __init__(self) -> None:
        self._size_bytes = 0

    def add(self, text: str) -> str:
        self._size_bytes += len(text.encode("utf-8", "surrogatepass"))
        if self._size_bytes > MAX_ANSWER_BYTES:
            raise TooLong
        return text


def checked(reply: Reply, history: Sequence[Message]) -> Reply:
    """Return the reply with unique call ids, or raise TryFailed: only a reply the wire called complete counts."""
    if not reply.reason:
        raise misbehaved("The model's answer broke off before its end.")
    if reply.reason not in ("stop", "tool_calls", "length", "content_filter"):
        raise misbehaved("The model's answer ended for a reason this program does not know.")
    if reply.calls and reply.reason not in ("stop", "tool_calls"):
        raise misbehaved(f"The model's answer was cut ({reply.reason}) while it asked for tools.", retry=False)
    if reply.reason == "tool_calls" and not reply.calls:
        raise misbehaved("The model announced tool calls and sent none.")
    if reply.reason == "stop" and not reply.calls and not reply.text.strip():
        raise misbehaved("The model's answer was empty.")
    if any(not call.tool for call in reply.calls):
        raise misbehaved("The model called a tool without a name.")
    reason = "tool_calls" if reply.calls else reply.reason
    return replace(reply, calls=_with_unique_ids(reply.calls, history), reason=reason)


def salvaged(reply: Reply, tools: Iterable[str]) -> Reply:
    """Turn a text that is one JSON object `{name, arguments}` of a known tool into a call; else change nothing.

    Small local models write their calls as text; the call passes the same checks as any other.
    """
    if reply.calls or reply.reason != "stop":
        return reply
    try:
        value = json.loads(reply.text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        return reply
    if not isinstance(value, dict) or set(value) != {"name", "arguments"} or value["name"] not in set(tools):
        return reply
    if not isinstance(value["arguments"], dict):
        return reply
    call = ToolCall(_new_id(), value["name"], json.dumps(value["arguments"]))
    return replace(reply, text="", calls=[call], reason="tool_calls")


def looks_like_json(text: str) -> bool:
    """Whether a text may become a salvaged call, so that it must not be shown yet."""
    start = text.lstrip()
    return not start or start.startswith("{")


def asker_hash(asker: str) -> str:
    """Return an id of the asker that tells nothing about the person; "" stays ""."""
    return hashlib.sha256(asker.encode()).hexdigest() if asker else ""


def arguments_text(value: object) -> str:
    """Return a call's arguments as text: some servers send the object itself.

    Raises:
        TryFailed: they are neither; nothing is put in their place.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return json.dumps(value)
    raise misbehaved("The model called a tool with arguments that are neither text nor an object.")


def count(value: Any) -> int:
    """Read a token count that may be missing."""
    return value if isinstance(value, int) and value >= 0 else 0


def _with_unique_ids(calls: Sequence[ToolCall], history: Sequence[Message]) -> list[ToolCall]:
    """Servers number their calls anew in every reply, or not at all; a history needs one id per call."""
    used = {call.call_id for message in history if isinstance(message, AssistantMessage) for call in message.calls}
    unique = []
    for call in calls:
        if not call.call_id or call.call_id in used:
            call = replace(call, call_id=_new_id())
        used.add(call.call_id)
        unique.append(call)
    return unique


def _new_id() -> str:
    return f"call_{uuid4().hex[:24]}"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found
