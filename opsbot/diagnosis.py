"""What `opsbot doctor` found: one finding per edge that was tried, what it means in all, and its exit code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Area(StrEnum):
    """What the bot depends on, in the order a person would look."""

    CONFIGURATION = "configuration"
    SLACK = "slack"
    MODEL = "model"
    STORE = "store"
    HOSTS = "hosts"


class Status(StrEnum):
    """How a check went; `skipped`: it was not tried, for the reason given."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one subject. `remedy` is "" only where nothing is to be done."""

    area: Area
    subject: str
    check: str
    status: Status
    said: str
    remedy: str = ""
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked; makes its findings."""

    area: Area
    name: str

    def ok(self, check: str, said: str, *, took_s: float = 0.0) -> Finding:
        """It works."""
        return Finding(self.area, self.name, check, Status.OK, said, duration_ms=round(took_s * 1000))

    def warn(self, check: str, said: str, remedy: str, *, took_s: float = 0.0) -> Finding:
        """It works, but somebody should look at it."""
        return Finding(self.area, self.name, check, Status.WARN, said, remedy, round(took_s * 1000))

    def fail(self, check: str, said: str, remedy: str, *, took_s: float = 0.0) -> Finding:
        """It does not work."""
        return Finding(self.area, self.name, check, Status.FAIL, said, remedy, round(took_s * 1000))

    def skipped(self, check: str, said: str, remedy: str = "") -> Finding:
        """It was not tried."""
        return Finding(self.area, self.name, check, Status.SKIPPED, said, remedy)


_WORST_FIRST = (Status.FAIL, Status.WARN, Status.SKIPPED, Status.OK)
_AREAS = tuple(Area)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by area; within it the subjects with the worst finding first, and their findings as they were made."""
    found = list(findings)
    worst: dict[tuple[Area, str], int] = {}
    for finding in found:
        key = (finding.area, finding.subject)
        rank = _WORST_FIRST.index(finding.status)
        worst[key] = min(rank, worst.get(key, rank))

    def place(finding: Finding) -> tuple[int, int, str]:
        return _AREAS.index(finding.area), worst[finding.area, finding.subject], finding.subject

    return tuple(sorted(found, key=place))


def counts(findings: Iterable[Finding]) -> dict[Status, int]:
    """Return how many findings have each status, zeros included."""
    found = [finding.status for finding in findings]
    return {status: found.count(status) for status in Status}


def summary(findings: Sequence[Finding]) -> str:
    """Say in one line how it went: `41 checks: 38 ok, 1 warning, 2 failures.`"""
    number = counts(findings)
    words = [f"{number[Status.OK]} ok"]
    words += [_plural(number[Status.WARN], "warning")] if number[Status.WARN] else []
    words += [_plural(number[Status.FAIL], "failure")] if number[Status.FAIL] else []
    words += [f"{number[Status.SKIPPED]} skipped"] if number[Status.SKIPPED] else []
    return f"{_plural(len(findings), 'check')}: {', '.join(words)}."


def exit_code(findings: Iterable[Finding]) -> int:
    """2: the configuration is wrong; 1: something else failed; 0: all is well, or there are warnings only."""
    failed = [finding.area for finding in findings if finding.status is Status.FAIL]
    return 2 if Area.CONFIGURATION in failed else 1 if failed else 0


def as_json(findings: Sequence[Finding], *, complete: bool) -> dict[str, object]:
    """Return what `--json` prints. `complete` is false if it was interrupted."""
    return {
        "version": 1,
        "complete": complete,
        "exit_code": exit_code(findings) if complete else 130,
        "counts": {str(status): number for status, number in counts(findings).items()},
        "findings": [
            {
                "area": str(finding.area),
                "subject": finding.subject,
                "check": finding.check,
                "status": str(finding.status),
                "said": finding.said,
                "remedy": finding.remedy or None,
                "duration_ms": finding.duration_ms,
            }
            for finding in findings
        ],
    }


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
