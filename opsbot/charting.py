"""The charts of a tool's answer: made by the tool, checked and redacted here, shown by whoever shows the answer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from opsbot.domain import Chart, Series
from opsbot.redact import Redactor
from opsbot.tooling import Tool

# More pictures than this below one answer are not looked at.
MAX_CHARTS = 3

log = structlog.get_logger(__name__)


def charts_of(tool: Tool, results: Mapping[str, Any], redactor: Redactor) -> tuple[Chart, ...]:
    """Return the charts the tool makes of its results, at most three; none if it fails at that."""
    if tool.charts is None or not results:
        return ()
    try:
        return tuple(_redacted(chart, redactor) for chart in tool.charts(results)[:MAX_CHARTS])
    except Exception:
        # Part of the tool call: what it found is worth more than its pictures.
        log.exception("charts.crashed", tool=tool.name)
        return ()


def _redacted(chart: Chart, redactor: Redactor) -> Chart:
    lines = tuple(Series(redactor.text(line.name), line.points) for line in chart.series)
    return replace(chart, title=redactor.text(chart.title), series=lines)
