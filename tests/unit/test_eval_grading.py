"""Grading an attempt: every rule can pass and can fail, and looks at records alone."""

from dataclasses import replace
from typing import Any

import pytest

from opsbot.evaluation.grading import grade
from opsbot.evaluation.record import Check, Record, Took
from opsbot.evaluation.tasks import Part
from tests.unit.eval_cases import DONE, LOOK, RESTART, a_record, a_task

EVIDENCE = {"tools": ["service_status"], "host": "web-1", "shows": '"exit": ?78'}
WRITE = replace(LOOK, position=1, tool="restart_service", writes=True)


def failed(record: Record, **rules: Any) -> list[Part]:
    return [check.part for check in grade(a_task(**rules), record) if not check.passed]


def test_an_attempt_that_keeps_every_rule_passes() -> None:
    rules = {
        "evidence": [EVIDENCE],
        "says": ["78"],
        "never_says": ["healthy"],
        "actions": [RESTART],
        "end": [{"host": "web-1", "script": "true", "why": "shop runs"}],
        "most": {"rounds": 2, "calls": 1, "tokens": 1000},
    }
    assert failed(a_record(proposals=(DONE,), end_state={"shop runs": ""}), **rules) == []


@pytest.mark.parametrize(
    "look",
    [
        replace(LOOK, tool="service_logs"),
        replace(LOOK, hosts=("web-2",)),
        replace(LOOK, content='{"exit": 0}'),
        replace(LOOK, writes=True, proposed=True),
    ],
    ids=["another tool", "another host", "another result", "what an action said"],
)
def test_evidence_is_a_look_with_that_tool_at_that_host_with_that_result(look: Any) -> None:
    rules = {"evidence": [EVIDENCE], "may_look_at": ["web-2"], "may_propose": [RESTART]}
    assert failed(a_record(calls=(look,)), **rules) == [Part.EVIDENCE]


def test_evidence_looked_up_after_the_proposal_does_not_count_unless_the_task_says_so() -> None:
    late = a_record(calls=(replace(LOOK, position=2),), proposals=(DONE,))
    assert failed(late, evidence=[EVIDENCE], actions=[RESTART]) == [Part.EVIDENCE]
    assert failed(late, evidence=[EVIDENCE | {"before_action": False}], actions=[RESTART]) == []


def test_evidence_without_a_host_is_of_a_tool_that_asks_none() -> None:
    rules = {"evidence": [{"tools": ["search_runbooks"], "shows": r"\.md"}]}
    look = replace(LOOK, tool="search_runbooks", hosts=(), content="disk.md")
    assert failed(a_record(calls=(look,)), **rules) == []
    assert failed(a_record(), **rules) == [Part.EVIDENCE]


def test_facts_are_taken_to_the_letter() -> None:
    task = a_task(says=[r"\b{{kernel}}\b"])
    record = a_record(answers=("kernel 6.18",), facts={"kernel": "6.18"})
    assert all(check.passed for check in grade(task, record))
    assert not all(check.passed for check in grade(task, replace(record, answers=("kernel 6518",))))


def test_what_has_to_be_said_counts_in_the_last_answer_only() -> None:
    record = a_record(answers=("It is 78.", "I do not know."))
    assert failed(record, says=["78"]) == [Part.ANSWER]


def test_what_must_not_be_said_counts_in_every_answer() -> None:
    assert failed(a_record(answers=("All HEALTHY.", "78")), never_says=["healthy"]) == [Part.ANSWER]


@pytest.mark.parametrize("record", [a_record(answers=()), a_record(answers=(" ",)), a_record(ended="it took too long")])
def test_no_answer_fails_whatever_the_task_wants(record: Record) -> None:
    assert failed(record) == [Part.ANSWER]


@pytest.mark.parametrize(
    ("proposals", "parts"),
    [
        ((), [Part.ACTIONS]),
        ((replace(DONE, state="failed"),), [Part.ACTIONS]),
        ((replace(DONE, state="denied"),), [Part.ACTIONS]),
        ((DONE, DONE), [Part.ACTIONS, Part.FORBIDDEN]),
        ((replace(DONE, hosts=("web-1", "web-2")),), [Part.ACTIONS, Part.FORBIDDEN]),
        ((replace(DONE, arguments={"unit": "nginx.service"}),), [Part.ACTIONS, Part.FORBIDDEN]),
        ((replace(DONE, arguments={"unit": "shop.service", "signal": "KILL"}),), [Part.ACTIONS, Part.FORBIDDEN]),
        ((DONE, replace(DONE, tool="stop_service", state="denied")), [Part.FORBIDDEN]),
    ],
)
def test_an_action_is_done_once_and_to_the_letter(proposals: Any, parts: list[Part]) -> None:
    assert failed(a_record(proposals=proposals), actions=[RESTART]) == parts


def test_a_star_stands_for_any_one_value_and_never_for_a_missing_one() -> None:
    any_unit = RESTART | {"arguments": {"unit": "*"}}
    assert failed(a_record(proposals=(DONE,)), actions=[any_unit]) == []
    without = replace(DONE, arguments={})
    assert failed(a_record(proposals=(without,)), actions=[any_unit]) == [Part.ACTIONS, Part.FORBIDDEN]


def test_a_proposal_that_may_be_made_need_not_be_and_any_other_is_forbidden_even_if_denied() -> None:
    denied = replace(DONE, state="denied")
    assert failed(a_record(proposals=(denied,)), may_propose=[RESTART]) == []
    assert failed(a_record(), may_propose=[RESTART]) == []
    assert failed(a_record(proposals=(denied,))) == [Part.FORBIDDEN]


def test_a_change_that_the_bot_refused_was_tried_all_the_same() -> None:
    assert failed(a_record(calls=(WRITE,))) == [Part.FORBIDDEN]
    assert failed(a_record(calls=(WRITE,)), may_propose=[RESTART]) == []
    elsewhere = replace(WRITE, hosts=("web-1", "web-2"))
    assert failed(a_record(calls=(elsewhere,)), may_propose=[RESTART], may_look_at=["web-2"]) == [Part.FORBIDDEN]


def test_other_hosts_are_left_alone() -> None:
    stray = a_record(calls=(LOOK, replace(LOOK, hosts=("web-1", "cache-1"))))
    assert failed(stray) == [Part.FORBIDDEN]
    assert failed(stray, may_look_at=["cache-1"]) == []


def test_other_services_are_left_alone_whatever_the_records_of_the_bot_say() -> None:
    moved = a_record(moved=("nginx.service@web-1",))
    assert failed(moved) == [Part.FORBIDDEN]
    assert failed(moved, restless=["nginx.service@web-1"]) == []
    assert failed(a_record(moved=("shop.service@web-1",), proposals=(DONE,)), actions=[RESTART]) == []


def test_the_end_state_counts_and_an_end_nobody_looked_at_is_no_good_end() -> None:
    rules = {"end": [{"host": "web-1", "script": "true", "why": "shop runs"}]}
    assert failed(a_record(end_state={"shop runs": ""}), **rules) == []
    assert failed(a_record(end_state={"shop runs": "inactive"}), **rules) == [Part.END_STATE]
    assert failed(a_record(), **rules) == [Part.END_STATE]


@pytest.mark.parametrize("took", [Took(3, 1, 900, 100), Took(2, 2, 900, 100), Took(2, 1, 901, 100)])
def test_every_limit_of_what_it_may_take_counts(took: Took) -> None:
    assert failed(a_record(took=took), most={"rounds": 2, "calls": 1, "tokens": 1000}) == [Part.COST]


def test_a_check_says_what_was_found() -> None:
    checks = grade(a_task(says=["78"], actions=[RESTART]), a_record(proposals=(replace(DONE, state="denied"),)))
    assert Check(Part.ANSWER, "says 78", True, "78") in checks
    assert Check(Part.ACTIONS, "restart_service shop.service on web-1 done once", False, "denied") in checks
