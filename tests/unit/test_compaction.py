"""Long histories: what of them is shown, held to its rules over random histories."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot import pictures
from opsbot.compaction import Room, compacted, estimate, shortened, tokens_of, view
from opsbot.domain import (
    Actor,
    AssistantMessage,
    Compaction,
    Conversation,
    Message,
    Picture,
    ToolCall,
    ToolResult,
    Usage,
    UserMessage,
)
from opsbot.notes import EARLIER

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PEOPLE = (Actor("T1", "UALICE"), Actor("T1", "UBOB"))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Message, ...]:
    """Draw turns with replies, calls, results; some come late, some never."""
    messages: list[Message] = []
    late: list[ToolResult] = []
    number = 0
    for _ in range(draw(st.integers(1, 12))):
        messages.append(UserMessage("q" * draw(st.integers(0, 900)), draw(st.sampled_from(PEOPLE)), NOW))
        for _ in range(draw(st.integers(0, 3))):
            calls = tuple(ToolCall(f"c{number + n}", "look", "{}") for n in range(draw(st.integers(1, 3))))
            number += len(calls)
            messages.append(AssistantMessage("", calls, Usage(), draw(st.sampled_from(("", "sealed" * 40)))))
            for call in calls:
                size = draw(st.integers(0, 9000))
                result = ToolResult(call.call_id, f"{call.call_id}|" + "r" * size, nonce=f"n{call.call_id}")
                when = draw(st.sampled_from(("now", "now", "now", "late", "never")))
                if when == "now":
                    messages.append(result)
                elif when == "late":
                    late.append(result)
        if draw(st.booleans()):
            messages.append(AssistantMessage("a" * draw(st.integers(1, 900))))
        if late and draw(st.booleans()):
            messages.append(late.pop(0))
    return tuple(messages)


rooms = st.integers(160, 20_000).map(lambda most: Room(most, most // 2, min(300, most // 4)))


def done(way: Compaction, messages: Sequence[Message], room: Room) -> Compaction:
    """Complete it as the condenser does, with a summary that takes all its room."""
    text = "s" * max(0, (room.summary - 24) * 3) if way.folded else ""
    return replace(way, summary=text, nonce="abc", messages=len(messages))


def ids(messages: Sequence[Message]) -> set[str]:
    return {m.call_id for m in messages if isinstance(m, ToolResult)} - {EARLIER}


def calls(messages: Sequence[Message]) -> set[str]:
    return {call.call_id for m in messages if isinstance(m, AssistantMessage) for call in m.calls}


@settings(max_examples=300, deadline=None)
@given(histories(), rooms)
def test_no_call_is_without_its_result_nor_a_result_without_its_call(messages, room):
    way = compacted(messages, None, room)
    if way is None:
        return
    shown = view(messages, done(way, messages, room))
    assert ids(shown) <= calls(shown)
    assert calls(shown) & ids(messages) <= ids(shown)


@settings(max_examples=300, deadline=None)
@given(histories(), rooms)
def test_every_call_that_waits_for_a_person_stays_with_its_siblings_and_what_the_model_sealed(messages, room):
    way = compacted(messages, None, room)
    if way is None:
        return
    shown = view(messages, done(way, messages, room))
    waiting = {call.call_id for call in Conversation(None, messages).open_calls}  # type: ignore[arg-type]
    assert waiting <= calls(shown)
    whole = [m for m in messages if isinstance(m, AssistantMessage) and waiting & {c.call_id for c in m.calls}]
    assert all(message in shown for message in whole)


@settings(max_examples=300, deadline=None)
@given(histories(), rooms)
def test_the_newest_question_and_the_newest_reply_are_shown(messages, room):
    way = compacted(messages, None, room)
    if way is None:
        return
    shown = view(messages, done(way, messages, room))
    assert next(m for m in reversed(messages) if isinstance(m, UserMessage)) in shown
    newest = next((m for m in reversed(messages) if isinstance(m, AssistantMessage)), None)
    question = max(n for n, m in enumerate(messages) if isinstance(m, UserMessage))
    if newest is not None and newest in messages[question:]:
        assert newest in shown


@settings(max_examples=300, deadline=None)
@given(histories(), rooms)
def test_it_fits_wherever_showing_the_least_would(messages, room):
    way = compacted(messages, None, room)
    least = compacted(messages, None, Room(1, 1, room.summary))
    if way is None:
        return
    size = estimate(view(messages, done(way, messages, room)))
    if least is not None and estimate(view(messages, done(least, messages, room))) <= room.most:
        assert size <= room.most
    assert size < estimate(messages)


@settings(max_examples=300, deadline=None)
@given(histories(), rooms)
def test_it_is_the_same_each_time_and_done_once(messages, room):
    way = compacted(messages, None, room)
    assert way == compacted(messages, None, room)
    if way is None:
        return
    stored = done(way, messages, room)
    if estimate(view(messages, stored)) <= room.most:
        assert compacted(messages, stored, room) is None
    # Also where nothing fits, it comes to rest.
    for _ in range(6):
        again = compacted(messages, stored, room)
        if again is None:
            break
        stored = done(again, messages, room)
    assert compacted(messages, stored, room) is None


@settings(max_examples=300, deadline=None)
@given(histories(), histories(), rooms)
def test_between_two_compactions_a_request_begins_with_the_one_before(messages, more, room):
    way = compacted(messages, None, room)
    stored = done(way, messages, room) if way else None
    shown = view(messages, stored)
    longer = view((*messages, *more), stored)
    assert longer[: len(shown)] == shown
    assert longer[len(shown) :] == more


@settings(max_examples=300, deadline=None)
@given(histories(), histories(), rooms)
def test_what_was_folded_away_stays_so(messages, more, room):
    way = compacted(messages, None, room)
    if way is None:
        return
    both = (*messages, *(replace(m) for m in more))
    again = compacted(both, done(way, messages, room), room)
    if again is not None:
        assert again.folded >= way.folded


@settings(max_examples=200, deadline=None)
@given(histories(), rooms)
def test_results_of_actions_are_shown_to_the_letter_or_stand_in_the_ledger(messages, room):
    actions = {m.call_id for m in messages if isinstance(m, ToolResult)} - {"c0"}
    way = compacted(messages, None, room, actions=actions)
    if way is None:
        return
    shown = view(messages, done(way, messages, room))
    whole = {m for m in messages if isinstance(m, ToolResult) and m.call_id in actions}
    assert {m for m in shown if isinstance(m, ToolResult) and m.call_id in actions} <= whole


@settings(max_examples=200, deadline=None)
@given(histories(), st.integers(1000, 20_000))
def test_what_is_brought_down_goes_to_half_where_it_can(messages, most):
    room = Room(most, most // 2, 100)
    way = compacted(messages, None, room)
    least = compacted(messages, None, Room(1, 1, 100))
    if way is None or least is None:
        return
    if estimate(view(messages, done(least, messages, room))) <= room.target:
        assert estimate(view(messages, done(way, messages, room))) <= room.target


def test_a_history_that_fits_is_shown_as_it_is():
    messages = (UserMessage("hi", PEOPLE[0], NOW), AssistantMessage("hello"))
    assert compacted(messages, None, Room(1000, 500)) is None
    assert view(messages, None) == messages


def test_a_thousand_messages_take_rare_steps():
    """Each step makes room for many turns, so that the cache of what was read before holds in between."""
    messages: list[Message] = []
    stored: Compaction | None = None
    steps = 0
    room = Room(18_000, 9_000, 1_500)
    for number in range(250):
        call = ToolCall(f"c{number}", "look", '{"hosts": ["web-1"]}')
        messages += [
            UserMessage(f"question {number} " + "q" * 200, PEOPLE[0], NOW),
            AssistantMessage("", (call,)),
            ToolResult(call.call_id, "r" * 3000, nonce=f"n{number}"),
            AssistantMessage("answer " + "a" * 400),
        ]
        if way := compacted(messages, stored, room):
            stored = done(way, messages, room)
            steps += 1
        assert estimate(view(messages, stored)) <= room.most
    assert steps <= 250 / 6


def test_a_shortened_result_says_what_is_missing_and_how_to_read_it():
    result = ToolResult("c1", "head " + "x" * 5000 + " tail", nonce="n1", untrusted=True)
    short = shortened(result, 600)
    assert isinstance(short, ToolResult)
    assert short.content.startswith("head x")
    assert short.content.endswith("x tail")
    assert f"[4,410 characters left out here; read_output with ref {result.ref} shows them]" in short.content
    assert (short.call_id, short.nonce, short.untrusted) == ("c1", "n1", True)
    assert result.nonce not in short.content
    assert shortened(short, 600) == short


def test_sealed_reasoning_counts_as_what_it_took():
    sealed = AssistantMessage("x", (), Usage(reasoning_tokens=700), opaque="?" * 10_000)
    assert tokens_of(sealed) - tokens_of(AssistantMessage("x")) == 700
    assert tokens_of(replace(sealed, usage=Usage())) - tokens_of(AssistantMessage("x")) == 2500


def test_a_shown_picture_takes_its_place_once() -> None:
    picture = Picture("T1/F1", "shot.png", "d", 640, 480)
    bare = UserMessage("what is this?", PEOPLE[0], NOW)
    assert tokens_of(replace(bare, pictures=(picture,))) - tokens_of(bare) == pictures.tokens((picture,))
    unseen = Picture("T1/F1", "shot.png", trouble="it is no picture")
    assert tokens_of(replace(bare, pictures=(unseen,))) == tokens_of(bare)
