"""What a run of the safety rows counted: noted by tests, carried by their reports, merged by one process."""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.safety.rows import ROWS

FULL = os.environ.get("SAFETY_SCALE") == "full"
# A whole run has to fit into this, on two processors.
LIMIT_S = 40 * 60
RUN = "run"
# What a run of several parts has done so far; parts with the same name belong together.
_PARTS = "parts"
_NAME = os.environ.get("SAFETY_RUN", "")
_ROW = re.compile(r"test_([tr]\d\d)_")
_FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def row_of(nodeid: str) -> str | None:
    """Return the row a test belongs to, by the name of its module."""
    found = _ROW.search(nodeid.split("::")[0])
    return found.group(1).upper() if found else None


class Figures:
    """Takes down what a test counted. It goes with the test's report, also from one process to another."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def note(self, **figures: object) -> None:
        """Note figures by name: `figures.note(requests_refused="10,000 of 10,000")`; underscores are blanks."""
        self._properties += [("figure", (name.replace("_", " "), _words(value))) for name, value in figures.items()]

    def add(self, **counts: int) -> None:
        """Add to counts that several tests of the row share."""
        self._properties += [("count", (name.replace("_", " "), count)) for name, count in counts.items()]

    def falls_short(self, text: str) -> None:
        """Say openly by how much the row's target is missed, and why."""
        self._properties.append(("short", text))


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


@dataclass
class RowRun:
    """What one row's tests did in this run. `figures` are for people: `{"requests refused": "10,000 of 10,000"}`."""

    tests: int = 0
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    figures: dict[str, str | int] = field(default_factory=dict)
    modules: dict[str, float] = field(default_factory=dict)

    def take(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        module, _, test = report.nodeid.rpartition("/")[2].partition("::")
        self.seconds += report.duration
        self.modules[module] = self.modules.get(module, 0.0) + report.duration
        self.tests += report.when == "setup"
        if report.failed and test not in self.failed:
            self.failed.append(test)
        if report.skipped:
            self.skipped.append(_reason(report))
        if report.when == "teardown":
            for kind, noted in report.user_properties:
                self._note(kind, noted)

    def _note(self, kind: str, noted: Any) -> None:
        if kind == "short":
            self.short.append(noted)
        elif kind == "figure":
            self.figures[noted[0]] = noted[1]
        elif kind == "count":
            before = self.figures.get(noted[0], 0)
            self.figures[noted[0]] = (before if isinstance(before, int) else 0) + noted[1]

    def record(self, run: Mapping[str, object]) -> dict[str, object]:
        """Return what is written down of it."""
        return {
            "on": run["on"],
            "commit": run["commit"],
            "scale": "full" if FULL else "small",
            "tests": self.tests,
            "failed": sorted(self.failed),
            "skipped": sorted(set(self.skipped)),
            "tests_skipped": len(self.skipped),
            "short": self.short,
            "seconds": round(self.seconds, 1),
            "figures": {name: _words(value) for name, value in self.figures.items()},
            "modules": {name: round(seconds, 1) for name, seconds in sorted(self.modules.items())},
        }


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "skipped"


class Record:
    """The plugin that merges a run into the file: rows that did not run keep what is known of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, RowRun] = {}
        self._began_s = time.monotonic()
        self._began_at = time.gmtime()

    @staticmethod
    def seconds_of_modules(path: Path) -> dict[str, float]:
        """Return how long each module took the last time."""
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return {name: s for row, run in known.items() if row not in (RUN, _PARTS) for name, s in run["modules"].items()}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a report, wherever the test ran."""
        row = row_of(report.nodeid)
        if row:
            self._rows.setdefault(row, RowRun()).take(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that cannot even be read is a row that failed."""
        row = row_of(report.nodeid)
        if row and report.failed:
            self._rows.setdefault(row, RowRun()).failed.append(f"{report.nodeid.rpartition('/')[2]} cannot be read")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write. What was broken off is no result."""
        if self._rows and exitstatus in _FINISHED:
            self.write(self._run(session.config.option))

    def write(self, run: Mapping[str, object]) -> None:
        """Merge what is known of this run's rows into the file."""
        known = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
        known |= {row: rows.record(run) for row, rows in self._rows.items()}
        if FULL:
            self._join(known, run)
        text = json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n"
        whole = self._path.with_suffix(".new")
        whole.write_text(text, encoding="utf-8")
        whole.replace(self._path)

    def _join(self, known: dict[str, Any], run: Mapping[str, object]) -> None:
        """Put the parts of one run together. It is a whole one as soon as every row was in it."""
        part: dict[str, Any] = {**run, "rows": sorted(self._rows)}
        before = known.pop(_PARTS, None)
        if before and before["name"] == run["name"] != "":
            part["took_s"] += before["took_s"]
            part["workers"] = max(part["workers"], before["workers"])
            part["rows"] = sorted({*part["rows"], *before["rows"]})
        whole = set(part["rows"]) >= {row.id for row in ROWS}
        known[RUN if whole else _PARTS] = part

    def _run(self, options: object) -> dict[str, object]:
        return {
            "name": _NAME,
            "on": time.strftime("%Y-%m-%d", self._began_at),
            "commit": _commit(),
            "took_s": round(time.monotonic() - self._began_s),
            "limit_s": LIMIT_S,
            "workers": getattr(options, "numprocesses", None) or 1,
            "machine": f"{os.cpu_count()} processors, {platform.system()}, Python {platform.python_version()}",
        }


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"
