"""What the page and the tests watch: every change as a numbered frame, and a log of all traffic."""

import asyncio
import copy
import json
from collections import deque

from opsbot.workbench.clock import Clock
from opsbot.workbench.wire import Json


class Feed:
    """Hands each change to every watcher, in order; keeps the last entries of the traffic log."""

    def __init__(self, clock: Clock, log_entries: int) -> None:
        self._clock = clock
        self._watchers: set[asyncio.Queue[str]] = set()
        self.log: deque[Json] = deque(maxlen=log_entries)
        self.version = 0

    def publish(self, kind: str, **content: object) -> None:
        """Send one frame `{"type": kind, ..., "version": n}` to all watchers."""
        self.version += 1
        if not self._watchers:
            return
        # Written out at once: what the stores hold may change before a watcher gets to send it.
        frame = json.dumps({"type": kind, **content, "version": self.version})
        for watcher in self._watchers:
            watcher.put_nowait(frame)

    def watch(self) -> "asyncio.Queue[str]":
        """Return a queue that receives every frame, as JSON, from now on; give it back with `leave`."""
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._watchers.add(queue)
        return queue

    def leave(self, queue: "asyncio.Queue[str]") -> None:
        """Stop filling a queue."""
        self._watchers.discard(queue)

    def record(self, *, direction: str, kind: str, name: str, summary: str, **content: object) -> Json:
        """Log one request, event, ack or response; `direction` is seen from the workbench: `in` or `out`."""
        entry: Json = {"at": self._clock.now(), "direction": direction, "kind": kind, "name": name}
        entry |= {"summary": summary, "body": None, "response": None, "ms": None, **copy.deepcopy(content)}
        self.log.append(entry)
        self.publish("log", entry=entry)
        return entry

    def notice(self, user: str, text: str) -> None:
        """Tell one person something Slack itself would say, such as `operation_timeout`."""
        self.publish("notice", user=user, text=text)
