"""The safety page: each row with the figures of its last run, made from what the tests wrote down.

Run as `python -m tests.safety.page`: writes docs/safety.md from docs/safety-figures.json and docs/safety-mutation.json.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.safety.figures import LIMIT_S, RUN
from tests.safety.rows import RELIABILITY, ROWS, THREATS, Row

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs/safety-figures.json"
MUTATION = ROOT / "docs/safety-mutation.json"
PAGE = ROOT / "docs/safety.md"

HEAD = """\
# Safety: what is tried, and what came of it

Each row below is something that goes wrong, or that somebody makes go wrong, and a test module of
[tests/safety](../tests/safety) that tries it against the real code. `make safety` runs them all at full size and makes
this page from what they counted; nothing on it is written by hand. A small part of each runs in `make test`.
"""
FOOT = """\
*LLM* and *ASI* ids are those of the OWASP lists for LLM applications (2025) and agents (2026). What opsbot does not
protect against is in [security.md](security.md). Results against made-up attacks say nothing about how a real model
resists them: what holds has to hold whatever a model says.
"""


class Came(StrEnum):
    """What came of a row, as it is shown."""

    HOLDS = "✅ holds"
    SHORT = "⚠️ falls short"
    FAILED = "❌ failed"
    PARTLY = "◐ partly run"
    NEVER = "⬜ not run"


def came_of(run: Mapping[str, Any] | None) -> Came:
    """Say what came of a row in its last run."""
    if run is None:
        return Came.NEVER
    if run["failed"]:
        return Came.FAILED
    if run["tests_skipped"] or run["scale"] != "full":
        return Came.PARTLY
    return Came.SHORT if run["short"] else Came.HOLDS


MUTATION_HEAD = """\
## Mutation testing

Made by `make mutation`: mutmut puts one small mistake at a time (another comparison, a swapped constant, a missing
argument) into the code that no action gets around, and a test has to fail. A mutant whose tests never end is counted
apart; nobody would overlook it. Survivors that nobody can notice, or has to, are listed one by one with the reason in
[accepted.toml](../tests/mutation/accepted.toml); any other survivor fails the run. Not mutated: what is not in a
function (constants, fields with their defaults) and properties; row T32 takes out the guards of the gate's script.
"""


def page(known: Mapping[str, Any], mutation: Mapping[str, Any] | None = None) -> str:
    """Return the whole page; `mutation`: what came of the mutants, if they were tried."""
    threats, failures = _table(THREATS, known), _table(RELIABILITY, known)
    tables = ["## Threats", "", *threats, "", "## Reliability", "", *failures, ""]
    mutants = [MUTATION_HEAD, *_mutation(mutation), ""] if mutation else []
    return "\n".join([HEAD, *_summary(known), "", *tables, *mutants, FOOT])


def _mutation(run: Mapping[str, Any]) -> list[str]:
    head = [
        "| module | mutants | killed | timed out | accepted | noticed | noticed, accepted left out |",
        "|---|" + "--:|" * 6,
    ]
    rows = [_module(name, counts) for name, counts in run["modules"].items()]
    return [*head, *rows, "", f"Last run: {run['on']}, {run['cpu_seconds']:,} s of processor time."]


def _module(name: str, counts: Mapping[str, int]) -> str:
    mutants, noticed = counts["mutants"], counts["killed"] + counts["timed_out"]
    shares = f"{100 * noticed / mutants:.1f} % | {100 * noticed / (mutants - counts['accepted']):.1f} %"
    numbers = " | ".join(f"{counts[each]:,}" for each in ("mutants", "killed", "timed_out", "accepted"))
    return f"| [{name}](../{name}) | {numbers} | {shares} |"


# --- the last whole run ----------------------------------------------------------------------------------------------


def _summary(known: Mapping[str, Any]) -> list[str]:
    runs = [known[row.id] for row in ROWS if row.id in known]
    came = Counter(came_of(known.get(row.id)) for row in ROWS)
    counted = " · ".join(f"{each}: {came[each]}" for each in Came if came[each])
    lines = [("rows", f"{len(ROWS)}: {counted}"), ("tests", f"{sum(run['tests'] for run in runs):,}")]
    return ["| | |", "|---|---|", *(f"| **{name}** | {text} |" for name, text in [*lines, *_whole(known.get(RUN))])]


def _whole(run: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if run is None:
        return [("last whole run", f"none yet; it has to fit into {_minutes(LIMIT_S)}")]
    within = "within" if run["took_s"] <= run["limit_s"] else "**over**"
    took = f"{_minutes(run['took_s'])} {_bar(run['took_s'] / run['limit_s'])} {within} the {_minutes(run['limit_s'])}"
    where = f"{run['machine']}; up to {run['workers']} test modules at a time"
    return [("last whole run", f"{run['on']}, commit {run['commit']}"), ("took", took), ("machine", where)]


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def _bar(share: float, width: int = 20) -> str:
    full = min(width, round(share * width))
    return f"`{'█' * full}{'░' * (width - full)}`"


# --- the rows --------------------------------------------------------------------------------------------------------


def _table(rows: Sequence[Row], known: Mapping[str, Any]) -> list[str]:
    head = ["| row | what is tried | what has to hold | came of it | figures | last run |", "|---|---|---|---|---|---|"]
    return [*head, *(_line(row, known.get(row.id)) for row in rows)]


def _line(row: Row, run: Mapping[str, Any] | None) -> str:
    lists = f" <sub>{' '.join(row.lists)}</sub>" if row.lists else ""
    cells = (_links(row), f"{row.title}{lists}", row.target, _came(run), _figures(run), _last(run))
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _links(row: Row) -> str:
    """Link the row's modules: the first by the row's id, the others by their names."""
    modules = modules_of(row)
    links = [f"[{row.id}](../tests/safety/{module})" for module in modules[:1]] or [row.id]
    return "<br>".join([*links, *(f"[{_name(module)}](../tests/safety/{module})" for module in modules[1:])])


def modules_of(row: Row) -> list[str]:
    """Return the names of the row's test modules."""
    return sorted(path.name for path in (ROOT / "tests/safety").glob(f"test_{row.id.lower()}_*.py"))


def _name(module: str) -> str:
    return module.removesuffix(".py").split("_", 2)[2].replace("_", " ")


def _came(run: Mapping[str, Any] | None) -> str:
    came = came_of(run)
    if run is None:
        return came
    more = [f"{len(run['failed'])} of {run['tests']} tests: {', '.join(run['failed'])}"] if run["failed"] else []
    more += run["short"]
    more += [f"{run['tests_skipped']} skipped: {'; '.join(run['skipped'])}"] if run["tests_skipped"] else []
    more += ["at the small size"] if run["scale"] != "full" else []
    return "<br>".join([came, *more])


def _figures(run: Mapping[str, Any] | None) -> str:
    figures = run["figures"] if run else {}
    return "<br>".join(f"{name}: **{value}**" for name, value in figures.items())


def _last(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return ""
    return f"{run['on']} ({run['commit']}): {run['tests']} tests, {run['seconds']:,.0f} s"


def main() -> None:
    """Write the page."""
    PAGE.write_text(
        page(*(json.loads(each.read_text(encoding="utf-8")) for each in (FIGURES, MUTATION))), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
