"""Tools that look: in lanes of threads, on all hosts at once, and what came back of each."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import structlog

from opsbot.actions import Prepared
from opsbot.domain import Host, Impact, Json, Risk
from opsbot.errors import BadArguments, CommandTimedOut, OpsbotError, ToolError
from opsbot.intake import Intake, Taken, as_json
from opsbot.lanes import Lanes
from opsbot.ports import Clock
from opsbot.tooling import Tool
from opsbot.workshop import GRACE_S, Workshop, typed

log = structlog.get_logger(__name__)

_IMPACT_TIMEOUT_S = 15.0
_AVAILABLE_TIMEOUT_S = 10.0
_ERROR_MAX = 2000

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


class Reads:
    """Runs what only looks, in so many `threads` of its own; what hosts say passes `intake`."""

    def __init__(self, workshop: Workshop, intake: Intake, clock: Clock, threads: int) -> None:
        self._workshop = workshop
        self._intake = intake
        self._clock = clock
        self._lanes = Lanes(threads, "opsbot-read")

    def close(self) -> None:
        """Take no more work; threads in flight end by their own deadlines."""
        self._lanes.close()

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
        errors = {name: self.said(outcome) for name, outcome in outcomes.items() if isinstance(outcome, OpsbotError)}
        return FanOut(
            results,
            errors,
            tool.combine(results) if tool.combine and results else None,
            # Errors quote what hosts said.
            untrusted=tool.taints or bool(errors) or any(outcome.untrusted for outcome in taken.values()),
            left_out=sum(outcome.left_out for outcome in taken.values()),
        )

    def said(self, error: OpsbotError) -> str:
        """Return what may be shown of an error: taken in, and with an end."""
        return self._intake.text(str(error), limit=_ERROR_MAX)

    async def impacts(self, prepared: Prepared) -> dict[str, Impact]:
        """Collect what an action would hit, on every host.

        Raises:
            ToolError: a host could not be examined; an action there is not proposed.
        """
        function = prepared.tool.impact
        if function is None:
            raise BadArguments(f"{prepared.tool.name} cannot say what it would hit, so it is not proposed.")
        arguments = typed(prepared.tool, prepared.action.arguments)

        def look(host: Host) -> Impact:
            return self._intake.impact(function(self._workshop.context(_IMPACT_TIMEOUT_S), host, **arguments))

        outcomes = await self._on_each(prepared, look, _IMPACT_TIMEOUT_S)
        errors = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, OpsbotError)}
        if errors:
            failed = "; ".join(f"{name}: {self.said(error)}" for name, error in errors.items())
            raise ToolError(f"Not proposed, since the target could not be examined. {failed}")
        return {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Impact)}

    async def unavailable(self, prepared: Prepared) -> frozenset[str]:
        """Return which hosts do not serve now, as far as the tool can tell; one that cannot say counts."""
        function = prepared.tool.available
        if function is None:
            return frozenset()
        arguments = typed(prepared.tool, prepared.action.arguments)

        def look(host: Host) -> bool:
            return function(self._workshop.context(_AVAILABLE_TIMEOUT_S), host, **arguments)

        outcomes = await self._on_each(prepared, look, _AVAILABLE_TIMEOUT_S)
        return frozenset(name for name, outcome in outcomes.items() if outcome is not True)

    async def _attempt(
        self, prepared: Prepared, call: Callable[[], T], timeout_s: float, host: str | None = None
    ) -> T | OpsbotError:
        """Run in a read thread; give back the error instead of raising it, so that one host never hides another."""
        try:
            return await self._lanes.run(call, timeout_s + GRACE_S, asker=id(prepared), target=host)
        except TimeoutError:
            return CommandTimedOut(f"No answer within {timeout_s:.0f} s.")
        except OpsbotError as error:
            return error
        except Exception as error:
            log.exception("tool.crashed")
            return ToolError(f"The tool itself failed ({type(error).__name__}); the log has the rest.")

    def _take(self, tool: Tool, arguments: Mapping[str, Any], host: Host | None = None) -> Taken:
        return self._intake.value(self._workshop.call(tool, arguments, host))
