"""The safety page is what its tests wrote down, and each row has its test module."""

import json
import re

import pytest

from tests.safety.figures import RUN
from tests.safety.page import FIGURES, MUTATION, PAGE, ROOT, modules_of, page
from tests.safety.rows import ROWS, Row

MODULES = sorted(path.name for path in (ROOT / "tests/safety").glob("test_*.py"))
# The tables of threats and of failures that the product has to answer for.
WANTED = {*(f"T{n:02}" for n in range(1, 35)), *(f"R{n:02}" for n in (*range(1, 19), 20, 22))}


def test_the_page_is_made_from_the_figures() -> None:
    known, mutation = (json.loads(each.read_text(encoding="utf-8")) for each in (FIGURES, MUTATION))
    assert PAGE.read_text(encoding="utf-8") == page(known, mutation)


def test_every_threat_and_failure_is_a_row() -> None:
    assert {row.id for row in ROWS} == WANTED
    assert len(ROWS) == len(WANTED)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_row_has_a_module(row: Row) -> None:
    assert modules_of(row)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_names_a_row(module: str) -> None:
    found = re.fullmatch(r"test_([tr]\d\d)_[a-z0-9_]+\.py", module)
    assert found
    assert found.group(1).upper() in {row.id for row in ROWS}


def test_figures_are_of_rows_that_exist() -> None:
    assert set(json.loads(FIGURES.read_text(encoding="utf-8"))) <= {RUN, *(row.id for row in ROWS)}


def test_the_readme_leads_to_the_page() -> None:
    assert "](docs/safety.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
