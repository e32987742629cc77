"""Reads a message as Slack would, generously: what of it is live (mentions, links, emoji), and what is merely text.

Written from Slack's documentation and CommonMark, not from the code under test; where readers differ, the worst counts.
"""

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from markdown_it import MarkdownIt

_CONTROL = re.compile(r"<([@#!][^<>]*|[A-Za-z][A-Za-z0-9+.\-]*:[^<>]*)>")
_EMOJI = re.compile(r":[a-z0-9_+'-]+:")
# What a client links by itself in running text.
_BARE = re.compile(
    r"(?i)\b(?:[a-z][a-z0-9+.\-]*://\S+|www\.\S+|(?:mailto|javascript|data|vbscript|slack|tel|sms|file):\S+)"
    r"|(?<![\w./\\-])[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?::\d+)?/\S+"
)
# Elements of rich text that are alive by themselves.
_LIVE = {"link", "user", "usergroup", "broadcast", "channel", "emoji", "team", "date"}
_MARKDOWN = MarkdownIt("commonmark")


@dataclass
class Seen:
    """What a reader finds in a message. `texts`: every run of shown text; `fenced`: what stands in code blocks."""

    mentions: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    emoji: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    fenced: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def live(self) -> list[str]:
        """Everything that would do something."""
        return [*self.mentions, *self.links, *self.images, *self.emoji]


def read(message: Mapping[str, Any]) -> Seen:
    """Read a call of `chat.*` as it is shown: its blocks, else its text, and the notification."""
    seen = Seen()
    for block in message.get("blocks") or ():
        _block(block, seen)
    _mrkdwn(str(message.get("text") or ""), seen, auto=message.get("parse") != "none")
    for chunk in message.get("chunks") or ():
        markdown(chunk["text"], seen)
    return seen


def _block(block: Mapping[str, Any], seen: Seen) -> None:
    match block["type"]:
        case "markdown":
            markdown(block["text"], seen)
        case "rich_text":
            _rich(block, seen)
        case "header" | "section" | "context" | "actions" | "table" | "image":
            for inner in _objects(block):
                _object(inner, seen)
        case other:
            raise AssertionError(f"this reader does not know blocks of type {other}")


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if value.get("type") in ("plain_text", "mrkdwn", "raw_text"):
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _objects(inner)


def _object(value: Mapping[str, Any], seen: Seen) -> None:
    text = value["text"]
    if value["type"] == "mrkdwn":
        _mrkdwn(text, seen, auto=not value.get("verbatim", False))
        return
    seen.texts.append(text)
    if value["type"] == "plain_text" and value.get("emoji", True):
        seen.emoji += _EMOJI.findall(text)


def _mrkdwn(text: str, seen: Seen, *, auto: bool) -> None:
    for control in _CONTROL.findall(text):
        if control.startswith("!date^"):
            seen.links += re.findall(r"\^(https?:[^|]*)\|", f"{control}|")
            continue
        (seen.mentions if control[0] in "@#!" else seen.links).append(control)
    shown = _CONTROL.sub(" ", text)
    if auto:
        seen.links += _BARE.findall(shown)
    seen.texts.append(html.unescape(shown))


def _rich(element: Mapping[str, Any], seen: Seen) -> None:
    kind = element.get("type")
    if kind in _LIVE:
        (seen.links if kind == "link" else seen.emoji if kind == "emoji" else seen.mentions).append(str(element))
    elif kind == "text":
        seen.texts.append(element["text"])
    for inner in element.get("elements", ()):
        _rich(inner, seen)


def markdown(text: str, seen: Seen) -> None:
    """Read Markdown by CommonMark, with Slack's controls and bare links on top."""
    for token in _MARKDOWN.parse(text):
        if token.type in ("fence", "code_block"):
            seen.fenced.append(token.content)
            seen.texts.append(token.content)
        elif token.type == "html_block":
            _running(token.content, seen)
        for child in token.children or ():
            if child.type == "link_open":
                seen.links.append(str(child.attrs.get("href")))
            elif child.type == "image":
                seen.images.append(str(child.attrs.get("src")))
            elif child.type in ("text", "html_inline", "code_inline"):
                _running(child.content, seen)
    # A generous client looks for controls and addresses in code and raw text as well, entities read.
    whole = html.unescape(text)
    seen.mentions += [found for found in _CONTROL.findall(whole) if found[0] in "@#!"]
    seen.links += [found for found in _CONTROL.findall(whole) if found[0] not in "@#!"]
    seen.links += _BARE.findall(whole)


def _running(text: str, seen: Seen) -> None:
    seen.texts.append(text)
    seen.outside.append(text)
