"""What became of actions whose end was never recorded: asked of their hosts, beside everything else."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from opsbot.background import guarded
from opsbot.domain import Approval, run_lease
from opsbot.errors import Conflict
from opsbot.executor import Executor
from opsbot.ports import Clock
from opsbot.replica import Replica
from opsbot.runs import Runs

log = structlog.get_logger(__name__)

# An UNKNOWN outcome is looked at again by itself this long, this often.
_RECONCILE_FOR = timedelta(hours=1)
_RECONCILE_EVERY_S = 30.0
# Of looks that ended with opsbot itself, so many in a row are enough: it is unknown then, and looked at less often.
_MAX_LOOKS = 20


@dataclass(slots=True)
class Settling:
    """Looks at what is not among `runs`. `after` is told of what was settled."""

    executor: Executor
    replica: Replica
    clock: Clock
    runs: Runs
    after: Callable[[Approval], Awaitable[None]]
    _settling: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _looked_at: dict[str, float] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """The looks under way."""
        return tuple(self._settling.values())

    def settle(self, approval: Approval) -> None:
        """Begin to settle it beside everything else: a host may take its time to answer."""
        if self.runs.has(approval.id) or approval.id in self._settling:
            return
        task = asyncio.create_task(guarded("reconcile", self._reconcile(approval)), name=f"settle {approval.id}")
        self._settling[approval.id] = task
        task.add_done_callback(lambda _: self._settling.pop(approval.id, None))

    async def _reconcile(self, approval: Approval) -> None:
        """Settle it, unless a living replica is at work on it."""
        lease = await self.replica.take(run_lease(approval.id))
        if lease is None:
            return
        try:
            final = await self.executor.reconcile(approval, look=lease.attempts <= _MAX_LOOKS)
            if final is not approval:
                log.info("execution.reconciled", approval_id=final.id, state=final.state)
                await self.after(final)
        except Conflict:
            return
        finally:
            await self.replica.drop(lease.name)

    async def look_again(self, approval: Approval) -> None:
        """Settle an unknown outcome after all, for a while and not too often."""
        if self.clock.now() - approval.expires_at > _RECONCILE_FOR:
            return
        last = self._looked_at.get(approval.id)
        if last is not None and self.clock.monotonic() - last < _RECONCILE_EVERY_S:
            return
        self._looked_at[approval.id] = self.clock.monotonic()
        self.settle(approval)

    def cancel(self) -> None:
        """Look no more; what is not settled is settled at next start."""
        for look in self._settling.values():
            look.cancel()
