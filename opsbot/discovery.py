"""Find, check and load tool files: all of them, or none with every fault named."""

import difflib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from pathlib import Path
from types import MappingProxyType, ModuleType

from opsbot.domain import Json, Risk
from opsbot.errors import BadArguments, ToolDefinitionError
from opsbot.output_spec import READ_OUTPUT, READ_OUTPUT_SPEC
from opsbot.pins import Pins
from opsbot.ports import ToolSpec
from opsbot.schema import spec_of
from opsbot.tool_files import SHIPPED_TOOLS, ToolFile, tool_files
from opsbot.tooling import Tool
from opsbot.tripwire import Tripwire

__all__ = ["DESCRIBE_TOOLS", "SHIPPED_TOOLS", "Registry", "load_tools"]

# Calls of these names are answered by the turn loop itself; no tool file may take them.
DESCRIBE_TOOLS = "describe_tools"
_OWN = (DESCRIBE_TOOLS, READ_OUTPUT)
# What model APIs accept as a function name: https://platform.openai.com/docs/api-reference/responses (2026-11).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_RISKS = tuple(Risk)
_MEDDLER = "a tool file defines tools and leaves opsbot alone. Take it away, and find out what else it did."


@dataclass(frozen=True, slots=True)
class Registry:
    """The loaded tools, sorted by name.

    Raises:
        ToolDefinitionError: two tools have one name, or a tool has no schema; every fault listed.
    """

    tools: tuple[Tool, ...]
    _by_name: Mapping[str, Tool] = field(init=False, repr=False, compare=False)
    _specs: tuple[ToolSpec, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.tools, key=lambda tool: (tool.name, tool.source_file)))
        faults = [*_name_faults(ordered)]
        specs = []
        for tool in ordered:
            try:
                specs.append(spec_of(tool))
            except ToolDefinitionError as error:
                faults.extend(error.faults)
        if faults:
            raise ToolDefinitionError(*faults)
        object.__setattr__(self, "tools", ordered)
        object.__setattr__(self, "_by_name", MappingProxyType({tool.name: tool for tool in ordered}))
        object.__setattr__(self, "_specs", tuple(specs))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def get(self, name: str) -> Tool:
        """Return the tool, or raise BadArguments with near misses and the names there are."""
        found = self._by_name.get(name)
        if found is not None:
            return found
        near = difflib.get_close_matches(name[:64].lower(), self.names, n=2)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise BadArguments(f"There is no tool {name[:64]!a}.{hint} The tools are: {', '.join(self.names)}.")

    def specs(self) -> tuple[ToolSpec, ...]:
        """Return every tool's schema, in a stable order."""
        return self._specs

    def shown(self, asked_for: Collection[str]) -> tuple[ToolSpec, ...]:
        """Return what the model is shown: the tools that are not deferred, `describe_tools`, what it asked for before.

        The first two are the same bytes in every request; what was asked for follows, in the order it was asked.
        `read_output` is opsbot's own and comes where there is something to read.
        """
        deferred = {tool.name: spec for tool, spec in self._pairs() if tool.deferred}
        usual = tuple(spec for tool, spec in self._pairs() if not tool.deferred)
        known = deferred | {READ_OUTPUT: READ_OUTPUT_SPEC}
        asked = tuple(known[name] for name in dict.fromkeys(asked_for) if name in known)
        return (*usual, _describe_spec(deferred.values()), *asked) if deferred else (*usual, *asked)

    def deferred(self) -> tuple[ToolSpec, ...]:
        """Return the tools that the model is shown only when it asks."""
        return tuple(spec for tool, spec in self._pairs() if tool.deferred)

    def _pairs(self) -> Iterable[tuple[Tool, ToolSpec]]:
        return zip(self.tools, self._specs, strict=True)


def _describe_spec(deferred: Iterable[ToolSpec]) -> ToolSpec:
    """Name the deferred tools in few tokens."""
    names = ", ".join(spec.name for spec in deferred)
    schema: dict[str, Json] = {
        "type": "object",
        "properties": {
            "names": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "Tool names."}
        },
        "required": ["names"],
        "additionalProperties": False,
    }
    return ToolSpec(DESCRIBE_TOOLS, f"Make more tools callable: {names}.", schema)


def load_tools(
    folders: Sequence[Path | str], *, risks: Mapping[str, Risk] | None = None, pins: Pins | None = None
) -> Registry:
    """Load every tool file of these folders (a `Path`) and packages (a module name); names with `_` first are skipped.

    `risks` raises the risk of tools by name. Folders and files must be safe from other users (`tool_files`), because
    their code runs inside the bot. With `pins`, nothing runs unless every file is the pinned one.

    Raises:
        ToolDefinitionError: every fault with file, line and remedy; nothing was loaded.
    """
    faults: list[str] = []
    files = [file for folder in folders for file in tool_files(folder, faults)]
    if pins is not None:
        faults.extend(pins.faults(files))
        if faults:
            raise ToolDefinitionError(*faults)
    tools = _loaded(files, faults, pinned=pins is not None)
    try:
        registry = Registry(_raised(tools, risks or {}, faults))
    except ToolDefinitionError as error:
        faults.extend(error.faults)
    if faults:
        raise ToolDefinitionError(*faults)
    return registry


# --- loading ---------------------------------------------------------------------------------------------------------


def _loaded(files: Iterable[ToolFile], faults: list[str], *, pinned: bool) -> list[Tool]:
    tools: list[Tool] = []
    for shipped, group in groupby((file for file in files if file.loads), key=lambda file: file.shipped):
        wire = None if shipped else Tripwire()
        for file in group:
            tools.extend(_load(file, faults, pinned))
            changed = wire.changes() if wire else ()
            faults.extend(f"{file.path}:1: replaced {name} while it was loaded; {_MEDDLER}" for name in changed)
            if changed:
                return tools  # what has been changed cannot judge what comes next
    return tools


def _load(file: ToolFile, faults: list[str], pinned: bool) -> Iterable[Tool]:
    path = file.path
    try:
        # Of a package that is not pinned the compiled form will do, which Python keeps.
        module = importlib.import_module(file.module) if file.shipped and not pinned else _executed(file)
    except ToolDefinitionError as error:
        faults.extend(error.faults)
        return ()
    except SyntaxError as error:
        faults.append(f"{error.filename or path}:{error.lineno or 1}: {error.msg}; correct the syntax.")
        return ()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the code of a tool author may raise anything
        line = max((frame.lineno or 1 for frame in _frames(error) if frame.filename == str(path)), default=1)
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        faults.append(f"{path}:{line}: loading it failed with {said[:300]}; correct it or take the file away.")
        return ()
    found = {id(value): value for value in vars(module).values() if isinstance(value, Tool)}
    tools = [tool for tool in found.values() if Path(tool.source_file) == path]
    if not tools:
        faults.append(f"{path}:1: holds no tool; decorate a function with @tool(...) or take the file away.")
    return tools if file.shipped and not pinned else [replace(tool, sha256=file.sha256) for tool in tools]


def _executed(file: ToolFile) -> ModuleType:
    """Run the very bytes that were read: neither a file changed since then nor a stale compiled one."""
    spec = importlib.util.spec_from_file_location(file.module, file.path)
    if spec is None:
        raise ToolDefinitionError(f"{file.path}:1: is not a Python file; take it away.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses of the file look their own module up by name.
    sys.modules[file.module] = module
    try:
        code = compile(file.source, str(file.path), "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102 - a tool file is code; this is how an import runs one
    except BaseException:
        del sys.modules[file.module]
        raise
    return module


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)


# --- checking --------------------------------------------------------------------------------------------------------


def _name_faults(tools: Sequence[Tool]) -> Iterable[str]:
    for tool in tools:
        if not _NAME.fullmatch(tool.name):
            yield f"{_where(tool)}: {tool.name[:80]!a} is no tool name; use a-z, 0-9 and _, at most 64 characters."
        elif tool.name in _OWN:
            yield f"{_where(tool)}: {tool.name!r} is opsbot's own; choose another name."
    for first, second in pairwise(tools):
        if first.name == second.name:
            yield f"{_where(second)}: tool {second.name!r} is there already, at {_where(first)}; rename one of them."


def _raised(tools: Sequence[Tool], risks: Mapping[str, Risk], faults: list[str]) -> tuple[Tool, ...]:
    """Apply the operator's risk overrides, which may only raise."""
    missing = sorted(set(risks) - {tool.name for tool in tools})
    faults.extend(f"tools.risk.{name}: there is no tool of that name; remove the line." for name in missing)
    raised = []
    for tool in tools:
        risk = risks.get(tool.name, tool.risk)
        if _RISKS.index(risk) < _RISKS.index(tool.risk):
            faults.append(
                f"tools.risk.{tool.name}: the tool says {tool.risk}; configuration may raise it, never lower it."
            )
        elif risk is not Risk.READ and (tool.impact is None or tool.verify is None):
            faults.append(
                f"tools.risk.{tool.name}: it has no impact and verify functions, so nobody could judge an approval; "
                f"add them at {_where(tool)} or remove the line."
            )
        raised.append(replace(tool, risk=risk))
    return tuple(raised)


def _where(tool: Tool) -> str:
    return f"{tool.source_file}:{tool.source_line}"
