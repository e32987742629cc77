"""Pictures that people show: what is taken of them, and what they take of a model. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from opsbot.domain import Attachment, Message, Picture, UserMessage

# Slack's own limit is a gigabyte; a screenshot has some hundred kilobytes.
MAX_BYTES = 10 * 1024 * 1024
# On one message, and in all that is sent along with a request: the newest.
MAX_ON_MESSAGE = 4
MAX_IN_REQUEST = 6
KEPT_FOR = timedelta(days=30)
KEPT_BYTES = 256 * 1024 * 1024

# OpenAI's pricing page, November 2026: patches of 32 pixels, at most 1,536; and what belongs to every picture.
_PATCH, _MOST_PATCHES, _BASE_TOKENS = 32, 1536, 85


@dataclass(frozen=True, slots=True)
class Developed:
    """A picture made anew out of what somebody sent: nothing is in it but what is seen. `media_type`: png or jpeg."""

    media_type: str
    width: int
    height: int
    content: bytes = field(repr=False)


def looks_like_picture(attachment: Attachment) -> bool:
    """Whether a file claims to be a picture, by its type or name; what it is, its bytes say."""
    named = attachment.name.lower().endswith((".png", ".jpg", ".jpeg", ".webp", ".gif"))
    return named or attachment.mimetype.lower().startswith("image/")


def too_large(size_bytes: int) -> str:
    """Say that a file is too large."""
    return f"it has {size_bytes / 1024**2:.0f} MB; I take up to {MAX_BYTES // 1024**2} MB. Send the part that matters"


def told(pictures: Sequence[Picture]) -> str:
    """Say to a person which of their files are not looked at, and why; "" if all are."""
    lines = [f"• {picture.name}: {picture.trouble}." for picture in pictures if picture.trouble]
    return "\n".join(["I cannot look at this:", *lines]) if lines else ""


def wanted(messages: Sequence[Message]) -> tuple[str, ...]:
    """Name the pictures to send along with a history: the newest ones."""
    keys = [picture.key for message in messages if isinstance(message, UserMessage) for picture in message.shown]
    return tuple(dict.fromkeys(reversed(keys)))[:MAX_IN_REQUEST]


def tokens(pictures: Iterable[Picture | Developed]) -> int:
    """Estimate what a model reads of these pictures, in tokens."""
    return sum(map(_tokens, pictures))


def _tokens(picture: Picture | Developed) -> int:
    patches = math.ceil(picture.width / _PATCH) * math.ceil(picture.height / _PATCH)
    return _BASE_TOKENS + min(patches, _MOST_PATCHES)
