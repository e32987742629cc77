"""opsbot: what a tool file may import (types; the run-time half loads these on first use)."""

from opsbot.domain import (
    Chart,
    CommandResult,
    HealthCheck,
    Host,
    HostOutcome,
    HostVerb,
    Impact,
    LogLine,
    Result,
    Series,
    ServerFacts,
    Table,
    UnitFacts,
    UnitVerb,
    Vitals,
)
from opsbot.errors import (
    BadArguments,
    CommandFailed,
    CommandTimedOut,
    HostUnreachable,
    OutcomeUnknown,
    ToolError,
    UnknownHost,
)
from opsbot.readable import duration_text, percent_text, size_text, time_text
from opsbot.tooling import Container, Context, Unit, tool

__version__: str
__all__ = [
    "BadArguments",
    "Chart",
    "CommandFailed",
    "CommandResult",
    "CommandTimedOut",
    "Container",
    "Context",
    "HealthCheck",
    "Host",
    "HostOutcome",
    "HostUnreachable",
    "HostVerb",
    "Impact",
    "LogLine",
    "OutcomeUnknown",
    "Result",
    "Series",
    "ServerFacts",
    "Table",
    "ToolError",
    "Unit",
    "UnitFacts",
    "UnitVerb",
    "UnknownHost",
    "Vitals",
    "duration_text",
    "percent_text",
    "size_text",
    "time_text",
    "tool",
]
