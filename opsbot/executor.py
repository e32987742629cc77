"""The one place where a tool call is executed: reads in parallel, approved actions once and in order."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import structlog

from opsbot import approvals, bindings, standing
from opsbot.actions import Catalogue, Prepared
from opsbot.campaign import Campaign, Control, HostTurns, Progress
from opsbot.checkpoint import Brakes, Checkpoint
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
    Risk,
    Verdict,
)
from opsbot.errors import (
    ApprovalError,
    BadArguments,
    CommandTimedOut,
    Expired,
    Fenced,
    Held,
    HeldBack,
    HostUnreachable,
    OpsbotError,
    Stale,
    ToolError,
)
from opsbot.holds import told
from opsbot.identity import Identify, unchanged
from opsbot.intake import Intake, Taken, as_json
from opsbot.lanes import Lanes
from opsbot.passage_ports import Library
from opsbot.policy import PolicyRules, after_reading, decide
from opsbot.ports import Clock, Machines, Past, Store
from opsbot.rollout import host_steps
from opsbot.tooling import Container, Context, Tool, Unit

log = structlog.get_logger(__name__)

# A tool's thread may end this much after its deadline before the answer goes out without it.
GRACE_S = 1.0
_VERIFY_TIMEOUT_S = 90.0
_IMPACT_TIMEOUT_S = 15.0
_AVAILABLE_TIMEOUT_S = 10.0
# An action whose intent took longer than this to be on disk is not run: what follows could not be recorded in time.
_INTENT_MAX_S = 4.0
_ERROR_MAX = 2000

_NOT_LOOKED = (Result.UNKNOWN, "opsbot ended each time it looked, so it looks no more: see for yourself.")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FanOut:
    """Per-host results and errors of one read, taken in. Host-less tools use the host name "".

    `untrusted`: they hold free text; `left_out`: items too many to take in.
    """

    results: Mapping[str, Any]
    errors: Mapping[str, str]
    combined: object = None
    untrusted: bool = True
    left_out: int = 0

    def as_json(self, sighting: Mapping[str, Json] = MappingProxyType({})) -> str:
        """The answer for the model, with when and how it was seen; a host-less tool's result stands alone."""
        if set(self.results) == {""}:
            return as_json(self.results[""])
        content: dict[str, Any] = {"results": dict(self.results)} if self.combined is None else {"all": self.combined}
        if self.errors:
            content["errors"] = dict(self.errors)
        if self.left_out:
            content["left_out"] = f"{self.left_out:,} items"
        return as_json(content | dict(sighting))


def _unchecked() -> None:
    """For reads, and where nothing can be in the way."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What tools run in: so many `threads` for reads (besides those of slow hosts) and as many for actions.

    `sleep` is how a tool waits (seconds). What hosts say passes `intake` before anything else sees it.
    `past`: what was measured earlier. `library`: what was written down. `identify`: who somebody is now. `check` is
    called right before each command of an action, in its thread, and raises Fenced when it must not be sent any more.
    `brakes`: what else can hold it back.
    """

    intake: Intake
    threads: int = 32
    sleep: Callable[[float], None] = time.sleep
    past: Past | None = None
    identify: Identify = unchanged
    check: Callable[[], None] = _unchecked
    brakes: Brakes = field(default_factory=Brakes)
    library: Library | None = None


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
        self._catalogue = catalogue
        self._machines = machines
        self._store = store
        self._rules = rules
        self._clock = clock
        self._surroundings = surroundings
        self.checkpoint = Checkpoint(store, clock, surroundings.brakes)
        self._intake = surroundings.intake
        self._reads = Lanes(surroundings.threads, "opsbot-read")
        self._writes = ThreadPoolExecutor(surroundings.threads, "opsbot-write")
        self._turns = HostTurns()

    def close(self) -> None:
        """Take no more work; threads in flight end by their own deadlines."""
        self._reads.close()
        self._writes.shutdown(wait=False, cancel_futures=True)

    # --- reads -------------------------------------------------------------------------------------------------------

    async def read(self, prepared: Prepared) -> FanOut:
        """Run a reading tool on all its hosts in parallel; a slow host delays nobody past the tool's deadline.

        Raises:
            BadArguments: the tool is not a read. A failing host is an entry in `errors`, never an exception.
        """
        began = self._clock.monotonic()
        found = await self._look_at(prepared)
        log.info(
            "tool.finished",
            tool=prepared.tool.name,
            answered=len(found.results),
            failed=len(found.errors),
            duration_s=round(self._clock.monotonic() - began, 3),
        )
        return found

    async def _look_at(self, prepared: Prepared) -> FanOut:
        tool = prepared.tool
        if tool.risk is not Risk.READ:
            raise BadArguments(f"{tool.name} changes things, so it is not run as a read.")
        if not tool.takes_host:
            outcome = await self._attempt(
                prepared, partial(self._take, tool, prepared.action.arguments), tool.timeout_s
            )
            return self._together(tool, {"": outcome})
        take = partial(self._take, tool, prepared.action.arguments)
        return self._together(tool, await self._on_each(prepared, take, tool.timeout_s))

    async def _on_each(
        self, prepared: Prepared, call: Callable[[Host], T], timeout_s: float
    ) -> dict[str, T | OpsbotError]:
        """Run it for all hosts in parallel; give back what came of it on each, by name."""
        async with asyncio.TaskGroup() as group:
            attempts = {
                host.name: group.create_task(self._attempt(prepared, partial(call, host), timeout_s, host.name))
                for host in prepared.hosts
            }
        return {name: attempt.result() for name, attempt in attempts.items()}

    def _together(self, tool: Tool, outcomes: Mapping[str, Taken | OpsbotError]) -> FanOut:
        taken = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Taken)}
        results = {name: outcome.value for name, outcome in taken.items()}
        errors = {name: self._said(outcome) for name, outcome in outcomes.items() if isinstance(outcome, OpsbotError)}
        return FanOut(
            results,
            errors,
            tool.combine(results) if tool.combine and results else None,
            # Errors quote what hosts said.
            untrusted=tool.taints or bool(errors) or any(outcome.untrusted for outcome in taken.values()),
            left_out=sum(outcome.left_out for outcome in taken.values()),
        )

    def _said(self, error: OpsbotError) -> str:
        return self._intake.text(str(error), limit=_ERROR_MAX)

    async def impacts(self, prepared: Prepared) -> dict[str, Impact]:
        """Collect what an action would hit, on every host.

        Raises:
            ToolError: a host could not be examined; an action there is not proposed.
        """
        function = prepared.tool.impact
        if function is None:
            raise BadArguments(f"{prepared.tool.name} cannot say what it would hit, so it is not proposed.")
        arguments = self._arguments(prepared.tool, prepared.action.arguments)

        def look(host: Host) -> Impact:
            return self._intake.impact(function(self._context(_IMPACT_TIMEOUT_S), host, **arguments))

        outcomes = await self._on_each(prepared, look, _IMPACT_TIMEOUT_S)
        errors = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, OpsbotError)}
        if errors:
            failed = "; ".join(f"{name}: {self._said(error)}" for name, error in errors.items())
            raise ToolError(f"Not proposed, since the target could not be examined. {failed}")
        return {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Impact)}

    async def unavailable(self, prepared: Prepared) -> frozenset[str]:
        """Return which hosts do not serve now, as far as the tool can tell; one that cannot say counts."""
        function = prepared.tool.available
        if function is None:
            return frozenset()
        arguments = self._arguments(prepared.tool, prepared.action.arguments)

        def look(host: Host) -> bool:
            return function(self._context(_AVAILABLE_TIMEOUT_S), host, **arguments)

        outcomes = await self._on_each(prepared, look, _AVAILABLE_TIMEOUT_S)
        return frozenset(name for name, outcome in outcomes.items() if outcome is not True)

    async def _attempt(
        self, prepared: Prepared, call: Callable[[], T], timeout_s: float, host: str | None = None
    ) -> T | OpsbotError:
        """Run in a read thread; give back the error instead of raising it, so that one host never hides another."""
        try:
            return await self._reads.run(call, timeout_s + GRACE_S, asker=id(prepared), target=host)
        except TimeoutError:
            return CommandTimedOut(f"No answer within {timeout_s:.0f} s.")
        except OpsbotError as error:
            return error
        except Exception as error:
            log.exception("tool.crashed")
            return ToolError(f"The tool itself failed ({type(error).__name__}); the log has the rest.")

    def _take(self, tool: Tool, arguments: Mapping[str, Any], host: Host | None = None) -> Taken:
        return self._intake.value(self._call(tool, arguments, host))

    def _call(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        host: Host | None = None,
        *,
        check: Callable[[], None] | None = None,
    ) -> Any:
        context = self._context(tool.timeout_s, check=check)
        checked = self._arguments(tool, arguments)
        return tool.function(context, host, **checked) if host else tool.function(context, **checked)

    def _context(self, timeout_s: float, *, check: Callable[[], None] | None = None) -> Context:
        """What a tool works with: only to look, unless there is a `check` before each of its commands."""
        hosts = tuple(self._catalogue.inventory.hosts.values())
        around = self._surroundings
        context = Context(
            self._machines,
            timeout_s=timeout_s,
            hosts=hosts,
            sleep=around.sleep,
            past=around.past,
            library=around.library,
            check=check or _unchecked,
        )
        return context if check is not None else context.looking()

    def _arguments(self, tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
        kinds: dict[str, type[str]] = {parameter.name: Unit for parameter in tool.parameters if parameter.is_unit}
        kinds |= {parameter.name: Container for parameter in tool.parameters if parameter.is_container}
        return {
            name: kinds[name](value) if name in kinds and value is not None else value
            for name, value in arguments.items()
        }

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
            rollout=self._rules.rollout,
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
                outcomes.append(await self._look(approval, name) if look else HostOutcome(name, *_NOT_LOOKED))
        note = "opsbot was interrupted during this action and looked at the host afterwards; nothing was run twice."
        if not outcomes:
            note = "opsbot was interrupted before the command was sent; nothing was run. Ask again."
        final = approvals.conclude(approval, outcomes, note=note)
        if final.state is approval.state and final.outcomes == approval.outcomes:
            return approval
        return await self.save(final, approval, "execution.reconciled", ended=outcomes, note=note)

    async def _look(self, approval: Approval, name: str) -> HostOutcome:
        try:
            prepared = self._catalogue.from_words(approval.action.tool, [name], approval.action.arguments)
        except ToolError as error:
            return HostOutcome(name, Result.UNKNOWN, f"Cannot be looked at any more: {self._said(error)}")
        return await self._verify(prepared, prepared.hosts[0], approval)

    async def recheck(self, approval: Approval, hosts: Sequence[str]) -> Prepared:
        """Check that what was approved is still what would run, and that these of its hosts are as on the card.

        Raises:
            ApprovalError: it is not.
        """
        prepared, decision = await self.judged(approval, approval.action)
        approvals.check_tier(approval, decision)
        identify = self._surroundings.identify
        reviewers = [await identify(review.actor) for review in approval.reviews if review.approve]
        approvals.check_reviews(approval, reviewers, self._rules)
        await self._check_standing(approval)
        await self._check_brakes([host for host in prepared.hosts if host.name in hosts], prepared)
        try:
            now = await self.impacts(
                replace(prepared, hosts=tuple(host for host in prepared.hosts if host.name in hosts))
            )
        except ToolError as error:
            raise Stale(f"stale:target: {error}") from error
        for name in now:
            impact = approval.impacts[name]
            changed = [key for key, value in impact.fingerprint.items() if now[name].fingerprint.get(key) != value]
            if changed:
                what = ", ".join(key.replace("_", " ") for key in changed)
                raise Stale(f"stale:target: {name} changed since the card was made ({what}). Ask again.")
        return prepared

    async def judged(self, approval: Approval, action: Action) -> tuple[Prepared, Decision]:
        """Return this action, the request's own or a part of it, as tools, hosts and policy are now.

        Raises:
            Stale: the request is no longer what was asked.
        """
        prepared, decision = await self._judge(approval, approval.action)
        bindings.check_unchanged(approval, bindings.bind(prepared, self._rules))
        return (prepared, decision) if action == approval.action else await self._judge(approval, action)

    async def _judge(self, approval: Approval, action: Action) -> tuple[Prepared, Decision]:
        try:
            prepared = self._catalogue.from_words(action.tool, action.hosts, action.arguments)
        except ToolError as error:
            raise Stale(f"stale:inventory: {error}") from error
        requester = await self._surroundings.identify(approval.requester)
        decision = decide(self._rules, prepared.question(requester, approval.place, self._clock.now()))
        decision = after_reading(self._rules, decision, approval.tainted_by)
        if decision.verdict is not Verdict.NEED_APPROVAL:
            raise Stale(f"stale:policy: {decision.reason or decision.rule}")
        return prepared, decision

    async def _check_standing(self, approval: Approval) -> None:
        """Check that the approval this one stands on counts still, and for this. Raises Stale."""
        if not approval.stands_on:
            return
        parent = await self._store.approvals.get(approval.stands_on)
        if parent is None or parent.id != approval.stands_on:
            raise Stale(f"stale:standing: there is no request {approval.stands_on} any more. Ask again.")
        if why := standing.why_not(parent, approval.bindings, self._clock.moment()):
            raise Stale(f"stale:standing: request {parent.id} does not count for this: {why}. Ask again.")

    def held(self, approval: Approval) -> str:
        """Say what held a request back when brakes were last looked at; for what is shown."""
        hold = self.checkpoint.held(*self.touches(approval))
        return told(hold) if hold is not None else ""

    def touches(self, approval: Approval) -> tuple[tuple[Host, ...], tuple[str, ...]]:
        """Return the hosts of a request that there are still, and what it touches there."""
        hosts = self._catalogue.current_hosts(approval.action)
        try:
            return hosts, Prepared(self._catalogue.registry.get(approval.action.tool), approval.action, hosts).targets
        except ToolError:
            return hosts, ()

    def standing_minutes(self, approval: Approval) -> int:
        """Return for how long this request can be approved; 0: only once."""
        try:
            risk = self._catalogue.registry.get(approval.action.tool).risk
        except ToolError:
            return 0
        return standing.minutes_for(self._rules, risk, approval)

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
        requester = self._rules.person(approval.requester)
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
        await self._check_brakes([host], prepared)

    async def _check_brakes(self, hosts: Sequence[Host], prepared: Prepared) -> None:
        """Check that no stop, freeze or cap of hosts holds the action back on these hosts. Raises Stale."""
        try:
            self.checkpoint.check_hosts(prepared.hosts)
            await self.checkpoint.check(hosts, prepared.targets)
        except HeldBack as error:
            raise Stale(f"stale:{error.rule}: {error}") from error

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
        call = partial(self._call, prepared.tool, prepared.action.arguments, acting, check=check)
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
        return HostOutcome(host.name, Result.NOT_DONE, f"Not run: {self._said(error)}")

    async def _verify(self, prepared: Prepared, host: Host, approval: Approval) -> HostOutcome:
        verify = prepared.tool.verify
        before = approval.impacts.get(host.name)
        if verify is None or before is None:
            return HostOutcome(host.name, Result.UNKNOWN, "Nothing to compare with, so the outcome is not known.")
        arguments = self._arguments(prepared.tool, prepared.action.arguments)
        call = partial(verify, self._context(_VERIFY_TIMEOUT_S), host, before, **arguments)
        try:
            return self._intake.outcome(await self._within(_VERIFY_TIMEOUT_S, call))
        except OpsbotError as error:
            return HostOutcome(
                host.name, Result.UNKNOWN, f"The host could not be asked afterwards: {self._said(error)}"
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
