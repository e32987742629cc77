"""A card as people use it: hosts left out in its menu, the rest approved; withdrawn by whoever asked."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.page import Page
from tests.e2e.scripted_workbench import Background
from tests.e2e.test_pictures import photograph
from tests.whole_bot import WholeBot
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

HOSTS = """hosts:
  front: {connection: local}
  middle: {connection: local}
  back: {connection: local}
tools: {folders: [mine]}
"""
TOOL = '''"""Something that changes hosts, and leaves them as they are."""

from opsbot import Context, Host, HostOutcome, Impact, Result, tool


def _impact(ctx: Context, host: Host) -> Impact:
    return Impact((("state", "polished last week"),), {"state": "1"})


def _verify(ctx: Context, host: Host, before: Impact) -> HostOutcome:
    return HostOutcome(host.name, Result.DONE, "it shines")


@tool(risk="change", impact=_impact, verify=_verify)
def polish(ctx: Context, host: Host) -> str:
    """Polish hosts.

    Args:
        host: Hosts.
    """
    return "polished"
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
    (tmp_path / "mine" / "polish.py").write_text(TOOL, encoding="utf-8")
    bot = WholeBot(tmp_path, workbench, HOSTS, policy="standing_minutes: 15")
    bot.start()
    yield bot
    assert bot.terminate() == 0


def test_hosts_are_left_out_and_the_rest_is_approved(workbench: RunningWorkbench, bot: WholeBot) -> None:
    with Page(workbench.url) as page:
        page.open("/#alice/ops")
        page.send("/ops do polish front middle back because guests come")
        page.wait_text("Approval needed: polish on back, front, middle")
        page.act_as("bob")
        page.wait_text("Approval needed: polish on back, front, middle")
        photograph(page, "card-of-three")
        page.click_button("Leave hosts out")
        for name in ("back", "middle"):
            page.run(
                "[...document.querySelectorAll('.choice')].find((n) => n.innerText === arguments[0]).click()", name
            )
        photograph(page, "menu-open")
        page.click_button("Done")
        card = page.wait_text("Approval needed: polish on front")
        assert "Left out by @bob" in card
        assert "back, middle" in card
        page.wait_text("What remains: front")
        photograph(page, "card-of-one")
        page.click_button("Approve")
        page.wait_text("Done: polish on front")
        assert "Leave hosts out" not in page.buttons()
        assert page.complaints() == []
    assert bot.states() == ["done"]


def test_whoever_asked_withdraws(workbench: RunningWorkbench, bot: WholeBot) -> None:
    with Page(workbench.url) as page:
        page.open("/#alice/ops")
        page.send("/ops do polish front because guests come")
        page.wait_text("Approval needed: polish on front")
        page.click_button("Withdraw")
        page.wait_text("Withdrawn: polish on front")
        assert "Approve" not in page.buttons()
        assert page.complaints() == []
    assert bot.states() == ["withdrawn"]


def test_what_is_approved_for_a_while_runs_again_and_is_ended(workbench: RunningWorkbench, bot: WholeBot) -> None:
    with Page(workbench.url) as page:
        page.open("/#alice/ops")
        page.send("/ops do polish front because guests come")
        page.wait_text("Approval needed: polish on front")
        page.act_as("bob")
        page.click_button("Approve for 15 min")
        page.wait_text("Approved for the very same request again until")
        page.act_as("alice")
        page.send("/ops do polish front because guests come")
        page.wait_text("Nobody was asked: request")
        photograph(page, "again")
        page.click_button("End the approval")
        page.wait_text("but that was ended")
        page.send("/ops do polish front because guests come")
        page.wait_text("Approval needed: polish on front")
        assert page.complaints() == []
    assert bot.states() == ["done", "done", "pending"]
