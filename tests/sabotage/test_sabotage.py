"""Every defence that is taken out makes a test fail; a patch that fits no more is a failure as well."""

from pathlib import Path

import pytest

from tests.sabotage.actions import ACTIONS
from tests.sabotage.copy import Sabotage, apply, make_copy, tried, undo
from tests.sabotage.decisions import DECISIONS
from tests.sabotage.doors import DOORS
from tests.sabotage.memory import MEMORY
from tests.sabotage.pairs import PAIRS
from tests.sabotage.patches import PATCHES as FIRST
from tests.sabotage.people import PEOPLE
from tests.sabotage.reports import REPORTS
from tests.sabotage.shown import SHOWN
from tests.sabotage.texts import TEXTS
from tests.sabotage.wires import WIRES

PATCHES = (*FIRST, *PEOPLE, *DECISIONS, *ACTIONS, *DOORS, *TEXTS, *SHOWN, *WIRES, *MEMORY, *REPORTS, *PAIRS)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_copy(tmp_path_factory.mktemp("copy"))


@pytest.mark.parametrize("sabotage", PATCHES, ids=lambda each: each.name)
def test_the_patch_fits(sabotage: Sabotage, copy: Path) -> None:
    apply(sabotage, copy)
    undo(sabotage, copy)


def test_names_are_unique() -> None:
    assert len({each.name for each in PATCHES}) == len(PATCHES)


@pytest.mark.sabotage
@pytest.mark.timeout(400)
@pytest.mark.parametrize("sabotage", PATCHES, ids=lambda each: each.name)
def test_somebody_notices(sabotage: Sabotage, copy: Path) -> None:
    ending = tried(sabotage, copy)
    assert ending.caught, f"nothing noticed {sabotage.name!r}:\n{ending.said}"
