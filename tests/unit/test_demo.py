"""The demo as a stranger lives it: a page, an answer, a restart that another person approves, and a clean end."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

# A busy machine with two cores takes half a minute for what takes seconds on a quiet one.
PATIENCE_S = 60.0
ALICE, BOB, CAROL = "U0ALICE", "U0BOB", "U0CAROL"
T = TypeVar("T")


class Demo:
    """A running `opsbot demo`, used through the workbench's control API as the page does."""

    def __init__(self, data: Path, *options: str) -> None:
        command = [sys.executable, "-m", "opsbot", "demo", "--port", "0", "--data", str(data), *options]
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OPSBOT_"))}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ
        )
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = until(self._url, "the demo names its page")

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(iter(self.process.stdout.readline, ""))

    def _url(self) -> str:
        assert self.process.poll() is None, "".join(self.said)
        found = re.search(r"http://127\.0\.0\.1:\d+", "".join(self.said))
        return found[0] if found else ""

    def act(self, operation: str, **body: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/_control/{operation}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def ask(self, user: str, text: str) -> str:
        """Mention the bot in #ops and return the thread."""
        return str(self.act("message", user=user, channel="C0OPS", text=f"@opsbot {text}")["ts"])

    def press(self, user: str, thread: str, label: str) -> None:
        message, block, button = until(lambda: self.button(thread, label), f"a button {label}")
        self.act(
            "action",
            user=user,
            channel="C0OPS",
            message_ts=message["ts"],
            block_id=block["block_id"],
            action_id=button["action_id"],
            value=button["value"],
        )

    def button(self, thread: str, label: str) -> Any:
        for message in self.thread(thread):
            for block in message.get("blocks", []):
                for element in block.get("elements", []) if block["type"] == "actions" else []:
                    if element.get("text", {}).get("text", "").startswith(label):
                        return message, block, element
        return None

    def thread(self, thread: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/_control/state", timeout=PATIENCE_S) as answer:
            messages = json.load(answer)["messages"]["C0OPS"]
        return [message for message in messages if thread in (message.get("thread_ts"), message["ts"])]

    def hears(self, thread: str, words: str) -> str:
        """Wait until the bot says the words in the thread; return all it said."""

        def said() -> str:
            text = json.dumps(self.thread(thread))
            return text if re.search(words, text) else ""

        return until(said, f"{words!r} in the thread")

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


def until(look: Callable[[], T], what: str) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {PATIENCE_S:.0f} s: {what}")


def running(data: Path) -> list[psutil.Process]:
    """Return processes that serve the demo whose data are there."""
    note = data / "service_port"
    words = {str(data / "supervisord.conf")} | ({note.read_text()} if note.exists() else set())
    return [found for found in psutil.process_iter(["cmdline"]) if words & set(found.info["cmdline"] or ())]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    # A path that is too long for a Unix socket and has what configuration files treat specially.
    folder = tmp_path / ("long " + "x" * 80) / "100%"
    yield folder
    for process in running(folder):
        process.kill()


@pytest.mark.timeout(400)
def test_main_job_by_two_people_over_a_restart_of_the_bot(data: Path) -> None:
    demo = Demo(data)
    try:
        demo.hears(demo.ask(ALICE, "how is this machine?"), r"(?i)load")
        thread = demo.ask(ALICE, "restart the demo service")
        demo.press(ALICE, thread, "Approve")
        demo.hears(thread, "You asked for this, so somebody else has to approve it")
        assert demo.button(thread, "Approve"), "the card still waits"
        pid_before = _pid(data)
    finally:
        assert demo.end() == 0, "".join(demo.said)
    assert running(data) == []

    demo = Demo(data)
    try:
        demo.press(BOB, thread, "Approve")
        # The card is there and its click counts; but another process serves now than the one Alice's card showed.
        demo.hears(thread, "Stale: restart_service demo on this-machine")
        assert _pid(data) is not None
    finally:
        assert demo.end(signal.SIGTERM) == 0, "".join(demo.said)
    assert running(data) == []
    assert pid_before is not None


@pytest.mark.timeout(200)
def test_second_person_approves_and_another_process_serves(data: Path) -> None:
    demo = Demo(data)
    try:
        thread = demo.ask(ALICE, "restart the demo service")
        pid_before = until(lambda: _pid(data), "the service answers")
        until(lambda: demo.button(thread, "Approve"), "the card is there")
        time.sleep(2)  # it counts only after it can have been read
        demo.press(BOB, thread, "Approve")
        until(lambda: _pid(data) not in (None, pid_before), "another process serves")
        demo.hears(thread, "Done: restart_service demo on this-machine")
        demo.hears(thread, "demo was restarted and is active")
        carol = demo.ask(CAROL, "how is this machine?")
        demo.hears(carol, "You are not on the list of people this bot works for")
    finally:
        assert demo.end() == 0, "".join(demo.said)


def _pid(data: Path) -> int | None:
    port = (data / "service_port").read_text()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return int(json.load(answer)["pid"])
    except OSError:
        return None


@pytest.mark.timeout(200)
def test_nothing_outlives_a_killed_demo(data: Path) -> None:
    demo = Demo(data)
    assert running(data)
    demo.end(signal.SIGKILL)
    until(lambda: not running(data), "the service ends with the demo")
