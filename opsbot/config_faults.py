"""Faults of settings in the operator's words: where, what, and the way out."""

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]

# What a refused pattern means, by the setting's name.
_PATTERNS = {
    "users": "use member IDs like U024BE7LH (in Slack: profile, ⋮, Copy member ID), not names",
    "groups": "use user group IDs like S0614TZR7 (in the group's address in Slack), not names",
    "people": "use member IDs like U024BE7LH, not names",
    "person": "use a member ID like U024BE7LH, not a name",
    "approvers": "write role:NAME, user:U…, group:S… or oncall:NAME",
    "escalate_to": "write oncall:NAME, role:NAME, user:U… or group:S…",
    "channels": "use channel IDs like C024BE91L, or direct, or terminal; not names",
    "name": "use letters and digits, with single - _ . between them",
    "roles": "use the name of a role: letters and digits, with single - _ . between them",
    "rotas": "use letters and digits, with single - _ . between them",
    "start": 'write hours and minutes in quotes, like "08:00"',
    "end": 'write hours and minutes in quotes, like "18:00"; the end of the day is "24:00"',
    "handover": 'write hours and minutes in quotes, like "09:00"',
    "starts_on": 'write a day in quotes, like "2026-11-02"',
    "first": 'write a day in quotes, like "2026-11-02"',
    "until": 'write a day in quotes, like "2026-11-02"',
    "url": "write an address like https://host/path, without a login in it; for the store sqlite:/// or postgresql://",
    "base_url": "write an address like https://host/v1, without a login in it",
    "api_url": "write an address like https://slack.com/api/",
    "tcp": "write host:port",
    "address": "write a host name or an IP address, without user or port",
    "user": "write a login name",
    "credential": "write the name systemd knows it by: letters, digits, _ . -",
}


def fault_of(model: type[BaseModel], detail: ErrorDetails) -> tuple[Place, str]:
    """Return the place of a pydantic error and its text, without the value that was written."""
    place = tuple(part for part in detail["loc"] if part != "[key]")
    return place, f"{dotted(place)}: {_text(model, place, detail)}"


def dotted(place: Place) -> str:
    """Write a place as `hosts.web-1.port` or `policy.approvers[0].users`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" if text else _shown(part)
    return text or "the file"


def _text(model: type[BaseModel], place: Place, detail: ErrorDetails) -> str:
    context: Mapping[str, Any] = detail.get("ctx", {})
    message = detail["msg"]
    match detail["type"]:
        case "missing":
            return "is missing; add it."
        case "extra_forbidden":
            return _unknown(model, place)
        case "string_pattern_mismatch":
            names = [part for part in place if isinstance(part, str)]
            known = [_PATTERNS[name] for name in reversed(names[-2:]) if name in _PATTERNS]
            return f"does not fit; {known[0] if known else 'see docs/configuration.md'}."
        case "literal_error":
            return f"must be {context['expected']}."
        case "too_short":
            return f"needs at least {context['min_length']}."
        case "string_type":
            return "must be text; put it in quotes."
        case "model_type" | "dict_type" | "model_attributes_type":
            return "must hold settings of its own, indented below it."
        case "tuple_type":
            return "must be a list: `[a, b]`, or one item a line with `- ` before it."
    return f"{message.removeprefix('Input ').removeprefix('Value error, ')}."


def _unknown(model: type[BaseModel], place: Place) -> str:
    around = _model_at(model, place[:-1])
    names = sorted(around.model_fields) if around is not None else []
    near = difflib.get_close_matches(str(place[-1]), names, n=1)
    if near:
        return f"there is no such setting; did you mean {near[0]}?"
    return f"there is no such setting; here are: {', '.join(names)}."


def _model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    annotation: Any = model
    for part in place:
        found = _model_in(annotation)
        if found is not None and isinstance(part, str) and part in found.model_fields:
            annotation = found.model_fields[part].annotation
        else:
            annotation = _item_of(annotation)
    return _model_in(annotation)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
    return None


def _item_of(annotation: Any) -> Any:
    """Return what a dict's values or a tuple's items are."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _item_of(arguments[0])
    if get_origin(annotation) is dict:
        return arguments[1]
    return arguments[0] if arguments else None


def _shown(part: str) -> str:
    plain = part if part.isprintable() and part.isascii() else ascii(part)[1:-1]
    return plain if len(plain) <= 60 else plain[:60] + "…"
