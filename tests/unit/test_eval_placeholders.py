"""Placeholders in scripts and patterns: values from results and facts, and nothing where nothing is."""

import pytest

from opsbot.evaluation.placeholders import filled, with_facts, with_results

RESULTS = {"top_processes": '{"pid": 71, "unit": "a"}, {"pid": 82, "unit": "b"}'}


def test_a_script_takes_the_first_group_of_the_newest_result() -> None:
    assert with_results('is {{top_processes~"pid": (\\d+), "unit": "b"}}.', RESULTS) == "is 82."


def test_a_pattern_may_hold_braces() -> None:
    assert with_results(r'{{top_processes~"pid": (\d{2})[^{}]*"b"}}', RESULTS) == "82"


@pytest.mark.parametrize("text", ["{{top_processes~(nothing)}}", "{{disk_usage~(.)}}"])
def test_what_is_not_there_is_said_and_never_made_up(text: str) -> None:
    assert "not found" in with_results(text, RESULTS)


def test_an_argument_that_is_one_number_becomes_one() -> None:
    asked = {"pid": '{{top_processes~"pid": (\\d+)}}', "unit": "71", "hosts": ["{{host}}"]}
    assert filled(asked, RESULTS, {"host": "h1"}) == {"pid": 71, "unit": "71", "hosts": ["h1"]}


def test_an_unknown_fact_is_an_error_in_a_pattern() -> None:
    with pytest.raises(KeyError):
        with_facts("{{unknown}}", {})
