"""Anchors as text: whatever surrounds them they are found, and nobody without the key makes one up."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.anchors import anchor_line, find_anchors
from tests.records import KEY

HEAD = (1042, "9f" * 32)
LINE = anchor_line(HEAD, KEY)


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        f"Nov 20 12:00:00 bot-1 opsbot: {LINE}",
        f"<86>opsbot: {LINE}\x00",
        json.dumps({"MESSAGE": LINE, "PRIORITY": "6"}),
        json.dumps([{"text": f"`{LINE}`"}]),
        f"2026-11-20T12:00:00.000000Z {LINE}\r\n",
        f"{LINE} {LINE}",
    ],
)
def test_an_anchor_is_found_whatever_surrounds_it(text: str) -> None:
    assert find_anchors([text], KEY).heads == (HEAD,)


def test_the_same_anchor_counts_once_and_the_newest_is_known() -> None:
    other = (7, "ab" * 32)
    found = find_anchors([LINE, anchor_line(other, KEY), LINE], KEY)
    assert (found.heads, found.newest) == ((HEAD, other), HEAD)
    assert find_anchors(["nothing"], KEY).newest is None


@given(st.integers(0, len(LINE) - 1), st.sampled_from("0123456789abcdef: x"))
def test_a_changed_anchor_is_none(position: int, letter: str) -> None:
    changed = LINE[:position] + letter + LINE[position + 1 :]
    assert find_anchors([changed], KEY).heads == ((HEAD,) if changed == LINE else ())


def test_anchors_of_another_key_are_counted_apart() -> None:
    found = find_anchors([anchor_line(HEAD, b"x" * 32), LINE], KEY)
    assert (found.heads, found.foreign) == ((HEAD,), 1)
