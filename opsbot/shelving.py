"""Keeps what can be searched as the folder of runbooks has it: what changed is taken in, what is gone vanishes."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import structlog

from opsbot.errors import ModelError, StoreError
from opsbot.passage_ports import Embedder, Folder, Passages
from opsbot.passages import Kind, Shelved
from opsbot.ports import Clock
from opsbot.shelves import Shelves

log = structlog.get_logger(__name__)

# How often the files are looked at, and how long an embedding service that failed is left alone.
LOOK_EVERY_S = 5.0
EMBED_AGAIN_S = 60.0
_BATCH = 64
_FAULTS_LOGGED = 20


@dataclass(frozen=True, slots=True)
class Taken:
    """What one look changed, and what it found wrong."""

    put: int = 0
    removed: int = 0
    embedded: int = 0
    shelved: Shelved = field(default_factory=Shelved)
    trouble: str = ""


class Shelving:
    """Looks at the folder again and again; of several replicas the one that `leads` does it for all.

    `folder` None: there are no runbooks, and incidents still get their vectors.
    """

    def __init__(
        self,
        passages: Passages,
        shelves: Shelves,
        clock: Clock,
        *,
        folder: Folder | None = None,
        embedder: Embedder | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._passages = passages
        self._shelves = shelves
        self._clock = clock
        self._folder = folder
        self._embedder = embedder
        self._leads = leads
        self._taken: Hashable = None
        self._embed_at = clock.monotonic()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._shelves.open_in(asyncio.get_running_loop())
        if self._folder is not None or self._embedder is not None:
            self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, between two documents."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                if self._leads():
                    await self.look()
            except StoreError as error:
                log.error("runbooks.not_taken", reason=str(error))
            except Exception:
                log.exception("runbooks.look_failed")
            await self._clock.sleep(LOOK_EVERY_S)

    async def look(self) -> Taken:
        """Take in what changed since the last look, and make the vectors that are missing. Raises StoreError."""
        taken = await self._files()
        embedded, trouble = await self._vectors()
        return Taken(taken.put, taken.removed, embedded, taken.shelved, trouble)

    # --- files -------------------------------------------------------------------------------------------------------

    async def _files(self) -> Taken:
        if self._folder is None:
            return Taken()
        stamp = await asyncio.to_thread(self._folder.stamp)
        if stamp == self._taken:
            return Taken()
        shelved = await asyncio.to_thread(self._folder.read)
        taken = await self._into_the_store(shelved)
        # Of a file that was written to while it was read, the rest is seen by the next look.
        self._taken = stamp
        for fault in shelved.faults[:_FAULTS_LOGGED]:
            log.warning("runbooks.fault", file=fault.file, line=fault.line, said=fault.said, left_out=fault.left_out)
        log.info("runbooks.taken", documents=len(shelved.documents), changed=taken.put, removed=taken.removed)
        return taken

    async def _into_the_store(self, shelved: Shelved) -> Taken:
        if not shelved.whole:
            # A folder that is not there for a moment, as an unmounted one, must not take every runbook away.
            return Taken(shelved=shelved)
        known = await self._passages.documents(Kind.RUNBOOK)
        changed = [document for document in shelved.documents if known.get(document.name) != document.digest]
        for document in changed:
            await self._passages.put(document)
        gone = sorted(known.keys() - {document.name for document in shelved.documents})
        if gone:
            await self._passages.remove(Kind.RUNBOOK, gone)
        return Taken(len(changed), len(gone), shelved=shelved)

    # --- vectors -----------------------------------------------------------------------------------------------------

    async def _vectors(self) -> tuple[int, str]:
        """Make the vectors that are missing; return how many, and what was in the way."""
        embedder, count = self._embedder, 0
        if embedder is None or self._clock.monotonic() < self._embed_at:
            return 0, ""
        done: set[str] = set()
        while missing := await self._passages.unembedded(embedder.name, dimensions=embedder.dimensions, limit=_BATCH):
            if not missing.keys() - done:
                # Vectors whose size changes from call to call would never be done.
                return count, "The embedding service answers with vectors of different sizes."
            try:
                vectors = await embedder.embed([*missing.values()])
            except ModelError as error:
                self._embed_at = self._clock.monotonic() + EMBED_AGAIN_S
                log.warning("runbooks.embedding_failed", error=str(error), embedded=count)
                return count, str(error)
            await self._passages.embed(embedder.name, dict(zip(missing, vectors, strict=True)))
            done |= missing.keys()
            count += len(missing)
        if count:
            log.info("runbooks.embedded", passages=count, model=embedder.name)
        return count, ""
