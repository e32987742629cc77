"""Minutes: what of a conversation goes to the audit log. Words and outputs by their hash, never in full."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from opsbot.domain import (
    Actor,
    AssistantMessage,
    AuditEntry,
    Conversation,
    Json,
    Message,
    Place,
    ToolCall,
    ToolResult,
    UserMessage,
)
from opsbot.intake import Intake
from opsbot.notes import INTRODUCTIONS

# Arguments, reasons and closing words are kept up to this length; their hash covers all of them.
_KEPT_CHARS = 300
_NAME_CHARS = 64
_HALVES = re.compile("[\ud800-\udfff]")


class Minutes:
    """Takes the minutes; what it keeps in letters is taken in first."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def of(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        at: datetime,
        *,
        refused: Mapping[str, str] | None = None,
    ) -> tuple[AuditEntry, ...]:
        """Return a record for each message about to be appended; `refused`: why a call was not run, by its id."""
        calls = _calls((*conversation.messages, *messages))
        return tuple(self._entry(conversation.id, message, at, calls, refused or {}) for message in messages)

    def _entry(
        self,
        conversation_id: str,
        message: Message,
        at: datetime,
        calls: Mapping[str, ToolCall],
        refused: Mapping[str, str],
    ) -> AuditEntry:
        match message:
            case UserMessage():
                facts = {**digest_of(message.text), **_pictures(message)}
                return AuditEntry("conversation.asked", at, message.actor.key, conversation_id, facts=facts)
            case AssistantMessage(by_code=True):
                facts = {**digest_of(message.text), "text": self.kept(message.text)}
                return AuditEntry("conversation.closed", at, conversation_id=conversation_id, facts=facts)
            case AssistantMessage():
                facts = self._reply(message)
                return AuditEntry("conversation.replied", at, conversation_id=conversation_id, facts=facts)
            case ToolResult() if message.call_id in INTRODUCTIONS:
                facts = digest_of(message.content)
                return AuditEntry("conversation.overheard", at, conversation_id=conversation_id, facts=facts)
            case ToolResult():
                return self._result(conversation_id, message, at, calls.get(message.call_id), refused)

    def _result(
        self,
        conversation_id: str,
        result: ToolResult,
        at: datetime,
        call: ToolCall | None,
        refused: Mapping[str, str],
    ) -> AuditEntry:
        facts: dict[str, Json] = {
            "call": self._name(result.call_id),
            **digest_of(result.content),
            "failed": result.failed,
        }
        if call is not None:
            facts |= {"tool": self._name(call.tool), "arguments": self.kept(call.arguments)}
        reason = refused.get(result.call_id)
        if reason is None:
            return AuditEntry("call.finished", at, conversation_id=conversation_id, facts=facts)
        return AuditEntry(
            "call.refused", at, conversation_id=conversation_id, facts=facts | {"reason": self.kept(reason)}
        )

    def read(
        self, place: Place, actor: Actor, at: datetime, *, tool: str, asked: Mapping[str, Json], answer: str
    ) -> AuditEntry:
        """Return the record of what a command looked at; `asked` are its hosts and arguments."""
        arguments = self.kept(json.dumps(asked, ensure_ascii=False, sort_keys=True))
        facts: dict[str, Json] = {"tool": tool, "arguments": arguments, "entrance": "command", **digest_of(answer)}
        return AuditEntry("call.finished", at, actor.key, place.key, facts=facts)

    def refusal(self, place: Place, actor: Actor, at: datetime, *, entrance: str, error: Exception) -> AuditEntry:
        """Return the record of an event that was turned away before it became anything."""
        facts: dict[str, Json] = {"entrance": entrance, "error": type(error).__name__, "reason": self.kept(str(error))}
        return AuditEntry("event.refused", at, actor.key, place.key, facts=facts)

    def _reply(self, message: AssistantMessage) -> dict[str, Json]:
        calls: list[Json] = [
            {"call": self._name(call.call_id), "tool": self._name(call.tool), **digest_of(call.arguments)}
            for call in message.calls
        ]
        tokens = message.usage.input_tokens + message.usage.output_tokens
        return {**digest_of(message.text), "calls": calls, "tokens": tokens}

    def kept(self, text: str) -> str:
        """Return what is kept of a text in letters."""
        return _safe(self._intake.text(text)[:_KEPT_CHARS])

    def _name(self, text: str) -> str:
        return self.kept(text)[:_NAME_CHARS]


def digest_of(text: str) -> dict[str, Json]:
    """Name a text without repeating it."""
    # As it is stored: no database takes halves of characters.
    whole = _HALVES.sub("\ufffd", text)
    return {"sha256": hashlib.sha256(whole.encode()).hexdigest(), "characters": len(text)}


def _pictures(message: UserMessage) -> dict[str, Json]:
    """Name the pictures that were shown, by what is kept of them."""
    digests: list[Json] = [picture.digest for picture in message.shown]
    return {"pictures": digests} if digests else {}


def _safe(text: str) -> str:
    """Return the text without halves of characters, which have no canonical form."""
    return text.encode("utf-8", "replace").decode()


def _calls(messages: Iterable[Message]) -> dict[str, ToolCall]:
    return {call.call_id: call for m in messages if isinstance(m, AssistantMessage) for call in m.calls}
