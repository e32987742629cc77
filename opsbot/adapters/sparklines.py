"""Charts in a terminal: one line of blocks per series, as wide as there is room; letters where blocks are not shown."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from opsbot.adapters.charts import figure_text
from opsbot.domain import Chart, Series
from opsbot.readable import plain_line

_BLOCKS, _LETTERS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
_MAX_LINES = 30
_NAME_CHARS = 28
_MIN_CELLS, _MAX_CELLS = 8, 100


def sparklines(chart: Chart, console: Console) -> RenderableType:
    """Return the chart as text: for each series its course, its last figure, and between which it moved."""
    lines = [line for line in chart.series if line.points][:_MAX_LINES]
    title = Text(plain_line(chart.title, limit=200), style="bold")
    if not lines:
        return Group(title, Text("no figures yet", style="dim"))
    words = [_words(line, chart.unit) for line in lines]
    taken = max(cell_len(name) + cell_len(last) + cell_len(between) for name, last, between in words) + 6
    window = min(line.points[0][0] for line in lines), max(line.points[-1][0] for line in lines)
    cells = max(_MIN_CELLS, min(_MAX_CELLS, console.width - taken, _useful(lines, window)))
    levels = _BLOCKS if _shows(console, _BLOCKS) else _LETTERS
    grid = Table.grid(padding=(0, 2, 0, 0))
    for line, (name, last, between) in zip(lines, words, strict=True):
        drawn = course(line, window, cells, levels, _range(chart, lines))
        grid.add_row(Text(name, style="dim"), Text(drawn, style="cyan"), Text(last, style="bold"), Text(between))
    left_out = len([line for line in chart.series if line.points]) - len(lines)
    parts: list[RenderableType] = [title, grid, Text(_foot(chart, window, left_out), style="dim")]
    return Group(*parts)


def course(
    line: Series, window: tuple[datetime, datetime], cells: int, levels: str, between: tuple[float, float]
) -> str:
    """Draw one series: each cell is the highest figure of its time, and blank where nothing was measured."""
    start, end = window
    span_s = (end - start).total_seconds() or 1.0
    highest: dict[int, float] = {}
    for at, value in line.points:
        cell = min(cells - 1, int((at - start).total_seconds() / span_s * cells))
        highest[cell] = max(value, highest.get(cell, value))
    low, high = between
    return "".join(levels[_level(highest[n], low, high, len(levels))] if n in highest else " " for n in range(cells))


def _level(value: float, low: float, high: float, levels: int) -> int:
    return max(0, min(levels - 1, int((value - low) / (high - low) * levels))) if high > low else 0


def _range(chart: Chart, lines: Sequence[Series]) -> tuple[float, float]:
    """From the lowest to the highest block: the whole scale for percent, else what was measured."""
    values = [value for line in lines for _, value in line.points]
    if chart.unit == "percent":
        return min(0.0, *values), max(100.0, *values)
    return min(values), max(values)


def _useful(lines: Sequence[Series], window: tuple[datetime, datetime]) -> int:
    """No more cells than measurements fit in: more would look like gaps."""
    steps_s = [(after - before).total_seconds() for line in lines for (before, _), (after, _) in pairwise(line.points)]
    step_s = median(steps_s) if steps_s else 0.0
    return round((window[1] - window[0]).total_seconds() / step_s) + 1 if step_s else _MIN_CELLS


def _words(line: Series, unit: str) -> tuple[str, str, str]:
    values = [value for _, value in line.points]
    between = f"{figure_text(min(values), unit)} to {figure_text(max(values), unit)}"
    return plain_line(line.name, limit=_NAME_CHARS), figure_text(values[-1], unit), between


def _foot(chart: Chart, window: tuple[datetime, datetime], left_out: int) -> str:
    start, end = (at.astimezone(UTC) for at in window)
    same_day = start.date() == end.date()
    said = f"{start:%Y-%m-%d %H:%M} to {end:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"
    said += f", threshold {figure_text(chart.threshold, chart.unit)}" if chart.threshold is not None else ""
    return said + (f"; {left_out} more lines are not shown" if left_out else "")


def _shows(console: Console, text: str) -> bool:
    try:
        text.encode(console.encoding)
    except (UnicodeError, LookupError):
        return False
    return True
