"""Whatever the domain can express comes back equal from the store's JSON."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsbot import domain
from opsbot.adapters.store import codec
from opsbot.domain import Action, Approval, Content, Incoming, Message, MessageRef, Place, ToolResult, UserMessage
from opsbot.errors import StoreError
from tests.records import ANNA, NOON, approval

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
finite = st.floats(allow_nan=False, allow_infinity=False)
st.register_type_strategy(
    domain.Moment,
    st.builds(
        domain.Moment,
        at=st.datetimes(timezones=st.just(UTC)),
        machine=st.text(),
        boot_id=st.text(),
        monotonic_s=finite,
    ),
)
points = st.lists(st.tuples(st.datetimes(timezones=st.just(UTC)), finite), max_size=3).map(tuple)
st.register_type_strategy(float, finite)
st.register_type_strategy(domain.Series, st.builds(domain.Series, name=st.text(), points=points))
st.register_type_strategy(
    domain.Chart,
    st.builds(
        domain.Chart,
        title=st.text(),
        unit=st.text(),
        series=st.lists(st.from_type(domain.Series), max_size=2).map(tuple),
        threshold=st.none() | finite,
    ),
)
st.register_type_strategy(
    Action,
    st.builds(
        Action,
        tool=st.text(),
        arguments=st.dictionaries(st.text(), json_values, max_size=3),
        hosts=st.lists(st.text(), max_size=3).map(tuple),
    ),
)

CODECS = [
    pytest.param(codec.MESSAGES, get_args(Message), id="messages"),
    pytest.param(codec.EVENTS, get_args(Incoming), id="events"),
    pytest.param(codec.CONTENTS, get_args(Content), id="contents"),
    pytest.param(codec.APPROVALS, (Approval,), id="approvals"),
    pytest.param(codec.PLACES, (Place,), id="places"),
    pytest.param(codec.REFS, (MessageRef,), id="refs"),
]


@pytest.mark.parametrize(("subject", "kinds"), CODECS)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_everything_comes_back_equal(subject: codec.Codec, kinds: tuple[type, ...], data: st.DataObject) -> None:
    value = data.draw(st.sampled_from(kinds).flatmap(st.from_type))
    text = subject.encode(value)
    again = subject.decode(text)
    assert again == value
    assert type(again) is type(value)
    assert "\n" not in text
    assert "\x00" not in text
    assert json.loads(text)["type"]


def test_json_types_are_kept_apart() -> None:
    value = {"t": True, "i": 1, "f": 1.0, "n": None, "l": [0, False, "0", 0.0], "d": {}}
    made = approval(action=Action("t", value, ("h",)))
    again = codec.APPROVALS.decode(codec.APPROVALS.encode(made)).action.arguments
    assert repr(again) == repr(value)


def test_containers_come_back_as_what_they_were() -> None:
    again = codec.APPROVALS.decode(codec.APPROVALS.encode(approval()))
    assert isinstance(again.approver_users, frozenset)
    assert isinstance(again.action.hosts, tuple)
    assert isinstance(again.impacts, Mapping)
    assert isinstance(again.impacts["web-1"].facts[0], tuple)
    assert again.created_at.utcoffset() is not None


def test_the_stored_form_is_stable() -> None:
    """These bytes are in people's databases."""
    assert codec.MESSAGES.encode(ToolResult("c1", "{}")) == (
        '{"type":"result","value":{"call_id":"c1","content":"{}","failed":false,"nonce":"","untrusted":false,"kept":false}}'
    )
    assert codec.MESSAGES.decode('{"type":"result","value":{"call_id":"c1","content":"x"}}') == ToolResult("c1", "x")


def test_lone_surrogates_are_replaced_and_nothing_else() -> None:
    """Chat services cut emoji in half; no database takes the half."""
    half = codec.MESSAGES.decode(codec.MESSAGES.encode(UserMessage("a\ud83d\x00b 😀", ANNA, NOON)))
    assert half == UserMessage("a\ufffd\ufffd\ufffd\x00b 😀", ANNA, NOON)
    made = approval(action=Action("t", {"\ud800": ["\udfff", 1, {"x": None}]}, ("h",)))
    again = codec.APPROVALS.decode(codec.APPROVALS.encode(made)).action.arguments
    assert json.dumps(again).count("ufffd") == 6


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        '{"type":"unknown","value":{}}',
        '{"type":"result","value":{}}',
        '{"type":"result","value":{"call_id":1,"content":"x"}}',
        '{"type":"result","value":{"call_id":"c1","content":"x"}',
        '{"type":"result","value":{"call_id":"c1","content":"x"}}}',
        '{"type":"user","value":{"text":"x","actor":{"team_id":"a","user_id":"b"},"at":"noon"}}',
    ],
)
def test_damaged_text_is_refused_not_guessed(text: str) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        codec.MESSAGES.decode(text)
