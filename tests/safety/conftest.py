"""Figures of the safety rows: each test notes what it counted, and a full run writes them down for the safety page.

`SAFETY_SCALE=full` takes the sizes of the tables instead of small ones; `SAFETY_FIGURES=FILE` writes the figures.
"""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

FULL = os.environ.get("SAFETY_SCALE") == "full"
_ROW = re.compile(r"test_([tr]\d\d)_")


@dataclass
class RowRun:
    """What one row's tests did in this run. `figures` are for people: `{"requests refused": "10,000 of 10,000"}`."""

    tests: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    figures: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)


_RUNS: dict[str, RowRun] = {}


def row_of(nodeid: str) -> str | None:
    """Return the row a test belongs to, by the name of its module."""
    found = _ROW.search(nodeid.split("::")[0])
    return found.group(1).upper() if found else None


class Figures:
    """Takes down what a test counted."""

    def __init__(self, row: str) -> None:
        self._run = _RUNS.setdefault(row, RowRun())

    def note(self, **figures: object) -> None:
        """Note figures by name: `figures.note(requests_refused="10,000 of 10,000")`; underscores are blanks."""
        self._run.figures |= {name.replace("_", " "): _words(value) for name, value in figures.items()}

    def add(self, **counts: int) -> None:
        """Add to counts that several tests of the row share."""
        for name, count in counts.items():
            self._run.counts[name] = self._run.counts.get(name, 0) + count
        self.note(**self._run.counts)


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Figures:
    """Where a row's test notes what it counted."""
    row = row_of(request.node.nodeid)
    assert row, "a module of tests/safety is named for its row: test_t01_default_deny.py"
    return Figures(row)


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    row = row_of(item.nodeid)
    if row:
        run = _RUNS.setdefault(row, RowRun())
        run.seconds += report.duration
        run.failed += report.failed
        run.skipped += report.skipped
        run.tests += report.when == "call"
        run.modules.add(item.path.name)
    return report


def pytest_sessionfinish() -> None:
    """Merge this run's rows into the file: rows that did not run keep what is known of them."""
    path = os.environ.get("SAFETY_FIGURES")
    if not path or not _RUNS:
        return
    file = Path(path)
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may share the rows of a run
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        known |= {row: _record(run) for row, run in _RUNS.items()}
        file.write_text(json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _record(run: RowRun) -> dict[str, object]:
    return {
        "on": time.strftime("%Y-%m-%d", time.gmtime()),
        "scale": "full" if FULL else "small",
        "tests": run.tests,
        "failed": run.failed,
        "skipped": run.skipped,
        "seconds": round(run.seconds, 1),
        "figures": run.figures,
        "modules": sorted(run.modules),
    }
