"""One database, reached only through transactions that run in the store's own threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from opsbot.adapters.store.faults import FAULTS, store_error
from opsbot.domain import AuditRecord
from opsbot.errors import StoreError

T = TypeVar("T")
Anchor = Callable[[AuditRecord], None]

# Marks an engine whose transactions take the write lock at their begin (see `sqlite.make_engine`).
WRITES = "opsbot_writes"
# Under this name a transaction leaves the last audit record it chained.
_HEAD = "opsbot_head"


def note_head(connection: Connection, record: AuditRecord) -> None:
    """Remember the newest audit record of this transaction, to be anchored once it is committed."""
    connection.info[_HEAD] = record


class Database:
    """Runs transaction functions: whole or not at all, never on the event loop."""

    def __init__(self, engine: Engine, *, threads: int, check: Callable[[], None], anchor: Anchor) -> None:
        """`check` runs before every write and may refuse it; `anchor` after every commit that moved the audit."""
        self._readers = engine
        self._writers = engine.execution_options(**{WRITES: True})
        self._check = check
        self._anchor = anchor
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._closed = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads. Raises StoreError."""
        return await self._submit(lambda: self.read_now(work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, committed and synced on return. Raises StoreError; then nothing was written.

        After a lost connection in the very commit it is not known whether it was written; every caller's next
        step must bear that (dedupe keys, versions, claims).
        """
        return await self._submit(lambda: self.write_now(work))

    def read_now(self, work: Callable[[Connection], T]) -> T:
        """As `read`, in the calling thread."""
        try:
            with self._readers.begin() as connection:
                return work(connection)
        except FAULTS as error:
            raise store_error(error) from error

    def read_blocking(self, work: Callable[[Connection], T]) -> T:
        """As `read`, for threads that are not the store's own: in the calling thread, and not once it is closed."""
        self._refuse_closed()
        return self.read_now(work)

    def write_now(self, work: Callable[[Connection], T]) -> T:
        """As `write`, in the calling thread."""
        self._check()
        try:
            with self._writers.begin() as connection:
                connection.info.pop(_HEAD, None)
                result = work(connection)
                head: AuditRecord | None = connection.info.pop(_HEAD, None)
        except FAULTS as error:
            raise store_error(error) from error
        if head is not None:
            self._anchor(head)
        return result

    async def _submit(self, work: Callable[[], T]) -> T:
        self._refuse_closed()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("The database is closed: opsbot is shutting down.")

    async def close(self) -> None:
        """Finish what was submitted, then close every connection. Harmless to repeat."""
        self._closed = True
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """As `close`, in the calling thread."""
        self._closed = True
        self._pool.shutdown(wait=True)
        self._readers.dispose()
