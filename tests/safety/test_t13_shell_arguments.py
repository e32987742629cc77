"""T13: whatever is asked for, what reaches a host is one of a finite set of command lines."""

import ast
import json
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot.actions import Catalogue, Prepared
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.context import Context
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Host, HostVerb, Risk, ToolCall, UnitVerb
from opsbot.errors import BadArguments, OpsbotError
from opsbot.inventory import Inventory
from opsbot.tooling import Container, Tool, Unit
from opsbot.units import _NAME as UNIT_GRAMMAR
from tests.safety.conftest import Figures, Scale
from tests.safety.hostile_names import hostile
from tests.ssh_servers import Exec, Keys, SshServer

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("one.service", "two.service")
REGISTRY = load_tools([SHIPPED_TOOLS])
# Arguments that every tool accepts, by name; the strings among them are what is replaced by something hostile.
BENIGN: dict[str, object] = {
    "unit": "one.service",
    "container": "box",
    "path": "/srv",
    "mount": "/srv",
    "since": "2h",
    "group": None,
    "environment": None,
    "metric": "load",
    "pid": 4242,
    "started_ticks": 1,
}
FREE_TEXT = ("unit", "container", "path", "since")
ON_HOSTS = [tool for tool in REGISTRY.tools if tool.takes_host]


@dataclass(frozen=True, slots=True)
class Range:
    """A real SSH server that takes down every command line, and the bot's own way to it."""

    server: SshServer
    machines: HostMachines
    catalogue: Catalogue

    def prepared(self, tool: Tool, **changes: object) -> Prepared:
        """Read a call as the model would send it. Raises BadArguments."""
        wanted = {parameter.name for parameter in tool.parameters}
        arguments = {name: value for name, value in BENIGN.items() if name in wanted and value is not None} | changes
        return self.catalogue.from_call(ToolCall("c", tool.name, json.dumps({"hosts": ["alpha"], **arguments})))

    def sent(self, prepared: Prepared) -> set[str]:
        """Run every part of the tool as if nobody had to approve it; return the command lines that arrived."""
        tool, (host,) = prepared.tool, prepared.hosts
        kinds = {p.name: Unit if p.is_unit else Container if p.is_container else None for p in tool.parameters}
        arguments = {
            name: kind(value) if (kind := kinds[name]) and isinstance(value, str) else value
            for name, value in prepared.action.arguments.items()
        }
        before = len(self.server.commands)
        for part in (tool.impact, tool.function):
            if part is not None:
                # The host's answers mean nothing here; only what it was asked counts.
                with suppress(OpsbotError):
                    part(Context(self.machines, timeout_s=10, hosts=(host,), sleep=lambda _: None), host, **arguments)
        return {line.decode() for line in self.server.commands[before:]}


def _nothing(exec_: Exec) -> int:
    exec_.say("\n")
    return 0


@pytest.fixture(scope="module")
def firing_range(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    with SshServer(Keys.make(tmp_path_factory.mktemp("keys")), _nothing) as server:
        actions = (*UnitVerb, *HostVerb)
        host = server.host("alpha", units=UNITS, containers=("box",), actions=actions, dns_names=("name.example",))
        shell = ParamikoShell(find={"alpha": host}.get)
        machines = HostMachines(shell, LocalShell())
        yield Range(server, machines, Catalogue(REGISTRY, Inventory({"alpha": host}, {})))
        machines.close()


def is_of(finite: set[tuple[str, ...]], line: str, hostile_value: str, benign: str) -> bool:
    """Whether a shell reads the line as one of these, word by word, the hostile value where the benign one stands."""
    words = shlex.split(line)
    return any(
        len(words) == len(known)
        and all(w in (k, k.replace(benign, hostile_value)) for w, k in zip(words, known, strict=False))
        for known in finite
    )


def canonical(value: str) -> str:
    return value if value.endswith((".service", ".timer", ".socket")) else f"{value}.service"


@pytest.mark.parametrize("tool", ON_HOSTS, ids=lambda tool: tool.name)
def test_every_line_that_arrives_is_one_of_a_finite_set(
    tool: Tool, firing_range: Range, figures: Figures, scale: Scale
) -> None:
    usual = firing_range.sent(firing_range.prepared(tool))
    for optional in (p.name for p in tool.parameters if p.name in FREE_TEXT and not p.required):
        usual |= firing_range.sent(firing_range.prepared(tool, **{optional: None}))
    finite = {tuple(shlex.split(line)) for line in usual}
    refused = ran = 0
    for parameter in (p.name for p in tool.parameters if p.name in FREE_TEXT):
        real = (str(BENIGN[parameter]),)
        for value in hostile(scale(40, 400), 13, real):
            try:
                prepared = firing_range.prepared(tool, **{parameter: value})
            except BadArguments:
                refused += 1
                continue
            ran += 1
            given_value = str(prepared.action.arguments[parameter])
            for line in firing_range.sent(prepared):
                assert is_of(finite, line, given_value, real[0]), (parameter, value, line)
                assert line.isprintable() or "\n" not in given_value
            if parameter == "unit":
                assert tool.risk is Risk.READ, f"{tool.name} would act on {value!r}"
                assert UNIT_GRAMMAR.fullmatch(given_value)
    figures.add(hostile_arguments=refused + ran, refused_before_any_host=refused, lines_outside_the_set=0)


WRITING = [tool for tool in ON_HOSTS if tool.risk is not Risk.READ]


@pytest.mark.parametrize("tool", WRITING, ids=lambda tool: tool.name)
def test_what_acts_takes_no_word_that_the_inventory_does_not_list(tool: Tool, firing_range: Range) -> None:
    for name in ("unit", "container"):
        if name in {parameter.name for parameter in tool.parameters}:
            for value in (*hostile(120, 7, ("one.service", "box")), "three.service", "one.timer", "boxes"):
                with pytest.raises(BadArguments):
                    firing_range.prepared(tool, **{name: value})


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_any_text_at_all_is_refused_as_a_unit_that_acts(text: str) -> None:
    host_catalogue = Catalogue(REGISTRY, Inventory({"alpha": Host("alpha", units=UNITS)}, {}))
    try:
        prepared = host_catalogue.from_words("restart_service", ["alpha"], {"unit": text})
    except BadArguments:
        return
    assert prepared.action.arguments["unit"] in UNITS


SOURCES = sorted([*(ROOT / "opsbot").rglob("*.py"), *(ROOT / "tools").glob("*.py")])


def test_the_code_matches_whole_names_and_starts_no_shell_of_strings() -> None:
    """`re.match(…$)` takes a trailing newline; `shell=True` and strings built for exec are how injections are made."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found += [f"{path.relative_to(ROOT)}:{node.lineno} {fault}" for fault in _faults(node)]
    assert found == []


def _faults(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    if name == "re.match" and ast.unparse(call.args[0]).rstrip("'\"").endswith("$"):
        yield "re.match(…$): use fullmatch"
    if any(word.arg == "shell" and not _is_false(word.value) for word in call.keywords):
        yield "shell="
    if name.endswith((".exec_command", "os.system", "os.popen")) and not _is_quoted(call):
        yield "a string to a shell"


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _is_quoted(call: ast.Call) -> bool:
    """Only a name that holds what `command_line` made may be given to exec_command."""
    return len(call.args) == 1 and isinstance(call.args[0], ast.Name)
