"""When the head of the audit log is noted elsewhere: often enough, at every act, and never in anybody's way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

import structlog

from opsbot.anchors import Head, anchor_line
from opsbot.domain import AuditRecord
from opsbot.errors import ChatError
from opsbot.ports import Clock

log = structlog.get_logger(__name__)

EVERY_RECORDS = 50
EVERY_S = 600.0
# Records of these kinds are noted at once: what follows them cannot be taken back.
AT_ONCE = frozenset({"opsbot.started", "execution.intent", "execution.finished", "execution.reconciled"})
_RETRY_S = 30.0
_LAST_S = 2.0


@dataclass(frozen=True, slots=True)
class Anchorage:
    """A place where heads are noted: `put` raises OSError or ChatError. At least `apart_s` seconds lie between two."""

    name: str
    put: Callable[[str], Awaitable[None]]
    apart_s: float = 0.0


@dataclass(slots=True)
class Anchoring:
    """Notes heads at each anchorage by itself: a slow one delays no other, and only ever misses what is outdated."""

    key: bytes
    clock: Clock
    _newest: Head = (0, "")
    _wanted: int = 0
    _lock: Lock = field(default_factory=Lock)
    _loop: asyncio.AbstractEventLoop | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, record: AuditRecord) -> None:
        """Take note of a committed record. From any thread; costs nothing and never fails."""
        with self._lock:
            if record.seq <= self._newest[0]:
                return
            self._newest = record.seq, record.hash
            if record.entry.kind not in AT_ONCE and record.seq - self._wanted < EVERY_RECORDS:
                return
            self._wanted = record.seq
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed already: the process is ending
                self._loop.call_soon_threadsafe(self._announce)

    def _announce(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def run(self, anchorages: Sequence[Anchorage]) -> None:
        """Note heads until `end` is called."""
        self._loop = asyncio.get_running_loop()
        await asyncio.gather(*(self._serve(anchorage) for anchorage in anchorages))

    async def end(self, running: "asyncio.Task[None]") -> None:
        """Note the last head wherever that can be done within a few seconds, and end `running`."""
        self._ended.set()
        self._announce()
        await asyncio.wait({running}, timeout=_LAST_S)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    async def _serve(self, anchorage: Anchorage) -> None:
        noted = 0
        while True:
            await self._due(noted)
            head = self._newest
            done = head[0] <= noted or await self._put(anchorage, head)
            noted = head[0] if done else noted
            if self._ended.is_set():
                return
            if pause_s := anchorage.apart_s if done else _RETRY_S:
                await _first(self.clock.sleep(pause_s), self._ended.wait())

    async def _due(self, noted: int) -> None:
        """Return when a head is wanted that is not noted, when so much time has passed, or at the end."""
        passing = asyncio.ensure_future(self.clock.sleep(EVERY_S))
        while self._wanted <= noted and not passing.done() and not self._ended.is_set():
            await _first(asyncio.shield(passing), self._news.wait())
        passing.cancel()

    async def _put(self, anchorage: Anchorage, head: Head) -> bool:
        """Note the head; return whether it is."""
        try:
            await anchorage.put(anchor_line(head, self.key))
        except (OSError, ChatError) as error:
            log.warning("audit.not_anchored", where=anchorage.name, seq=head[0], error=str(error))
            return False
        log.debug("audit.anchored", where=anchorage.name, seq=head[0])
        return True


async def _first(*waits: Awaitable[object]) -> None:
    """Return when one of them does."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
