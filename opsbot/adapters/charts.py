"""Charts as pictures and words: a PNG drawn by a process of its own, and its figures said for who cannot see it."""

import asyncio
import json
import math
from datetime import UTC
from pathlib import Path
from struct import unpack

import structlog

from opsbot.adapters.worker_process import WorkerFailed, WorkerProcess
from opsbot.domain import Chart, Series
from opsbot.errors import ChatError
from opsbot.readable import duration_text, plain_line, size_text

MAX_SERIES = 12
MAX_POINTS = 2000
MAX_BYTES = 200_000
MAX_PIXELS = (1200, 500)

_PNG = b"\x89PNG\r\n\x1a\n"
_TITLE_CHARS, _NAME_CHARS, _ALT_CHARS = 80, 28, 1000
_TIME_LIMIT_S = 10.0
_MAX_FIGURE = 1e18
_WORKER = Path(__file__).with_name("chart_worker.py")
_SURROUNDINGS = {"MPLBACKEND": "Agg", "TZ": "UTC", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_KIB = 1024.0
_SIZES = ((_KIB**4, "TiB"), (_KIB**3, "GiB"), (_KIB**2, "MiB"), (_KIB, "KiB"))
_DURATIONS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))

log = structlog.get_logger(__name__)


class NotDrawn(ChatError):
    """There is no picture; the text says why, and the figures themselves are shown all the same."""


class ChartPress:
    """Draws charts, one at a time, each in a process that lives for one picture and at most ten seconds.

    The bot itself never imports the drawing library: that takes a second and a hundred megabytes.
    """

    def __init__(self, *, worker: Path = _WORKER, time_limit_s: float = _TIME_LIMIT_S) -> None:
        self._worker = WorkerProcess(
            worker, "drawing", time_limit_s, MAX_BYTES, _SURROUNDINGS, ("HOME", "MPLCONFIGDIR", "TMPDIR")
        )
        self._one_at_a_time = asyncio.Lock()

    async def png(self, chart: Chart) -> bytes:
        """Draw the chart, at most 1200 × 500 pixels and 200 kB.

        Raises:
            NotDrawn: its figures cannot be drawn, or the drawing failed.
        """
        job = json.dumps(job_of(chart)).encode()
        async with self._one_at_a_time:
            try:
                return _checked(await self._worker.run(job))
            except WorkerFailed as error:
                raise _failed(str(error), error.detail) from error

    def close(self) -> None:
        """Remove the worker's folder."""
        self._worker.close()


def job_of(chart: Chart) -> dict[str, object]:
    """Say to the worker exactly what to draw: finite, bounded, in the unit of the axis, texts harmless.

    Raises:
        NotDrawn: there is nothing to draw, too much, or something that is no figure.
    """
    _check(chart)
    scale, label = _scale(chart)
    return {
        "title": plain_line(chart.title, limit=_TITLE_CHARS),
        "label": label,
        "threshold": None if chart.threshold is None else chart.threshold / scale,
        "threshold_text": "" if chart.threshold is None else f"threshold {figure_text(chart.threshold, chart.unit)}",
        "series": [
            {
                "name": plain_line(line.name, limit=_NAME_CHARS),
                "last": figure_text(line.points[-1][1], chart.unit),
                "points": [(at.timestamp(), value / scale) for at, value in line.points],
            }
            for line in drawable(chart)
        ],
    }


def drawable(chart: Chart) -> tuple[Series, ...]:
    """Return the lines that have points."""
    return tuple(line for line in chart.series if line.points)


def alt_text(chart: Chart) -> str:
    """Say the figures in words: from when to when, and of each line the lowest, the highest and the last."""
    lines = drawable(chart)
    if not lines:
        return plain_line(chart.title, limit=_TITLE_CHARS)
    first = min(line.points[0][0] for line in lines).astimezone(UTC)
    last = max(line.points[-1][0] for line in lines).astimezone(UTC)
    said = [f"{plain_line(chart.title, limit=_TITLE_CHARS)}, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC."]
    said += [_line_words(line, chart.unit) for line in lines]
    if chart.threshold is not None:
        said.append(f"Threshold {figure_text(chart.threshold, chart.unit)}.")
    text = " ".join(said)
    return text if len(text) <= _ALT_CHARS else text[: _ALT_CHARS - 1] + "…"


def figure_text(value: float, unit: str) -> str:
    """Spell one figure with its unit."""
    if unit == "percent":
        return f"{value:.0f}%" if abs(value) >= 10 or value == int(value) else f"{value:.1f}%"
    if unit == "bytes" and value >= 0:
        return size_text(value)
    if unit == "seconds":
        return duration_text(value) if value >= 60 else f"{value:.3g} s"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _line_words(line: Series, unit: str) -> str:
    values = [value for _, value in line.points]
    name = plain_line(line.name, limit=_NAME_CHARS)
    low, high, last = (figure_text(value, unit) for value in (min(values), max(values), values[-1]))
    return f"{name}: {last} now, between {low} and {high}." if len(values) > 1 else f"{name}: {last}."


def _check(chart: Chart) -> None:
    lines = drawable(chart)
    if not lines:
        raise NotDrawn("there are no figures in it yet")
    if len(chart.series) > MAX_SERIES:
        raise NotDrawn(f"{len(chart.series)} lines are too many to tell apart; at most {MAX_SERIES}")
    longest = max(len(line.points) for line in lines)
    if longest > MAX_POINTS:
        raise NotDrawn(f"{longest} points on a line are too many; at most {MAX_POINTS}")
    figures = [value for line in lines for _, value in line.points]
    figures += [] if chart.threshold is None else [chart.threshold]
    if not all(math.isfinite(value) and abs(value) <= _MAX_FIGURE for value in figures):
        raise NotDrawn("it holds something that is no figure")
    for line in lines:
        times = [at for at, _ in line.points]
        if any(at.tzinfo is None for at in times) or times != sorted(times):
            raise NotDrawn("its points are not in the order of time")


def _scale(chart: Chart) -> tuple[float, str]:
    """Return what figures are divided by for the axis, and the name of that."""
    highest = max(abs(value) for line in drawable(chart) for _, value in line.points)
    if chart.unit == "bytes":
        return next(((size, name) for size, name in _SIZES if highest >= size), (1.0, "bytes"))
    if chart.unit == "seconds":
        return next(((size, name) for size, name in _DURATIONS if highest >= 2 * size), (1.0, "s"))
    return 1.0, "%" if chart.unit == "percent" else ""


def _checked(drawn: bytes) -> bytes:
    if not drawn.startswith(_PNG) or not 24 < len(drawn) <= MAX_BYTES:
        raise _failed("what was drawn is no picture that can be sent", f"{len(drawn)} bytes")
    width, height = unpack(">II", drawn[16:24])
    if width > MAX_PIXELS[0] or height > MAX_PIXELS[1]:
        raise _failed("what was drawn is too large", f"{width} x {height}")
    return drawn


def _failed(why: str, detail: str = "") -> NotDrawn:
    log.warning("chart.not_drawn", why=why, detail=detail)
    return NotDrawn(why)
