"""What the model is told in place of older turns: requests and actions in full, looks and questions in short. Pure."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from opsbot.domain import Approval, AssistantMessage, Message, ToolCall, ToolResult, UserMessage

# Of looks and of questions so many are named, the newest.
_LOOKS, _QUESTIONS, _ANSWERS = 40, 20, 6
_LINE_CHARS = 160
_ARGUMENTS_CHARS = 200
_SUMMARY_CHARS = 200
# In a transcript: the least that is worth reading of one message, and what stands before its words.
_SHARE_LEAST = 120
_HEAD_CHARS = 60

T = TypeVar("T")


def ledger(approvals: Sequence[Approval]) -> str:
    """Return every request with its action, state, people, times and outcomes, a line each; "" if there are none."""
    return "\n".join(map(_request, approvals))


def recollected(messages: Sequence[Message]) -> str:
    """Return what was looked at and asked in these messages, gathered by code."""
    parts = [("Looked at", _looks(messages)), ("Asked", _questions(messages)), ("Answered", _answers(messages))]
    return "\n".join(f"{title}:\n{lines}" for title, lines in parts if lines)


def summary(requests: str, looks: str, prose: str, *, folded: int, limit: int) -> str:
    """Put the summary of `folded` messages together. Requests are always whole; the rest has `limit` bytes."""
    head = f"{folded} earlier messages are not shown. Look again rather than rely on a figure from before."
    told = clipped(looks, limit * 6 // 10)
    written = clipped(prose, limit - len(told.encode()))
    parts = [
        head,
        f"Requests and actions of this thread so far, from the record (complete):\n{requests}" if requests else "",
        told,
        f"In short:\n{written}" if written else "",
    ]
    return "\n\n".join(filter(None, parts))


def transcript(messages: Sequence[Message], *, limit: int) -> str:
    """Write messages out for somebody who is to sum them up, in `limit` bytes: by their beginnings, evenly chosen."""
    some = sampled(messages, max(1, limit // _SHARE_LEAST))
    share = limit // max(1, len(some)) - _HEAD_CHARS
    return clipped("\n".join(_told(message, share) for message in some), limit)


def sampled(items: Sequence[T], most: int) -> Sequence[T]:
    """Return at most so many of them, evenly spread, the last one included."""
    step = -(-len(items) // most)
    return items if step <= 1 else items[::-1][::step][::-1]


def clipped(text: str, limit: int) -> str:
    """Cut a text to so many bytes of UTF-8."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= limit else raw[: max(0, limit - 4)].decode("utf-8", "ignore") + "…"


def _request(approval: Approval) -> str:
    arguments = json.dumps(dict(approval.action.arguments), ensure_ascii=False, sort_keys=True)
    said = [
        f"request {approval.id}: {approval.action.tool} {arguments[:_ARGUMENTS_CHARS]}",
        f"on {', '.join(approval.action.hosts) or 'no host'}: {str(approval.state).upper()}",
        f"(asked by <@{approval.requester.user_id}> {_time(approval.created_at)}",
    ]
    said += [
        f"{'approved' if review.approve else 'denied'} by <@{review.actor.user_id}> {_time(review.at)}"
        for review in approval.reviews
    ]
    line = ", ".join([" ".join(said[:3]), *said[3:]]) + ")"
    outcomes = "; ".join(f"{o.host} {o.result}: {o.summary[:_SUMMARY_CHARS]}" for o in approval.outcomes)
    return f"- {' '.join(line.split())}" + (f" {' '.join(outcomes.split())}" if outcomes else "")


def _looks(messages: Sequence[Message]) -> str:
    failed = {m.call_id for m in messages if isinstance(m, ToolResult) and m.failed}
    calls = [call for m in messages if isinstance(m, AssistantMessage) for call in m.calls]
    counted = Counter((call.tool, _aim(call), call.call_id in failed) for call in calls)
    lines = [
        f"- {tool} {aim}{' (failed)' if bad else ''}{f' x{times}' if times > 1 else ''}"
        for (tool, aim, bad), times in counted.items()
    ]
    return _newest(lines, _LOOKS)


def _questions(messages: Sequence[Message]) -> str:
    said = [f"- <@{m.actor.user_id}> {_time(m.at)}: {_line(m.text)}" for m in messages if isinstance(m, UserMessage)]
    return _newest(said, _QUESTIONS)


def _answers(messages: Sequence[Message]) -> str:
    said = [f"- {_line(m.text)}" for m in messages if isinstance(m, AssistantMessage) and m.text and not m.calls]
    return _newest(said, _ANSWERS)


def _newest(lines: Sequence[str], most: int) -> str:
    more = [f"- {len(lines) - most} more before"] if len(lines) > most else []
    return "\n".join([*more, *lines[-most:]])


def _aim(call: ToolCall) -> str:
    """Say on what a call was, in a few words."""
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return "(unreadable)"
    return _line(" ".join(_pairs(arguments))) if isinstance(arguments, dict) else "(unreadable)"


def _pairs(arguments: Mapping[str, object]) -> Iterator[str]:
    for name, value in arguments.items():
        said = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        yield f"{name}={said}"


def _told(message: Message, share: int) -> str:
    match message:
        case UserMessage():
            return f"<@{message.actor.user_id}>: {message.text[:share]}"
        case AssistantMessage():
            calls = ", ".join(f"{call.tool} {_aim(call)}" for call in message.calls)
            return f"opsbot: {message.text[:share]}{f' [calls {calls}]' if calls else ''}"
        case ToolResult():
            return f"result: {message.content[:share]}"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]}…"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
