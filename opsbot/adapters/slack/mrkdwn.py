"""Slack's text formats: escaping, reading what people typed, and taking the teeth out of the model's Markdown."""

import re

from opsbot.adapters.links import inert_markdown, without_entities
from opsbot.adapters.slack.visible import stripped

_CONTROL = re.compile(r"<([^<>\n]*)>")
_MENTION = re.compile(r"<(?=[@!#])")
_PERSON = re.compile(r"<@([UW][A-Z0-9]+)>")
_AUTOLINK = re.compile(r"<(?=[A-Za-z][A-Za-z0-9+.\-]*(?:\[:\]|:))")


def escape(text: str) -> str:
    """Escape the three characters that mean something in mrkdwn, as Slack documents it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(text: str, bot_user_id: str) -> str:
    """Turn a typed message (mrkdwn) into plain text, without the mentions of the bot."""
    own = re.compile(rf"<@{re.escape(bot_user_id)}(?:\|[^<>]*)?>")
    spoken = _CONTROL.sub(_say_control, own.sub(" ", text))
    unescaped = spoken.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return stripped(unescaped.replace("\u00a0", " ")).strip()


def mentions(text: str, user_id: str) -> bool:
    """Whether the message mentions this user."""
    return f"<@{user_id}>" in text or f"<@{user_id}|" in text


def defanged(text: str, links: frozenset[str] = frozenset()) -> str:
    """Make every URL and link syntax in a Markdown or plain text inert, and every mention too; `links`: hosts spared.

    The whole text is treated alike, code included: telling code from text would need the very parser Slack uses.
    """
    text = inert_markdown(stripped(without_entities(text)), links)
    text = _AUTOLINK.sub("< ", text)
    return _MENTION.sub("< ", text)


def own_words(text: str, links: frozenset[str] = frozenset()) -> str:
    """Prepare a text of opsbot's own, which may quote what somebody typed: as the model's, but people are mentioned."""
    # Only mentions that stand there as such: what an entity or a hidden character would make one is somebody else's.
    said = _PERSON.split(text)
    return "".join(f"<@{part}>" if index % 2 else defanged(part, links) for index, part in enumerate(said))


def date(epoch_s: int, fallback: str) -> str:
    """Write a moment that Slack shows in the reader's own time zone; `fallback` is trusted text."""
    return f"<!date^{epoch_s}^{{date_short_pretty}} {{time_secs}}|{escape(fallback)}>"


def _say_control(match: re.Match[str]) -> str:
    target, _, label = match.group(1).partition("|")
    if target.startswith("@"):
        return target
    if target.startswith("#"):
        return f"#{label}" if label else target
    if target.startswith("!"):
        return label if label else "@" + target[1:]
    if not re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", target):
        return match.group(0)
    return _say_link(target, label)


def _say_link(target: str, label: str) -> str:
    # Slack links host names and unit names (`getty@tty1.service`) by itself: then the label is what was typed.
    if not label:
        return target
    bare = re.sub(r"^(?:mailto:|tel:|https?://)", "", target)
    return label if bare.rstrip("/") == label.rstrip("/") or target == label else f"{label} ({target})"
