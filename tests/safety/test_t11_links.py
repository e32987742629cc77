"""T11: nothing the model or a host writes can be clicked, fetched or unfurled, but to hosts the operator listed."""

import base64
import io
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from rich.console import Console

from opsbot.adapters.slack import blocks
from opsbot.adapters.terminal import render
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Actor, Card, Place, Text
from tests import records
from tests.fake_clock import HastyClock
from tests.safety.hostile_text import EVERY, LINKS, texts
from tests.safety.shown import contents
from tests.safety.slack_reader import Seen, read
from tests.slack_bot import Stage, stage

TEAM = "T0WORKBENCH"
OPS = Place(TEAM, "C0OPS")
ALICE = Actor(TEAM, "U0ALICE")
ALLOWED = frozenset({"good.example", "wiki.good.example:8443"})
# One for each way to write an address: tried in every run, whatever the scale.
SHARP = (
    "https://evil.example/?d=x", "https&colon;//evil.example/x", "https:\\/\\/evil.example", "[a](//evil.example)", "www.evil.example/x",
    "[a][b]\n\n[b]: //evil.example/x", "evil.example/d?x=1", "mailto:boss@evil.example", "![a](https://evil.example/p.png)", "<https://evil.example|a>",
)  # fmt: skip
# And for each way to look like a listed host.
SHARP_NEAR = (
    "https://good.example.evil.example/", "https://good.example@evil.example/", "https://xgood.example/", "http://good.example/",
    "https://good.example:9999/", "https://wiki.good.example/",
)  # fmt: skip
SECRET = base64.b64encode(b"the bot's own secret").decode()


def links_in(untrusted: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    found: list[str] = []
    for content in contents(untrusted):
        for payload in blocks.render(content, allowed):
            seen = read({"text": payload.text, "blocks": json.loads(json.dumps(payload.blocks)), "parse": "none"})
            found += [*seen.links, *seen.images]
    return found


def test_no_foreign_address_can_be_clicked(figures: Any, scale: Any) -> None:
    tried = [f"https://evil.example/?d={SECRET}", *SHARP, *(*LINKS, *EVERY)[:: scale(7, 1)]]
    clickable = [link for untrusted in tried for link in links_in(untrusted)]
    assert clickable == []
    figures.note(hostile_texts=f"{len(tried):,}", foreign_links=0)


@given(texts)
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_no_text_makes_a_link(untrusted: str) -> None:
    assert links_in(untrusted) == []


@pytest.mark.parametrize(
    "link",
    [
        "https://good.example",
        "https://good.example/d/abc?var-host=web-1&from=now-1h#panel-2",
        "HTTPS is meant: https://GOOD.example/x",
        "see https://good.example/x.",
        "(https://wiki.good.example:8443/page)",
        "[dashboard](https://good.example/d)",
    ],
)
def test_a_listed_host_is_linked(link: str) -> None:
    found = links_in(link, ALLOWED)
    assert found
    assert {urlsplit(each.rstrip(".)")).netloc.lower() for each in found} <= ALLOWED


def test_a_listed_host_opens_no_way_to_another(scale: Any) -> None:
    near = ("good.example", "wiki.good.example:8443")
    tails = (".evil.example", "@evil.example", ":80@evil.example", "%2eevil.example", "\\@evil.example", ":9999/", ".")
    tricks = [
        link.replace("evil.example", f"{good}{mark}evil.example")
        for link in LINKS
        for good in near
        for mark in "@.#?/\\:"
    ]
    tricks += [f"https://{good}{tail}" for good in near for tail in tails]
    tricks += ["http://good.example/", "https://wiki.good.example/", "https://GOOD.example@evil.example"]
    tricks += ["https://xgood.example/", "https://good.example\u3002evil.example", "[x]: https://good.example"]
    tricks += ["![x](https://good.example/p.png)", "<https://good.example|evil.example>"]
    for untrusted in (*SHARP_NEAR, *(*tricks, *LINKS)[:: scale(23, 1)]):
        for link in links_in(untrusted, ALLOWED):
            parts = urlsplit(link.split("|")[0].rstrip(".)>]"))
            assert parts.scheme.lower() == "https", (untrusted, link)
            assert parts.netloc.lower() in ALLOWED, (untrusted, link)


async def everything_is_sent(on: Stage) -> None:
    """Post, edit, whisper both ways, stream and refuse: every method of `chat.*` the bot knows."""
    words = Text(f"see https://evil.example/?d={SECRET} and <!channel>")
    ref = await on.bot.chat.post(OPS, words, key="k1")
    await on.bot.chat.edit(OPS, ref, words)
    await on.bot.chat.post(OPS, Card(records.approval(), seal="s"), key="k2")
    await on.bot.chat.whisper(OPS, ALICE, words)
    await on.bench.person("alice").command("C0OPS", "/ops hosts")
    await on.bot.chat.whisper(OPS, ALICE, words, reply_to=on.handler.accepted[0].reply_to)
    asked = await on.bench.person("alice").says("D0ALICE", "and now?")
    place = Place(TEAM, "D0ALICE", asked["ts"], direct=True)
    live = await on.bot.chat.live(place, key="k3", asker=ALICE)
    for end in range(10, len(words.markdown), 15):
        await live.show(words.markdown[:end])
        await on.bot.chat.drain()
    await live.finish(words)
    await on.bench.control("fault", kind="error", method="chat.postMessage", count=1, error="invalid_blocks")
    await on.bot.chat.post(OPS, words, key="k4")


async def test_every_call_of_chat_carries_both_flags(figures: Any) -> None:
    async with stage(clock=HastyClock()) as on:
        await everything_is_sent(on)
        log = await on.bench.log()
    sent = [e for e in log if e["direction"] == "in" and (e["name"].startswith("chat.") or e["kind"] == "response_url")]
    names = {entry["name"] for entry in sent}
    assert names >= {"chat.postMessage", "chat.update", "chat.postEphemeral", "chat.startStream", "chat.stopStream"}
    for entry in sent:
        assert (entry["body"]["unfurl_links"], entry["body"]["unfurl_media"]) == (False, False), entry["name"]
        seen: Seen = read(entry["body"])
        assert seen.links == []
    assert "https://evil" not in json.dumps([entry["body"] for entry in sent])
    figures.note(calls_of_chat=f"{len(sent)}, all with both flags", methods=len(names))


def test_no_shipped_tool_takes_an_address() -> None:
    for tool in load_tools([SHIPPED_TOOLS]).tools:
        for parameter in tool.parameters:
            assert not {"url", "uri", "address", "link", "endpoint"} & set(parameter.name.lower().split("_")), tool.name


def test_a_terminal_shows_no_link_behind_a_label_and_no_address_whole(scale: Any) -> None:
    for untrusted in LINKS[:: scale(8, 1)]:
        shown = io.StringIO()
        console = Console(file=shown, force_terminal=True, width=200, color_system=None)
        for content in contents(untrusted):
            console.print(render(content))
        said = shown.getvalue()
        assert "\x1b]8" not in said
        assert "https://evil" not in said.lower()
