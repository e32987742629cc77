"""Where tools are called: each with typed arguments and a context of its own, to look or, under a check, to act."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opsbot.actions import Catalogue
from opsbot.checkpoint import Brakes
from opsbot.context import Context
from opsbot.domain import Host
from opsbot.identity import Identify, unchanged
from opsbot.intake import Intake
from opsbot.passage_ports import Library
from opsbot.ports import Machines, Past
from opsbot.tooling import Container, Tool, Unit

# A tool's thread may end this much after its deadline before the answer goes out without it.
GRACE_S = 1.0


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


class Workshop:
    """Calls tools in the thread it is called in."""

    def __init__(self, catalogue: Catalogue, machines: Machines, surroundings: Surroundings) -> None:
        self._catalogue = catalogue
        self._machines = machines
        self._surroundings = surroundings

    def call(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        host: Host | None = None,
        *,
        check: Callable[[], None] | None = None,
    ) -> Any:
        """Call it for a host, or for none; with a `check` before each of its commands it may act."""
        context = self.context(tool.timeout_s, check=check)
        checked = typed(tool, arguments)
        return tool.function(context, host, **checked) if host else tool.function(context, **checked)

    def context(self, timeout_s: float, *, check: Callable[[], None] | None = None) -> Context:
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


def typed(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's arguments as the tool takes them: names of units and containers are such."""
    kinds: dict[str, type[str]] = {parameter.name: Unit for parameter in tool.parameters if parameter.is_unit}
    kinds |= {parameter.name: Container for parameter in tool.parameters if parameter.is_container}
    return {
        name: kinds[name](value) if name in kinds and value is not None else value for name, value in arguments.items()
    }
