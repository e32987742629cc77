"""The charts of a tool's answer: made by the tool, taken in here, shown by whoever shows the answer."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from opsbot.domain import Chart
from opsbot.intake import Intake
from opsbot.tooling import Tool

# More pictures than this below one answer are not looked at.
MAX_CHARTS = 3

log = structlog.get_logger(__name__)


def charts_of(tool: Tool, results: Mapping[str, Any], intake: Intake) -> tuple[Chart, ...]:
    """Return the charts the tool makes of its results, at most three; none if it fails at that."""
    if tool.charts is None or not results:
        return ()
    try:
        return tuple(intake.chart(chart) for chart in tool.charts(results)[:MAX_CHARTS])
    except Exception:
        # Part of the tool call: what it found is worth more than its pictures.
        log.exception("charts.crashed", tool=tool.name)
        return ()


def announcing(charts: Sequence[Chart], text: str) -> str:
    """Tell the model, before the figures, which charts people are shown of them, so that it draws none in letters."""
    if not charts:
        return text
    said = f"Shown to the person as pictures below your answer: {'; '.join(chart.title for chart in charts)}."
    head = f'{{"pictures": {json.dumps(said, ensure_ascii=False)}, '
    return head + (text[1:] if text.startswith('{"') else f'"result": {text}}}')
