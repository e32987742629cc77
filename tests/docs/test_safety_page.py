"""The safety page is what its tests wrote down, and each row has its test module."""

import json
import re

import pytest

from tests.safety.page import FIGURES, PAGE, ROOT, page
from tests.safety.rows import ROWS

MODULES = sorted(path.name for path in (ROOT / "tests/safety").glob("test_*.py"))


def test_the_page_is_made_from_the_figures() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(FIGURES.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_names_a_row(module: str) -> None:
    found = re.fullmatch(r"test_([tr]\d\d)_[a-z0-9_]+\.py", module)
    assert found
    assert found.group(1).upper() in {row.id for row in ROWS}


def test_figures_are_of_rows_that_exist() -> None:
    assert set(json.loads(FIGURES.read_text(encoding="utf-8"))) <= {row.id for row in ROWS}
