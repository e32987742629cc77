"""Work that nobody waits for: begun, kept count of, and dropped together."""

import asyncio
from collections.abc import Awaitable

import structlog

from opsbot.errors import StoreError

log = structlog.get_logger(__name__)


class Background:
    """The tasks of one service."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """What is under way."""
        return tuple(self._tasks)

    def begin(self, work: Awaitable[None]) -> None:
        """Run it beside everything else; it deals with its own failures."""

        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def begin_guarded(self, what: str, work: Awaitable[None]) -> None:
        """As `begin`; a failure is logged, and a sweep, a lease that lapses or the next start tries again."""
        self.begin(guarded(what, work))

    def cancel(self) -> None:
        """Drop everything where it stands."""
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Wait until nothing is left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def guarded(what: str, work: Awaitable[None]) -> None:
    """Do it; a failure is logged."""
    try:
        await work
    except StoreError as error:
        log.error("background.failed", what=what, error=str(error))
    except Exception:
        log.exception("background.failed", what=what)
