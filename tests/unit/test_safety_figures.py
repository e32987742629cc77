"""What is written down of a run of the safety rows: merged from all workers, and never better than it was."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.safety import figures
from tests.safety.figures import Figures, Record
from tests.safety.page import Came, came_of, page
from tests.safety.rows import ROWS, Row

RUN = {
    "name": "",
    "on": "2026-11-28",
    "commit": "abc1234",
    "took_s": 1980,
    "limit_s": 2400,
    "workers": 2,
    "machine": "2 processors",
}


def report(nodeid: str, when: str = "call", outcome: str = "passed", noted: list | None = None) -> pytest.TestReport:
    longrepr = ("x.py", 1, "Skipped: no fleet here") if outcome == "skipped" else None
    properties = noted or []
    return pytest.TestReport(nodeid, ("x.py", 1, "x"), {}, outcome, longrepr, when, (), 1.0, user_properties=properties)


def ran(record: Record, nodeid: str, outcome: str = "passed", **noted: object) -> None:
    """Let a test run, as its reports tell."""
    properties: list[tuple[str, object]] = []
    Figures(properties).note(**noted)
    record.pytest_runtest_logreport(report(nodeid, "setup"))
    record.pytest_runtest_logreport(report(nodeid, "call", outcome))
    record.pytest_runtest_logreport(report(nodeid, "teardown", noted=properties))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FULL", True)


def written(record: Record, path: Path) -> dict:
    record.write(RUN)
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_row_is_the_sum_of_its_modules_whichever_worker_ran_them(tmp_path: Path, full: None) -> None:
    record = Record(path := tmp_path / "figures.json")
    ran(record, "tests/safety/test_r02_kills_on_sqlite.py::test_a", kills=200)
    ran(record, "tests/safety/test_r02_two_replicas.py::test_b", effects="3 of 3")
    row = written(record, path)["R02"]
    assert (row["tests"], row["seconds"], row["figures"]) == (2, 6.0, {"effects": "3 of 3", "kills": "200"})
    assert row["modules"] == {"test_r02_kills_on_sqlite.py": 3.0, "test_r02_two_replicas.py": 3.0}
    assert came_of(row) is Came.HOLDS


def test_counts_of_several_tests_add_up(tmp_path: Path) -> None:
    record = Record(path := tmp_path / "figures.json")
    for name in "ab":
        properties: list[tuple[str, object]] = []
        Figures(properties).add(streams_cut=1500)
        record.pytest_runtest_logreport(report(f"tests/safety/test_r05_x.py::{name}", "teardown", noted=properties))
    assert written(record, path)["R05"]["figures"] == {"streams cut": "3,000"}


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_a_row_with_a_test_that_failed_anywhere_failed(tmp_path: Path, full: None, when: str) -> None:
    record = Record(path := tmp_path / "figures.json")
    ran(record, "tests/safety/test_t01_default_deny.py::test_a", requests="10 of 10")
    record.pytest_runtest_logreport(report("tests/safety/test_t01_default_deny.py::test_b", when, "failed"))
    known = written(record, path)
    assert came_of(known["T01"]) is Came.FAILED
    assert "❌ failed<br>1 of" in page(known)
    assert "test_b" in page(known)


def test_a_module_that_cannot_be_read_is_a_row_that_failed(tmp_path: Path) -> None:
    record = Record(path := tmp_path / "figures.json")
    record.pytest_collectreport(pytest.CollectReport("tests/safety/test_t01_default_deny.py", "failed", None, []))
    assert came_of(written(record, path)["T01"]) is Came.FAILED


def test_a_row_of_which_something_was_skipped_does_not_hold(tmp_path: Path, full: None) -> None:
    record = Record(path := tmp_path / "figures.json")
    ran(record, "tests/safety/test_t32_read_key.py::test_a")
    record.pytest_runtest_logreport(report("tests/safety/test_t32_read_key.py::test_b", "setup", "skipped"))
    known = written(record, path)
    assert came_of(known["T32"]) is Came.PARTLY
    assert "no fleet here" in page(known)


def test_a_small_run_does_not_hold() -> None:
    assert came_of({"failed": [], "tests_skipped": 0, "short": [], "scale": "small"}) is Came.PARTLY


def test_what_falls_short_says_by_how_much(tmp_path: Path, full: None) -> None:
    record = Record(path := tmp_path / "figures.json")
    properties: list[tuple[str, object]] = []
    Figures(properties).falls_short("p99 612 ms, not 500")
    record.pytest_runtest_logreport(report("tests/safety/test_r01_x.py::a", "teardown", noted=properties))
    known = written(record, path)
    assert came_of(known["R01"]) is Came.SHORT
    assert "⚠️ falls short<br>p99 612 ms, not 500" in page(known)


def test_rows_that_did_not_run_keep_what_is_known_and_say_so_if_nothing_is(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    for module in ("test_t01_a.py", "test_t02_b.py"):
        record = Record(path)
        ran(record, f"tests/safety/{module}::test")
        record.write(RUN)
    known = json.loads(path.read_text(encoding="utf-8"))
    assert set(known) == {"T01", "T02"}
    assert page(known).count("⬜ not run |") == len(ROWS) - 2


def test_only_a_run_of_all_rows_at_full_size_is_a_whole_one(tmp_path: Path, full: None) -> None:
    record = Record(path := tmp_path / "figures.json")
    for row in ROWS[:-1]:
        ran(record, f"tests/safety/test_{row.id.lower()}_x.py::test")
    assert "run" not in written(record, path)
    ran(record, f"tests/safety/test_{ROWS[-1].id.lower()}_x.py::test")
    known = written(record, path)
    assert known["run"]["took_s"] == 1980
    assert "33 min `████████████████░░░░` within the 40 min" in page(known)
    known["run"]["took_s"] = 2500
    assert "**over** the 40 min" in page(known)


def test_the_parts_of_one_run_are_a_whole_one_together_and_those_of_two_runs_are_not(
    tmp_path: Path, full: None
) -> None:
    path = tmp_path / "figures.json"

    def part(name: str, rows: Sequence[Row]) -> dict:
        record = Record(path)
        for row in rows:
            ran(record, f"tests/safety/test_{row.id.lower()}_x.py::test")
        record.write(RUN | {"name": name})
        return json.loads(path.read_text(encoding="utf-8"))

    assert "run" not in part("first", ROWS[:9])
    assert "run" not in part("second", ROWS[9:])
    known = part("second", ROWS[:9])
    assert known["run"]["took_s"] == 2 * 1980
    assert "parts" not in known
    assert Record.seconds_of_modules(path).keys() == {f"test_{row.id.lower()}_x.py" for row in ROWS}
    assert page(known)
    assert part("third", ROWS[:9])["run"] == known["run"]


def test_parts_without_a_name_do_not_belong_together(tmp_path: Path, full: None) -> None:
    for rows in (ROWS[:9], ROWS[9:]):
        record = Record(path := tmp_path / "figures.json")
        for row in rows:
            ran(record, f"tests/safety/test_{row.id.lower()}_x.py::test")
        record.write(RUN)
    assert "run" not in json.loads(path.read_text(encoding="utf-8"))


def test_all_modules_of_a_row_are_timed_or_none_is() -> None:
    """Figures of a row are those of the last part that it was in."""
    modules = Path(figures.__file__).parent.glob("test_*.py")
    ways_of: dict[str, set[bool]] = {}
    for module in modules:
        row = figures.row_of(module.name)
        assert row
        ways_of.setdefault(row, set()).add("pytest.mark.timed" in module.read_text(encoding="utf-8"))
    assert [row for row, ways in ways_of.items() if len(ways) > 1] == []
    assert {True} in ways_of.values()


def test_a_run_that_was_broken_off_writes_nothing(tmp_path: Path) -> None:
    record = Record(path := tmp_path / "figures.json")
    ran(record, "tests/safety/test_t01_a.py::test")
    record.pytest_sessionfinish(None, pytest.ExitCode.INTERRUPTED)  # type: ignore[arg-type]
    assert not path.exists()


def test_modules_that_took_long_are_known_for_the_next_run(tmp_path: Path) -> None:
    record = Record(path := tmp_path / "figures.json")
    ran(record, "tests/safety/test_t01_a.py::test")
    record.write(RUN)
    assert Record.seconds_of_modules(path) == {"test_t01_a.py": 3.0}
    assert Record.seconds_of_modules(tmp_path / "none") == {}
