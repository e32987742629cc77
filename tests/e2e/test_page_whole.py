"""The page on the real workbench server with a real slack-bolt app: the main job's moves, as two people."""

from collections.abc import Iterator

import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler

from opsbot.workbench import Workbench
from tests.e2e.echo_app import echo_app
from tests.e2e.page import Page
from tests.e2e.scripted_workbench import Background

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(background: Background) -> Iterator[Workbench]:
    """A real workbench with the echo app connected."""

    async def start() -> tuple[Workbench, AsyncSocketModeHandler]:
        bench = Workbench()
        await bench.start()
        handler = echo_app(bench)
        await handler.connect_async()
        return bench, handler

    bench, handler = background.run(start())
    yield bench
    background.run(handler.close_async())
    background.run(bench.stop())


@pytest.fixture(scope="module")
def real_window(server: Workbench) -> Iterator[Page]:
    """One browser for the module."""
    with Page(server.url) as page:
        yield page


@pytest.fixture
def page(real_window: Page) -> Page:
    """The page on an empty workspace, as alice in #ops."""
    real_window.run_async(
        "await fetch('/_control/reset', {method: 'POST', headers: {'content-type': 'application/json'}, body: '{}'})"
    )
    real_window.open("/#alice/ops")
    real_window.wait(lambda: real_window.find("[data-bot='online']"), "the app to connect")
    real_window.complaints()
    return real_window


def test_a_mention_is_answered_in_its_thread(page: Page) -> None:
    page.send("@opsbot how is <this> machine?")
    assert "You said: how is <this> machine?" in page.wait_text("You said", where="thread")
    page.reply("@opsbot and now?")
    page.wait_text("You said: and now?", where="thread")
    assert page.complaints() == []


def test_the_requester_is_refused_and_another_person_approves(page: Page) -> None:
    page.send("@opsbot restart the demo service")
    page.wait_text("Restart demo.service", where="thread")
    page.click_button("Approve")
    assert "Only visible to you" in page.wait_text("You cannot approve your own request.")
    page.act_as("bob")
    page.wait_gone("You cannot approve")
    page.click_button("Approve")
    assert "(edited)" in page.wait_text("approved by @bob", where="thread")
    assert "Approve" not in page.buttons()
    assert page.complaints() == []


def test_refusing_the_confirmation_does_nothing(page: Page) -> None:
    page.send("@opsbot restart it")
    page.wait_text("Restart demo.service", where="thread")
    page.act_as("bob")
    page.click_button("Approve", confirm=False)
    page.reply("@opsbot still there?")
    page.wait_text("You said: still there?", where="thread")
    assert "Approve" in page.buttons()


def test_a_command_is_answered_privately(page: Page) -> None:
    page.send("/ops status web-1")
    assert "Only visible to you" in page.wait_text("Command heard: status web-1")
    page.act_as("carol")
    page.wait_gone("Command heard")


def test_a_modal_is_filled_corrected_and_sent(page: Page) -> None:
    page.send("@opsbot restart it")
    page.wait_text("Restart demo.service", where="thread")
    page.click_button("Say why")
    page.wait(lambda: page.visible("dialog[open] input"), "the modal")
    page.element("dialog input[data-action-id='text']").send_keys("no")
    page.click_button("Tell")
    page.wait(lambda: "Say a little more." in page.body(), "the error")
    page.element("dialog input[data-action-id='text']").send_keys(" answers since nine")
    page.click_button("Tell")
    page.wait_text("Reason given: no answers since nine", where="thread")
    assert not page.visible("dialog")


def test_a_stream_ends_as_a_whole_answer(page: Page) -> None:
    page.send("@opsbot stream something")
    page.wait_text("One two three", where="thread")
    page.wait(lambda: not page.visible(".caret"), "the stream to end")
    assert page.run("return document.querySelector('.thread-pane .markdown strong').textContent") == "two"


def test_direct_messages_and_the_home(page: Page) -> None:
    page.open_channel("opsbot")
    page.send("hello")
    page.wait_text("Privately: hello", where="thread")
    page.open_home()
    page.wait_text("Your fleet")


def test_the_inspector_shows_the_traffic(page: Page) -> None:
    page.send("@opsbot hello")
    page.wait_text("You said: hello", where="thread")
    page.click_button("Inspector")
    page.wait(lambda: "chat.postMessage" in page.element(".traffic").text, "the call")
    page.run(
        "[...document.querySelectorAll('.traffic-line')].find((n) => n.innerText.includes('chat.postMessage')).click()"
    )
    page.wait(lambda: "You said: hello" in page.element(".traffic-detail").text, "its body")
    page.click_button("Close the inspector")


def test_a_picture_that_was_attached_is_shown(page: Page) -> None:
    # A 2 × 1 pixel PNG.
    png = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAAEElEQVR4nGP4z8Dwn4GB4T8ADgQC/3Q0bVYAAAAASUVORK5CYII="
    page.run_async(
        """
        const file = { name: "graph.png", mimetype: "image/png", content_base64: arguments_[0] };
        const body = JSON.stringify({ user: "U0ALICE", channel: "C0OPS", text: "look", files: [file] });
        await fetch("/_control/message", { method: "POST", headers: { "content-type": "application/json" }, body });""",
        png,
    )
    page.wait_text("graph.png")
    width = "return document.querySelector('.file-image img')?.naturalWidth"
    page.wait(lambda: page.run(width) == 2, "the picture to load")
