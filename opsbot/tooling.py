"""The @tool decorator, and the Context through which a tool reaches hosts. Standard library only."""

import hashlib
import inspect
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict, Unpack, get_args, get_type_hints

from opsbot.domain import (
    CertificateReport,
    Chart,
    CheckResult,
    CommandResult,
    History,
    Host,
    HostOutcome,
    HostVerb,
    Impact,
    LogLine,
    Metric,
    Risk,
    ServerFacts,
    Table,
    UnitFacts,
    UnitVerb,
    Vitals,
)
from opsbot.errors import CommandTimedOut, StoreError, ToolDefinitionError, ToolError
from opsbot.looks import Look
from opsbot.passage_ports import Library
from opsbot.passages import Incident, Kind, Searched
from opsbot.ports import Machines, Past


class Unit(str):
    """A service name in a tool's signature; arrives in the canonical form of the host's service manager.

    For a tool with a risk above `read`, the name is also in the host's list of units that may be touched.
    """

    __slots__ = ()


class Container(str):
    """A container's name in a tool's signature. Above risk `read`, it is in the host's list of containers."""

    __slots__ = ()


class NoPast:
    """Implements `ports.Past` where nothing is kept."""

    def history(self, host: str, metrics: Sequence[Metric], *, hours: float) -> History:
        return History((), datetime.now(UTC))


class Context:
    """What a tool may do: look at hosts and run commands on them, all within one deadline."""

    def __init__(  # noqa: PLR0913 - independent settings, all with defaults
        self,
        machines: Machines,
        *,
        timeout_s: float,
        hosts: Sequence[Host] = (),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        past: Past | None = None,
        library: Library | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` is called right before every command of the tool's and may raise, so that it is not sent."""
        self._check = check
        self._machines = machines
        self._may_act = True
        self._past = past or NoPast()
        self._library = library
        self._monotonic = monotonic
        self._sleep = sleep
        self._deadline = monotonic() + timeout_s
        self.hosts: tuple[Host, ...] = tuple(hosts)

    @property
    def remaining_s(self) -> float:
        """Seconds left. Raises CommandTimedOut when there are none."""
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise CommandTimedOut("The tool's time is used up.")
        return left

    def run(self, host: Host, *argv: str, max_bytes: int = 65536, stdin: str = "") -> CommandResult:
        """Run one command on the host: an argument vector, never a shell line."""
        self._check()
        return self._machines.run(host, argv, timeout_s=self.remaining_s, max_bytes=max_bytes, stdin=stdin)

    def facts(self, host: Host) -> ServerFacts:
        """Load, CPU, memory, swap, disks, inodes, uptime and failed units, in one round trip."""
        return self._machines.facts(host, timeout_s=self.remaining_s)

    def vitals(self, host: Host) -> Vitals:
        """Load, memory, swap, uptime and boot id, and CPU since the last look: in milliseconds, without a process."""
        return self._machines.vitals(host, timeout_s=self.remaining_s)

    def history(self, host: Host, *metrics: Metric, hours: float) -> History:
        """What was measured of the host over the last hours; it is not asked now, so it may also be down.

        Raises:
            ToolError: what is kept cannot be read just now.
        """
        try:
            return self._past.history(host.name, metrics, hours=hours)
        except StoreError as error:
            raise ToolError(f"What was measured of {host.name} cannot be read: {error}") from error

    def search(self, kind: Kind, question: str, *, limit: int) -> Searched:
        """What was written down about a question, in runbooks or past incidents; no host is asked.

        Raises:
            ToolError: it cannot be read just now.
        """
        if self._library is None:
            return Searched((), 0)
        try:
            return self._library.search(kind, question, limit=limit, timeout_s=self.remaining_s / 2)
        except StoreError as error:
            raise ToolError(f"What was written down cannot be read: {error}") from error

    def incident(self, incident_id: str) -> Incident | None:
        """A past incident, None if there is none of that id. Raises ToolError, as `search`."""
        try:
            return self._library.incident(incident_id) if self._library is not None else None
        except StoreError as error:
            raise ToolError(f"The past incident cannot be read: {error}") from error

    def show(self, host: Host, unit: str) -> UnitFacts:
        """Read one service."""
        return self._machines.services(host).show(unit, timeout_s=self.remaining_s)

    def units(self, host: Host) -> tuple[UnitFacts, ...]:
        """List services."""
        return self._machines.services(host).units(timeout_s=self.remaining_s)

    def logs(self, host: Host, unit: str, *, lines: int = 50, since: str = "") -> tuple[LogLine, ...]:
        """Read a service's newest log lines, oldest first."""
        return self._machines.services(host).logs(unit, lines=lines, since=since, timeout_s=self.remaining_s)

    def act(self, host: Host, verb: UnitVerb, unit: str) -> CommandResult:
        """Do this to a service, once.

        Raises:
            ToolError: this is not an approved action, so nothing was done.
        """
        if not self._may_act:
            raise ToolError(
                f"Only an approved action may {verb} a service; this looks at {host.name}. Nothing was done."
            )
        self._check()
        return self._machines.services(host).act(verb, unit, timeout_s=self.remaining_s)

    def connections(self, host: Host, unit: UnitFacts) -> str:
        """Say what the service listens on and who is connected, or "unknown"."""
        return self._machines.services(host).connections(unit, timeout_s=self.remaining_s)

    def healthy(self, host: Host, unit: str) -> str | None:
        """Run the service's health check: None if there is none, "" if it passed, else why it failed."""
        return self._machines.healthy(host, unit)

    def checks(self, host: Host, units: Sequence[str]) -> Mapping[str, CheckResult]:
        """Run these services' health checks from the bot, side by side, and look at each answer in full."""
        return self._machines.checks(host, units, timeout_s=self.remaining_s)

    def certificates(self, host: Host) -> tuple[CertificateReport, ...]:
        """Look at the certificates the inventory lists for the host: files on it, and TLS endpoints from the bot."""
        return self._machines.certificates(host, timeout_s=self.remaining_s)

    def lookups(self, host: Host) -> Mapping[str, tuple[str, ...] | None]:
        """Look the host's `dns_names` up from the bot: addresses, () if there is no such name, None: no answer."""
        return self._machines.lookups(host, timeout_s=self.remaining_s)

    def within(self, seconds: float) -> "Context":
        """Return a context for one step of this work: as much time as is left, but at most so much."""
        step = copy(self)
        step._deadline = self._monotonic() + min(seconds, self.remaining_s)
        return step

    def looking(self) -> "Context":
        """Return a context for work that only looks: `act` is refused."""
        looking = copy(self)
        looking._may_act = False
        return looking

    def sleep(self, seconds: float) -> None:
        """Wait, at most until the deadline."""
        self._sleep(min(seconds, self.remaining_s))


ImpactFunction = Callable[..., Impact]
VerifyFunction = Callable[..., HostOutcome]
TableFunction = Callable[[Mapping[str, Any]], Table]
ChartFunction = Callable[[Mapping[str, Any]], Sequence[Chart]]
CombineFunction = Callable[[Mapping[str, Any]], object]
AvailableFunction = Callable[..., bool]
LooksFunction = Callable[[Host], Iterable[Look]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool as the model sees it."""

    name: str
    annotation: Any
    description: str
    required: bool
    default: Any = None

    @property
    def is_unit(self) -> bool:
        """Whether the annotation is `Unit`, alone or in a union."""
        return self._is(Unit)

    @property
    def is_container(self) -> bool:
        """Whether the annotation is `Container`, alone or in a union."""
        return self._is(Container)

    def _is(self, kind: type[str]) -> bool:
        return self.annotation is kind or kind in get_args(self.annotation)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool, complete. `function(ctx, [host,] **arguments)` is blocking and runs in a worker thread.

    With a `host` parameter the core calls it once per host, in parallel, and collects results and errors.
    `impact(ctx, host, **arguments) -> Impact` and `verify(ctx, host, before: Impact, **arguments) -> HostOutcome`
    are required for a tool that writes. `needs` is what a host's `actions` must hold for it, as `restart`.
    `available(ctx, host, **arguments) -> bool` says whether the target serves its users now: an action on many hosts
    never lets more of them be unavailable at once than configured.

    `table({host: result}) -> Table` and `charts({host: result})` show results to people; `combine({host: result})`
    makes one answer for the model of them, for a tool whose point is the comparison. A `deferred` tool is named to the
    model and described only when it asks (`describe_tools`), because every description is paid for in every request.

    `taints=False` says that its answers hold no free text of others: figures, states, and names the inventory knows.
    What a host says outside of that taints all the same (see `vocabulary.py`).

    `looks(host)` yields what the tool sends by `ctx.run` to look at a host, for the gate of a key that may only look.

    `by_hand`: what an engineer would type on a systemd host to see the same, as `journalctl -u {unit} -n {lines}`; the
    model quotes it beside its evidence. A piece in brackets is left out when an argument it names is not given.
    """

    name: str
    description: str
    risk: Risk
    timeout_s: float
    function: Callable[..., object]
    parameters: tuple[Parameter, ...]
    takes_host: bool
    impact: ImpactFunction | None = None
    verify: VerifyFunction | None = None
    table: TableFunction | None = None
    charts: ChartFunction | None = None
    combine: CombineFunction | None = None
    available: AvailableFunction | None = None
    looks: LooksFunction | None = None
    needs: str = ""
    deferred: bool = False
    taints: bool = True
    by_hand: str = ""
    source_file: str = ""
    source_line: int = 0
    sha256: str = field(default="", compare=False)


class Extras(TypedDict, total=False):
    """The optional words of `@tool`; see `Tool`."""

    impact: ImpactFunction | None
    verify: VerifyFunction | None
    table: TableFunction | None
    charts: ChartFunction | None
    combine: CombineFunction | None
    available: AvailableFunction | None
    looks: LooksFunction | None
    needs: str
    deferred: bool
    taints: bool
    by_hand: str


def tool(*, risk: str, timeout_s: float = 20.0, **extras: Unpack[Extras]) -> Callable[[Callable[..., object]], Tool]:
    """Turn a typed, documented function into a Tool.

    Args:
        risk: `read`, `change` (one approval by default) or `danger`.
        timeout_s: Total seconds one call on one host may take, 1 to 600.
        extras: As `Tool` says: `impact` and `verify` are required unless risk is `read`; `available`, `looks`, `needs`,
            `table`, `charts`, `combine`, `deferred`, `taints` and `by_hand` where they fit.

    Raises:
        ToolDefinitionError: naming file, line and remedy.
    """

    def decorate(function: Callable[..., object]) -> Tool:
        return _build(function, risk, timeout_s, extras)

    return decorate


def _build(function: Callable[..., object], risk: str, timeout_s: float, extras: Extras) -> Tool:
    code = function.__code__
    where = f"{code.co_filename}:{code.co_firstlineno}: tool {function.__name__}"
    if risk not in tuple(Risk):
        raise ToolDefinitionError(f"{where}: risk is {risk!r}; use one of read, change, danger.")
    if not 1 <= timeout_s <= 600:
        raise ToolDefinitionError(f"{where}: timeout_s is {timeout_s}; use 1 to 600 seconds.")
    unknown = set(extras) - set(Extras.__annotations__)
    if unknown:
        raise ToolDefinitionError(f"{where}: @tool has no {', '.join(sorted(unknown))}; see docs/tools.md.")
    if risk != Risk.READ and (extras.get("impact") is None or extras.get("verify") is None):
        raise ToolDefinitionError(f"{where}: a tool with risk {risk!r} needs impact= and verify= functions.")
    needs = extras.get("needs", "")
    if needs and needs not in (*UnitVerb, *HostVerb):
        known = ", ".join((*UnitVerb, *HostVerb))
        raise ToolDefinitionError(f"{where}: needs is {needs!r}; use one of {known}.")
    summary, described = _docstring(function, where)
    parameters, takes_host = _parameters(function, described, where)
    named = set(re.findall(r"\{(\w*)\}", extras.get("by_hand", ""))) - {parameter.name for parameter in parameters}
    if named:
        raise ToolDefinitionError(f"{where}: by_hand names {', '.join(sorted(named))}, which it does not take.")
    if risk != Risk.READ and not takes_host:
        raise ToolDefinitionError(f"{where}: a tool with risk {risk!r} needs a `host: Host` parameter.")
    return Tool(
        name=function.__name__,
        description=summary,
        risk=Risk(risk),
        timeout_s=float(timeout_s),
        function=function,
        parameters=parameters,
        takes_host=takes_host,
        **extras,
        source_file=code.co_filename,
        source_line=code.co_firstlineno,
        sha256=_file_sha256(code.co_filename),
    )


def _docstring(function: Callable[..., object], where: str) -> tuple[str, dict[str, str]]:
    """Split a Google-style docstring into the text before `Args:` and the description of each argument."""
    text = inspect.getdoc(function)
    if not text:
        raise ToolDefinitionError(f"{where}: no docstring; it is what the model reads, so write one.")
    head, _, tail = text.partition("\nArgs:\n")
    described: dict[str, str] = {}
    name = ""
    for line in tail.splitlines():
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     ") and ":" in line:
            name, _, rest = line.strip().partition(":")
            described[name] = rest.strip()
        elif name and line.strip():
            described[name] += " " + line.strip()
    return head.strip(), described


def _parameters(
    function: Callable[..., object], described: Mapping[str, str], where: str
) -> tuple[tuple[Parameter, ...], bool]:
    signature = inspect.signature(function)
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ToolDefinitionError(f"{where}: {error}; import the type the annotation names.") from error
    names = list(signature.parameters)
    if not names or hints.get(names[0]) is not Context:
        raise ToolDefinitionError(f"{where}: the first parameter must be `ctx: Context`.")
    takes_host = len(names) > 1 and hints.get(names[1]) is Host
    parameters = []
    for name in names[2 if takes_host else 1 :]:
        if name not in hints:
            raise ToolDefinitionError(f"{where}: parameter {name!r} has no type annotation; add one.")
        if not described.get(name):
            raise ToolDefinitionError(f"{where}: parameter {name!r} is not described under `Args:`; describe it.")
        default = signature.parameters[name].default
        required = default is inspect.Parameter.empty
        parameters.append(Parameter(name, hints[name], described[name], required, None if required else default))
    unknown = set(described) - set(names)
    if unknown:
        raise ToolDefinitionError(f"{where}: `Args:` describes {', '.join(sorted(unknown))}, which do not exist.")
    return tuple(parameters), takes_host


def _file_sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # a function typed at a prompt has no file
        return ""
