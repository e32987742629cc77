"""How a long history is shown to the model so that it fits: older results by their ends, older turns summed up. Pure.

The history itself stays whole in the store. What is shown changes in rare, large steps, so that between two of them
each request begins with the bytes of the one before.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from opsbot import pictures
from opsbot.domain import AssistantMessage, Compaction, Message, ToolResult, UserMessage
from opsbot.notes import EARLIER

# llm.md section 7: operations text has 3.3 characters to a token.
BYTES_PER_TOKEN = 3
PER_MESSAGE = 4
# What the marks around a result take.
_FENCE = 20
# What is left of an older result, mildest first.
RESULT_CHARS = (2000, 600, 200)
# The line that says what is missing.
_NOTICE_CHARS = 120


@dataclass(frozen=True, slots=True)
class Room:
    """What a history may take, in estimated tokens: more than `most` is brought down to about `target`.

    `summary`: what the summary of older turns will take at most.
    """

    most: int
    target: int
    summary: int = 0


def tokens_of_text(text: str) -> int:
    """Estimate the tokens of a text of its own."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN) + PER_MESSAGE


def tokens_of(message: Message) -> int:
    """Estimate the tokens of a message."""
    match message:
        case ToolResult():
            return tokens_of_text(message.content) + _FENCE
        case UserMessage():
            return tokens_of_text(message.text) + PER_MESSAGE + pictures.tokens(message.shown)
        case AssistantMessage():
            words = [message.text, *(f"{call.call_id} {call.tool} {call.arguments}" for call in message.calls)]
            # Reasoning comes back sealed; what it takes is what it took.
            hidden = (message.usage.reasoning_tokens or len(message.opaque) // 4) if message.opaque else 0
            return sum(map(tokens_of_text, words)) + hidden


def estimate(messages: Sequence[Message]) -> int:
    """Estimate the tokens of messages."""
    return sum(map(tokens_of, messages))


def view(messages: Sequence[Message], compaction: Compaction | None) -> tuple[Message, ...]:
    """Return what the model is shown of a history."""
    if compaction is None:
        return tuple(messages)
    kept, whole = set(compaction.kept), set(compaction.whole)
    shown = (
        shortened(message, compaction.result_chars) if at < compaction.shortened and at not in whole else message
        for at, message in enumerate(messages)
        if at >= compaction.folded or at in kept
    )
    earlier = ToolResult(EARLIER, compaction.summary, nonce=compaction.nonce, untrusted=True)
    return (*([earlier] if compaction.folded else []), *shown)


def shortened(message: Message, limit: int) -> Message:
    """Return a result by its two ends, with how to read the rest; anything else, and what is short, as it is."""
    if not isinstance(message, ToolResult) or not message.nonce or len(message.content) <= limit + _NOTICE_CHARS:
        return message
    half = limit // 2
    missing = len(message.content) - 2 * half
    notice = f"\n[{missing:,} characters left out here; read_output with ref {message.ref} shows them]\n"
    return replace(message, content=message.content[:half] + notice + message.content[-half:])


def compacted(
    messages: Sequence[Message], before: Compaction | None, room: Room, *, actions: Collection[str] = ()
) -> Compaction | None:
    """Return how to show a history that has grown too long, without its summary; None: it fits as it is shown.

    The newest question and the newest reply with its results are shown in any case, and every reply with a call that
    is open, so that nothing that waits for a person is lost; results of `actions` (ids of calls) are never shortened.
    Of the ways that fit, the mildest is taken.
    """
    shown = estimate(view(messages, before))
    if shown <= room.most:
        return None
    whole = tuple(at for at, m in enumerate(messages) if isinstance(m, ToolResult) and m.call_id in actions)
    sizes = _Sizes.of(messages, frozenset(whole))
    ways = [replace(way, whole=whole) for way in _ways(messages, before or Compaction())]
    found = (
        next((way for way in ways if sizes.of_way(way, room) <= room.target), None)
        or next((way for way in ways if sizes.of_way(way, room) <= room.most), None)
        or ways[-1]
    )
    return found if sizes.of_way(found, room) < shown else None


def _ways(messages: Sequence[Message], before: Compaction) -> Iterator[Compaction]:
    """Yield ways to show less, mildest first; none shows what the last one folded away."""
    question = max((at for at, message in enumerate(messages) if isinstance(message, UserMessage)), default=0)
    newest = max((at for at, m in enumerate(messages) if isinstance(m, AssistantMessage)), default=0)
    newest = max(newest, question)
    cuts = [at for at, m in enumerate(messages) if not isinstance(m, ToolResult) and before.folded < at <= newest]
    late = _Late.of(messages)
    mild, middle, hard = RESULT_CHARS
    for limit, until in ((mild, question), (mild, newest)):
        if until >= before.shortened and before.result_chars in (0, mild):
            kept = late.kept(before.folded, question)
            yield Compaction(before.folded, kept, until, result_chars=limit)
    for cut in cuts:
        until = question if cut <= question else newest
        yield Compaction(cut, late.kept(cut, question), max(until, before.shortened), result_chars=mild)
    last = cuts[-1] if cuts else before.folded
    for limit in (mild, middle, hard):
        yield Compaction(last, late.kept(last, question), len(messages), result_chars=limit)


@dataclass(frozen=True, slots=True)
class _Late:
    """Replies whose results do not all follow at once: `(place, last result, places of results)`; open: no end."""

    units: tuple[tuple[int, float, tuple[int, ...]], ...]

    @staticmethod
    def of(messages: Sequence[Message]) -> "_Late":
        results: dict[str, list[int]] = {}
        for at, message in enumerate(messages):
            if isinstance(message, ToolResult):
                results.setdefault(message.call_id, []).append(at)
        units = []
        following = len(messages)
        for at in range(len(messages) - 1, -1, -1):
            message = messages[at]
            if isinstance(message, AssistantMessage) and message.calls:
                places = [results.get(call.call_id, []) for call in message.calls]
                last = max(math.inf if not found else found[-1] for found in places)
                if last > following:
                    units.append((at, last, tuple(sorted(place for found in places for place in found))))
            following = following if isinstance(message, ToolResult) else at
        return _Late(tuple(units))

    def kept(self, cut: int, question: int) -> tuple[int, ...]:
        """Return what is shown of the messages before the cut."""
        found = {question} if question < cut else set()
        for at, last, places in self.units:
            if at < cut <= last:
                found |= {at, *(place for place in places if place < cut)}
        return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class _Sizes:
    """The estimated tokens of each message, whole and shortened, summed up from the beginning."""

    whole: tuple[int, ...]
    short: dict[int, tuple[int, ...]]

    @staticmethod
    def of(messages: Sequence[Message], whole: frozenset[int]) -> "_Sizes":
        def summed(sizes: Iterator[int]) -> tuple[int, ...]:
            return tuple(accumulate(sizes, initial=0))

        def shown(at: int, message: Message, limit: int) -> Message:
            return message if at in whole else shortened(message, limit)

        short = {
            limit: summed(tokens_of(shown(at, message, limit)) for at, message in enumerate(messages))
            for limit in RESULT_CHARS
        }
        return _Sizes(summed(tokens_of(m) for m in messages), short)

    def of_way(self, way: Compaction, room: Room) -> int:
        """Estimate a way of showing the history, its summary included."""
        short, until = self.short[way.result_chars], way.shortened
        shown = self.whole[-1] - self.whole[max(until, way.folded)]
        shown += short[max(until, way.folded)] - short[way.folded]
        for at in way.kept:
            sums = short if at < until else self.whole
            shown += sums[at + 1] - sums[at]
        return shown + (room.summary if way.folded else 0)
