"""The main job as a stranger does it: `opsbot demo`, the page in a browser, two people, a real service."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.page import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 120.0


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[str]:
    """A running demo's address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SLACK_"))}
    output = tmp_path / "demo.log"
    with output.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "opsbot", "demo", "--port", "0", "--data", str(tmp_path / "data")],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield address(output, process)
    finally:
        process.terminate()
        process.wait(60)


def address(output: Path, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"opsbot demo: (http://127\.0\.0\.1:\d+)", output.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(output.read_text())


def test_ask_look_propose_refuse_approve_verify_and_one_more_click(demo: str) -> None:
    with Page(demo) as page:
        page.open("/#alice/ops")
        page.send("@opsbot how is this machine?")
        answer = page.wait_text("this-machine (", where="thread")
        assert re.search(r"load \d", answer)
        assert "No language model is configured" in answer
        page.close_thread()

        page.send("@opsbot restart the demo service")
        card = page.wait_text("Approval needed: restart_service demo on this-machine", where="thread")
        before = re.search(r"main PID\s+(\d+)", card)
        assert before
        page.click_button("Approve")
        page.wait_text("You asked for this, so somebody else has to approve it.")

        page.act_as("bob")
        page.open_thread("restart the demo service")
        time.sleep(2)  # a card counts only after it can have been read
        page.click_button("Approve")
        done = page.wait_text("this-machine: done, verified on the host", where="thread")
        after = re.search(r"main PID\s+\d+ -> (\d+)", done)
        assert after
        assert after[1] != before[1]

        page.click_button("Show record")
        page.wait_text("Already decided: approved by @bob")
        assert page.complaints() == []


def test_somebody_without_rights_gets_nothing(demo: str) -> None:
    with Page(demo) as page:
        page.open("/#carol/ops")
        page.send("/ops restart demo this-machine")
        page.wait_text("You are not on the list of people this bot works for.")
        assert "Approve" not in page.buttons()
