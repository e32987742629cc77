"""opsbot: what a tool file may import (types; the run-time half loads these on first use)."""

from opsbot.domain import (
    CommandResult,
    HealthCheck,
    Host,
    HostOutcome,
    Impact,
    LogLine,
    Result,
    ServerFacts,
    Table,
    UnitFacts,
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
from opsbot.tooling import Context, Unit, tool

__version__: str
__all__ = [
    "BadArguments",
    "CommandFailed",
    "CommandResult",
    "CommandTimedOut",
    "Context",
    "HealthCheck",
    "Host",
    "HostOutcome",
    "HostUnreachable",
    "Impact",
    "LogLine",
    "OutcomeUnknown",
    "Result",
    "ServerFacts",
    "Table",
    "ToolError",
    "Unit",
    "UnitFacts",
    "UnknownHost",
    "duration_text",
    "percent_text",
    "size_text",
    "time_text",
    "tool",
]
