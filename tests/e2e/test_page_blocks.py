"""Every block and element is drawn by the page, and using one sends what Slack would send."""

import inspect
from typing import Any

import pytest
from slack_sdk.models import blocks as sdk

from tests.e2e import gallery
from tests.e2e.page import Page
from tests.e2e.scripted_workbench import ScriptedWorkbench, posted, said

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
TS = "1700000000.000100"
# Not for bots of our kind: a phone call, and a sign-in to another service.
_NOT_DRAWN = {"call", "auth_provider"}


def _types(value: object) -> set[str]:
    if isinstance(value, list):
        return set().union(*(_types(item) for item in value))
    if isinstance(value, dict):
        own = {value["type"]} if isinstance(value.get("type"), str) else set()
        return own.union(*(_types(item) for item in value.values()))
    return set()


def _classes(base: type) -> set[str]:
    found = {c for _, c in inspect.getmembers(sdk, inspect.isclass) if issubclass(c, base) and c is not base}
    return {c.type for c in found if isinstance(getattr(c, "type", None), str)}


def test_the_gallery_holds_every_block_of_the_sdk() -> None:
    assert _classes(sdk.Block) - _NOT_DRAWN <= _types(gallery.BLOCKS)


def test_every_block_is_drawn_in_a_message(page: Page, bench: ScriptedWorkbench) -> None:
    for index, block in enumerate(gallery.BLOCKS):
        message = posted(f"{1700000000 + index}.000100", text="fallback", blocks=[block])
        bench.push({"type": "message", "channel": "C0OPS", "message": message})
    page.wait(lambda: len(page.texts()) == len(gallery.BLOCKS), "all blocks")
    assert page.run("return [...document.querySelectorAll('.unknown-block')].map((n) => n.textContent)") == []
    empty = "return [...document.querySelectorAll('.message-content')].filter((n) => !n.querySelector('.block')).length"
    assert page.run(empty) == 0
    assert page.complaints() == []


def test_every_block_is_drawn_in_a_modal(page: Page, bench: ScriptedWorkbench) -> None:
    bench.push({"type": "view", "user": "U0ALICE", "views": [gallery.VIEW]})
    page.wait(lambda: page.visible("dialog[open] .block-header"), "the modal")
    assert page.run("return document.querySelectorAll('.unknown-block').length") == 0
    assert page.run("return document.querySelectorAll('dialog .modal-body > .block').length") == len(gallery.BLOCKS)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "hologram"},
        {"type": "constructor"},
        {"type": "actions", "elements": [{"type": "lever", "action_id": "x"}]},
        {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "smell"}]}]},
        {"type": "section", "fields": 7},
    ],
    ids=["block", "inherited name", "element", "inline", "broken"],
)
def test_what_is_unknown_is_a_visible_placeholder(page: Page, bench: ScriptedWorkbench, block: dict[str, Any]) -> None:
    blocks = [block, {"type": "section", "text": gallery.mrkdwn("still here")}]
    bench.push({"type": "message", "channel": "C0OPS", "message": posted(TS, blocks=blocks)})
    page.wait_text("still here")
    if block != {"type": "section", "fields": 7}:
        assert page.visible(".unknown-block")


def _shown_controls(page: Page, bench: ScriptedWorkbench, *blocks: dict[str, Any]) -> None:
    bench.push({"type": "message", "channel": "C0OPS", "message": posted(TS, blocks=list(blocks))})
    page.wait(lambda: page.visible("article .block"), "the controls")


def _actions(bench: ScriptedWorkbench, page: Page, count: int = 1) -> list[dict[str, Any]]:
    page.wait(lambda: len(bench.called("action")) >= count, f"{count} actions to arrive")
    return bench.called("action")


def test_a_button_sends_who_pressed_what_where(page: Page, bench: ScriptedWorkbench) -> None:
    _shown_controls(page, bench, {"type": "actions", "block_id": "acts", "elements": [gallery.BUTTON]})
    page.act_as("bob")
    page.click_button("Press")
    sent = _actions(bench, page)[-1]
    wanted = {"user": "U0BOB", "channel": "C0OPS", "message_ts": TS, "block_id": "acts", "action_id": "press"}
    assert {key: sent[key] for key in wanted} == wanted
    assert sent["value"] == "pressed"


def test_a_confirmation_can_be_refused(page: Page, bench: ScriptedWorkbench) -> None:
    asks = {**gallery.BUTTON, "confirm": gallery.CONFIRM}
    _shown_controls(page, bench, {"type": "actions", "block_id": "acts", "elements": [asks]})
    page.click_button("Press", confirm=False)
    assert bench.called("action") == []
    page.click_button("Press")
    assert [sent["action_id"] for sent in _actions(bench, page)] == ["press"]


def test_choices_are_sent_as_options(page: Page, bench: ScriptedWorkbench) -> None:
    elements = {element["action_id"]: element for element in gallery.ELEMENTS}
    wanted = [elements["pick"], elements["boxes"], elements["radio"]]
    _shown_controls(page, bench, {"type": "actions", "block_id": "acts", "elements": wanted})
    choose = "arguments[0].value = 'value-two'; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
    page.run(choose, page.find("select[data-action-id='pick']"))
    assert _actions(bench, page)[-1]["selected_option"] == gallery.option("two")
    page.element("input[type=checkbox][data-action-id='boxes']").click()
    assert _actions(bench, page, 2)[-1]["selected_options"] == [gallery.option("one")]
    page.element("input[type=radio][data-action-id='radio']").click()
    sent = _actions(bench, page, 3)[-1]
    assert sent["selected_option"] == gallery.option("one")
    assert sent["state"]["values"]["acts"]["pick"]["selected_option"] == gallery.option("two")


def test_an_overflow_and_feedback_send_their_choice(page: Page, bench: ScriptedWorkbench) -> None:
    overflow = next(element for element in gallery.ELEMENTS if element["type"] == "overflow")
    rates = {"type": "context_actions", "block_id": "rates", "elements": [gallery.FEEDBACK]}
    _shown_controls(page, bench, {"type": "actions", "block_id": "acts", "elements": [overflow]}, rates)
    page.click_button("More actions", within="article .block-actions")
    page.wait(lambda: page.visible(".menu-item"), "the menu")
    page.element(".menu-item[data-value='value-two']").click()
    assert _actions(bench, page)[-1]["selected_option"] == gallery.option("two")
    page.click_button("Good")
    sent = _actions(bench, page, 2)[-1]
    assert (sent["action_id"], sent["value"]) == ("rate", "up")


def test_an_external_select_asks_the_app_while_one_types(page: Page, bench: ScriptedWorkbench) -> None:
    search = next(element for element in gallery.ELEMENTS if element["type"] == "external_select")
    bench.answers["options"] = {"options": [gallery.option("web-1")]}
    _shown_controls(page, bench, {"type": "actions", "block_id": "acts", "elements": [search]})
    page.element("input[data-action-id='search']").send_keys("we")
    page.wait(lambda: page.visible(".suggestions .menu-item"), "suggestions")
    assert bench.called("options")[-1]["value"] == "we"
    page.element(".suggestions .menu-item").click()
    assert _actions(bench, page)[-1]["selected_option"] == gallery.option("web-1")


def test_a_modal_sends_its_state_and_shows_errors(page: Page, bench: ScriptedWorkbench) -> None:
    element = {"type": "plain_text_input", "action_id": "why", "multiline": False}
    reason = {"type": "input", "block_id": "reason", "label": gallery.plain("Reason"), "element": element}
    view = gallery.VIEW | {"blocks": [reason]}
    bench.push({"type": "view", "user": "U0ALICE", "views": [view]})
    page.wait(lambda: page.visible("dialog[open]"), "the modal")
    page.click_button("Send it")
    page.wait(lambda: "Please fill in" in page.body(), "the missing field to be named")
    assert bench.called("view_submit") == []
    page.element("dialog input[data-action-id='why']").send_keys("because")
    page.click_button("Send it")
    page.wait(lambda: bench.called("view_submit"), "the submission")
    values = bench.called("view_submit")[-1]["state"]["values"]
    assert values == {"reason": {"why": {"type": "plain_text_input", "value": "because"}}}
    bench.push({"type": "view", "user": "U0ALICE", "views": [view | {"errors": {"reason": "too short"}}]})
    page.wait(lambda: "too short" in page.body(), "the app's error")
    page.click_button("Never mind")
    page.wait(lambda: bench.called("view_close"), "the close")
    bench.push({"type": "view", "user": "U0ALICE", "views": []})
    page.wait(lambda: not page.visible("dialog"), "the modal to go")


def test_modals_of_another_person_stay_with_that_person(page: Page, bench: ScriptedWorkbench) -> None:
    bench.push({"type": "view", "user": "U0BOB", "views": [gallery.VIEW]})
    bench.push({"type": "message", "channel": "C0OPS", "message": said(TS, "after the view")})
    page.wait_text("after the view")
    assert not page.visible("dialog")
    page.act_as("bob")
    page.wait(lambda: page.visible("dialog[open]"), "bob's modal")
