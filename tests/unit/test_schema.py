"""Rules of the schema the model sees and of the reading of its arguments."""

import json
import math
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from opsbot import Context, Host, Unit, tool
from opsbot.errors import BadArguments, ToolDefinitionError
from opsbot.schema import parse_arguments, parse_words, spec_of


class Level(StrEnum):
    LOW = "low"
    HIGH = "high"


@tool(risk="read")
def read_logs(
    ctx: Context,
    host: Host,
    unit: Unit,
    lines: Annotated[int, Field(ge=1, le=500)] = 50,
    since: str | None = None,
    order: Literal["new", "old"] = "new",
    level: Level = Level.LOW,
    others: tuple[Unit, ...] = (),
) -> str:
    """Read a service's log.

    Args:
        unit: Service name.
        lines: How many lines.
        since: Start, as journalctl takes it.
        order: Newest or oldest first.
        level: Least level.
        others: More services.
    """
    return f"{host.name} {unit} {lines} {since} {order} {level} {others}"


@tool(risk="read")
def all_hosts(ctx: Context) -> str:
    """List the hosts."""
    return ""


GOOD = {"hosts": ["web-1"], "unit": "nginx"}


def text(**changes: Any) -> str:
    return json.dumps(GOOD | changes)


def test_schema_is_compact_and_closed() -> None:
    spec = spec_of(read_logs)
    assert (spec.name, spec.description) == ("read_logs", "Read a service's log.")
    assert spec.schema == {
        "type": "object",
        "additionalProperties": False,
        "required": ["hosts", "unit"],
        "properties": {
            "hosts": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": 'Hosts, groups, "tag:WORD" or "all".',
            },
            "unit": {"type": "string", "description": "Service name."},
            "lines": {"type": "integer", "minimum": 1, "maximum": 500, "default": 50, "description": "How many lines."},
            "since": {"type": ["string", "null"], "description": "Start, as journalctl takes it."},
            "order": {
                "type": "string",
                "enum": ["new", "old"],
                "default": "new",
                "description": "Newest or oldest first.",
            },
            "level": {"type": "string", "enum": ["low", "high"], "default": "low", "description": "Least level."},
            "others": {
                "type": "array",
                "items": {"type": "string"},
                "default": [],
                "description": "More services.",
            },
        },
    }
    assert next(iter(spec.schema["properties"])) == "hosts"  # type: ignore[arg-type, call-overload, index]


def test_tool_without_host_has_no_hosts_property() -> None:
    assert spec_of(all_hosts).schema == {"type": "object", "additionalProperties": False, "properties": {}}
    assert parse_arguments(all_hosts, "{}") == ((), {})


def test_defaults_are_filled_in_and_hosts_kept_apart() -> None:
    hosts, arguments = parse_arguments(read_logs, text(lines=7))
    assert hosts == ("web-1",)
    assert arguments == {
        "unit": "nginx",
        "lines": 7,
        "since": None,
        "order": "new",
        "level": "low",
        "others": [],
    }
    json.dumps(arguments)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "a JSON array, not an object"),
        ("null", "a JSON null, not an object"),
        ('"x"', "a JSON string, not an object"),
        ("7", "a JSON number, not an object"),
        ("true", "a JSON boolean, not an object"),
        ('{"hosts": ["a"], "hosts": ["b"], "unit": "x"}', "the key hosts is there twice"),
        ('{"hosts": ["a"], "unit": {"k": 1, "k": 1}}', "the key k is there twice"),
        ('{"hosts": ["a"], "unit": "x", "lines": NaN}', "NaN is not a JSON value"),
        ('{"hosts": ["a"], "unit": "x", "lines": -Infinity}', "-Infinity is not a JSON value"),
        ('{"hosts": ["a"], "unit": "x", "lines": 1e999}', "too large"),
        ('{"hosts": ["a"], "unit": "x", "lines": ' + "9" * 5000 + "}", "too large"),
        ('{"hosts": ["\\ud800"], "unit": "x"}', "Unicode"),
        ("[" * 20_000, "nested too deeply"),
        ('{"hosts": ' + "[" * 20 + "]" * 20 + "}", "nested deeper than"),
        ('{"unit": "' + "x" * 40_000 + '"}', "longer than 32 KiB"),
        (text(hosts=[]), "hosts: at least 1 needed"),
        (text(hosts="web-1"), "hosts: input should be a valid array"),
        (text(hosts=[None]), "hosts.0: input should be a valid string"),
        (text(hosts=[""]), "hosts.0: "),
        (text(unit=3), "unit: input should be a valid string"),
        (text(unit=""), "unit: "),
        (text(lines="5"), "lines: input should be a valid integer"),
        (text(lines=5.0), "lines: input should be a valid integer"),
        (text(lines=True), "lines: input should be a valid integer"),
        (text(lines=None), "lines: input should be a valid integer"),
        (text(lines=501), "lines: input should be less than or equal to 500"),
        (text(order="OLD"), "order: input should be 'new' or 'old'"),
        (text(level="medium"), "level: input should be 'low' or 'high'"),
        (text(approved=True), "approved: no such argument"),
        (text(argument_unit="x"), "argument_unit: no such argument"),
        ("{}", "hosts: missing; unit: missing"),
    ],
)
def test_unfit_arguments_are_refused_with_the_reason(sent: str, said: str) -> None:
    with pytest.raises(BadArguments) as caught:
        parse_arguments(read_logs, sent)
    assert said in str(caught.value)
    assert "Nothing was run." in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_every_fault_is_listed_at_once() -> None:
    with pytest.raises(BadArguments, match=r"hosts: .*; unit: .*; lines: .*; zz: no such argument"):
        parse_arguments(read_logs, '{"hosts": [], "unit": 1, "lines": 0, "zz": 1}')


def test_hostile_key_is_shown_printable_and_cut() -> None:
    with pytest.raises(BadArguments) as caught:
        parse_arguments(read_logs, text(**{"\x1b[31m\u202e" + "k" * 500: 1}))
    assert str(caught.value).isprintable()
    assert "k" * 100 not in str(caught.value)


def test_words_of_a_command_are_checked_by_the_same_rules() -> None:
    assert parse_words(read_logs, {"hosts": ["a"], "unit": "x", "lines": 5})[1]["lines"] == 5
    with pytest.raises(BadArguments, match="lines"):
        parse_words(read_logs, {"hosts": ["a"], "unit": "x", "lines": 0})
    with pytest.raises(BadArguments, match="no JSON form"):
        parse_words(read_logs, {"hosts": ["a"], "unit": "x", "lines": math.nan})


# The four documents hypothesis starts from; it may hand back any JSON value beside them.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(hosts=JSON, unit=JSON, lines=JSON, extra=st.dictionaries(st.text(max_size=5), JSON, max_size=2))
def test_whatever_passes_has_the_declared_types(hosts: Any, unit: Any, lines: Any, extra: dict[str, Any]) -> None:
    sent = json.dumps(extra | {"hosts": hosts, "unit": unit, "lines": lines})
    try:
        names, arguments = parse_arguments(read_logs, sent)
    except BadArguments:
        return
    assert names == tuple(hosts)
    assert all(isinstance(name, str) and name for name in names)
    assert set(arguments) == {"unit", "lines", "since", "order", "level", "others"}
    assert (arguments["unit"], arguments["lines"]) == (unit, lines)
    assert type(lines) is int
    assert 1 <= lines <= 500


def test_parameter_called_hosts_beside_a_host_is_refused() -> None:
    @tool(risk="read")
    def odd(ctx: Context, host: Host, hosts: str) -> str:
        """Odd.

        Args:
            hosts: Clash.
        """
        return hosts

    with pytest.raises(ToolDefinitionError, match="rename it"):
        spec_of(odd)


def test_default_that_breaks_its_own_type_is_refused() -> None:
    @tool(risk="read")
    def odd(ctx: Context, lines: Annotated[int, Field(ge=1)] = 0) -> str:
        """Odd.

        Args:
            lines: Too few.
        """
        return str(lines)

    with pytest.raises(ToolDefinitionError, match=r"test_schema\.py:\d+: tool odd: the default of 'lines'"):
        spec_of(odd)


def test_type_without_a_json_form_is_refused_with_the_way_out() -> None:
    @tool(risk="read")
    def odd(ctx: Context, thing: Context) -> str:
        """Odd.

        Args:
            thing: Not JSON.
        """
        return str(thing)

    with pytest.raises(ToolDefinitionError, match="Use str, int"):
        spec_of(odd)


def test_mutable_default_is_refused() -> None:
    @tool(risk="read")
    def odd(ctx: Context, names: list[str] = []) -> str:  # noqa: B006 - the fault under test
        """Odd.

        Args:
            names: Shared by every call.
        """
        return str(names)

    with pytest.raises(ToolDefinitionError, match="immutable"):
        spec_of(odd)
