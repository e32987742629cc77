"""What of a conversation goes to the audit log: every message has its record, none is in it in full."""

import hashlib

import pytest

from opsbot import audit, minutes
from opsbot.domain import Actor, AssistantMessage, AuditEntry, Conversation, Message, ToolCall, ToolResult, Usage
from opsbot.errors import BadArguments
from opsbot.intake import Intake
from opsbot.minutes import Minutes
from opsbot.redact import Redactor
from tests.records import ANNA, KEY, NOON, PLACE, said

SECRET = "xapp-1-SECRETSECRET"
TAKER = Minutes(Intake(Redactor([SECRET])))
CALL = ToolCall("c1", "service_logs", '{"host": "web-1", "unit": "nginx"}')


def of(*messages: Message, before: tuple[Message, ...] = (), **changes: object) -> list[AuditEntry]:
    return list(TAKER.of(Conversation(PLACE, before), messages, NOON, **changes))


def test_words_are_recorded_by_who_length_and_hash() -> None:
    (record,) = of(said("why is web-1 slow?"))
    assert (record.kind, record.actor, record.conversation_id) == ("conversation.asked", ANNA.key, PLACE.key)
    assert record.facts == {"sha256": hashlib.sha256(b"why is web-1 slow?").hexdigest(), "characters": 18}


def test_a_reply_names_its_calls_and_what_it_cost() -> None:
    (record,) = of(AssistantMessage("I look.", (CALL,), Usage(10, 5, 2)))
    assert record.kind == "conversation.replied"
    assert record.facts["tokens"] == 15
    assert record.facts["calls"] == [{"call": "c1", "tool": "service_logs", **minutes.digest_of(CALL.arguments)}]


def test_words_of_code_are_kept() -> None:
    (record,) = of(AssistantMessage("Stopped by a person.", by_code=True))
    assert (record.kind, record.facts["text"]) == ("conversation.closed", "Stopped by a person.")


def test_words_of_code_call_nobody_from_the_record() -> None:
    (record,) = of(AssistantMessage("Stopped by <@U1>.", by_code=True))
    assert "<@" not in record.facts["text"]


def test_a_result_names_its_call_and_hides_its_content() -> None:
    (record,) = of(ToolResult("c1", "password is hunter2"), before=(AssistantMessage("", (CALL,)),))
    assert (record.kind, record.facts["tool"]) == ("call.finished", "service_logs")
    assert record.facts["arguments"] == CALL.arguments
    assert "hunter2" not in audit.entry_json(record).decode()


def test_a_call_that_was_not_run_says_why() -> None:
    (record,) = of(ToolResult("c1", "{}", True), before=(AssistantMessage("", (CALL,)),), refused={"c1": "No such x."})
    assert (record.kind, record.facts["reason"], record.facts["failed"]) == ("call.refused", "No such x.", True)


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\u202e", "😀" * 500, "9" * 400, SECRET, ""])
def test_whatever_is_said_can_be_recorded(text: str) -> None:
    call = ToolCall(text, text, text)
    records = of(
        said(text), AssistantMessage(text, (call,)), ToolResult(text, text), AssistantMessage(text, by_code=True)
    )
    assert len(records) == 4
    for record in records:
        written = audit.chain(None, record, KEY)
        assert audit.genuine(written, KEY)
        assert SECRET not in audit.entry_json(record).decode()
        assert len(audit.entry_json(record)) < 3000


def test_what_was_turned_away_has_a_line() -> None:
    record = TAKER.refusal(PLACE, Actor("T1", "U9"), NOON, entrance="IncomingCommand", error=BadArguments("x" * 1000))
    assert (record.kind, record.actor, record.facts["error"]) == ("event.refused", "T1/U9", "BadArguments")
    assert len(str(record.facts["reason"])) == 300
