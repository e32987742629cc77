"""Figures of the safety rows: each test notes what it counted, and a full run writes them down for the safety page.

`SAFETY_SCALE=full` takes the sizes of the tables instead of small ones; `SAFETY_FIGURES=FILE` writes the figures;
`SAFETY_LONGEST_S=30` leaves out what took longer the last time.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Rows on real hosts use the fleet's own fixtures.
from tests.fleet.conftest import as_root, fleet, fleet_hosts  # noqa: F401
from tests.safety.figures import FULL, Figures, Record, row_of
from tests.safety.page import FIGURES
from tests.zygote import Zygote


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a row's test notes what it counted."""
    assert row_of(request.node.nodeid), "a module of tests/safety is named for its row: test_t01_default_deny.py"
    return Figures(request.node.user_properties)


@pytest.fixture
def scale() -> "Scale":
    """Sizes: small ones in `make test`, those of the tables in `make safety`."""
    return Scale()


class Scale:
    """Chooses how often something is tried."""

    full = FULL

    def __call__(self, small: int, full: int) -> int:
        """Return the size of this run."""
        return full if FULL else small


def pytest_configure(config: pytest.Config) -> None:
    """Take figures down where all reports come together: in the one process, or in the one that has the workers."""
    path = os.environ.get("SAFETY_FIGURES")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Record(Path(path)), "safety-figures")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin a full run with the modules that took longest the last time, so that no worker is left alone at the end.

    With SAFETY_LONGEST_S modules that took longer than so many seconds, or never ran, are left out.
    """
    if not FULL:
        return
    took = Record.seconds_of_modules(Path(os.environ.get("SAFETY_FIGURES", FIGURES)))
    items.sort(key=lambda item: (-took.get(item.path.name, float("inf")), item.path.name))
    if longest_s := float(os.environ.get("SAFETY_LONGEST_S", 0)):
        left_out = [item for item in items if took.get(item.path.name, float("inf")) > longest_s]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    """Makes starts of the bot fast; ended with the test."""
    zygote = Zygote()
    yield zygote
    zygote.stop()
