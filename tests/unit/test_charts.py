"""Rules of charts: what is drawn is what was measured, in a bounded process of its own; nothing in it can break it."""

import asyncio
import io
import os
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from opsbot.adapters.charts import MAX_BYTES, ChartPress, NotDrawn, alt_text, figure_text, job_of
from opsbot.domain import Chart, Series

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOSTILE = "\x1b]8;;http://evil\x1b\\click\x1b[2J\u202e\x07 $\\frac{1}{$ ${x}$ %s {0} <b> \x00\nend"
BLUE = (0x00, 0x72, 0xB2)


def series(name: str, values: list[float], *, step_s: float = 60.0, start: datetime = AT) -> Series:
    return Series(name, tuple((start + timedelta(seconds=step_s * n), value) for n, value in enumerate(values)))


def chart(*lines: Series, unit: str = "percent", title: str = "memory used", threshold: float | None = None) -> Chart:
    return Chart(title, unit, lines, threshold)


@pytest.fixture
async def press() -> AsyncIterator[ChartPress]:
    made = ChartPress(time_limit_s=40)  # a loaded machine may need long to start it
    yield made
    made.close()


def pixels(png: bytes) -> Image.Image:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) < MAX_BYTES
    return Image.open(io.BytesIO(png)).convert("RGB")


def is_near(one: object, other: tuple[int, int, int]) -> bool:
    assert isinstance(one, tuple)
    return all(abs(a - b) < 40 for a, b in zip(one, other, strict=True))


def columns_with(picture: Image.Image, colour: tuple[int, int, int], *, until: int = 1120) -> dict[int, list[int]]:
    found = {
        x: [y for y in range(picture.height) if is_near(picture.getpixel((x, y)), colour)]
        for x in range(min(until, picture.width))
    }
    return {x: ys for x, ys in found.items() if ys}


# --- the picture -----------------------------------------------------------------------------------------------------


async def test_a_line_is_where_its_figures_are(press: ChartPress) -> None:
    low = pixels(await press.png(chart(series("a", [25.0] * 60))))
    high = pixels(await press.png(chart(series("a", [75.0] * 60))))
    low_y, high_y = (next(iter(columns_with(p, BLUE).values()))[0] for p in (low, high))
    assert low.size == (1200, 500)
    assert low.getpixel((5, 5)) == (255, 255, 255)
    # A plot of about 380 pixels for 0 to 102 %: 50 % are half of it.
    assert 150 < low_y - high_y < 220
    assert high_y < 200 < low_y


async def test_a_line_that_rises_is_drawn_rising(press: ChartPress) -> None:
    drawn = columns_with(pixels(await press.png(chart(series("a", [float(n) for n in range(100)])))), BLUE)
    edges = min(drawn), max(drawn)
    assert drawn[edges[0]][0] > 350
    assert drawn[edges[1]][0] < 100


async def test_where_nothing_was_measured_nothing_is_drawn(press: ChartPress) -> None:
    early, late = series("a", [50.0] * 60), series("a", [50.0] * 60, start=AT + timedelta(hours=2))
    gap = Series("a", early.points + late.points)
    drawn = columns_with(pixels(await press.png(chart(gap))), BLUE)
    empty = [x for x in range(min(drawn), max(drawn)) if x not in drawn]
    assert len(empty) > 300
    assert empty == list(range(empty[0], empty[-1] + 1))


async def test_a_single_point_is_a_dot_that_can_be_seen(press: ChartPress) -> None:
    drawn = columns_with(pixels(await press.png(chart(series("a", [50.0])))), BLUE)
    dot = [x for x in drawn if x < min(drawn) + 12]
    assert 3 <= len(dot) <= 8
    assert 560 < dot[0] < 660


async def test_twelve_lines_of_two_thousand_points_fit_the_limits(press: ChartPress) -> None:
    lines = [series(f"host{n}", [(k * 7919 * (n + 1)) % 101 for k in range(2000)]) for n in range(12)]
    assert pixels(await press.png(chart(*lines, threshold=90.0))).size == (1200, 500)


@pytest.mark.parametrize("unit", ["percent", "bytes", "seconds", ""])
async def test_words_cannot_break_the_picture(press: ChartPress, unit: str) -> None:
    lines = [series(HOSTILE, [1.0, 2.0]), series("_hidden", [3.0, 4.0]), series("面白い 😀", [5.0, 6.0])]
    pixels(await press.png(chart(*lines, unit=unit, title=HOSTILE * 50)))


async def test_figures_far_apart_or_negative_are_drawn(press: ChartPress) -> None:
    pixels(await press.png(chart(series("a", [-1e18, 1e18, 0.0]), unit="bytes")))
    pixels(await press.png(chart(series("a", [1e-300, 0.0]), unit="")))
    pixels(await press.png(chart(series("a", [0.0, 250.0]), threshold=90.0)))


# --- what is refused before anything is started ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (chart(), "no figures"),
        (chart(Series("a", ())), "no figures"),
        (chart(series("a", [1.0, float("nan")])), "no figure"),
        (chart(series("a", [float("inf")])), "no figure"),
        (chart(series("a", [1e300])), "no figure"),
        (chart(series("a", [1.0]), threshold=float("nan")), "no figure"),
        (chart(*[series(f"h{n}", [1.0]) for n in range(13)]), "13 lines"),
        (chart(series("a", [1.0] * 2001)), "2001 points"),
        (chart(Series("a", tuple(reversed(series("a", [1.0, 2.0]).points)))), "order of time"),
        (chart(Series("a", ((AT.replace(tzinfo=None), 1.0),))), "order of time"),
    ],
)
async def test_what_is_no_chart_is_refused_with_the_reason(refused: Chart, why: str) -> None:
    press = ChartPress(worker=Path("/nonexistent"))
    with pytest.raises(NotDrawn, match=why):
        await press.png(refused)


def test_a_job_holds_clean_short_words_and_the_unit_of_the_axis() -> None:
    job = job_of(chart(series(HOSTILE, [1024.0**3, 3 * 1024.0**3]), unit="bytes", title=HOSTILE, threshold=1024.0**3))
    said = repr(job)
    assert not [c for c in said if not c.isprintable()]
    assert "\\x1b" not in said
    assert "\\u202e" not in said
    assert job["label"] == "GiB"
    assert job["threshold"] == 1.0
    assert job["series"] == [
        {
            "name": job["series"][0]["name"],
            "last": "3.0 GiB",
            "points": [(AT.timestamp(), 1.0), (AT.timestamp() + 60, 3.0)],
        }  # type: ignore[index]
    ]


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (63.4, "percent", "63%"),
        (0.37, "percent", "0.4%"),
        (3.2 * 1024**3, "bytes", "3.2 GiB"),
        (-5.0, "bytes", "-5"),
        (0.25, "seconds", "0.25 s"),
        (93784.0, "seconds", "1d 2h"),
        (12.5, "", "12.5"),
        (1234567.0, "", "1,234,567"),
    ],
)
def test_figures_are_said_with_their_unit(value: float, unit: str, said: str) -> None:
    assert figure_text(value, unit) == said


def test_alt_text_says_the_figures() -> None:
    said = alt_text(chart(series("a", [10.0, 90.0, 40.0]), series("b", [5.0]), threshold=80.0))
    assert said == (
        "memory used, 2026-11-22 10:00 to 2026-11-22 10:02 UTC. a: 40% now, between 10% and 90%. b: 5%. Threshold 80%."
    )
    assert len(alt_text(chart(*[series("n" * 90, [1.0, 2.0])] * 12 * 5))) <= 1000


# --- the process -----------------------------------------------------------------------------------------------------


def worker(folder: Path, code: str) -> Path:
    path = folder / "worker.py"
    path.write_text(code, encoding="utf-8")
    return path


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def test_a_worker_that_hangs_is_killed_and_collected(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    press = ChartPress(worker=worker(tmp_path, code), time_limit_s=2.0)
    before, began = children(), time.monotonic()
    with pytest.raises(NotDrawn, match="longer than 2 s"):
        await press.png(chart(series("a", [1.0])))
    assert time.monotonic() - began < 10
    assert not Path(f"/proc/{pid_file.read_text()}").exists()
    assert children() == before


async def test_a_cancelled_drawing_leaves_no_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); print('x'); time.sleep(600)"
    press = ChartPress(worker=worker(tmp_path, code), time_limit_s=60)
    drawing = asyncio.create_task(press.png(chart(series("a", [1.0]))))
    async with asyncio.timeout(30):
        while not (pid_file.exists() and pid_file.read_text()):
            await asyncio.sleep(0)
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert not Path(f"/proc/{pid_file.read_text()}").exists()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; os.abort()", "process failed"),
        ("raise SystemExit('no')", "process failed"),
        ("print('hello')", "no picture"),
        ("", "no picture"),
        ("import sys; sys.stdout.buffer.write(b'\\x89PNG\\r\\n\\x1a\\n' + b'\\xff' * 90)", "too large"),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", "too much"),
        ("import sys\nwhile True: sys.stderr.write('x' * 65536)", "too much"),
    ],
)
async def test_a_worker_that_fails_is_no_picture(tmp_path: Path, code: str, why: str) -> None:
    before = children()
    with pytest.raises(NotDrawn, match=why):
        await ChartPress(worker=worker(tmp_path, code), time_limit_s=30).png(chart(series("a", [1.0])))
    assert children() == before


async def test_a_worker_that_cannot_be_started_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(NotDrawn, match="could not be started"):
        await ChartPress().png(chart(series("a", [1.0])))


async def test_the_worker_inherits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-secret")
    seen = tmp_path / "seen"
    code = f"import os, sys; open({str(seen)!r}, 'w').write(repr(dict(os.environ)) + repr(sys.path))"
    press = ChartPress(worker=worker(tmp_path, code), time_limit_s=30)
    with pytest.raises(NotDrawn):
        await press.png(chart(series("a", [1.0])))
    said = seen.read_text()
    assert "xoxb" not in said
    assert str(Path.home()) + "'" not in said
    assert str(Path.cwd()) + "'" not in said


async def test_the_worker_may_neither_connect_nor_start_anything(tmp_path: Path) -> None:
    real = Path("opsbot/adapters/chart_worker.py").resolve()
    attempts = "import socket, subprocess\nfor act in (lambda: socket.socket(), lambda: subprocess.run(['true'])):\n"
    attempts += "    try: act()\n    except PermissionError: continue\n    raise SystemExit('it could')\n"
    code = f"import runpy, sys, io\nw = runpy.run_path({str(real)!r})\nsys.stdin = io.StringIO('x')\n"
    code += f"try: w['main']()\nexcept ValueError: pass\n{attempts}raise SystemExit('it could not')"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", code, stderr=asyncio.subprocess.PIPE, env={"MPLCONFIGDIR": str(tmp_path)}
    )
    _, said = await process.communicate()
    assert said.decode().strip().endswith("it could not")


def test_the_bot_does_not_import_the_drawing_library() -> None:
    code = "import sys, opsbot.bootstrap, opsbot.adapters.charts; raise SystemExit('matplotlib' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
