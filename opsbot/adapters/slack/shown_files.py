"""The files that a Slack message tells of (pure): its own, and those of a message that was shared in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opsbot.domain import Attachment

_ID = re.compile(r"F[A-Z0-9]{1,31}")
# What is read of one message; each beyond the few that are looked at gets a line that says so.
_FILES_MAX = 10
_NAME_CHARS, _URL_CHARS = 200, 1000
# Slack's file object, "mode" (docs.slack.dev, 2026-11): nothing is behind these.
_GONE = frozenset({"tombstone", "hidden_by_limit"})


def attachments_in(message: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """Return the files of a message, each once. No payload raises."""
    found: dict[str, Attachment] = {}
    for entry in _entries(message):
        attachment = _attachment(entry)
        if attachment is not None and len(found) < _FILES_MAX:
            found.setdefault(attachment.file_id, attachment)
    return tuple(found.values())


def _entries(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    shared = message.get("attachments")
    inside = [each.get("files") for each in shared if isinstance(each, Mapping)] if isinstance(shared, list) else []
    for listed in (message.get("files"), *inside):
        yield from (entry for entry in listed if isinstance(entry, Mapping)) if isinstance(listed, list) else ()


def _attachment(entry: Mapping[str, Any]) -> Attachment | None:
    file_id, size = entry.get("id"), entry.get("size")
    if not isinstance(file_id, str) or not _ID.fullmatch(file_id) or entry.get("mode") in _GONE:
        return None
    url = entry.get("url_private")
    return Attachment(
        file_id,
        _short(entry.get("name"), _NAME_CHARS),
        _short(entry.get("mimetype"), _NAME_CHARS),
        size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else 0,
        url if isinstance(url, str) and len(url) <= _URL_CHARS else "",
    )


def _short(value: object, limit: int) -> str:
    return value[:limit] if isinstance(value, str) else ""
