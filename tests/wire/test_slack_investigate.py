"""The shortcut "Investigate": what it hears of a message, a person's or a program's, with its screenshots."""

import pytest

from opsbot.adapters.slack.incoming import Home
from opsbot.adapters.slack.shortcuts import used
from opsbot.domain import IncomingMessage, Place

TEAM = "T0WORKBENCH"
HOME = Home(TEAM, "U0OPSBOT")

ALERT = {
    "ts": "1700.000100",
    "bot_id": "B0ALERTS",
    "text": "",
    "attachments": [{"fallback": "[FIRING] DiskFull on web-1", "title": "DiskFull"}],
    "files": [{"id": "F1", "name": "graph.png", "mimetype": "image/png", "size": 10, "url_private": "https://files/1"}],
}
BODY = {
    "type": "message_action",
    "callback_id": "opsbot.investigate",
    "team": {"id": TEAM},
    "trigger_id": "1.2.x",
    "action_ts": "1700.000900",
    "user": {"id": "U0BOB", "team_id": TEAM},
    "channel": {"id": "C0OPS"},
    "message_ts": "1700.000100",
    "message": ALERT,
}


def test_an_alert_of_a_program_becomes_a_question_in_its_thread_with_its_words_apart() -> None:
    heard = used(BODY, HOME)
    assert heard is not None
    event = heard.event
    assert isinstance(event, IncomingMessage)
    assert (event.place, event.actor.user_id) == (Place(TEAM, "C0OPS", "1700.000100"), "U0BOB")
    assert event.pointed_at == "[FIRING] DiskFull on web-1"
    assert "DiskFull" not in event.text
    assert [file.file_id for file in event.files] == ["F1"]
    assert event.message_id == "1700.000900"
    assert heard.keys == ("shortcut:1.2.x",)


@pytest.mark.parametrize(
    "changes", [{"action_ts": "soon"}, {"action_ts": None}, {"message": {"ts": "1700.000100", "text": ""}}]
)
def test_what_has_no_time_or_nothing_to_look_into_is_not_heard(changes: dict[str, object]) -> None:
    assert used({**BODY, **changes}, HOME) is None


def test_words_of_any_length_come_in_bounded() -> None:
    heard = used({**BODY, "message": {"ts": "1700.000100", "text": "x" * 100_000}}, HOME)
    assert heard is not None
    assert isinstance(heard.event, IncomingMessage)
    assert len(heard.event.pointed_at) <= 8_000
