"""`opsbot eval` on real hosts: a task of each level is solved by its reference and by nothing else."""

import json
import subprocess
import sys
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


def test_a_model_behind_an_endpoint_is_evaluated(
    fleet: FleetInventory, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script, report = tmp_path / "script.json", tmp_path / "eval.json"
    script.write_text(json.dumps([{"calls": [["server_status", {"hosts": ["jobs-1"]}]]}, {"text": "I cannot say."}]))
    command = [sys.executable, "-m", "tests.model_servers", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            code = main(["eval", "--base-url", url, "--model", "m", "--task", TASKS[0], "--json", str(report)])
        finally:
            server.terminate()
    assert code == 1, capfd.readouterr().err
    (result,) = json.loads(report.read_text())["results"]
    assert (result["agent"], result["failed_parts"], result["tool_calls"]) == ("model", ["answer"], 1)
