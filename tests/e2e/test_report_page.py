"""An incident report as people see it: asked for in a thread, edited in its form, published with files."""

import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.page import Page
from tests.e2e.scripted_workbench import Background
from tests.model_servers import Body, ModelServer, Turn
from tests.whole_bot import WholeBot
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

CONFIG = """
hosts: {this-machine: {connection: local, groups: [web]}, web-2: {connection: local, groups: [web]}}
"""
SUMMARY = (
    "The machine answered slowly for about ten minutes. A look at it showed its load and its file systems; nothing was "
    "changed. It recovered by itself."
)


def written(_: Body) -> Turn:
    """What a model answers that keeps to the form."""
    cause = {
        "text": "A backup ran at the busiest hour and took the disk's time.",
        "confidence": "medium",
        "evidence": ["load_1m", "the backup began at 03:00"],
    }
    said = {
        "title": "this-machine slow for ten minutes",
        "summary": SUMMARY,
        "impact": "Pages took up to four seconds. No request was lost.",
        "affected": ["this-machine"],
        "healthy": [],
        "causes": [cause],
        "follow_ups": [
            {"text": "Move the backup to 05:00.", "owner": "U0ALICE"},
            {"text": "Alert on load above 8.", "owner": ""},
        ],
    }
    return Turn(json.dumps(said))


@contextlib.asynccontextmanager
async def _servers() -> AsyncIterator[tuple[RunningWorkbench, ModelServer]]:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    async with running_workbench(manifest=manifest) as workbench, ModelServer() as model:
        yield workbench, model


@pytest.fixture
def bot(tmp_path: Path, background: Background) -> Iterator[tuple[RunningWorkbench, ModelServer]]:
    opened = _servers()
    servers = background.run(opened.__aenter__())
    bot = WholeBot(tmp_path, servers[0], CONFIG, model_url=servers[1].base_url)
    bot.start()
    yield servers
    assert bot.terminate() == 0
    background.run(opened.__aexit__(None, None, None))


def photograph(page: Page, name: str) -> None:
    """Keep a picture of the window when asked to, for people to look at."""
    if folder := os.environ.get("SHOTS"):
        page.screenshot(Path(folder) / f"{name}.png")


def retype(page: Page, block: str, text: str) -> None:
    """Put a text into a field of the open form, in place of what is there."""
    field = page.element(f"dialog[open] [data-input-block='{block}'] .has-value")
    field.clear()
    field.send_keys(text)


def test_a_report_is_drafted_edited_and_published(bot: tuple[RunningWorkbench, ModelServer]) -> None:
    workbench, model = bot
    look = ("c1", "server_status", '{"hosts": ["this-machine"]}')
    model.add(Turn("", calls=(look,)), Turn("It is well now; the load is falling."), written)
    with Page(workbench.url) as page:
        page.open("/#alice/ops")
        page.send("@opsbot why is this machine slow?")
        page.wait_text("the load is falling", where="thread")
        page.reply("@opsbot !report")
        draft = page.wait_text("Draft of an incident report", where="thread")
        assert "this-machine slow for ten minutes" in draft
        assert "affected: this-machine" in draft
        assert "not checked: web-2" in draft
        assert "NOT FOUND in the thread" in draft
        photograph(page, "report-draft")

        page.act_as("bob")
        page.open_thread("why is this machine slow?")
        page.click_button("Edit", within=".thread-pane")
        page.wait(lambda: page.visible("dialog[open].modal"), "the form")
        photograph(page, "report-form")
        retype(page, "title", "this-machine slow: backup at the busiest hour")
        retype(page, "summary", " ")
        page.click_button("Save draft", within="dialog[open]")
        page.wait_text("This cannot be empty.")
        photograph(page, "report-form-fault")
        retype(page, "summary", "Slow for ten minutes; it recovered by itself. <!channel> *bold*")
        page.click_button("Save draft", within="dialog[open]")
        page.wait(lambda: not page.visible("dialog[open].modal"), "the form to close")
        edited = page.wait_text("backup at the busiest hour", where="thread")
        assert "edited by U0BOB" in edited
        assert "*bold*" in edited, "markup stays what it is: letters"

        page.click_button("Publish", within=".thread-pane")
        published = page.wait_text("Incident report: this-machine slow: backup at the busiest hour", where="thread")
        assert "published by" in published
        page.wait_text("was published at", where="thread")
        page.wait_text(".json", where="thread")
        assert any(".md" in text for text in page.texts("thread"))
        photograph(page, "report-published")
        assert page.complaints() == []
