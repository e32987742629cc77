"""Reading Slack's payloads: who is heard, what is ignored, and that nothing malformed raises (T02, T05)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot.adapters.slack.incoming import COMMANDS, EVENTS, TEXT_MAX, Heard, Home, changed_group, read
from opsbot.adapters.slack.strangers import stranger
from opsbot.domain import (
    Actor,
    Attachment,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    IncomingStop,
    Membership,
    Place,
)

HOME = Home("T1", "U0BOT")
ALICE = Actor("T1", "U0ALICE")
MANIFEST = json.loads((Path(__file__).parents[2] / "manifest.json").read_text(encoding="utf-8"))
Json = dict[str, Any]


def callback(event: Json, **outer: Any) -> Json:
    body = {
        "type": "event_callback",
        "team_id": "T1",
        "event_id": "Ev1",
        "event": event,
        "is_ext_shared_channel": False,
    }
    return body | outer


def said(text: str = "hello", **changes: Any) -> Json:
    event = {"type": "message", "channel_type": "channel", "channel": "C1", "user": "U0ALICE", "team": "T1"}
    return {k: v for k, v in (event | {"ts": "1700.000100", "text": text} | changes).items() if v is not None}


def mention(text: str = "<@U0BOT> how are you?", **changes: Any) -> Json:
    return said(text, type="app_mention", channel_type=None, **changes)


def click(action_id: str = "opsbot.approve", **changes: Any) -> Json:
    container = {"type": "message", "message_ts": "1700.000300", "channel_id": "C1", "thread_ts": "1700.000100"}
    action = {"type": "button", "action_id": action_id, "block_id": "b", "value": "7KQ2M4", "action_ts": "1701.5"}
    body = {"type": "block_actions", "team": {"id": "T1"}, "user": {"id": "U0BOB", "team_id": "T1"}}
    body |= {"trigger_id": "tr1", "response_url": "https://hooks.slack.com/x", "container": container}
    return body | {"actions": [action]} | changes


def slash(**changes: Any) -> Json:
    body = {"command": "/ops", "team_id": "T1", "channel_id": "C1", "user_id": "U0ALICE", "text": "status web-1"}
    return body | {"trigger_id": "tr9", "response_url": "https://hooks.slack.com/y"} | changes


def heard(body: Json) -> Heard:
    found = read(body, HOME)
    assert found is not None
    return found


# --- what is heard ---------------------------------------------------------------------------------------------------


def test_mention_opens_a_thread_of_its_own() -> None:
    expected = IncomingMessage(Place("T1", "C1", "1700.000100"), ALICE, "how are you?", "1700.000100")
    assert heard(callback(mention())).event == expected


def test_a_mention_and_its_message_event_share_a_key() -> None:
    first = heard(callback(mention()))
    second = heard(callback(said("<@U0BOT> how are you?"), event_id="Ev2"))
    assert set(first.keys) & set(second.keys) == {"message:C1:1700.000100"}
    assert first.event == second.event


def test_thread_reply_without_mention_counts_only_where_a_conversation_is() -> None:
    found = heard(callback(said("and web-2?", thread_ts="1690.000001")))
    assert found.only_known
    assert found.event == IncomingMessage(
        Place("T1", "C1", "1690.000001"), ALICE, "and web-2?", "1700.000100", addressed=False
    )


def test_direct_message_is_always_addressed() -> None:
    found = heard(callback(said("status", channel="D1", channel_type="im")))
    assert not found.only_known
    assert found.event == IncomingMessage(Place("T1", "D1", "1700.000100", True), ALICE, "status", "1700.000100")


def test_exclamation_mark_makes_a_command_in_the_thread() -> None:
    found = heard(callback(mention("<@U0BOT> !status web-1", thread_ts="1690.000001")))
    assert found.event == IncomingCommand(Place("T1", "C1", "1690.000001"), ALICE, "status web-1")


def test_slash_command_is_at_the_top_level_with_its_handle() -> None:
    found = heard(slash())
    assert found.event == IncomingCommand(Place("T1", "C1"), ALICE, "status web-1", "https://hooks.slack.com/y")
    assert found.keys == ("command:tr9",)


VERBS = ("approve", "approve_while", "deny", "withdraw", "plan", "pause", "resume", "halt")


@pytest.mark.parametrize(
    ("action_id", "verb"),
    [(f"opsbot.{verb}", verb) for verb in VERBS],
)
def test_button_is_a_decision_by_the_clicker(action_id: str, verb: str) -> None:
    found = heard(click(action_id))
    place = Place("T1", "C1", "1700.000100")
    bob = Actor("T1", "U0BOB")
    assert found.event == IncomingDecision(place, bob, "7KQ2M4", verb, "1700.000300", "https://hooks.slack.com/x")
    assert found.keys == ("action:1701.5:U0BOB:tr1",)


def with_value(value: Json) -> Json:
    return click(actions=[{**click()["actions"][0], "value": value}])


def test_a_button_brings_the_seal_it_carries() -> None:
    event = heard(with_value("7KQ2M4.a-b_C")).event
    assert (event.approval_id, event.seal) == ("7KQ2M4", "a-b_C")


@pytest.mark.parametrize("value", ["7KQ2M4'; drop", "", ".", ".x", "a.b.c", "x" * 65, "a." + "x" * 65, None, 7, ["a"]])
def test_a_button_nobody_made_is_answered_as_an_unknown_request(value: Json) -> None:
    assert heard(with_value(value)).event.approval_id == ""


def test_hosts_to_leave_out_are_numbers_and_their_block_brings_the_seal() -> None:
    options = [{"value": "0"}, {"value": "12"}, {"value": "web-1"}, {"value": "-1"}, {"value": 3}, "4", {}]
    menu = {
        "type": "multi_static_select",
        "action_id": "opsbot.leave_out",
        "block_id": "leave_out.7KQ2M4.s3al",
        "action_ts": "1701.5",
        "selected_options": options,
    }
    event = heard(click(actions=[menu])).event
    assert (event.verb, event.approval_id, event.seal, event.chosen) == ("narrow", "7KQ2M4", "s3al", (0, 12))
    assert heard(click(actions=[menu | {"selected_options": "all"}])).event.chosen == ()
    assert heard(click(actions=[menu | {"block_id": None}])).event.approval_id == ""


def test_card_at_top_level_keeps_its_place_when_it_gets_replies() -> None:
    container = {"type": "message", "message_ts": "1700.000300", "channel_id": "C1", "thread_ts": "1700.000300"}
    assert heard(click(container=container)).event.place == Place("T1", "C1")


def test_stop_button_and_session_stop_stop_the_turn() -> None:
    place = Place("T1", "C1", "1700.000100")
    assert heard(click("opsbot.stop", actions=[{**click("opsbot.stop")["actions"][0], "value": "stop"}])).event == (
        IncomingStop(place, Actor("T1", "U0BOB"))
    )
    event = {"type": "agent_session_stopped", "channel": "C1", "user": "U0ALICE", "thread_ts": "1700.000100"}
    assert heard(callback(event)).event == IncomingStop(place, ALICE)


def test_files_may_come_without_text() -> None:
    found = heard(callback(said("", channel="D1", channel_type="im", subtype="file_share")))
    assert isinstance(found.event, IncomingMessage)
    assert found.event.text == ""


FILE = {
    "id": "F1",
    "name": "shot.png",
    "mimetype": "image/png",
    "size": 1234,
    "url_private": "https://files.slack.com/files-pri/T1-F1/shot.png",
}


def test_files_of_a_message_and_of_what_was_shared_in_it_come_along_each_once() -> None:
    shared = {"is_share": True, "files": [{**FILE, "id": "F2"}, FILE]}
    event = heard(callback(mention(files=[FILE], attachments=[shared]))).event
    assert isinstance(event, IncomingMessage)
    first = Attachment("F1", "shot.png", "image/png", 1234, FILE["url_private"])
    assert event.files == (first, replace(first, file_id="F2"))
    assert event.files_told


def test_a_mention_that_tells_of_no_files_is_to_be_asked_for_them_and_a_message_is_not() -> None:
    assert not heard(callback(mention())).event.files_told  # type: ignore[union-attr]
    assert heard(callback(said("look", channel="D1", channel_type="im"))).event.files_told  # type: ignore[union-attr]


def test_a_picture_without_words_counts_in_a_known_thread() -> None:
    found = heard(callback(said("", thread_ts="1690.000001", subtype="file_share", files=[FILE])))
    assert found.only_known
    assert found.event.files[0].file_id == "F1"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "files",
    [
        None,
        "F1",
        [None, 1, "F1", []],
        [{"id": "../etc"}, {"id": 5}, {}],
        [{**FILE, "mode": "tombstone"}],
        [{**FILE, "mode": "hidden_by_limit"}],
    ],
)
def test_odd_files_are_passed_over(files: object) -> None:
    event = heard(callback(mention(files=files, attachments=[{"files": files}, 3]))).event
    assert isinstance(event, IncomingMessage)
    assert event.files == ()


def test_odd_facts_of_a_file_become_nothing() -> None:
    odd = {"id": "F1", "name": ["x"], "mimetype": 7, "size": -4, "url_private": "x" * 2000}
    assert heard(callback(mention(files=[odd]))).event.files == (Attachment("F1"),)  # type: ignore[union-attr]


def test_overlong_text_is_cut_and_says_so() -> None:
    event = heard(callback(mention("<@U0BOT> " + "x" * 20_000))).event
    assert isinstance(event, IncomingMessage)
    assert len(event.text) < TEXT_MAX + 100
    assert "20000 characters were sent" in event.text


# --- what is ignored -------------------------------------------------------------------------------------------------

IGNORED = {
    "another bot": callback(mention(bot_id="B9")),
    "a bot profile": callback(mention(bot_profile={"id": "B9"})),
    "marked as bot": callback(mention(is_bot=True)),
    "slackbot": callback(mention(user="USLACKBOT")),
    "ourselves": callback(mention(user="U0BOT")),
    "no user": callback(mention(user=None)),
    "foreign workspace": callback(mention(), team_id="T2"),
    "no workspace": callback(mention(), team_id=None),
    "foreign author": callback(mention(user_team="T2")),
    "foreign sender": callback(mention(team="T2")),
    "foreign source": callback(mention(source_team="T2")),
    "foreign actor": callback(mention(actor_team_id="T2")),
    "shared channel, author's team unsaid": callback(mention(team=None), is_ext_shared_channel=True),
    "edited": callback(mention(edited={"user": "U0ALICE", "ts": "1"})),
    "message_changed": callback(said("<@U0BOT>", subtype="message_changed")),
    "bot_message": callback(said("<@U0BOT>", subtype="bot_message")),
    "channel_join": callback(said("<@U0BOT>", subtype="channel_join")),
    "hidden": callback(said("<@U0BOT>", hidden=True)),
    "channel talk": callback(said("lunch?")),
    "mention of a longer id": callback(said("<@U0BOTTLE> hi")),
    "empty thread reply": callback(said("", thread_ts="1690.000001")),
    "unknown event": callback(mention() | {"type": "reaction_added"}),
    "no event id": callback(mention(), event_id=None),
    "foreign command": slash(team_id="T2"),
    "another command": slash(command="/other"),
    "command without trigger": slash(trigger_id=None),
    "foreign clicker": click(user={"id": "U0BOB", "team_id": "T2"}),
    "clicker's team unsaid": click(user={"id": "U0BOB"}),
    "foreign click": click(team={"id": "T2"}),
    "clicking bot": click(user={"id": "U0BOB", "team_id": "T1", "is_bot": True}),
    "click in a view": click(container={"type": "view", "view_id": "V1"}),
    "foreign button": click("other.approve"),
    "a menu in place of a button": click(actions=[{**click()["actions"][0], "type": "static_select"}]),
    "two actions": click(actions=[click()["actions"][0]] * 2),
    "no trigger": click(trigger_id=None),
    "nothing": {},
    "a view": {"type": "view_submission"},
}


@pytest.mark.parametrize("body", IGNORED.values(), ids=IGNORED.keys())
def test_ignored(body: Json) -> None:
    assert read(body, HOME) is None


TRIED = {
    "foreign author": ("T2/U0ALICE", "message"),
    "foreign workspace": ("T2/U0ALICE", "message"),
    "foreign sender": ("T2/U0ALICE", "message"),
    "foreign source": ("T2/U0ALICE", "message"),
    "foreign actor": ("T2/U0ALICE", "message"),
    "another bot": ("T1/B9", "app"),
    "foreign command": ("T2/U0ALICE", "command"),
    "foreign clicker": ("T2/U0BOB", "click"),
}


@pytest.mark.parametrize(("case", "body"), IGNORED.items(), ids=IGNORED.keys())
def test_who_is_not_heard_is_named_if_they_meant_the_bot(case: str, body: Json) -> None:
    tried = stranger(body, HOME)
    assert (tried and (tried.actor.key, tried.entrance)) == TRIED.get(case)
    assert tried is None or tried.actor.membership is not Membership.MEMBER


def test_apps_and_strangers_who_talk_among_themselves_are_nobodys_business() -> None:
    assert stranger(callback(said("lunch?", team="T2")), HOME) is None
    assert stranger(callback(said("<@U0BOT> hi", bot_id="B9")), HOME) is None  # the mention of it counts
    assert stranger(callback(said("hi", bot_id="B9", channel="D1")), HOME) is None


def test_changed_user_group_is_recognised_from_home_only() -> None:
    event = {"type": "subteam_members_changed", "subteam_id": "S0SRE"}
    assert changed_group(callback(event), HOME) == "S0SRE"
    assert changed_group(callback(event, team_id="T2"), HOME) is None


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.sampled_from(["T1", "U0BOT", "C1"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


@given(st.data())
@settings(deadline=None, max_examples=500)
def test_no_payload_raises(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from([callback(mention()), callback(said(thread_ts="1.1")), click(), slash()]))
    body = json.loads(json.dumps(body))
    for _ in range(data.draw(st.integers(1, 4))):
        target = body
        inner = data.draw(st.sampled_from(["", "event", "container", "user", "team"]))
        if inner and isinstance(body.get(inner), dict):
            target = body[inner]
        target[data.draw(st.sampled_from(sorted(target) or ["x"]))] = data.draw(values)
    found = read(body, HOME)
    changed_group(body, HOME)
    tried = stranger(body, HOME)
    assert tried is None or tried.actor.membership in (Membership.FOREIGN, Membership.BOT)
    if found is not None:
        assert found.event.actor.team_id == "T1"
        assert all(isinstance(key, str) for key in found.keys)


# --- the manifest ----------------------------------------------------------------------------------------------------


def test_manifest_declares_exactly_what_is_listened_to() -> None:
    assert set(MANIFEST["settings"]["event_subscriptions"]["bot_events"]) == EVENTS
    assert {entry["command"] for entry in MANIFEST["features"]["slash_commands"]} == COMMANDS


def test_manifest_asks_for_what_the_events_need_and_no_more() -> None:
    """Scopes by event and method, as Slack's reference pages say (2026)."""
    needed = {
        "app_mentions:read",  # app_mention
        "channels:history",  # message.channels, conversations.replies and .history
        "groups:history",  # message.groups and the same
        "im:history",  # message.im and the same
        "chat:write",  # chat.*, assistant.threads.setStatus
        "assistant:write",  # agent_view, agents.sessions.setStatus
        "commands",  # /ops
        "files:read",  # url_private of a file, files.info
        "files:write",  # files.getUploadURLExternal, files.completeUploadExternal
        "usergroups:read",  # usergroups.users.list, subteam_members_changed
        "users:read",  # users.info
    }
    assert set(MANIFEST["oauth_config"]["scopes"]["bot"]) == needed
    assert MANIFEST["settings"]["interactivity"]["is_enabled"]
