"""`usage` as people see it: figures, budgets and a chart; and before, a warning and a turn that was stopped."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store
from opsbot.domain import Usage
from opsbot.spending import ModelCall
from tests.e2e.page import Page
from tests.e2e.scripted_workbench import Background
from tests.model_servers import ModelServer, Turn
from tests.records import KEY
from tests.whole_bot import WholeBot
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CONFIG = """
hosts: {this-machine: {connection: local}}
budget: {turn_tokens: 2000, warn_percent: 70, day_tokens: 200000}
model: {prices: {gpt-6-luna: {input: 0.1, cached_input: 0.01, output: 0.5}}}
"""


@contextlib.asynccontextmanager
async def _servers() -> AsyncIterator[tuple[RunningWorkbench, ModelServer]]:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    async with running_workbench(manifest=manifest) as workbench, ModelServer() as model:
        yield workbench, model


@pytest.fixture
def servers(background: Background) -> Iterator[tuple[RunningWorkbench, ModelServer]]:
    opened = _servers()
    yield background.run(opened.__aenter__())
    background.run(opened.__aexit__(None, None, None))


@pytest.fixture
def bot(
    tmp_path: Path, background: Background, servers: tuple[RunningWorkbench, ModelServer]
) -> Iterator[tuple[RunningWorkbench, ModelServer]]:
    (tmp_path / "audit.key").write_text(KEY.hex())
    (tmp_path / "audit.key").chmod(0o600)
    store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
    background.run(store.usage.add(list(earlier(datetime.now(UTC)))))
    background.run(store.close())
    bot = WholeBot(tmp_path, servers[0], CONFIG, model_url=servers[1].base_url)
    bot.start()
    yield servers
    assert bot.terminate() == 0


def earlier(now: datetime) -> Iterator[ModelCall]:
    """What two people used on the days before."""
    for day in range(1, 7):
        for number, person in enumerate(("t0workbench/u0alice", "t0workbench/u0bob")):
            read = 9000 * (day % 4 + 1) + 4000 * number
            usage = Usage(read, 700 * day, read * 6 // 10)
            thread = f"T0WORKBENCH/C0OPS/{day}.{number}"
            at = now - timedelta(days=day)
            yield ModelCall(
                f"e{day}-{number}", at, f"{thread}@1", thread, person, "gpt-6-luna", "compatible", usage,
                cost_nano_usd=None if day == 6 else read * 60 + 700 * day * 500,
            )  # fmt: skip


def photograph(page: Page, name: str) -> None:
    """Keep a picture of the window when asked to, for people to look at."""
    if folder := os.environ.get("SHOTS"):
        page.screenshot(Path(folder) / f"{name}.png")


def test_usage_is_seen_with_its_chart_and_a_stopped_turn_with_its_way_out(
    bot: tuple[RunningWorkbench, ModelServer],
) -> None:
    workbench, model = bot
    look = ("c1", "server_status", '{"hosts": ["this-machine"]}')
    model.add(
        Turn("", calls=(look,), usage=(1400, 100, 900)), Turn("", calls=(("c2", *look[1:]),), usage=(1900, 50, 0))
    )
    with Page(workbench.url) as page:
        page.open("/#alice/ops")
        page.send("@opsbot how is this machine?")
        page.wait_text("75 % of the budget of 2,000 tokens for one question is used", where="thread")
        stopped = page.wait_text("Stopped at the budget", where="thread")
        assert "this-machine: load_1m" in stopped
        assert "budget.turn_tokens" in stopped
        photograph(page, "budget-stopped")
        page.act_as("bob")
        page.open_thread("how is this machine?")
        page.reply("@opsbot !usage person 7")
        page.wait_text("All people in the last 7 days: 14 model calls", where="thread")
        image = ".thread-pane .file-image img"
        width = "return document.querySelector(arguments[0])?.naturalWidth ?? 0"
        page.wait(lambda: page.run(width, image) == 1200, "the chart to load")
        photograph(page, "usage-person")
        alt = page.element(image).get_attribute("alt") or ""
        assert alt.startswith("Tokens by day (UTC), last 7 days")
        page.reply("@opsbot !usage")
        page.wait(lambda: page.run("return document.querySelectorAll(arguments[0]).length", image) == 2, "a second one")
        photograph(page, "usage-day")
        assert page.complaints() == []
