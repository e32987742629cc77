"""The evaluation's page is made from the figures of a run that proved every task there is."""

import json

from opsbot.evaluation.task_files import load_suite
from tests.docs.eval_page import FIGURES, PAGE, ROOT, page

KNOWN = json.loads(FIGURES.read_text(encoding="utf-8"))


def test_the_page_is_made_from_the_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(KNOWN)


def test_every_task_was_proved_in_under_thirty_minutes() -> None:
    assert [task["task"] for task in KNOWN["tasks"]] == [task.id for task in load_suite(ROOT / "evals").tasks]
    assert all(task["reference"] for task in KNOWN["tasks"])
    assert not any(task["null_solved"] for task in KNOWN["tasks"])
    assert all(task["wrong_as_they_should"] == task["wrong_paths"] >= 1 for task in KNOWN["tasks"])
    assert KNOWN["took_s"] < 30 * 60


def test_the_readme_leads_to_the_page() -> None:
    assert "](docs/eval.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
