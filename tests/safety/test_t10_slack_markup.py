"""T10: markup in untrusted text calls nobody, links nowhere, and leaves no block it was put into."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings

from opsbot.adapters.slack import blocks
from opsbot.adapters.slack.pieces import Payload
from opsbot.adapters.slack.splitting import split
from opsbot.domain import Content, Text
from tests.safety.hostile_text import EVERY, MARKUP, texts
from tests.safety.shown import contents, quoted_without_a_model
from tests.safety.slack_reader import Seen, markdown, read


def messages(payload: Payload) -> Iterator[dict[str, Any]]:
    """A payload as it goes out: with blocks, and as the plain text that is sent when Slack refuses the blocks."""
    yield {"text": payload.text, "blocks": json.loads(json.dumps(payload.blocks)), "parse": "none"}
    yield {"text": blocks.escape(payload.plain), "parse": "none"}


def seen(content: Content) -> Seen:
    """What is alive in a content, in whatever way it is sent."""
    found = Seen()
    for payload in blocks.render(content):
        for message in messages(payload):
            part = read(message)
            for field in dataclasses.fields(Seen):
                getattr(found, field.name).extend(getattr(part, field.name))
    return found


def live(untrusted: str) -> list[set[str]]:
    return [set(seen(content).live()) for content in contents(untrusted)]


OURS = live("harmless")


def check(untrusted: str) -> int:
    """Compare what is alive with what is alive when everybody writes harmless words; return how many were looked at."""
    for ours, found in zip(OURS, live(untrusted), strict=True):
        assert found <= ours, (untrusted, found - ours)
    draft = {"blocks": json.loads(json.dumps(blocks.draft(untrusted).blocks)), "text": blocks.draft(untrusted).text}
    assert read(draft | {"parse": "none"}).live() == []
    return len(OURS) + 1


def test_no_hostile_text_calls_or_links_anybody(figures: Any, scale: Any) -> None:
    looked_at = sum(check(untrusted) for untrusted in EVERY[:: scale(4, 1)])
    figures.note(messages_read=looked_at, mentions=0, links=0, ways_out_of_a_block=0)


@given(texts)
@settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))
def test_no_text_at_all_calls_or_links_anybody(untrusted: str) -> None:
    check(untrusted)


def test_the_reader_finds_what_is_alive() -> None:
    """A reader that finds nothing proves nothing."""
    for text in ("<!channel>", "<@U0BOSS>", "<#C1|x>", "<!subteam^S1>", "<https://evil.example|x>", "<mailto:a@b>"):
        assert read({"text": text}).live(), text
        assert read({"blocks": [{"type": "markdown", "text": text}]}).live(), text
    for text in (
        "[a](https://evil.example)",
        "![a](//evil.example/p.png)",
        "[a][b]\n\n[b]: //evil.example",
        "<https:a>",
    ):
        assert read({"blocks": [{"type": "markdown", "text": text}]}).live(), text
    emoji = {"type": "header", "text": {"type": "plain_text", "text": ":x:"}}
    assert read({"blocks": [emoji]}).live()
    assert read({"blocks": [{"type": "rich_text", "elements": [{"type": "emoji", "name": "x"}]}]}).live()


def test_text_put_into_a_code_block_stays_in_it() -> None:
    for untrusted in (*EVERY, "`\u200b``\nout", "&#96;&#96;&#96;\nout", "&amp;#96;``\nout", "``\x1b[0m`\nout"):
        fenced = Seen()
        said = blocks.said(Text(quoted_without_a_model(f"ZZZ{untrusted}\nZZZ")))
        for part in split(said, blocks.MARKDOWN_MAX):
            markdown(part, fenced)
        assert "ZZZ" not in "".join(fenced.outside), untrusted
        assert "".join(fenced.fenced).count("ZZZ") >= 3


def test_markup_is_still_read_as_what_was_written() -> None:
    """Inert, not gone: who looks for the evidence finds it."""
    for untrusted in MARKUP:
        words = [word for word in untrusted.split() if word.isalnum() and len(word) < 40]
        shown = " ".join(seen(next(iter(contents(untrusted)))).texts)
        assert all(word in shown for word in words), untrusted
