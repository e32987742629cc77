"""What was learned of an endpoint as it is kept between starts: written, read strictly, and said to an operator."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from opsbot.adapters.openai_endpoint import OPTIONAL, VISION, Capabilities, ModelSettings
from opsbot.adapters.openai_format import FormatWay
from opsbot.endpoints import HOLDS_FOR, Learned

_LIMITS = ("max_tokens", "max_completion_tokens")
_ROLES = ("developer", "system")
_WAYS = {FormatWay.JSON_OBJECT: "no JSON schemas, only JSON", FormatWay.WORDS: "no JSON schemas"}


@dataclass(frozen=True, slots=True)
class _Facts:
    refused: list[str]
    max_tokens_name: str
    system_role: str
    format_way: int
    tools_need_no_effort: bool


def endpoint_name(settings: ModelSettings) -> str:
    """Name what facts are about: where, which model, by which API. No secrets."""
    return f"{settings.url.rstrip('/')} {settings.model} {settings.wire}"


def learned(can: Capabilities, settings: ModelSettings, at: datetime) -> Learned:
    """Write down what an endpoint takes."""
    facts = _Facts(
        sorted(can.refused), can.max_tokens_name, can.system_role, int(can.format_way), can.tools_need_no_effort
    )
    return Learned(endpoint_name(settings), at, json.dumps(asdict(facts)))


def recalled(kept: Learned | None, settings: ModelSettings, now: datetime) -> Capabilities | None:
    """Return what is known of the endpoint, or None: nothing, of another one, too old, or not readable."""
    if kept is None or not kept.holds(endpoint_name(settings), now):
        return None
    facts = _read(kept.facts)
    if facts is None:
        return None
    can = Capabilities(settings)
    can.take(
        frozenset(facts.refused),
        max_tokens_name=facts.max_tokens_name,
        system_role=facts.system_role,
        format_way=FormatWay(facts.format_way),
        tools_need_no_effort=facts.tools_need_no_effort,
    )
    return can


def said(kept: Learned | None, settings: ModelSettings, now: datetime) -> str:
    """Say what is known of the endpoint, for an operator; "" if nothing was learned."""
    can = recalled(kept, settings, now)
    if can is None or kept is None:
        return ""
    names = ["no pictures" if name == VISION else f"no `{name}`" for name in sorted(can.refused)]
    names += [_WAYS[can.format_way]] if can.format_way in _WAYS else []
    usual = Capabilities(settings)
    if can.system_role != usual.system_role:
        names.append(f"no {usual.system_role} role")
    if can.tools_need_no_effort and not usual.tools_need_no_effort:
        names.append("tools only without reasoning effort")
    again = kept.at + HOLDS_FOR
    return f"it takes {', '.join(names) or 'everything'} (learned {kept.at:%Y-%m-%d}, tried again {again:%Y-%m-%d})"


def _read(text: str) -> _Facts | None:
    """Read facts strictly: a damaged record is one that is not there."""
    try:
        facts = _Facts(**json.loads(text))
        well = (
            all(name in (*OPTIONAL, VISION) for name in facts.refused)
            and facts.max_tokens_name in _LIMITS
            and facts.system_role in _ROLES
            and facts.format_way in tuple(FormatWay)
            and isinstance(facts.tools_need_no_effort, bool)
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return facts if well else None
