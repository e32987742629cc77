"""Defences where replies of the model and what was learned of its endpoint come in, to take out one by one."""

from tests.sabotage.copy import Change, Sabotage

_MEMORY = "tests/wire/test_endpoint_memory.py"
_DIALECTS = "tests/wire/test_model_dialects.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(f"opsbot/{file}", before, after),), tests)


WIRES: tuple[Sabotage, ...] = (
    _one(
        "wires: what was learned of one endpoint counts for another",
        "endpoints.py",
        "return self.endpoint == endpoint and timedelta(0)",
        "return timedelta(0)",
        _MEMORY,
    ),
    _one(
        "wires: what was learned holds for ever",
        "endpoints.py",
        "timedelta(0) <= now - self.at < HOLDS_FOR",
        "timedelta(0) <= now - self.at",
        _MEMORY,
    ),
    _one(
        "wires: a damaged record is believed",
        "adapters/openai_memory.py",
        "    return facts if well else None",
        "    return facts",
        _MEMORY,
    ),
    _one(
        "wires: arguments that are neither text nor object become none",
        "adapters/openai_reply.py",
        '    raise misbehaved("The model called a tool with arguments that are neither',
        '    return "{}"\n    raise misbehaved("The model called a tool with arguments that are neither',
        _DIALECTS,
    ),
    _one(
        "wires: an end that nobody knows is an end",
        "adapters/openai_reply.py",
        '    if reply.reason not in ("stop", "tool_calls", "length", "content_filter"):',
        "    if False:",
        _DIALECTS,
    ),
)
