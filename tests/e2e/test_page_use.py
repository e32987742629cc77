"""How the page behaves under a person's hands: composing, threads, switching, status, reconnecting."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.e2e.page import Page
from tests.e2e.scripted_workbench import Background, ScriptedWorkbench, posted, said

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
ROOT = "1700000000.000100"
REPLY = "1700000001.000100"


def _ask(bench: ScriptedWorkbench, text: str = "<@U0BOT> hello") -> None:
    bench.push({"type": "message", "channel": "C0OPS", "message": said(ROOT, text)})


def _reply(bench: ScriptedWorkbench, text: str, **more: object) -> None:
    message = posted(REPLY, text=text, thread_ts=ROOT, **more)
    bench.push({"type": "message", "channel": "C0OPS", "message": message})


def test_enter_sends_as_the_acting_person_and_shift_enter_does_not(page: Page, bench: ScriptedWorkbench) -> None:
    page.act_as("bob")
    page.send("first line\nsecond line")
    assert bench.called("message") == [{"user": "U0BOB", "channel": "C0OPS", "text": "first line\nsecond line"}]


def test_mentioning_the_bot_opens_the_thread(page: Page, bench: ScriptedWorkbench) -> None:
    bench.answers["message"] = {"ts": ROOT, "channel": "C0OPS"}
    page.send("hello everybody")
    page.send("@opsbot hello")
    _ask(bench)
    page.wait(lambda: page.visible(".thread-pane"), "the thread")
    _reply(bench, "hello alice")
    page.wait_text("hello alice", where="thread")
    page.reply("thanks")
    assert bench.called("message")[-1]["thread_ts"] == ROOT


def test_a_plain_message_opens_no_thread(page: Page, bench: ScriptedWorkbench) -> None:
    bench.answers["message"] = {"ts": ROOT, "channel": "C0OPS"}
    page.send("hello everybody")
    _ask(bench, "hello everybody")
    page.wait_text("hello everybody", where="channel")
    assert not page.visible(".thread-pane")


def test_the_reply_count_leads_to_the_thread(page: Page, bench: ScriptedWorkbench) -> None:
    _ask(bench)
    _reply(bench, "an answer")
    page.wait(lambda: "1 reply" in page.body(), "the count")
    assert not any("an answer" in text for text in page.texts("channel"))
    page.open_thread("hello")
    page.wait_text("an answer", where="thread")
    page.close_thread()


def test_commands_go_to_the_app_but_not_from_threads(page: Page, bench: ScriptedWorkbench) -> None:
    page.send("/ops status web-1")
    wanted = {"user": "U0ALICE", "channel": "C0OPS", "command": "/ops", "text": "status web-1"}
    assert bench.called("command") == [wanted]
    _ask(bench)
    _reply(bench, "an answer")
    page.open_thread("hello")
    field = page.element("[data-composer='thread']")
    field.send_keys("/ops help", Keys.ENTER)
    page.wait(lambda: "does not run slash commands in threads" in page.body(), "the explanation")
    assert field.get_property("value") == "/ops help"
    assert len(bench.called("command")) == 1


def test_completion_offers_people_and_commands(page: Page, bench: ScriptedWorkbench) -> None:
    field = page.element("[data-composer='channel']")
    field.send_keys("@op")
    page.wait(lambda: page.visible(".completion"), "completions")
    field.send_keys(Keys.ENTER)
    page.wait(lambda: field.get_property("value") == "@opsbot ", "the completed name")
    field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE)
    field.send_keys("/")
    page.wait(lambda: "status HOST | help" in page.body(), "the command's hint")
    field.send_keys(Keys.ESCAPE)
    page.wait(lambda: not page.visible(".completions"), "the list to close")
    assert bench.calls == []


def test_an_example_fills_the_composer_and_sends_nothing(page: Page, bench: ScriptedWorkbench) -> None:
    page.run("localStorage.clear()")
    page.open()
    page.wait(lambda: page.visible(".hints"), "the hints")
    page.element(".example[data-example='/ops help']").click()
    page.wait(lambda: page.element("[data-composer='channel']").get_property("value") == "/ops help", "the example")
    assert bench.calls == []
    page.click_button("Hide these hints")
    page.open()
    assert not page.visible(".hints")


def test_an_ephemeral_message_is_seen_by_one_person(page: Page, bench: ScriptedWorkbench) -> None:
    message = posted(ROOT, text="between us", ephemeral_for="U0ALICE")
    bench.push({"type": "message", "channel": "C0OPS", "message": message})
    assert "Only visible to you" in page.wait_text("between us")
    page.act_as("bob")
    page.wait_gone("between us")


def test_edits_and_deletions_are_followed(page: Page, bench: ScriptedWorkbench) -> None:
    bench.push({"type": "message", "channel": "C0OPS", "message": posted(ROOT, text="draft")})
    page.wait_text("draft")
    edited = posted(ROOT, text="final", edited={"user": "U0BOT", "ts": REPLY})
    bench.push({"type": "message", "channel": "C0OPS", "message": edited})
    assert "(edited)" in page.wait_text("final")
    assert not any("draft" in text for text in page.texts())
    bench.push({"type": "message_deleted", "channel": "C0OPS", "ts": ROOT})
    page.wait_gone("final")


def test_a_stream_grows_with_a_caret_and_ends_without(page: Page, bench: ScriptedWorkbench) -> None:
    task = {"type": "task_update", "id": "t", "title": "Look around", "status": "in_progress"}
    text = {"type": "markdown_text", "text": "It is **fine"}
    _ask(bench)
    _reply(bench, "It is **fine", streaming=True, chunks=[task, text])
    page.open_thread("hello")
    assert "Look around" in page.wait_text("It is", where="thread")
    assert page.visible(".thread-pane .caret")
    done = [{**task, "status": "complete"}, {**text, "text": "It is **fine**."}]
    feedback = [{"type": "section", "text": {"type": "mrkdwn", "text": "below"}}]
    _reply(bench, "It is **fine**.", chunks=done, blocks=feedback)
    assert "below" in page.wait_text("It is fine.", where="thread")
    assert not page.visible(".caret")


def test_work_can_be_watched_and_stopped(page: Page, bench: ScriptedWorkbench) -> None:
    _ask(bench)
    bench.push({"type": "status", "channel": "C0OPS", "thread_ts": ROOT, "status": "is reading logs…"})
    bench.push({"type": "session", "channel": "C0OPS", "thread_ts": ROOT, "status": "processing", "title": "Logs"})
    page.open_thread("hello")
    page.wait(lambda: "opsbot is reading logs…" in page.element(".working").text, "the status")
    page.click_button("Stop")
    page.wait(lambda: bench.called("stop"), "the stop")
    assert bench.called("stop") == [{"user": "U0ALICE", "channel": "C0OPS", "thread_ts": ROOT}]
    bench.push({"type": "status", "channel": "C0OPS", "thread_ts": ROOT, "status": ""})
    bench.push({"type": "session", "channel": "C0OPS", "thread_ts": ROOT, "status": "suspended", "title": "Logs"})
    page.wait(lambda: page.element(".working").text == "Waiting for a person", "the line to change")


def test_focus_stays_on_a_button_while_other_messages_arrive(page: Page, bench: ScriptedWorkbench) -> None:
    button = {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}, "value": "1"}
    blocks = [{"type": "actions", "block_id": "b", "elements": [button]}]
    bench.push({"type": "message", "channel": "C0OPS", "message": posted(ROOT, blocks=blocks)})
    page.wait(lambda: page.visible("[data-action-id='go']"), "the button")
    page.run("document.querySelector('[data-action-id=go]').focus()")
    bench.push({"type": "message", "channel": "C0OPS", "message": said("1700000002.000100", "chatter")})
    page.wait_text("chatter")
    assert page.run("return document.activeElement.dataset.actionId") == "go"
    page.press(Keys.ENTER)
    page.wait(lambda: bench.called("action"), "the click by keyboard")


def test_each_person_has_an_own_direct_message(page: Page, bench: ScriptedWorkbench) -> None:
    page.open_channel("opsbot")
    page.send("hello")
    page.act_as("bob")
    page.send("hi")
    assert [(call["user"], call["channel"]) for call in bench.called("message")] == [
        ("U0ALICE", "D0ALICE"),
        ("U0BOB", "D0BOB"),
    ]


def test_the_bots_light_follows_it(page: Page, bench: ScriptedWorkbench) -> None:
    bench.push({"type": "bot", "online": False})
    page.wait(lambda: page.find("[data-bot='offline']"), "the light")
    assert "opsbot is offline" in page.body()


def test_a_refused_call_is_told(page: Page, bench: ScriptedWorkbench) -> None:
    bench.answers["message"] = {"ok": False, "error": "channel_not_found"}
    field = page.element("[data-composer='channel']")
    field.send_keys("hello", Keys.ENTER)
    page.wait(lambda: "channel_not_found" in page.body(), "the reason")
    assert field.get_property("value") == "hello"


@pytest.fixture
def mortal(background: Background) -> Iterator[ScriptedWorkbench]:
    """A workbench of its own, to be stopped by the test."""
    server = ScriptedWorkbench(background)
    yield server
    server.stop()


def test_the_page_reconnects_by_itself(mortal: ScriptedWorkbench, background: Background) -> None:
    with Page(mortal.url) as page:
        mortal.stop()
        page.wait(lambda: "Connection to the workbench lost" in page.body(), "the banner")
        again = ScriptedWorkbench(background, port=mortal.port)
        again.show(messages={"C0OPS": [said(ROOT, "welcome back")]})
        page.wait_text("welcome back")
        assert "Connection to the workbench lost" not in page.body()
        again.stop()


@pytest.mark.parametrize("width", [800, 1000, 1440])
def test_nothing_is_cut_off_at_any_width(bench: ScriptedWorkbench, width: int) -> None:
    bench.show(messages={"C0OPS": [said(ROOT, "<@U0BOT> hello"), posted(REPLY, text="answer", thread_ts=ROOT)]})
    with Page(bench.url, width=width) as page:
        page.open_thread("hello")
        page.wait_text("answer", where="thread")
        assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
        beyond = "return [...document.querySelectorAll('button')].filter((b) => b.getClientRects().length)"
        beyond += ".filter((b) => b.getBoundingClientRect().right > window.innerWidth + 1).length"
        assert page.run(beyond) == 0
