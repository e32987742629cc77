"""What the model sees of a tool (its JSON schema), and the strict reading of what the model sends back."""

import json
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import GenericAlias, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    PydanticUserError,
    WithJsonSchema,
    create_model,
)
from pydantic import ValidationError as InvalidModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from opsbot.domain import Json
from opsbot.errors import BadArguments, ToolDefinitionError
from opsbot.ports import ToolSpec
from opsbot.tooling import Container, Parameter, Tool, Unit

HOSTS = "hosts"
_HOSTS_TEXT = 'Hosts, groups, "tag:WORD" or "all".'
_MAX_BYTES = 32 * 1024
_MAX_DEPTH = 8
_MAX_FAULTS = 10
# Field names of the pydantic models are prefixed, so that an argument may be called `json` or `model_x`.
_FIELD = "argument_"
# Bounds the model need not read on every call stay out of the schema.
_Name = Annotated[str, Field(min_length=1, max_length=255), WithJsonSchema({"type": "string"})]
_Names = Annotated[
    tuple[_Name, ...],
    Field(min_length=1, max_length=1000),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1}),
]


def spec_of(tool: Tool) -> ToolSpec:
    """Return the tool as the model sees it.

    Raises:
        ToolDefinitionError: a parameter's type has no JSON form, or its default does not fit its type.
    """
    model = _checked_model(tool)
    schema = _compact(model.model_json_schema(by_alias=True), {})
    schema.pop("description", None)
    return ToolSpec(tool.name, tool.description, schema)


def parse_arguments(tool: Tool, text: str) -> tuple[tuple[str, ...], dict[str, Json]]:
    """Read a model's argument text: the host names, and every other argument with defaults filled in.

    Nothing unreadable is ever replaced by a default, and nothing is coerced: `"5"` is not 5.

    Raises:
        BadArguments: listing every fault found.
    """
    values = _read_object(tool.name, text)
    try:
        model = _model(tool).model_validate_json(json.dumps(values))
    except InvalidModel as error:
        raise _refusal(tool.name, [_fault(detail) for detail in error.errors(include_url=False)]) from error
    dumped: dict[str, Json] = model.model_dump(mode="json", by_alias=True)
    names = dumped.pop(HOSTS, None) if tool.takes_host else None
    return tuple(str(name) for name in names) if isinstance(names, list) else (), dumped


def parse_words(tool: Tool, words: Mapping[str, Json]) -> tuple[tuple[str, ...], dict[str, Json]]:
    """Check arguments that a command made (`hosts` included), by the rules of `parse_arguments`."""
    try:
        text = json.dumps(dict(words), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise _refusal(tool.name, ["a value has no JSON form"]) from error
    return parse_arguments(tool, text)


def typed_words(tool: Tool, words: Mapping[str, str]) -> dict[str, Json]:
    """Read `name=value` words as the tool's schema wants them: numbers and booleans as such where no text fits."""
    schema = spec_of(tool).schema.get("properties")
    properties = schema if isinstance(schema, dict) else {}
    return {name: _typed(value, properties.get(name)) for name, value in words.items()}


def _typed(value: str, wanted: Json) -> Json:
    if "string" in json.dumps(wanted):
        return value
    try:
        read: Json = json.loads(value)
    except ValueError:
        return value  # refused by the check that follows, with the reason
    return read


# --- reading ---------------------------------------------------------------------------------------------------------


class _Unreadable(Exception):
    """A fault of the JSON text that json.loads itself would let pass."""


def _read_object(name: str, text: str) -> dict[str, Json]:
    if len(text.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        raise _refusal(name, [f"longer than {_MAX_BYTES // 1024} KiB"])
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_not_a_number, parse_float=_finite, parse_int=_integer
        )
    except _Unreadable as error:
        raise _refusal(name, [str(error)]) from error
    except (ValueError, RecursionError) as error:
        raise _refusal(name, [f"not JSON ({_reason(error)}); send one JSON object, {{}} if it is empty"]) from error
    if not isinstance(value, dict):
        raise _refusal(name, [f"a JSON {_kind(value)}, not an object; send one JSON object"])
    if _deeper_than(value, _MAX_DEPTH):
        raise _refusal(name, [f"nested deeper than {_MAX_DEPTH} levels"])
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise _Unreadable(f"the key {_shown(key)} is there twice; which one is meant cannot be known")
        found[key] = value
    return found


def _not_a_number(text: str) -> NoReturn:
    raise _Unreadable(f"{text} is not a JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Unreadable(f"the number {text[:30]} is too large")
    return value


def _integer(text: str) -> int:
    # 2**64 has 20 digits; no argument of a tool is a larger number.
    if len(text) > 20:
        raise _Unreadable(f"the number {text[:20]}… is too large")
    return int(text)


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    return "nested too deeply" if isinstance(error, RecursionError) else "unreadable"


def _deeper_than(value: Json, limit: int) -> bool:
    """Tell whether the value nests deeper; level by level, as recursion is what a deep value attacks."""
    level = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent)]
    return bool(level)


def _children(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", str: "string", list: "array"}.get(type(value), "number")


def _fault(detail: ErrorDetails) -> str:
    where = ".".join(_shown(part) if isinstance(part, str) else str(part) for part in detail["loc"])
    match detail["type"]:
        case "missing":
            return f"{where}: missing"
        case "extra_forbidden":
            return f"{where}: no such argument"
        case "too_short":
            return f"{where}: at least {detail.get('ctx', {}).get('min_length', 1)} needed"
        case "json_invalid":
            return "a string is not valid Unicode"
    text = detail["msg"]
    return f"{where}: {text[:1].lower()}{text[1:]}"


def _shown(key: str) -> str:
    """Return a key cut and made printable: it may be hostile."""
    plain = key if key.isprintable() else key.encode("unicode_escape").decode("ascii")
    return plain if len(plain) <= 60 else plain[:60] + "…"


def _refusal(name: str, faults: list[str]) -> BadArguments:
    more = len(faults) - _MAX_FAULTS
    listed = "; ".join(faults[:_MAX_FAULTS]) + (f"; and {more} more" if more > 0 else "")
    return BadArguments(f"The arguments of {name} do not fit: {listed}. Nothing was run.")


# --- building --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _model(tool: Tool) -> type[BaseModel]:
    """Build the pydantic model of a tool's arguments (about a millisecond, so it is kept)."""
    fields: dict[str, Any] = {}
    if tool.takes_host:
        fields[_FIELD + HOSTS] = (_Names, Field(alias=HOSTS, description=_HOSTS_TEXT))
    for parameter in tool.parameters:
        fields[_FIELD + parameter.name] = (_plain(parameter.annotation), _field(parameter))
    config = ConfigDict(strict=True, extra="forbid", validate_default=True, hide_input_in_errors=True)
    model: type[BaseModel] = create_model(tool.name, __config__=config, **fields)
    return model


def _field(parameter: Parameter) -> FieldInfo:
    default = ... if parameter.required else parameter.default
    field: FieldInfo = Field(default=default, alias=parameter.name, description=parameter.description)
    return field


def _plain(annotation: Any) -> Any:
    """Replace `Unit` and `Container` by a bounded string, at any depth of a union, list or Annotated."""
    if annotation in (Unit, Container):
        return _Name
    arguments, origin = get_args(annotation), get_origin(annotation)
    if not arguments or origin is Literal:
        return annotation
    if origin is Annotated:
        return Annotated[(_plain(arguments[0]), *arguments[1:])]
    plain = tuple(_plain(argument) for argument in arguments)
    if plain == arguments:
        return annotation
    if origin in (Union, UnionType):
        return Union[plain]  # noqa: UP007 - built from a tuple, which `|` cannot
    return GenericAlias(origin, plain)


def _checked_model(tool: Tool) -> type[BaseModel]:
    where = f"{tool.source_file}:{tool.source_line}: tool {tool.name}"
    if tool.takes_host and any(parameter.name == HOSTS for parameter in tool.parameters):
        raise ToolDefinitionError(f"{where}: a parameter may not be called {HOSTS!r} beside `host: Host`; rename it.")
    try:
        model = _model(tool)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        reason = str(error).splitlines()[0]
        raise ToolDefinitionError(f"{where}: {reason} Use str, int, float, bool, Literal, Unit or lists.") from error
    except TypeError as error:
        raise ToolDefinitionError(f"{where}: {error}; a default must be immutable: None or a tuple.") from error
    _check_defaults(tool, model, where)
    return model


def _check_defaults(tool: Tool, model: type[BaseModel], where: str) -> None:
    """Refuse a default that its own annotation refuses: the first call without it would fail."""
    try:
        model.model_validate({})
    except InvalidModel as error:
        # A fault of a default is located by the field's name, any other by its alias.
        optional = {_FIELD + parameter.name: parameter.name for parameter in tool.parameters if not parameter.required}
        faults = [
            f"{where}: the default of {optional[name]!r} does not fit its type ({detail['msg']}); change one of them."
            for detail in error.errors(include_url=False)
            if (name := str(detail["loc"][0])) in optional
        ]
        if faults:
            raise ToolDefinitionError(*faults) from error


def _compact(node: Any, definitions: Any) -> Any:
    """Drop titles, inline definitions, and write `X or null` as one type list: every token is paid for per call."""
    if isinstance(node, list):
        return [_compact(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    definitions = node.get("$defs", definitions)
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _compact({**target, **beside}, definitions)
    kept = {
        key: {name: _compact(value, definitions) for name, value in part.items()}
        if key == "properties"
        else _compact(part, definitions)
        for key, part in node.items()
        if key not in ("title", "$defs") and not (key == "default" and part is None)
    }
    return _without_any_of(kept)


def _without_any_of(node: dict[str, Any]) -> dict[str, Any]:
    choices: list[dict[str, Any]] = node.get("anyOf", [])
    if len(choices) != 2 or choices[1] != {"type": "null"} or {"enum", "const"} & choices[0].keys():
        return node
    if not isinstance(choices[0].get("type"), str):
        return node
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    return {**choices[0], "type": [choices[0]["type"], "null"], **beside}
