"""What keeping a long conversation in bounds costs and saves: CPU for each request, and what the model reads in all.

Run as: .venv/bin/python benchmarks/compaction.py [MESSAGES]   (1,000 by default; nothing is sent anywhere)
"""

import sys
import tempfile
import time
from asyncio import run
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from opsbot.adapters.store import open_store
from opsbot.compaction import Room, compacted, estimate, view
from opsbot.domain import Actor, AssistantMessage, Compaction, Conversation, Message, Place, ToolCall, ToolResult, Usage
from opsbot.domain import UserMessage as Asked
from opsbot.recollection import recollected, summary

BEGAN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANNA = Actor("T1", "U1")
# The defaults: a third of a turn's 60,000 tokens, without the 2,500 that go along; half of it after a step.
ROOM = Room(17_500, 8_750, 2_100)
REPEATS = 20


def history(count: int) -> list[Message]:
    """Make turns of a question, a call, its result of 3 kB and an answer."""
    messages: list[Message] = []
    for number in range(count // 4):
        call = ToolCall(f"c{number}", "service_logs", f'{{"hosts": ["web-{number % 9}"], "unit": "nginx"}}')
        lines = "\\n".join(f"12:00:{line:02} nginx: upstream {line} answered in {number} ms" for line in range(60))
        messages += [
            Asked(
                f"What does the log of web-{number % 9} say about the last hour?",
                ANNA,
                BEGAN + timedelta(minutes=number),
            ),
            AssistantMessage("", (call,), Usage(9_000, 60)),
            ToolResult(call.call_id, f'{{"lines": "{lines}"}}', nonce=f"{number:012x}", untrusted=True),
            AssistantMessage("Nothing unusual: every upstream answered within its limit. " * 3),
        ]
    return messages


def summed_up(messages: list[Message], way: Compaction) -> Compaction:
    """Complete a step as the bot does, without a model's words."""
    text = summary("", recollected(messages[: way.folded]), "", folded=way.folded, limit=6_000)
    return replace(way, summary=text, nonce="abc", messages=len(messages))


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the median CPU time of some runs."""
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        times.append((time.process_time() - began) * 1000)
    return median(times)


async def load_ms(messages: list[Message]) -> float:
    """Return the CPU of reading the history from SQLite, which every turn does once."""
    place = Place("T1", "C1", "1.1")
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder)}/x.db", audit_key=bytes(32))
        await store.conversations.append(Conversation(place), messages, needs_turn=False)
        times = []
        for _ in range(REPEATS):
            began = time.process_time()
            await store.conversations.load(place)
            times.append((time.process_time() - began) * 1000)
        await store.close()
    return median(times)


def main() -> int:
    """Measure and print."""
    messages = history(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    stored: Compaction | None = None
    steps = shown = whole = cached = 0
    last: tuple[Message, ...] = ()
    for end in range(1, len(messages) + 1):
        if isinstance(messages[end - 1], AssistantMessage):
            continue  # no request goes out here
        so_far = messages[:end]
        if way := compacted(so_far, stored, ROOM):
            stored, steps = summed_up(so_far, way), steps + 1
        now = view(so_far, stored)
        shown, whole = shown + estimate(now), whole + estimate(so_far)
        cached += estimate(now[: len(last)]) if now[: len(last)] == last else 0
        last = now
    load = run(load_ms(messages))
    look = cpu_ms(lambda: compacted(messages, stored, replace(ROOM, most=10**9)))
    step = cpu_ms(lambda: compacted(messages, None, ROOM))
    print(f"{len(messages)} messages, {steps} steps")
    print(f"tokens read in all: {shown:,} of {whole:,} ({whole / shown:.0f} times less)")
    print(f"of those, as in the request before: {cached / shown:.0%}")
    print(f"a look before each request: {look:.2f} ms CPU ({look / load:.0%} of loading the history, {load:.1f} ms)")
    print(f"a step: {step:.1f} ms CPU ({step / load:.0%} of loading)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
