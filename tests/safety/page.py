"""The safety page: each row with the figures of its last run, made from what the tests wrote down.

Run as `python -m tests.safety.page`: writes docs/safety.md from docs/safety-figures.json.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.safety.rows import RELIABILITY, THREATS, Row

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs/safety-figures.json"
PAGE = ROOT / "docs/safety.md"

HEAD = """\
# Safety: what is tried, and what came of it

Made by `make safety` from the figures its tests wrote down; nothing on this page is written by hand. Each row is a
test module of [tests/safety](../tests/safety); a small part of each runs in `make test`. *LLM* and *ASI* ids are those
of the OWASP lists for LLM applications (2025) and agents (2026). What opsbot does not protect against is in
[security.md](security.md). Results against made-up attacks say nothing about how a real model resists them: what holds
has to hold whatever a model says.
"""


def page(known: Mapping[str, Any]) -> str:
    """Return the whole page."""
    return "\n".join(
        [HEAD, "## Threats", "", *_table(THREATS, known), "", "## Reliability", "", *_table(RELIABILITY, known), ""]
    )


def _table(rows: tuple[Row, ...], known: Mapping[str, Any]) -> list[str]:
    head = ["| row | tried | has to hold | last figures | run |", "|---|---|---|---|---|"]
    return [*head, *(_line(row, known.get(row.id)) for row in rows)]


def _line(row: Row, run: Mapping[str, Any] | None) -> str:
    modules = run["modules"] if run else ()
    links = " ".join(f"[{row.id}](../tests/safety/{module})" for module in modules) or row.id
    lists = f" ({', '.join(row.lists)})" if row.lists else ""
    return f"| {links} | {row.title}{lists} | {row.target} | {_figures(run)} | {_run(run)} |"


def _figures(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return "**never run**"
    return "; ".join(f"{name}: {value}" for name, value in run["figures"].items()) or "see its tests"


def _run(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return ""
    passed = run["tests"] - run["failed"]
    words = f"{passed} of {run['tests']} tests held"
    if run["skipped"]:
        words += f", {run['skipped']} skipped"
    return f"{words}; {run['scale']} size, {run['seconds']:g} s, {run['on']}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(json.loads(FIGURES.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
