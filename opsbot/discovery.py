"""Find, check and load tool files: all of them, or none with every fault named."""

import difflib
import importlib
import importlib.util
import os
import re
import stat
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType, ModuleType

from opsbot.domain import Json, Risk
from opsbot.errors import BadArguments, ToolDefinitionError
from opsbot.ports import ToolSpec
from opsbot.schema import spec_of
from opsbot.tooling import Tool

# The tools that ship with opsbot: a package of its own, found by name and never imported by a statement.
SHIPPED_TOOLS = "opsbot_tools"
# A call of this name is answered by the turn loop itself; no tool file may take it.
DESCRIBE_TOOLS = "describe_tools"
# What model APIs accept as a function name: https://platform.openai.com/docs/api-reference/responses (2026-11).
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
_RISKS = tuple(Risk)


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
        """
        deferred = {tool.name: spec for tool, spec in self._pairs() if tool.deferred}
        usual = tuple(spec for tool, spec in self._pairs() if not tool.deferred)
        asked = tuple(deferred[name] for name in dict.fromkeys(asked_for) if name in deferred)
        return (*usual, _describe_spec(deferred.values()), *asked) if deferred else usual

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


def load_tools(folders: Sequence[Path | str], *, risks: Mapping[str, Risk] | None = None) -> Registry:
    """Load every tool file of these folders (a `Path`) and packages (a module name); names with `_` first are skipped.

    `risks` raises the risk of tools by name. A folder and its files must belong to root or to the bot's user
    and be writable by nobody else, because their code runs inside the bot.

    Raises:
        ToolDefinitionError: every fault with file, line and remedy; nothing was loaded.
    """
    faults: list[str] = []
    tools: list[Tool] = []
    for folder in folders:
        for path, module_name in _files(folder, faults):
            tools.extend(_load(path, module_name, faults))
    try:
        registry = Registry(_raised(tools, risks or {}, faults))
    except ToolDefinitionError as error:
        faults.extend(error.faults)
    if faults:
        raise ToolDefinitionError(*faults)
    return registry


# --- finding ---------------------------------------------------------------------------------------------------------


def _files(folder: Path | str, faults: list[str]) -> Iterable[tuple[Path, str]]:
    """Yield tool files with the module name each is to have, after their owners and permissions are checked."""
    if isinstance(folder, str):
        return _package_files(folder, faults)
    try:
        real = folder.resolve(strict=True)
        paths = sorted(path for path in real.iterdir() if path.match("[!._]*.py"))
    except OSError as error:
        faults.append(
            f"{folder}: the tool folder cannot be read ({error.strerror}); create it or correct tools.folders."
        )
        return ()
    unsafe = [text for path in (*reversed(real.parents), real, *paths) if (text := _unsafe(path, path in real.parents))]
    faults.extend(unsafe)
    digest = sha256(str(real).encode()).hexdigest()[:8]
    return () if unsafe else [(path, f"opsbot_tool_folder_{digest}_{path.stem}") for path in paths]


def _package_files(package: str, faults: list[str]) -> Iterable[tuple[Path, str]]:
    """Yield the files of an installed package; unchecked, as whoever may write there may write opsbot itself."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        faults.append(f"{package}: the package of shipped tools is not installed; install opsbot again.")
        return ()
    folder = Path(next(iter(spec.submodule_search_locations)))
    return [(path, f"{package}.{path.stem}") for path in sorted(folder.glob("[!._]*.py"))]


def _unsafe(path: Path, above: bool) -> str:
    """Say why somebody else could change the code at `path`, or "". A sticky directory `above` protects its entries."""
    try:
        facts = path.stat()
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}); correct its permissions."
    if facts.st_uid not in (0, os.geteuid()):
        return f"{path}: belongs to user {facts.st_uid}; tool code must belong to root or to the bot's user (chown it)."
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (above and facts.st_mode & stat.S_ISVTX):
        return f"{path}: others may write it, and its code would run in the bot; run `chmod go-w {path}`."
    return ""


# --- loading ---------------------------------------------------------------------------------------------------------


def _load(path: Path, module_name: str, faults: list[str]) -> Iterable[Tool]:
    try:
        module = _executed(path, module_name)
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
    return tools


def _executed(path: Path, module_name: str) -> ModuleType:
    if module_name.startswith("opsbot_tool_folder_"):
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise ToolDefinitionError(f"{path}:1: is not a Python file; take it away.")
        module = importlib.util.module_from_spec(spec)
        # Dataclasses of the file look their own module up by name.
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
        return module
    return importlib.import_module(module_name)


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)


# --- checking --------------------------------------------------------------------------------------------------------


def _name_faults(tools: Sequence[Tool]) -> Iterable[str]:
    for tool in tools:
        if not _NAME.fullmatch(tool.name):
            yield f"{_where(tool)}: {tool.name[:80]!a} is no tool name; use a-z, 0-9 and _, at most 64 characters."
        elif tool.name == DESCRIBE_TOOLS:
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
