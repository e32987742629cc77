"""What a service wrote to its log."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opsbot import BadArguments, Context, Host, LogLine, Table, Unit, time_text, tool

_MAX_LINES = 200
# What one server may add to an answer, so that several servers still fit into the model's view.
_MAX_CHARACTERS = 12_000

_UNITS = {"s": "s", "sec": "s", "second": "s", "m": "min", "min": "min", "minute": "min"}
_UNITS |= {"h": "h", "hour": "h", "d": "d", "day": "d", "w": "w", "week": "w"}
_AGO = re.compile(r"([0-9]{1,5}) ?([a-z]+?)s?(?: ago)?", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII)


def _table(results: Mapping[str, Any]) -> Table:
    rows = [(name, line) for name, result in results.items() for line in result["lines"]]
    return Table(("server", "line"), tuple(rows))


@tool(risk="read", timeout_s=20, table=_table, by_hand="journalctl -u {unit} -n {lines}[ -S {since}]")
def service_logs(ctx: Context, host: Host, unit: Unit, lines: int = 50, since: str | None = None) -> dict[str, object]:
    """Read a service's newest log lines, oldest first, times in UTC.

    Ask for few lines first.

    Args:
        unit: Service name.
        lines: How many lines, 1 to 200.
        since: Only newer lines: 15min, 2h or 3d back, today, yesterday, or an ISO 8601 time.
    """
    if not 1 <= lines <= _MAX_LINES:
        raise BadArguments(f"lines is {lines}; ask for 1 to {_MAX_LINES}.")
    found = ctx.logs(host, unit, lines=lines, since=journal_time(since) if since else "")
    shown = _bounded([_line(line) for line in found])
    return {"unit": unit, "lines": shown, "lines_left_out": len(found) - len(shown)}


def journal_time(text: str) -> str:
    """Translate a time into journalctl's words; nothing but these few forms ever reaches a command line.

    Raises:
        BadArguments: it is none of the forms.
    """
    words = text.strip().lower()
    if words in ("today", "yesterday"):
        return words
    ago = _AGO.fullmatch(words)
    if ago and ago.group(2) in _UNITS:
        return f"-{int(ago.group(1))}{_UNITS[ago.group(2)]}"
    if _ISO.fullmatch(text.strip()):
        try:
            at = datetime.fromisoformat(text.strip())
        except ValueError:
            at = None
        if at is not None:
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    raise BadArguments(
        f"since is {text[:60]!r}; use a span like 15min, 2h or 3d, today, yesterday, or an ISO 8601 time."
    )


def _line(line: LogLine) -> str:
    at = f"{time_text(line.at)} " if line.at else ""
    return f"{at}{line.source}: {line.text}" if line.source else f"{at}{line.text}"


def _bounded(lines: Sequence[str]) -> list[str]:
    """Keep the newest lines that fit."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines):
        size += len(line) + 1
        if size > _MAX_CHARACTERS and kept:
            break
        kept.append(line[:_MAX_CHARACTERS])
    return kept[::-1]
