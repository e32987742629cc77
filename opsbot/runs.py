"""Actions under way in this process: each carried out under its lease, its card kept current, its end reported."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from opsbot.campaign import Control
from opsbot.domain import Approval, Step, Text, run_lease
from opsbot.errors import Conflict, StoreError
from opsbot.executor import Executor
from opsbot.register import Register
from opsbot.replica import Replica

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Runs:
    """Begins each action once. `ended` is told of each that was seen through to its end."""

    register: Register
    executor: Executor
    replica: Replica
    ended: Callable[[Approval], Awaitable[None]]
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _controls: dict[str, Control] = field(default_factory=dict)
    _newest: dict[str, tuple[Approval, tuple[Step, ...]]] = field(default_factory=dict)
    _refreshing: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _unreported: set[str] = field(default_factory=set)

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """The actions under way."""
        return tuple(self._running.values())

    def has(self, approval_id: str) -> bool:
        """Whether it is under way here."""
        return approval_id in self._running

    def control(self, approval_id: str) -> Control | None:
        """Return what people's orders reach an action under way by; None: it is not under way here."""
        return self._controls.get(approval_id)

    def start(self, approval: Approval) -> None:
        """Begin to carry it out, unless that is under way."""
        if approval.id not in self._running:
            control = self._controls[approval.id] = Control(approval.action.hosts)
            task = asyncio.create_task(self._run(approval, control), name=f"execute {approval.id}")
            self._running[approval.id] = task
            task.add_done_callback(lambda _: self._forget(approval.id))

    def _forget(self, approval_id: str) -> None:
        for kept in (self._running, self._controls, self._newest):
            kept.pop(approval_id, None)

    async def _run(self, approval: Approval, control: Control) -> None:
        """Execute, keep the card current, report the end. The sweep settles whatever is cut short here.

        Only under its lease: what a living replica has begun is never settled by another one.
        """
        lease = run_lease(approval.id)
        try:
            if await self.replica.take(lease) is None:
                return
            final = await self.executor.execute(approval, self._progress, control)
            log.info("execution.finished", approval_id=final.id, state=final.state)
            if approval.id in self._refreshing:
                await asyncio.wait({self._refreshing[approval.id]})  # else an old state could overtake the last one
            await self.ended(final)
        except (Conflict, StoreError) as error:
            log.error("execution.interrupted", approval_id=approval.id, error=str(error))
            self._unreported.add(approval.id)
            await self._tell_trouble(approval, error)
        except Exception:
            log.exception("execution.crashed", approval_id=approval.id)
        await self.replica.drop(lease)

    async def _tell_trouble(self, approval: Approval, error: Conflict | StoreError) -> None:
        """Tell who approved, once, why it does not go on: the card cannot be written either."""
        if isinstance(error, Conflict) or approval.id in self._told:
            return
        self._told.add(approval.id)
        text = (
            f"Request {approval.id} was not carried out further, since I can write nothing down: {error} Nothing is "
            "run unrecorded. The card shows how it ended once I can write again."
        )
        for actor in (approval.requester, *(review.actor for review in approval.reviews)):
            await self.register.delivery.whisper(approval.place, actor, Text(text, trusted=True))

    def unreported(self) -> tuple[str, ...]:
        """Return which were interrupted and are under way no more, until `reported`."""
        return tuple(self._unreported - self._running.keys())

    def reported(self, approval_id: str) -> None:
        """Note that the end of an interrupted one is known and told."""
        self._unreported.discard(approval_id)

    async def show_order(self, approval_id: str) -> None:
        """Refresh the card at once, not only when a host has something new to say."""
        if approval_id in self._newest:
            await self._progress(*self._newest[approval_id])

    async def show_all(self) -> None:
        """Refresh the cards of all: what holds them back may have changed."""
        for newest in list(self._newest.values()):
            await self._progress(*newest)

    async def _progress(self, approval: Approval, steps: tuple[Step, ...]) -> None:
        """Refresh the card beside the action: a slow chat service must not hold up what happens on hosts."""
        self._newest[approval.id] = (approval, steps)
        if approval.id not in self._refreshing:
            task = asyncio.create_task(self._refresh(approval.id))
            self._refreshing[approval.id] = task
            task.add_done_callback(lambda _: self._refreshing.pop(approval.id, None))

    async def _refresh(self, approval_id: str) -> None:
        """Show the newest state, and again while there is a newer one: the last before a pause must not be missed."""
        shown: tuple[object, ...] = ()
        while (newest := self._newest.get(approval_id)) is not None:
            control = self._controls.get(approval_id)
            order = control.order if control else None
            looks = (*newest, order, self.executor.scrutiny.held(newest[0]))
            if shown == looks:
                return
            shown = looks
            try:
                await self.register.delivery.card(*newest, order)
            except StoreError as error:
                log.warning("card.not_refreshed", approval_id=approval_id, error=str(error))

    async def drain(self, timeout_s: float) -> None:
        """Wait for them to end, without beginning more hosts."""
        for control in self._controls.values():
            control.leave()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=timeout_s)
