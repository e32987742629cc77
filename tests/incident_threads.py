"""A thread about an incident, with everything a report is made of, and the model's answer to it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from opsbot.domain import (
    Actor,
    AssistantMessage,
    AuditEntry,
    AuditRecord,
    Conversation,
    Host,
    Place,
    ToolCall,
    ToolResult,
    UserMessage,
)
from opsbot.inventory import Inventory

ALICE, BOB = Actor("T1", "UALICE"), Actor("T1", "UBOB")
PLACE = Place("T1", "C1", "1700.1")
BEGAN = datetime(2026, 11, 28, 3, 12, 0, tzinfo=UTC)
FULL = "/var is 98 % full"
INVENTORY = Inventory(
    {name: Host(name) for name in ("web-1", "web-2", "db-1", "lab-1", "lab-2")},
    {"web": ("web-1", "web-2"), "lab": ("lab-1", "lab-2")},
)


def at(minutes: int) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def thread(*more: str, tool_text: str = FULL) -> Conversation:
    """Alice asked, the bot looked at web-1 and could not reach db-1; `more` is what Bob wrote afterwards."""
    calls = (ToolCall("c1", "disk_usage", '{"hosts":["web-1","db-1"]}'),)
    content = json.dumps({"results": {"web-1": {"said": tool_text}}, "errors": {"db-1": "no answer"}})
    messages = (
        UserMessage("web-1 is slow", ALICE, BEGAN),
        AssistantMessage("I look.", calls),
        ToolResult("c1", content, nonce="n1", untrusted=True),
        AssistantMessage("The disk is full."),
        *(UserMessage(text, BOB, at(5 + number)) for number, text in enumerate(more)),
    )
    return Conversation(PLACE, messages, 3)


def records(*kinds: str) -> tuple[AuditRecord, ...]:
    """Audit records of these kinds, a minute apart."""
    return tuple(
        AuditRecord(number, "", AuditEntry(kind, at(number), ALICE.key, PLACE.key, facts={"characters": 13}), "")
        for number, kind in enumerate(kinds, 1)
    )


def answer(**changes: Any) -> str:
    """What a good model writes about the thread, with changes."""
    cause = {"text": "Old logs filled /var.", "confidence": "high", "evidence": [FULL]}
    said = {
        "title": "web-1 out of disk space",
        "summary": "The disk of web-1 was full.",
        "impact": "Slow pages for ten minutes.",
        "affected": ["web-1"],
        "healthy": [],
        "causes": [cause],
        "follow_ups": [{"text": "Rotate the logs.", "owner": "UALICE"}],
    }
    return json.dumps({**said, **changes})
