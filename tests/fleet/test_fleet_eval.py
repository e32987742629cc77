"""`opsbot eval` on real hosts: a task of each level is solved by its reference and by nothing else."""

import json
from pathlib import Path

import pytest

from opsbot.__main__ import main
from tests.fleet.conftest import FleetInventory

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(900)]

TASKS = ("disk-how-full", "port-is-taken", "start-what-crashed", "order-in-the-log")


def test_references_solve_and_nothing_else_does(
    fleet: FleetInventory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [word for name in TASKS for word in ("--task", name)]
    agents = [word for agent in ("reference", "null", "wrong") for word in ("--agent", agent)]
    report, page = tmp_path / "eval.json", tmp_path / "eval.html"
    # It starts a fleet of its own in the place of this session's, so it is the last test: see conftest.
    code = main(["eval", *words, *agents, "--json", str(report), "--html", str(page)])
    assert code == 0, capfd.readouterr().err
    results = json.loads(report.read_text())["results"]
    assert {result["task"] for result in results if result["solved"]} == set(TASKS)
    assert {result["agent"] for result in results if result["solved"]} == {"reference"}
    acted = next(r for r in results if r["task"] == "start-what-crashed" and r["agent"] == "reference")
    assert [proposal["state"] for proposal in acted["proposals"]] == ["done"]
    assert any(line["kind"] == "card" and "U0OWNER approved" in line["text"] for line in acted["transcript"])
    assert "order-in-the-log" in page.read_text()
