"""The one place where a tool call is executed: reads in parallel, approved actions once and in order."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog

from opsbot import approvals
from opsbot.actions import Catalogue, Prepared
from opsbot.campaign import Campaign, Control, HostTurns, Progress
from opsbot.checkpoint import Checkpoint
from opsbot.domain import (
    Action,
    Approval,
    ApprovalState,
    Closing,
    Decision,
    Host,
    HostOutcome,
    Impact,
    Json,
    Operation,
    Result,
)
from opsbot.errors import (
    ApprovalError,
    Expired,
    Fenced,
    Held,
    HeldBack,
    HostUnreachable,
    OpsbotError,
    Stale,
    ToolError,
)
from opsbot.policy import PolicyRules
from opsbot.ports import Clock, Machines, Store
from opsbot.reads import FanOut, Reads
from opsbot.rollout import host_steps
from opsbot.scrutiny import Scrutiny
from opsbot.workshop import GRACE_S, Surroundings, Workshop, typed

log = structlog.get_logger(__name__)

_VERIFY_TIMEOUT_S = 90.0
# An action whose intent took longer than this to be on disk is not run: what follows could not be recorded in time.
_INTENT_MAX_S = 4.0

_NOT_LOOKED = (Result.UNKNOWN, "opsbot ended each time it looked, so it looks no more: see for yourself.")
_OVERTAKEN = "Request {} acted on the same there since, so what became of this one cannot be told any more."

T = TypeVar("T")


class Executor:
    """Runs tools in worker threads, reads and actions apart, so that neither starves the other."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        machines: Machines,
        store: Store,
        rules: PolicyRules,
        clock: Clock,
        surroundings: Surroundings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._surroundings = surroundings
        self._intake = surroundings.intake
        self.checkpoint = Checkpoint(store, clock, surroundings.brakes)
        self._workshop = Workshop(catalogue, machines, surroundings)
        self._reads = Reads(self._workshop, surroundings.intake, clock, surroundings.threads)
        self.scrutiny = Scrutiny(catalogue, store, rules, clock, surroundings.identify, self.checkpoint, self._reads)
        self._writes = ThreadPoolExecutor(surroundings.threads, "opsbot-write")
        self._turns = HostTurns()

    def close(self) -> None:
        """Take no more work; threads in flight end by their own deadlines."""
        self._reads.close()
        self._writes.shutdown(wait=False, cancel_futures=True)

    # --- looking -----------------------------------------------------------------------------------------------------

    async def read(self, prepared: Prepared) -> FanOut:
        """As `Reads.read`."""
        return await self._reads.read(prepared)

    async def impacts(self, prepared: Prepared) -> dict[str, Impact]:
        """As `Reads.impacts`."""
        return await self._reads.impacts(prepared)

    async def unavailable(self, prepared: Prepared) -> frozenset[str]:
        """As `Reads.unavailable`."""
        return await self._reads.unavailable(prepared)

    async def recheck(self, approval: Approval, hosts: Sequence[str]) -> Prepared:
        """As `Scrutiny.recheck`."""
        return await self.scrutiny.recheck(approval, hosts)

    async def judged(self, approval: Approval, action: Action) -> tuple[Prepared, Decision]:
        """As `Scrutiny.judged`."""
        return await self.scrutiny.judged(approval, action)

    # --- actions -----------------------------------------------------------------------------------------------------

    async def execute(self, approval: Approval, progress: Progress, control: Control | None = None) -> Approval:
        """Carry out an approved action, once: re-check, claim, run, verify; batch by batch, stopping at a failure.

        Returns the record in its final state. Nothing raised from a host escapes.

        Raises:
            Conflict: somebody else is executing it.
            StoreError: the intent could not be recorded, so nothing was run.
        """
        seen = self._turns.counts(approval.action.hosts)
        try:
            approvals.check_in_time(approval, self._clock.moment())
            prepared = await self.recheck(approval, approval.action.hosts)
            approvals.check_in_time(approval, self._clock.moment())
        except ApprovalError as error:
            state = ApprovalState.EXPIRED if isinstance(error, Expired) else ApprovalState.STALE
            refused = replace(approval, state=state, note=str(error))
            return await self.save(refused, approval, "execution.refused", note=str(error))
        running = replace(approval, state=ApprovalState.EXECUTING)
        running = await self.save(running, approval, "execution.started")
        await progress(running, host_steps(running, {}))
        campaign = Campaign(
            hands=self,
            approval=running,
            prepared=prepared,
            rollout=self.scrutiny.rules.rollout,
            control=control or Control(prepared.action.hosts),
            turns=self._turns,
            seen=seen,
            progress=progress,
            clock=self._clock,
        )
        return await campaign.run()

    async def reconcile(self, approval: Approval, *, look: bool = True) -> Approval:
        """Settle an action whose end was never recorded, by looking at its hosts; nothing is run again.

        Not `look`: looking itself has ended opsbot too often, so people have to.
        """
        started = await self._store.operations.started(approval.id)
        known = {outcome.host: outcome for outcome in approval.outcomes if outcome.result is not Result.UNKNOWN}
        outcomes = []
        for name in approval.action.hosts:
            if name in known:
                outcomes.append(known[name])
            elif name in started:
                outcomes.append(await self._settled(approval, name, look=look))
        note = "opsbot was interrupted during this action and looked at the host afterwards; nothing was run twice."
        if not outcomes:
            note = "opsbot was interrupted before the command was sent; nothing was run. Ask again."
        final = approvals.conclude(approval, outcomes, note=note)
        if final.state is approval.state and final.outcomes == approval.outcomes:
            return approval
        return await self.save(final, approval, "execution.reconciled", ended=outcomes, note=note)

    async def _settled(self, approval: Approval, name: str, *, look: bool) -> HostOutcome:
        overtaking = await self._store.operations.overtaken(approval.id, name)
        if overtaking is not None:
            return HostOutcome(name, Result.UNKNOWN, _OVERTAKEN.format(overtaking))
        return await self._look(approval, name) if look else HostOutcome(name, *_NOT_LOOKED)

    async def _look(self, approval: Approval, name: str) -> HostOutcome:
        try:
            prepared = self.scrutiny.catalogue.from_words(approval.action.tool, [name], approval.action.arguments)
        except ToolError as error:
            return HostOutcome(name, Result.UNKNOWN, f"Cannot be looked at any more: {self._reads.said(error)}")
        return await self._verify(prepared, prepared.hosts[0], approval)

    async def run_host(self, approval: Approval, prepared: Prepared, host: Host) -> HostOutcome:
        """Act on one host, once, and verify it; what was begun before is only looked at.

        In this order: the intent is recorded and the row claimed, in one transaction; it is looked once more whether
        it may be done; it is done.

        Raises:
            Conflict, StoreError: the intent could not be recorded, so nothing was run.
            ApprovalError: it may not be begun any more, so nothing was run.
        """
        self._check_may_begin(approval)
        intent = approvals.entry(approval, "execution.intent", self._clock.now(), facts={"host": host.name})
        requester = self.scrutiny.rules.person(approval.requester)
        operation = Operation(approval, host.name, prepared.targets, self.checkpoint.moment(), requester)
        began_s = self._clock.monotonic()
        try:
            claimed = await self._store.operations.claim(operation, intent, caps=self.checkpoint.caps)
        except HeldBack as error:
            raise Stale(f"stale:{error.rule}: {error}") from error
        if not claimed:
            return await self._verify(prepared, host, approval)
        took_s = self._clock.monotonic() - began_s
        if took_s > _INTENT_MAX_S:
            text = f"Not run: it took {took_s:.1f} s to write the intent down, so the disk is not to be relied on."
            return HostOutcome(host.name, Result.NOT_DONE, text)
        await self._look_once_more(approval, prepared, host)
        return await self._act(approval, prepared, host)

    async def _look_once_more(self, approval: Approval, prepared: Prepared, host: Host) -> None:
        """Look, once the intent is on disk, whether this may be done: time, policy, digest, brakes.

        Raises:
            ApprovalError: it may not.
        """
        self._check_may_begin(approval)
        await self.judged(approval, approval.action)
        await self.scrutiny.check_brakes([host], prepared)

    def _check_may_begin(self, approval: Approval) -> None:
        """An action begins while its approval lasts; what began in time goes on over its other hosts."""
        if not approval.outcomes:
            approvals.check_in_time(approval, self._clock.moment())

    async def _act(self, approval: Approval, prepared: Prepared, host: Host) -> HostOutcome:
        """Send the command once, then let the host say what became of it.

        Raises:
            ApprovalError: in the last moment it may not be sent any more, and nothing was.
        """
        commands = 0

        def check() -> None:
            nonlocal commands
            commands += 1
            self._surroundings.check()
            self.checkpoint.check_now([host], prepared.targets)
            if commands == 1:
                self._check_may_begin(approval)

        # Here and nowhere else the account that acts logs in; everything else looks.
        acting = replace(host, acting=True)
        call = partial(self._workshop.call, prepared.tool, prepared.action.arguments, acting, check=check)
        trouble = ""
        try:
            await self._within(prepared.tool.timeout_s, call)
        except ApprovalError:
            raise
        except (Held, HostUnreachable, Fenced) as error:
            if commands <= 1:
                return self._not_sent(host, error)
            trouble = str(error)
        except (ToolError, TimeoutError) as error:
            trouble = str(error) or f"The tool did not end within its {prepared.tool.timeout_s:.0f} s."
        except Exception as error:
            log.exception("tool.crashed", tool=prepared.tool.name)
            trouble = f"The tool itself failed ({type(error).__name__}); the log has the rest."
        outcome = await self._verify(prepared, host, approval)
        if not trouble:
            return outcome
        return replace(outcome, summary=f"{outcome.summary} ({self._intake.line(trouble)})")

    def _not_sent(self, host: Host, error: OpsbotError) -> HostOutcome:
        """Say that not even the first command was sent. Raises Stale, if it was held back."""
        if isinstance(error, Held):
            raise Stale(f"stale:{error.rule}: {error}") from error
        return HostOutcome(host.name, Result.NOT_DONE, f"Not run: {self._reads.said(error)}")

    async def _verify(self, prepared: Prepared, host: Host, approval: Approval) -> HostOutcome:
        verify = prepared.tool.verify
        before = approval.impacts.get(host.name)
        if verify is None or before is None:
            return HostOutcome(host.name, Result.UNKNOWN, "Nothing to compare with, so the outcome is not known.")
        arguments = typed(prepared.tool, prepared.action.arguments)
        call = partial(verify, self._workshop.context(_VERIFY_TIMEOUT_S), host, before, **arguments)
        try:
            return self._intake.outcome(await self._within(_VERIFY_TIMEOUT_S, call))
        except OpsbotError as error:
            return HostOutcome(
                host.name, Result.UNKNOWN, f"The host could not be asked afterwards: {self._reads.said(error)}"
            )
        except TimeoutError:
            return HostOutcome(host.name, Result.UNKNOWN, "The host could not be asked afterwards: no answer in time.")
        except Exception as error:
            log.exception("verify.crashed", tool=prepared.tool.name)
            return HostOutcome(host.name, Result.UNKNOWN, f"Verification itself failed ({type(error).__name__}).")

    async def _within(self, timeout_s: float, call: Callable[[], T]) -> T:
        """Run in a write thread. Raises TimeoutError if it ignores its deadline; the thread is left to itself."""
        running = asyncio.get_running_loop().run_in_executor(self._writes, call)
        return await asyncio.wait_for(running, timeout_s + GRACE_S)

    async def save(
        self, new: Approval, old: Approval, kind: str = "", *, ended: Sequence[HostOutcome] = (), **facts: Json
    ) -> Approval:
        """Write the record with an audit entry of this kind, and one for each operation that `ended`.

        Raises:
            Conflict, StoreError: nothing was written.
        """
        now = self._clock.now()
        records = [approvals.entry(new, kind, now, facts=facts)] if kind else []
        closings = [Closing(each.host, each.result, approvals.ending(new, each, now)) for each in ended]
        return await self._store.approvals.change(
            new, expected=(old.state, old.version), entries=records, closings=closings
        )
