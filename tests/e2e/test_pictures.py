"""A chart as people see it: asked for in Slack, drawn by a process of the bot, shown in the page, enlarged there."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.page import Page
from tests.e2e.scripted_workbench import Background
from tests.whole_bot import WholeBot
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

HOSTS = "hosts: {this-machine: {connection: local}}\ntools: {folders: [mine]}\n"
TOOL = '''"""The tides."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import sin
from typing import Any

from opsbot import Chart, Context, Host, Series, Table, tool

_AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


def _charts(results: Mapping[str, Any]) -> list[Chart]:
    lines = []
    for n, name in enumerate(("web", "database", "<img src=x onerror=alert(1)> $\\\\frac{1}{")):
        points = [(_AT + timedelta(minutes=m), 45 + 12 * n + 20 * sin(m / (30 + 9 * n))) for m in range(0, 480, 2)]
        lines.append(Series(name, tuple(point for point in points if not 2 <= (point[0] - _AT).seconds // 3600 < 3)))
    return [Chart("memory used", "percent", tuple(lines), threshold=90.0)]


def _table(results: Mapping[str, Any]) -> Table:
    return Table(("host", "memory"), tuple((host, "63%") for host in results))


@tool(risk="read", table=_table, charts=_charts)
def tides(ctx: Context, host: Host) -> dict[str, Any]:
    """Show the tides of a host.

    Args:
        host: Hosts.
    """
    return {"memory_percent": 63}
'''


@contextlib.asynccontextmanager
async def _workbench() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=json.loads(MANIFEST.read_text(encoding="utf-8"))) as running:
        yield running


@pytest.fixture
def workbench(background: Background) -> Iterator[RunningWorkbench]:
    opened = _workbench()
    yield background.run(opened.__aenter__())
    background.run(opened.__aexit__(None, None, None))


@pytest.fixture
def bot(tmp_path: Path, workbench: RunningWorkbench) -> Iterator[WholeBot]:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tides.py").write_text(TOOL, encoding="utf-8")
    bot = WholeBot(tmp_path, workbench, HOSTS)
    bot.start()
    yield bot
    assert bot.terminate() == 0


def children_of(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def loaded(page: Page, selector: str) -> int:
    """The natural width of a picture, 0 until it is there."""
    return int(page.run("return document.querySelector(arguments[0])?.naturalWidth ?? 0", selector))


def photograph(page: Page, name: str) -> None:
    """Keep a picture of the window when asked to, for people to look at."""
    if folder := os.environ.get("SHOTS"):
        page.screenshot(Path(folder) / f"{name}.png")


def test_a_chart_in_a_thread_is_seen_said_and_enlarged(workbench: RunningWorkbench, bot: WholeBot) -> None:
    with Page(workbench.url) as page:
        page.open("/#alice/ops")
        page.send("@opsbot !do tides this-machine")
        page.wait(lambda: page.run("return document.querySelectorAll('.thread-link').length > 0"), "a reply")
        page.open_thread("!do tides")
        page.wait_text("63%", where="thread")
        image = ".thread-pane .file-image img"
        page.wait(lambda: loaded(page, image) == 1200, "the picture to load")
        alt = page.element(image).get_attribute("alt") or ""
        assert alt.startswith("memory used, 2026-11-22 10:00 to 2026-11-22 17:58 UTC. web: ")
        assert "Threshold 90%." in alt
        texts = page.texts("thread")
        assert "63%" in texts[-2]
        assert "memory used" in texts[-1]
        photograph(page, "picture-thread")
        page.click_button("Enlarge memory used", within=".thread-pane")
        page.wait(lambda: page.visible("dialog.dialog-image[open] img"), "the large picture")
        wide = "return document.querySelector('dialog.dialog-image img').getBoundingClientRect().width"
        assert page.run(wide) > 900
        photograph(page, "picture-large")
        page.click_button("Close")
        page.wait(lambda: not page.find("dialog.dialog-image"), "the large picture to close")
        assert page.complaints() == []
    assert bot._process is not None
    assert children_of(bot._process.pid) == ""


def test_a_private_answers_chart_is_in_the_direct_messages(workbench: RunningWorkbench, bot: WholeBot) -> None:
    with Page(workbench.url, dark=True) as page:
        page.open("/#alice/ops")
        page.send("/ops do tides this-machine")
        page.wait_text("The chart is in our direct messages.", where="channel")
        assert not page.visible(".channel-pane .file-image")
        page.open_channel("opsbot")
        page.open_thread("You asked in")
        page.wait(lambda: loaded(page, ".thread-pane .file-image img") == 1200, "the picture to load")
        photograph(page, "picture-private-dark")
        assert page.complaints() == []


def test_a_picture_from_elsewhere_is_not_loaded(workbench: RunningWorkbench) -> None:
    with Page(workbench.url) as page:
        page.open("/#alice/ops")
        blocked = page.run_async(
            """
            return await new Promise((done) => {
              document.addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
              const image = new Image();
              image.src = "http://127.0.0.2:9/pixel.png";
              document.body.append(image);
            });"""
        )
        assert blocked == "img-src"
