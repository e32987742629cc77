"""The @tool decorator, and what it makes of a function: a Tool. Standard library only."""

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, Unpack, get_args, get_type_hints

from opsbot.context import Context
from opsbot.domain import (
    Chart,
    Host,
    HostOutcome,
    HostVerb,
    Impact,
    Risk,
    Table,
    UnitVerb,
)
from opsbot.errors import ToolDefinitionError
from opsbot.looks import Look


class Unit(str):
    """A service name in a tool's signature; arrives in the canonical form of the host's service manager.

    For a tool with a risk above `read`, the name is also in the host's list of units that may be touched.
    """

    __slots__ = ()


class Container(str):
    """A container's name in a tool's signature. Above risk `read`, it is in the host's list of containers."""

    __slots__ = ()


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
