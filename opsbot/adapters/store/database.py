"""One database, reached only through transactions that run in the store's own threads."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from opsbot.adapters.store.faults import FAULTS, store_error
from opsbot.domain import AuditRecord
from opsbot.errors import StoreError

T = TypeVar("T")
Anchor = Callable[[AuditRecord], None]

# Marks an engine whose transactions take the write lock at their begin (see `sqlite.make_engine`).
WRITES = "opsbot_writes"
# Under this name a transaction leaves the last audit record of each write in it.
_HEADS = "opsbot_heads"
# So many waiting writes share one commit.
_TOGETHER = 64


def note_head(connection: Connection, record: AuditRecord) -> None:
    """Remember the newest audit record of this write, to be anchored once it is committed."""
    _heads(connection).append(record)


def _heads(connection: Connection) -> list[AuditRecord]:
    heads: list[AuditRecord] = connection.info.setdefault(_HEADS, [])
    return heads


class _Spoiled(Exception):
    """The database failed in one of several writes: which of them hold is not known, so the transaction is given up."""


@dataclass(frozen=True, slots=True)
class _Write:
    """A transaction function, and where its result is waited for."""

    work: Callable[[Connection], Any]
    done: Future[Any] = field(default_factory=Future)


class Database:
    """Runs transaction functions: whole or not at all, never on the event loop.

    With `together`, writes that wait for one another share a commit: each is still whole or not at all, and committed
    and synced when its caller goes on. A function may be undone and run again, so it changes nothing but the database.
    """

    def __init__(
        self, engine: Engine, *, threads: int, check: Callable[[], None], anchor: Anchor, together: bool = False
    ) -> None:
        """`check` runs before every commit and may refuse it; `anchor` after every one that moved the audit."""
        self._readers = engine
        self._writers = engine.execution_options(**{WRITES: True})
        self._check = check
        self._anchor = anchor
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")
        self._share = together
        self._waiting: deque[_Write] = deque()
        self._closed = False

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that only reads. Raises StoreError."""
        return await self._submit(lambda: self.read_now(work))

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, committed and synced on return. Raises StoreError; then nothing was written.

        After a lost connection in the very commit it is not known whether it was written; every caller's next
        step must bear that (dedupe keys, versions, claims).
        """
        if not self._share:
            return await self._submit(lambda: self.write_now(work))
        self._refuse_closed()
        write = _Write(work)
        self._waiting.append(write)
        # One such task for each write; whichever comes first takes all that wait.
        self._pool.submit(self._write_waiting)
        result: T = await asyncio.wrap_future(write.done)
        return result

    def _write_waiting(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(_TOGETHER, len(self._waiting)))]
        writes = [write for write in taken if write.done.set_running_or_notify_cancel()]
        outcomes = self._write_together(writes) if len(writes) > 1 else [self._write_alone(each) for each in writes]
        for write, outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                write.done.set_exception(outcome)
            else:
                write.done.set_result(outcome)

    def _write_together(self, writes: Sequence[_Write]) -> list[Any]:
        """Return what each returned or raised."""
        try:
            return self.write_now(lambda connection: [_in_savepoint(connection, write.work) for write in writes])
        except _Spoiled:
            return [self._write_alone(write) for write in writes]
        except BaseException as error:  # noqa: BLE001 - none is committed, and all who wait are told
            return [error] * len(writes)

    def _write_alone(self, write: _Write) -> Any:
        try:
            return self.write_now(write.work)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for this write
            return error

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
                connection.info.pop(_HEADS, None)
                result = work(connection)
                heads = _heads(connection)
        except FAULTS as error:
            raise store_error(error) from error
        # Each of them: what one write has to have noted at once is not hidden by the record of the next.
        for head in heads:
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


def _in_savepoint(connection: Connection, work: Callable[[Connection], Any]) -> Any:
    """Run one of several; return what it returns or raises, which undoes only its own changes. Raises _Spoiled."""
    before = len(_heads(connection))
    try:
        with connection.begin_nested():
            return work(connection)
    except FAULTS as error:
        raise _Spoiled from error
    except Exception as error:  # noqa: BLE001 - handed to whoever waits for this write
        del _heads(connection)[before:]
        return error
