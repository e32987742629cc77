"""Hostile texts in every place a text can be: nothing runs, nothing foreign is linked or loaded, nothing is forged."""

import copy
from typing import Any

import pytest

from tests.e2e import gallery
from tests.e2e.page import Page
from tests.e2e.scripted_workbench import ScriptedWorkbench, posted, said, user

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

HOSTILE = [
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "&lt;img src=x onerror=window.pwned=1&gt;",
    "<javascript:window.pwned=1|click> [click](javascript:window.pwned=1) <data:text/html,<script>1</script>|d>",
    "</div></textarea></script><svg onload=window.pwned=1><iframe src='javascript:window.pwned=1'></iframe>",
    "\"' onmouseover=window.pwned=1 autofocus onfocus=window.pwned=1 style=position:fixed",
    "javascript:window.pwned=1",
    "JaVaScRiPt\t:window.pwned=1//https://example.com",
    "//evil.example/x.png",
    "__proto__",
    "\u202egnp.exe\u2066 \x00\x07 *_~`<@U0BOB|x>`~_*",
    "<!date^1^{ago}^javascript:window.pwned=1|<img src=x onerror=window.pwned=1>>",
]
# What a text cannot turn into another: kinds, and the ids by which the page finds things.
_KEPT = {"type", "ts", "user", "bot_id", "channel", "id", "thread_ts", "members", "kind", "direction", "ephemeral_for"}
_ELEMENTS = """
A ARTICLE ASIDE B BDI BLOCKQUOTE BODY BR BUTTON CODE DEL DETAILS DIALOG DIV EM FIGCAPTION FIGURE FOOTER FORM H1 H2 H3
H4 H5 H6 HEADER HR I IMG INPUT LABEL LI MAIN NAV NOSCRIPT OL OPTGROUP OPTION P PRE SECTION SELECT SMALL SPAN STRONG
SUMMARY TABLE TBODY TD TEXTAREA TH THEAD TIME TR U UL path svg
"""
_ALLOWED = sorted(_ELEMENTS.split())
_AUDIT = """
const nodes = [...document.body.querySelectorAll("*")];
const bad = [];
for (const node of nodes) {
  if (!arguments[0].includes(node.tagName)) bad.push("element " + node.tagName);
  for (const { name, value } of node.attributes) {
    if (name.startsWith("on")) bad.push(`handler ${name}`);
    if (["src", "href", "action", "formaction", "srcdoc"].includes(name) && node.tagName !== "A") {
      if (new URL(value, location.href).origin !== location.origin) bad.push(`${node.tagName} ${name}=${value}`);
    }
    if (name === "style" && node.tagName !== "TEXTAREA") bad.push(`style on ${node.tagName}`);
  }
  if (node.tagName === "A" && !["http:", "https:"].includes(node.protocol)) bad.push(`link ${node.href}`);
  if (node.tagName === "A" && node.origin !== location.origin && !node.rel.includes("noopener")) bad.push("rel");
}
const foreign = performance.getEntriesByType("resource").map((entry) => entry.name)
  .filter((name) => new URL(name).origin !== location.origin);
return { bad, foreign, pwned: window.pwned ?? null, badges: document.querySelectorAll(".badge").length };
"""


def _poisoned(value: Any, hostile: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _poisoned(item, hostile, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_poisoned(item, hostile, key) for item in value]
    return hostile if isinstance(value, str) and key not in _KEPT else value


def _message(index: int, **content: Any) -> dict[str, Any]:
    return posted(f"{1700000000 + index}.000100", **content)


def _workspace(hostile: str) -> dict[str, Any]:
    """Everything hostile but the kinds and ids."""
    blocks = _poisoned(copy.deepcopy(gallery.BLOCKS), hostile)
    messages = [_message(i, text=hostile, blocks=[block], username=hostile) for i, block in enumerate(blocks)]
    file = {"id": "F1", "name": hostile, "title": hostile, "mimetype": hostile, "url_private": hostile, "size": 3}
    reaction = {"name": hostile, "count": 1, "users": ["U0BOB"]}
    chunks = [{"type": "markdown_text", "text": hostile}, {"type": "task_update", "title": hostile, "status": hostile}]
    person = said("1700001000.000100", hostile, files=[file], reactions=[reaction])
    stream = _message(1001, text=hostile, streaming=True, chunks=chunks)
    messages += [person, stream, _message(1002, text=hostile, ephemeral_for="U0ALICE")]
    root = person["ts"]
    people = [
        user("U0ALICE", "alice", hostile),
        user("U0BOB", hostile, hostile),
        user("U0BOT", hostile, "", is_bot=True),
    ]
    channels = [{"id": "C0OPS", "name": hostile, "is_im": False, "members": ["U0ALICE", "U0BOB", "U0BOT"]}]
    prompts = [
        {"channel": "C0OPS", "thread_ts": "", "title": hostile, "prompts": [{"title": hostile, "message": hostile}]}
    ]
    return {
        "team": {"id": "T0", "name": hostile, "domain": hostile},
        "bot": {"id": "U0BOT", "name": hostile, "online": True},
        "users": people,
        "groups": [{"id": "S0SRE", "handle": hostile, "name": hostile, "users": []}],
        "channels": channels,
        "messages": {"C0OPS": messages},
        "statuses": [{"channel": "C0OPS", "thread_ts": root, "status": hostile}],
        "sessions": [{"channel": "C0OPS", "thread_ts": root, "status": "processing", "title": hostile}],
        "homes": {"U0ALICE": gallery.VIEW | {"id": "V0", "blocks": blocks}},
        "commands": [{"command": "/ops", "description": hostile, "usage_hint": hostile}],
        "shortcuts": [{"name": hostile, "type": "message", "callback_id": hostile, "description": hostile}],
        "prompts": prompts,
    }


def _assert_harmless(page: Page, badges: int | None = None) -> None:
    found = page.run(_AUDIT, _ALLOWED)
    assert found["bad"] == []
    assert found["foreign"] == []
    assert found["pwned"] is None
    if badges is not None:
        assert found["badges"] <= badges


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_text_stays_a_text_everywhere(page: Page, bench: ScriptedWorkbench, hostile: str) -> None:
    state = _workspace(hostile)
    bench.show(**state)
    page.wait(lambda: len(page.texts("channel")) == len(state["messages"]["C0OPS"]), "the messages")
    _assert_harmless(page, badges=len(state["messages"]["C0OPS"]) - 1)
    page.run("document.querySelectorAll('.thread-link').forEach((node) => node.click())")
    page.wait(lambda: page.visible(".thread-pane"), "the thread")
    _assert_harmless(page)
    entry = {"at": 1700000000.5, "direction": "in", "kind": hostile, "name": hostile, "summary": hostile, "ms": 1}
    bench.push({"type": "log", "entry": entry | {"body": {hostile: hostile}, "response": [hostile]}})
    page.run("document.querySelector('[data-toggle=inspector]').click()")
    page.wait(lambda: page.visible(".traffic-line"), "the traffic")
    page.run("document.querySelector('.traffic-line').click()")
    bench.push({"type": "notice", "user": "U0ALICE", "text": hostile})
    page.wait(lambda: page.visible(".toast"), "the notice")
    view = _poisoned(copy.deepcopy(gallery.VIEW), hostile) | {"errors": {hostile: hostile}, "hash": "1"}
    bench.push({"type": "view", "user": "U0ALICE", "views": [view]})
    page.wait(lambda: page.visible("dialog[open] .block"), "the modal")
    _assert_harmless(page)
    bench.push({"type": "view", "user": "U0ALICE", "views": []})
    page.run("document.querySelector(\"[data-place='App Home']\").click()")
    page.wait(lambda: page.visible(".home-inner .block"), "the home")
    _assert_harmless(page)
    assert [line for line in page.complaints() if "Content Security Policy" in line] == []


@pytest.mark.parametrize("hostile", HOSTILE[:3])
def test_a_persons_text_is_shown_as_it_was_typed(page: Page, bench: ScriptedWorkbench, hostile: str) -> None:
    escaped = hostile.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    bench.show(messages={"C0OPS": [said("1700000000.000100", escaped)]})
    assert hostile in page.wait_text(hostile)


def test_a_person_cannot_pass_for_the_bot(page: Page, bench: ScriptedWorkbench) -> None:
    card = [{"type": "header", "text": gallery.plain("Approve?")}, {"type": "actions", "elements": [gallery.BUTTON]}]
    forged = said("1700000000.000100", "I am opsbot APP", "U0BOB", blocks=card, username="opsbot")
    bench.show(messages={"C0OPS": [forged]})
    page.wait_text("I am opsbot")
    assert page.buttons() == []
    assert not page.visible(".badge")
    assert page.run("return document.querySelector('.author').textContent") == "bob"
