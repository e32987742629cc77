"""What the page and the tests watch: every change as a numbered frame, and a log of all traffic."""

import asyncio
from collections import deque

from opsbot.workbench.clock import Clock
from opsbot.workbench.wire import Json


class Feed:
    """Hands each change to every watcher, in order; keeps the last entries of the traffic log."""

    def __init__(self, clock: Clock, log_entries: int) -> None:
        self._clock = clock
        self._watchers: set[asyncio.Queue[Json]] = set()
        self.log: deque[Json] = deque(maxlen=log_entries)
        self.version = 0

    def publish(self, kind: str, **content: object) -> None:
        """Send one frame `{"type": kind, ..., "version": n}` to all watchers."""
        self.version += 1
        frame = {"type": kind, **content, "version": self.version}
        for watcher in self._watchers:
            watcher.put_nowait(frame)

    def watch(self) -> "asyncio.Queue[Json]":
        """Return a queue that receives every frame from now on; give it back with `leave`."""
        queue: asyncio.Queue[Json] = asyncio.Queue()
        self._watchers.add(queue)
        return queue

    def leave(self, queue: "asyncio.Queue[Json]") -> None:
        """Stop filling a queue."""
        self._watchers.discard(queue)

    def record(self, *, direction: str, kind: str, name: str, summary: str, **content: object) -> Json:
        """Log one request, event, ack or response; `direction` is seen from the workbench: `in` or `out`."""
        entry: Json = {"at": self._clock.now(), "direction": direction, "kind": kind, "name": name}
        entry |= {"summary": summary, "body": None, "response": None, "ms": None, **content}
        self.log.append(entry)
        self.publish("log", entry=entry)
        return entry

    def notice(self, user: str, text: str) -> None:
        """Tell one person something Slack itself would say, such as `operation_timeout`."""
        self.publish("notice", user=user, text=text)
