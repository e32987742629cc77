"""The reports of an evaluation: nothing in them is markup that a host or a model wrote, and nothing is loaded."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from opsbot.evaluation.html_report import page
from opsbot.evaluation.record import Check, Line, Result, Took
from opsbot.evaluation.report import Outcome, as_json, document, figures, row, summary
from opsbot.evaluation.tasks import Part
from tests.unit.eval_cases import a_record, a_task

EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'&${model}"
CHECKS = (Check(Part.EVIDENCE, "shows", True), Check(Part.ANSWER, "says", True))
SOLVED = Result("one", 1, "a test", "reference", "", a_record(), CHECKS)
WRONG = replace(SOLVED, agent="wrong", path="guess", checks=(replace(CHECKS[0], passed=False), CHECKS[1]))


def outcome(*results: Result) -> Outcome:
    return Outcome(datetime(2026, 11, 28, 12, tzinfo=UTC), 90.0, "scripted", results)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += attrs


def test_no_text_of_anybody_becomes_markup() -> None:
    plain = Tags(page(outcome(SOLVED)))
    record = a_record(transcript=tuple(Line(kind, EVIL, EVIL) for kind in ("person", "model", "result", "card", EVIL)))
    evil = replace(
        SOLVED,
        about=EVIL,
        path=EVIL,
        record=replace(record, ended=EVIL),
        checks=(Check(Part.ANSWER, EVIL, True, EVIL),),
    )
    text = page(replace(outcome(evil), model=EVIL))
    shown = Tags(text)
    assert shown.found.count("script") == plain.found.count("script") == 1
    assert "img" not in shown.found
    assert not any(name.startswith("on") for name, _ in shown.attributes)
    assert "&lt;script&gt;alert(1)" in text


def test_the_page_loads_nothing_and_its_policy_says_so() -> None:
    shown = Tags(page(outcome(SOLVED)))
    assert not {name for name, _ in shown.attributes} & {"src", "href", "action", "background"}
    assert not re.search(r"url\(|@import|https?://", page(outcome(SOLVED)))
    policy = next(value for name, value in shown.attributes if name == "content" and value and "default-src" in value)
    assert policy.startswith("default-src 'none'")


def test_rows_can_be_told_apart_for_the_filters() -> None:
    text = page(outcome(SOLVED, WRONG))
    assert 'data-level="1" data-agent="reference" data-solved="yes" data-right="yes"' in text
    assert 'data-level="1" data-agent="wrong" data-solved="no" data-right="yes"' in text


def test_a_long_result_is_shown_in_part() -> None:
    record = a_record(transcript=(Line("result", "result", "x" * 20_000),))
    text = page(outcome(replace(SOLVED, record=record)))
    assert "(20,000 characters)" in text
    assert len(text) < 40_000


@pytest.mark.parametrize(
    ("result", "well"),
    [
        (SOLVED, True),
        (replace(SOLVED, checks=WRONG.checks), False),
        (WRONG, True),
        (replace(WRONG, expected=(Part.EVIDENCE,)), True),
        (replace(WRONG, expected=(Part.FORBIDDEN,)), False),
        (replace(WRONG, checks=CHECKS), False),
        (replace(SOLVED, agent="null"), False),
        (replace(SOLVED, agent="model"), True),
    ],
)
def test_what_an_agent_has_to_show(result: Result, well: bool) -> None:
    assert outcome(result).well is well


def test_the_table_has_result_evidence_and_what_it_took() -> None:
    cells = row(replace(SOLVED, record=a_record(took=Took(3, 4, 1200, 34, None, 2.34))))
    assert cells == ("one", "1", "reference", "solved", "1 of 1", "100 %", "3", "4", "1,234", "unknown", "2.3")
    assert row(replace(WRONG, checks=CHECKS))[3] == "SOLVED"


def test_the_json_has_everything_and_an_unknown_cost_is_null() -> None:
    (entry,) = json.loads(as_json(document(outcome(WRONG))))["results"]
    assert entry["failed_parts"] == ["evidence"]
    assert entry["parts"] == {"evidence": "0 of 1", "answer": "1 of 1"}
    assert entry["cost_usd"] is None
    assert entry["score"] == 0.5
    assert len(entry["checks"]) == 2


def test_the_figures_count_what_the_page_of_the_documentation_shows() -> None:
    found = figures(outcome(replace(WRONG, expected=(Part.EVIDENCE,)), SOLVED), [a_task()], "abc")
    (task,) = found["tasks"]
    assert (task["reference"], task["null_solved"], task["wrong_paths"], task["wrong_as_they_should"]) == (
        True,
        0,
        1,
        1,
    )
    assert summary(outcome(WRONG, SOLVED)).startswith("wrong: 0 of 1 solved; reference: 1 of 1 solved; 1.5 min")
