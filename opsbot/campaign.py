"""One approved action's way over its hosts: batch after batch, each looked at anew; people can pause or stop it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from opsbot import approvals
from opsbot.actions import Prepared
from opsbot.domain import Approval, ApprovalState, Host, HostOutcome, Json, Order, OrderVerb, Result, Rollout, Step
from opsbot.errors import AlreadyDecided, ApprovalError, Conflict, Expired, StoreError
from opsbot.ports import Clock
from opsbot.rollout import host_steps, next_batch, pause_text

# Seconds between two looks at a running action, for the card.
_TICK_S = 2.0

Progress = Callable[[Approval, tuple[Step, ...]], Awaitable[None]]


class HostTurns:
    """One action at a time on each host. `counts` tells who had to wait that somebody was there before."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._ended: Counter[str] = Counter()

    def take(self, host: str) -> asyncio.Lock:
        """Return what to hold while acting on this host."""
        return self._locks.setdefault(host, asyncio.Lock())

    def end(self, host: str) -> None:
        """Note that something was done on this host."""
        self._ended[host] += 1

    def counts(self, hosts: Iterable[str]) -> dict[str, int]:
        """How often something was done on each of these hosts."""
        return {host: self._ended[host] for host in hosts}


class Control:
    """What people order an action under way.

    Whoever starts a host and whoever gives an order holds `lock` meanwhile: an accepted order counts for every host
    that is started after it. `unstarted` are the hosts it can still count for.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self.lock = asyncio.Lock()
        self.order: Order | None = None
        self.ordered_at_s = 0.0
        self.unstarted = set(hosts)
        self.over = False
        self.leaving = False
        self.news = asyncio.Event()

    def check(self, verb: OrderVerb) -> None:
        """Check that such an order can count now.

        Raises:
            AlreadyDecided: it cannot; the text says why.
        """
        if self.over:
            raise AlreadyDecided("It is over: nothing more is started. The card shows how it ended.")
        given = self.order
        if given is not None and given.verb is OrderVerb.HALT:
            raise AlreadyDecided(f"It is being stopped already, as {_who(given)} said.")
        if verb is OrderVerb.RESUME:
            if given is None:
                raise AlreadyDecided("It is not paused.")
        elif not self.unstarted:
            raise AlreadyDecided(
                f"Every host has been started and none is ever interrupted: nothing is left to {verb}."
            )
        elif given is not None and verb is OrderVerb.PAUSE:
            raise AlreadyDecided(f"It is paused already, as {_who(given)} said.")

    def obey(self, order: Order, at_s: float) -> None:
        """Let the order count from now (`at_s` on the monotonic clock) on."""
        self.order = None if order.verb is OrderVerb.RESUME else order
        self.ordered_at_s = at_s
        self._wake()

    def leave(self) -> None:
        """The process is about to end: start nothing more of what has begun."""
        self.leaving = True
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


class Hands(Protocol):
    """What carries an action out; the executor."""

    async def recheck(self, approval: Approval, hosts: Sequence[str]) -> Prepared:
        """Check that what was approved would run, and that these hosts are as on the card. Raises ApprovalError."""
        ...

    async def unavailable(self, prepared: Prepared) -> frozenset[str]:
        """Return which of the action's hosts do not serve now, or cannot say."""
        ...

    async def run_host(self, approval: Approval, prepared: Prepared, host: Host) -> HostOutcome:
        """Act on one host, once, and verify it.

        Raises:
            Conflict, StoreError: the intent could not be recorded, so nothing was run.
            ApprovalError: it may not be begun any more, so nothing was run.
        """
        ...

    async def save(
        self, new: Approval, old: Approval, kind: str = "", *, ended: Sequence[HostOutcome] = (), **facts: Json
    ) -> Approval:
        """Write the record with its audit entry, and one for each that `ended`. Raises Conflict, StoreError."""
        ...


@dataclass(slots=True)
class Campaign:
    """Runs once. `approval` is the newest record and written here alone; `prepared` was checked just now.

    `seen` are the counts of `turns` from before that check.
    """

    hands: Hands
    approval: Approval
    prepared: Prepared
    rollout: Rollout
    control: Control
    turns: HostTurns
    seen: dict[str, int]
    progress: Progress
    clock: Clock
    _checked: bool = True
    _began_at_s: dict[str, float] = field(default_factory=dict)
    _trouble: Conflict | StoreError | None = None
    _refused: ApprovalError | None = None
    _not_begun: set[str] = field(default_factory=set)

    async def run(self) -> Approval:
        """Go over the hosts to the end, or to the first that is not done, or until somebody stops it.

        Raises:
            Conflict, StoreError: the record cannot be written; hosts under way were waited for, no more were started.
        """
        note = ""
        try:
            while not note and self._goes_on():
                note = await self._go_on()
        except ApprovalError as error:
            self._refused = error
        finally:
            async with self.control.lock:
                self.control.over = True
        if self._trouble is not None:
            raise self._trouble
        note = note or str(self._refused or "") or self._why_ended()
        if self._refused is not None and self._nothing_done():
            state = ApprovalState.EXPIRED if isinstance(self._refused, Expired) else ApprovalState.STALE
            final = replace(self.approval, state=state, note=note)
            return await self.hands.save(final, self.approval, "execution.refused", note=note)
        final = approvals.conclude(self.approval, self.approval.outcomes, note=note)
        return await self.hands.save(final, self.approval, "execution.finished", note=final.note)

    def _nothing_done(self) -> bool:
        return all(outcome.result is Result.NOT_DONE for outcome in self.approval.outcomes)

    def _goes_on(self) -> bool:
        all_done = all(outcome.result is Result.DONE for outcome in self.approval.outcomes)
        return all_done and not self._trouble and not self._refused and bool(self.approval.untouched)

    def _why_ended(self) -> str:
        bad = [outcome.host for outcome in self.approval.outcomes if outcome.result is not Result.DONE]
        return f"Stopped, since it is not done on {', '.join(bad)}." if bad and self.approval.untouched else ""

    async def _go_on(self) -> str:
        """Begin the next batch as soon as it may, and see it through. Returns why nothing more may be begun, or ""."""
        if note := await self._released():
            return note
        away = await self.hands.unavailable(self.prepared) if len(self.approval.action.hosts) > 1 else frozenset()
        left = self.approval.untouched
        names = next_batch(self.rollout, left, away, ended=len(self.approval.outcomes))
        if not names:
            return (
                f"Stopped before {left[0]}: {', '.join(sorted(away))} out of service or not answering, "
                f"and no more than {self.rollout.max_unavailable} of these hosts may be."
            )
        if not self._checked:
            self.seen = self.turns.counts(names)
            self.prepared = await self.hands.recheck(self.approval, names)
        self._checked = False
        await self._see_through([host for host in self.prepared.hosts if host.name in names])
        return ""

    async def _released(self) -> str:
        """Wait while it is paused. Returns why it does not go on, or ""."""
        while True:
            news, order = self.control.news, self.control.order
            if self.control.leaving and (order or self.approval.outcomes):
                return "opsbot was shut down in between."
            if order is None:
                return ""
            if order.verb is OrderVerb.HALT:
                self.approval = replace(self.approval, halted=order)
                return f"Stopped by a person at {_time(order.at)}."
            left_s = self.control.ordered_at_s + self.rollout.pause_max_s - self.clock.monotonic()
            if left_s <= 0 and await self._still(order):
                return f"It was paused for longer than {pause_text(self.rollout)}, so it was stopped."
            self._checked = False
            await self._tell()
            await _first(news.wait(), self.clock.sleep(left_s))

    async def _still(self, order: Order) -> bool:
        """End it for good if the order still counts: a click that comes now is too late."""
        async with self.control.lock:
            self.control.over = self.control.order is order
            return self.control.over

    async def _see_through(self, hosts: Sequence[Host]) -> None:
        """Act on these hosts side by side; each outcome is recorded and shown as it comes."""
        under_way = {asyncio.create_task(self._host(host)) for host in hosts}
        await asyncio.sleep(0)  # so that the first look finds them begun
        while under_way:
            await self._tell()
            ended, under_way = await asyncio.wait(under_way, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                await self._record(task)

    async def _host(self, host: Host) -> HostOutcome | None:
        """Act on one host when its turn comes, unless nothing may be begun any more. None: it was not touched."""
        async with self.turns.take(host.name):
            async with self.control.lock:
                somebody_was_here = self.turns.counts([host.name])[host.name] != self.seen[host.name]
                held_up = self.control.order is not None or not self._goes_on()
                if somebody_was_here or held_up:
                    return None
                self.control.unstarted.discard(host.name)
                self._began_at_s[host.name] = self.clock.monotonic()
            try:
                return await self.hands.run_host(self.approval, self.prepared, host)
            except ApprovalError as error:
                self._refused = error
                self._not_begun.add(host.name)
                return HostOutcome(host.name, Result.NOT_DONE, f"Not run. {error}")
            finally:
                self.turns.end(host.name)
                self._began_at_s.pop(host.name)

    async def _record(self, task: "asyncio.Task[HostOutcome | None]") -> None:
        """Write an outcome down. Trouble is kept until every host under way has ended: they are not left alone."""
        try:
            outcome = task.result()
            if outcome is None:
                return
            order = self.approval.action.hosts.index
            outcomes = sorted((*self.approval.outcomes, outcome), key=lambda each: order(each.host))
            new = replace(self.approval, outcomes=tuple(outcomes))
            kind = "execution.not_begun" if outcome.host in self._not_begun else ""
            self.approval = await self.hands.save(new, self.approval, kind, ended=[outcome], host=outcome.host)
        except (Conflict, StoreError) as error:
            self._trouble = self._trouble or error

    async def _tell(self) -> None:
        now_s = self.clock.monotonic()
        elapsed_s = {name: now_s - began_at_s for name, began_at_s in self._began_at_s.items()}
        await self.progress(self.approval, host_steps(self.approval, elapsed_s, waiting=self._waiting()))

    def _waiting(self) -> str:
        paused = self.control.order is not None and self.control.order.verb is OrderVerb.PAUSE
        return "paused" if paused else "waiting"


async def _first(*waits: Awaitable[object]) -> None:
    """Return when one of them does."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _who(order: Order) -> str:
    return f"<@{order.actor.user_id}> at {_time(order.at)}"


def _time(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"
