"""What a turn had established when it was stopped: figures out of its tool results, gathered by code. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from opsbot.domain import AssistantMessage, Json, Message, ToolCall, ToolResult, UserMessage

_CALLS, _HOSTS, _FIGURES = 8, 4, 6
# What is quoted stands in words of opsbot's own, so only what cannot be a sentence, a mention or a link is.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/%+-]{0,39}", re.ASCII)

# What people ask about, before what only describes a host.
_TELLING = re.compile(r"state|status|failed|error|percent|load_1m|days|health|result|^count of", re.ASCII)
_ITEMS = 3
# What tells how one of several things is, the best first.
_STATES = ("active_state", "state", "status", "result", "used_percent", "cpu_percent")

_Figures: TypeAlias = Iterator[tuple[str, str]]


def established(messages: Sequence[Message]) -> str:
    """Return what the calls since the newest question found, a line each; "" if there were none."""
    calls = {call.call_id: call for m in messages if isinstance(m, AssistantMessage) for call in m.calls}
    found = [(calls.get(result.call_id), result) for result in _since_question(messages)]
    lines = [f"• {_line(call, result)}" for call, result in found[-_CALLS:] if call is not None]
    if len(found) > _CALLS:
        lines.insert(0, f"• {len(found) - _CALLS} earlier looks, in the thread's record")
    return "\n".join(lines)


def _since_question(messages: Sequence[Message]) -> list[ToolResult]:
    begins = next((n for n in range(len(messages) - 1, -1, -1) if isinstance(messages[n], UserMessage)), 0)
    return [message for message in messages[begins:] if isinstance(message, ToolResult)]


def _line(call: ToolCall, result: ToolResult) -> str:
    tool = f"`{call.tool}`" if _PLAIN.fullmatch(call.tool) else "a tool that does not exist"
    try:
        content = json.loads(result.content)
    except (ValueError, RecursionError):
        content = None
    if result.failed:
        return f"{tool}: failed{_errors(content)}"
    if not isinstance(content, dict):
        return f"{tool}: answered, at length"
    by_host = content.get("results")
    if not isinstance(by_host, dict):
        return f"{tool}: {_said(content.get('all', content.get('result', content)))}"
    return f"{tool}: {_by_host(by_host)}{_errors(content)}"


def _by_host(by_host: Mapping[str, Json]) -> str:
    if len(by_host) > _HOSTS:
        return f"{len(by_host)} hosts answered"
    return "; ".join(
        f"{host if _PLAIN.fullmatch(host) else 'a host'}: {_said(value)}" for host, value in by_host.items()
    )


def _errors(content: Json) -> str:
    errors = content.get("errors") if isinstance(content, dict) else None
    if not isinstance(errors, dict) or not errors:
        return ""
    names = [host for host in errors if _PLAIN.fullmatch(host)]
    return f"; no answer: {', '.join(names[:_HOSTS]) or 'some'}{' and more' if len(errors) > _HOSTS else ''}"


def _said(value: Json) -> str:
    figures = sorted(_figures(value), key=lambda figure: _TELLING.search(figure[0]) is None)
    more = ", …" if len(figures) > _FIGURES else ""
    return ", ".join(f"{name} {said}" for name, said in figures[:_FIGURES]) + more if figures else "answered"


def _figures(value: Json, name: str = "") -> _Figures:
    """Yield what is short and plain of a value, by name; of a list, how many there are and the first of them."""
    named = name or "answer"
    match value:
        case dict():
            for key, inner in value.items():
                if _PLAIN.fullmatch(key):
                    yield from _figures(inner, f"{name}.{key}" if name else key)
        case list():
            yield f"count of {named}", f"{len(value)}"
            yield from (found for item in value[:_ITEMS] if isinstance(item, dict) for found in _item(item))
        case bool():
            yield named, "yes" if value else "no"
        case int():
            yield named, f"{value:,}"
        case float():
            yield named, f"{value:g}"
        case str() if _PLAIN.fullmatch(value):
            yield named, value


def _item(item: Mapping[str, Json]) -> _Figures:
    """Yield the state of one of several things: its first text is its name."""
    values = {key: value for key, value in item.items() if value is not None}
    name = next(iter(values.values()), None)
    told = next((key for key in _STATES if key in values), "")
    if told and isinstance(name, str) and _PLAIN.fullmatch(name.removeprefix("/") or "root"):
        yield from ((f"{name} {key}", said) for key, said in _figures(values[told], told))
