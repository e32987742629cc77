"""The words of a message that somebody else wrote, a person or a program (pure)."""

from collections.abc import Mapping
from typing import Any

from opsbot.adapters.slack.mrkdwn import plain

_TEXT_CHARS = 8_000
_ATTACHMENTS = 5


def words_of(message: Mapping[str, Any], bot_user_id: str) -> str:
    """Return a message's words; of a program's without any, the words that stand for its attachments."""
    texts = [message.get("text")]
    attachments = message.get("attachments")
    for attachment in attachments[:_ATTACHMENTS] if isinstance(attachments, list) else []:
        if isinstance(attachment, dict) and not texts[0]:
            texts.append(attachment.get("fallback") or attachment.get("text"))
    return plain("\n".join(text[:_TEXT_CHARS] for text in texts if isinstance(text, str) and text), bot_user_id)
