"""What `opsbot doctor` prints: a table with words and colours, and below it what to do, in lines that can be copied."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opsbot.diagnosis import Area, Finding, Status, in_order, summary

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red", Status.SKIPPED: "dim"}
_SUMMARY_STYLES = (Status.FAIL, Status.WARN, Status.OK)
# Well below it nobody asks how long an edge took.
_SLOW_MS = 1000
# A pipe has no width; this keeps most lines whole.
_PIPE_WIDTH = 160


def console_for_findings() -> Console:
    """Return the console for stdout: no colours where nobody sees them or NO_COLOR is set."""
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, emoji=False, markup=False, width=_PIPE_WIDTH)
    return console


def show(console: Console, findings: Sequence[Finding], *, complete: bool) -> None:
    """Print the findings, the remedies, and how it went in all."""
    ordered = in_order(findings)
    todo = [finding for finding in ordered if finding.remedy]
    numbers = {id(finding): number for number, finding in enumerate(todo, 1)}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("Area", "Subject", "Check", "Status", "Found"):
        table.add_column(header, overflow="fold", no_wrap=header == "Status")
    for row in _rows(ordered):
        mark = f" [{numbers[id(row)]}]" if id(row) in numbers else ""
        status = Text(f"{row.status}{mark}", _STYLES[row.status])
        table.add_row(Text(row.area), Text(row.subject), Text(row.check), status, Text(_found(row)))
    console.print(table)
    if todo:
        console.print(Text("\nWhat to do", "bold"))
    for number, finding in enumerate(todo, 1):
        # Not wrapped by us: lines for sudoers and commands are copied from here.
        line = Text(f"[{number}] {finding.subject}, {finding.check}: {finding.remedy}")
        console.print(line, soft_wrap=True)
    console.print(Text(f"\n{'' if complete else 'Interrupted. '}{summary(ordered)}", _overall(ordered)))


def _found(row: Finding) -> str:
    """What was found, and how long it took where that is worth a thought."""
    slow = row.status is not Status.FAIL and row.duration_ms >= _SLOW_MS
    return f"{row.said} ({row.duration_ms / 1000:.1f} s)" if slow else row.said


def _rows(ordered: Sequence[Finding]) -> Iterator[Finding]:
    """Put what is well with a host into one row, where there are several hosts."""
    hosts = {finding.subject for finding in ordered if finding.area is Area.HOSTS}
    for (area, subject), group in groupby(ordered, key=lambda finding: (finding.area, finding.subject)):
        found = list(group)
        well = [finding for finding in found if finding.status is Status.OK]
        if area is not Area.HOSTS or len(hosts) == 1 or len(well) < 2:
            yield from found
            continue
        bad = [finding for finding in found if finding.status is not Status.OK]
        yield from bad
        check = f"{len(well)} others" if bad else f"all {len(well)} checks"
        slowest_ms = max(finding.duration_ms for finding in well)
        yield Finding(area, subject, check, Status.OK, _described(well), duration_ms=slowest_ms)


def _described(well: Iterable[Finding]) -> str:
    said = {finding.check: finding.said for finding in well}
    return ", ".join(said[check] for check in ("connection", "system") if check in said) or ", ".join(said)


def _overall(findings: Iterable[Finding]) -> str:
    statuses = {finding.status for finding in findings}
    return next((_STYLES[status] for status in _SUMMARY_STYLES if status in statuses), "")
