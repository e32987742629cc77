"""The list of mutants that may survive is of the code as it is, with reasons; and the last run was good enough."""

import ast
import json
from pathlib import Path

import pytest

from tests.mutation.mutants import ACCEPTED, Change, accepted
from tests.mutation.run import HELD, LEAST, RESULTS, ROOT

LISTED = [(module, change, why) for module, changes in accepted().items() for change, why in changes.items()]


@pytest.mark.parametrize(("module", "change", "why"), LISTED, ids=lambda each: getattr(each, "function", None))
def test_what_may_survive_is_a_change_of_a_line_that_is_there_and_says_why(
    module: str, change: Change, why: str
) -> None:
    lines = {line.strip() for line in (ROOT / module).read_text(encoding="utf-8").splitlines()}
    assert set(change.was.splitlines()) <= lines
    assert change.was != change.becomes
    assert len(why.split()) > 4


def test_the_last_run_was_of_the_modules_that_are_named_and_noticed_enough() -> None:
    modules = json.loads(RESULTS.read_text(encoding="utf-8"))["modules"]
    assert set(HELD) <= set(modules)
    for name in HELD:
        noticed = modules[name]["killed"] + modules[name]["timed_out"]
        assert 100 * noticed / modules[name]["mutants"] >= LEAST, name


def test_every_function_named_in_the_list_exists() -> None:
    for module, change, _ in LISTED:
        names = {
            node.name
            for node in ast.walk(ast.parse(Path(ROOT / module).read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        assert set(change.function.split(".")) <= names, f"{ACCEPTED.name}: {change.function}"
