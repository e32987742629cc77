"""Outputs by lines: how they are laid out, searched and paged, and that no search takes long."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.outputs import LINES_MAX, PIECE_CHARS, Wanted, bounded, ends, laid_out, numbered, piece

LOG = "\n".join(f"line {number}" for number in range(1, 1001))


def shown(text: str, **wanted: object) -> list[int]:
    return [number for number, _ in piece(text, Wanted(**wanted)).shown]  # type: ignore[arg-type]


def test_items_of_a_list_stand_on_lines_of_their_own():
    content = json.dumps({"results": {"web-1": {"unit": "x", "lines": ["one error", "two" * 99], "lines_left_out": 0}}})
    assert laid_out(content).split("\n") == [
        "results:",
        "  web-1:",
        "    unit: x",
        "    lines:",
        "      one error",
        "      " + "two" * 99,
        "    lines_left_out: 0",
    ]


def test_a_text_of_several_lines_keeps_them():
    assert laid_out(json.dumps({"stdout": "a\nb\n"})).split("\n") == ["stdout:", "  a", "  b", "  "]


def test_what_is_short_stays_together():
    assert laid_out(json.dumps([{"pid": 1, "name": "init"}, {"pid": 2, "name": "é"}] * 10)).split("\n")[:2] == [
        '{"pid": 1, "name": "init"}',
        '{"pid": 2, "name": "é"}',
    ]


@pytest.mark.parametrize("content", ["no json", "", "{" * 20_000, "[" * 100_000])
def test_what_is_no_json_is_taken_as_text(content):
    assert laid_out(content) == content


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_text_gets_lost(value):
    def texts(value: object) -> list[str]:
        match value:
            case str():
                return value.split("\n")
            case list():
                return [text for item in value for text in texts(item)]
            case dict():
                return [text for item in value.values() for text in texts(item)]
        return []

    text = laid_out(json.dumps(value))
    for part in texts(value):
        assert part in text or json.dumps(part, ensure_ascii=False)[1:-1] in text


def test_pages_follow_one_another_without_gap_or_overlap():
    line, seen = 1, []
    while line:
        found = piece(LOG, Wanted(line=line, lines=97))
        seen += [number for number, _ in found.shown]
        line = found.next_line
    assert seen == list(range(1, 1001))


def test_the_end_is_counted_backwards():
    assert shown(LOG, line=-3) == [998, 999, 1000]
    assert shown(LOG, line=-5000, lines=2) == [1, 2]
    assert piece(LOG, Wanted(line=-3)).next_line == 0
    assert shown(LOG, line=5000) == []


def test_grep_finds_plain_text_in_any_case():
    found = piece(LOG + "\nNeedle [x+ (y", Wanted(grep=("needle [X+ (",)))
    assert found.shown == ((1001, "Needle [x+ (y"),)
    assert (found.matches, found.next_line) == (1, 0)


def test_grep_takes_alternatives_and_goes_on_from_a_line():
    assert shown(LOG, grep=("line 998", "LINE 1000")) == [998, 1000]
    found = piece(LOG, Wanted(grep=("line",), lines=2, line=500))
    assert ([number for number, _ in found.shown], found.next_line, found.matches) == ([500, 501], 502, 1000)


def test_a_long_line_goes_on_in_the_next_and_is_found_across_the_break():
    text = "x" * 995 + "needle" + "y" * 3000
    assert [len(line) for line in numbered(text)] == [1000, 1000, 1000, 1000, 1]
    assert shown(text, grep=("needle",)) == [1]
    assert shown(text, grep=("eedley",)) == [1]
    assert shown("x" * 1000 + "\nneedle", grep=("needle",)) == [2]


def test_one_reading_is_bounded():
    found = piece("\n".join(["x" * 900] * 500), Wanted(lines=LINES_MAX))
    assert sum(len(line) for _, line in found.shown) <= PIECE_CHARS
    assert found.next_line == len(found.shown) + 1


def test_no_search_explodes():
    """Comparison is plain, so what made regular expressions famous is nothing here."""
    text = "\n".join(["a" * 5000 + "!"] * 800)
    began = time.process_time()
    piece(text, Wanted(grep=("(a+)+$", "a" * 199 + "b", ".*.*.*b")))
    assert time.process_time() - began < 20


def test_what_is_more_than_is_kept_says_so():
    text = bounded("a" * 300 + "b" * 900, 400)
    assert text == "a" * 100 + "\n[800 characters left out: more than is kept]\n" + "b" * 300
    assert bounded("a" * 400, 400) == "a" * 400


@given(st.lists(st.text(alphabet="ab", max_size=30), max_size=60), st.integers(0, 400))
def test_the_ends_do_not_overlap(lines, limit):
    head, tail = ends(lines, limit)
    assert len(head) + len(tail) <= len(lines)
    assert lines[: len(head)] == head
    assert not tail or lines[-len(tail) :] == tail
    assert sum(len(line) + 1 for line in (*head, *tail)) <= limit
