"""Draws one chart: a job as JSON on stdin, a PNG on stdout. Run as a script by itself; it imports nothing of opsbot.

Started by `opsbot.adapters.charts`, which has checked the job. It ends after one picture, so the memory of the drawing
library is given back, and whatever a picture breaks, it breaks here only.
"""

import io
import json
import sys
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from PIL import Image

# Pixels of the picture are these inches times dots per inch: 1200 × 500.
_SIZE_INCHES, _DPI = (12.0, 5.0), 100
# Okabe and Ito's palette, told apart with every colour blindness (https://jfly.uni-koeln.de/color/, 2008), without
# its yellow, which is faint on white. The second round of lines is dashed.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_INK, _FAINT, _ALARM = "#1d1c1d", "#d8d8d8", "#B00020"
# A distance between two points above this many usual ones is a gap: nothing is known there, so no line is drawn.
_GAP_STEPS = 2.5
_FEW_POINTS = 40
_SHADES = 96


def draw(job: dict[str, Any]) -> bytes:
    """Return the PNG of a job as `charts.job_of` makes it."""
    mpl.rcParams.update({"text.parse_math": False, "axes.formatter.use_mathtext": False, "font.size": 15})
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, facecolor="white", layout=layout)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    series = job["series"]
    for index, line in enumerate(series):
        _line(axes, line["points"], index)
    if job["threshold"] is not None:
        _threshold(axes, job)
    _time_axis(axes, [point[0] for line in series for point in line["points"]])
    _value_axis(axes, job)
    _words(axes, job)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = io.BytesIO()
    picture = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")  # type: ignore[no-untyped-call]
    # A palette makes the file four times smaller, and nobody sees the difference.
    picture.quantize(_SHADES).save(drawn, "PNG", optimize=True)
    return drawn.getvalue()


def pieces(points: Sequence[Sequence[float]]) -> list[list[Sequence[float]]]:
    """Cut a line where points are missing."""
    steps = [after[0] - before[0] for before, after in pairwise(points)]
    widest = _GAP_STEPS * median(steps) if steps else 0.0
    cut: list[list[Sequence[float]]] = []
    for index, point in enumerate(points):
        if index == 0 or steps[index - 1] > widest:
            cut.append([])
        cut[-1].append(point)
    return cut


def _line(axes: Axes, points: Sequence[Sequence[float]], index: int) -> None:
    colour = _COLOURS[index % len(_COLOURS)]
    style = "-" if index < len(_COLOURS) else (0, (4, 2))
    for piece in pieces(points):
        marked = len(piece) == 1 or len(points) <= _FEW_POINTS
        times = [_number(at) for at, _ in piece]
        values = [value for _, value in piece]
        axes.plot(
            times, values, color=colour, linestyle=style, linewidth=2.5, marker="o" if marked else None, markersize=5
        )


def _threshold(axes: Axes, job: dict[str, Any]) -> None:
    axes.axhline(job["threshold"], color=_ALARM, linewidth=1.2, linestyle=(0, (6, 4)))
    where = (0.0, job["threshold"])
    axes.annotate(
        job["threshold_text"], where, xytext=(4, 3), xycoords=axes.get_yaxis_transform(),
        textcoords="offset points", color=_ALARM, fontsize=14,
    )  # fmt: skip


def _time_axis(axes: Axes, times: Sequence[float]) -> None:
    first, last = min(times), max(times)
    room = (last - first) * 0.02 or 60.0
    axes.set_xlim(_number(first - room), _number(last + room))
    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlabel("UTC", color=_INK)


def _value_axis(axes: Axes, job: dict[str, Any]) -> None:
    values = [point[1] for line in job["series"] for point in line["points"]]
    values += [job["threshold"]] if job["threshold"] is not None else []
    low, high = min(values), max(values)
    room = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
    if job["label"] == "%" and low >= 0 and high <= 100:
        axes.set_ylim(0, 102)  # a line at 100 must not be cut in half
        axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    else:
        axes.set_ylim(low - room if low < 0 else max(0.0, low - room), high + room)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.set_ylabel(job["label"], color=_INK)
    axes.grid(visible=True, color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _words(axes: Axes, job: dict[str, Any]) -> None:
    axes.set_title(job["title"], loc="left", color=_INK, fontsize=18, fontweight="bold", pad=14)
    series = job["series"]
    if len(series) > 1:
        # A label that begins with an underscore would be left out.
        labels = [f" {line['name']}  {line['last']}" for line in series]
        handles = [_sample(index) for index in range(len(series))]
        axes.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=14)
        return
    at, value = series[0]["points"][-1]
    axes.annotate(
        series[0]["last"], (_number(at), value), xytext=(8, 0), textcoords="offset points", va="center",
        color=_COLOURS[0], fontweight="bold", annotation_clip=False,
    )  # fmt: skip


def _sample(index: int) -> Line2D:
    style: Any = "-" if index < len(_COLOURS) else (0, (4, 2))
    return Line2D([], [], color=_COLOURS[index % len(_COLOURS)], linestyle=style, linewidth=2)


def _number(at: float) -> float:
    return float(date2num(datetime.fromtimestamp(at, UTC)))  # type: ignore[no-untyped-call]


def _refuse(event: str, _: tuple[object, ...]) -> None:
    """Drawing needs no network and starts nothing; a library that tries is told no."""
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "ctypes.")):
        raise PermissionError(f"{event} is not for drawing")


def main() -> None:
    """Draw the job on stdin."""
    sys.addaudithook(_refuse)
    warnings.simplefilter("ignore")  # letters the font lacks are drawn as boxes
    sys.stdout.buffer.write(draw(json.load(sys.stdin)))


if __name__ == "__main__":
    main()
