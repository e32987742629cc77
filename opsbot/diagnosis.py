"""What `opsbot doctor` found: one finding per edge that was tried, what it means in all, and its exit code."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType


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


class Check(StrEnum):
    """What is looked at. Those that are made for each item of a list end with its name: `container web`."""

    # Stand for whatever was to be tried.
    ALL = "all checks"
    ANSWER = "answer"
    ITSELF = "check"

    FILE = "file"
    TOOLS = "tools"
    SECRETS = "secrets"
    STOP_FILE = "stop file"
    RUNBOOKS = "runbooks"

    SETTINGS = "settings"
    BOT_TOKEN = "bot token"  # noqa: S105 a name, no secret
    SCOPES = "scopes"
    CLOCK = "clock"
    APP_TOKEN = "app-level token"  # noqa: S105 a name, no secret
    SOCKET = "socket"
    SIGNING_SECRET = "signing secret"  # noqa: S105 a name, no secret
    PORT = "port"

    END_OF_LIFE = "end of life"
    ENDPOINT = "endpoint"
    KEY = "key"
    MODEL = "model"
    REQUEST = "request"
    LIMITS = "limits"
    STREAMING = "streaming"
    FUNCTION_CALLING = "function calling"
    PRICE = "price"
    LEARNED = "learned"
    EMBEDDINGS = "embeddings"

    PLACE = "place"
    DISK_SPACE = "disk space"
    OPENS = "opens"
    FILE_OWNER = "file owner"
    FILE_RIGHTS = "file rights"
    INTEGRITY = "integrity"
    TABLES = "tables"
    AUDIT_LOG = "audit log"
    HOLDS = "stops and freezes"
    WRITING = "writing"

    CONNECTION = "connection"
    JUMP_HOST = "jump host"
    HOST_KEY = "host key"
    KEY_FILE = "key file"
    LOG_IN = "log-in"
    READING = "reading account"
    SYSTEM = "system"
    SUDO = "sudo"
    CONTAINERS = "containers"
    CONTAINER = "container"
    UNITS = "units"
    JOURNAL = "journal"
    HEALTH_CHECKS = "health checks"
    HEALTH = "health of"
    CERTIFICATES = "certificates"
    CERTIFICATE = "certificate"


# Made about anything, in every area.
EVERYWHERE = (Check.ALL, Check.ANSWER, Check.ITSELF)
# What is made in each area besides, in the order of docs/doctor.md.
CHECKS: Mapping[Area, tuple[Check, ...]] = MappingProxyType(
    {
        Area.CONFIGURATION: (Check.FILE, Check.TOOLS, Check.SECRETS, Check.STOP_FILE, Check.RUNBOOKS),
        Area.SLACK: (
            Check.SETTINGS,
            Check.BOT_TOKEN,
            Check.SCOPES,
            Check.CLOCK,
            Check.APP_TOKEN,
            Check.SOCKET,
            Check.SIGNING_SECRET,
            Check.PORT,
        ),
        Area.MODEL: (
            Check.END_OF_LIFE,
            Check.ENDPOINT,
            Check.KEY,
            Check.MODEL,
            Check.REQUEST,
            Check.LIMITS,
            Check.STREAMING,
            Check.FUNCTION_CALLING,
            Check.PRICE,
            Check.LEARNED,
            Check.EMBEDDINGS,
        ),
        Area.STORE: (
            Check.PLACE,
            Check.DISK_SPACE,
            Check.OPENS,
            Check.FILE_OWNER,
            Check.FILE_RIGHTS,
            Check.INTEGRITY,
            Check.CLOCK,
            Check.TABLES,
            Check.AUDIT_LOG,
            Check.HOLDS,
            Check.WRITING,
        ),
        Area.HOSTS: (
            Check.KEY_FILE,
            Check.CONNECTION,
            Check.JUMP_HOST,
            Check.HOST_KEY,
            Check.LOG_IN,
            Check.READING,
            Check.CLOCK,
            Check.SYSTEM,
            Check.SUDO,
            Check.CONTAINERS,
            Check.CONTAINER,
            Check.UNITS,
            Check.JOURNAL,
            Check.HEALTH_CHECKS,
            Check.HEALTH,
            Check.CERTIFICATES,
            Check.CERTIFICATE,
        ),
    }
)


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
    """What is checked; makes its findings. `item`: which of a list of things the check is about."""

    area: Area
    name: str
    item: str = ""

    def of(self, item: str) -> "Subject":
        """Return the same subject, for checks of one thing it has a list of."""
        return replace(self, item=item)

    def ok(self, check: Check, said: str, *, took_s: float = 0.0) -> Finding:
        """It works."""
        return self._finding(check, Status.OK, said, "", took_s)

    def warn(self, check: Check, said: str, remedy: str, *, took_s: float = 0.0) -> Finding:
        """It works, but somebody should look at it."""
        return self._finding(check, Status.WARN, said, remedy, took_s)

    def fail(self, check: Check, said: str, remedy: str, *, took_s: float = 0.0) -> Finding:
        """It does not work."""
        return self._finding(check, Status.FAIL, said, remedy, took_s)

    def skipped(self, check: Check, said: str, remedy: str = "") -> Finding:
        """It was not tried."""
        return self._finding(check, Status.SKIPPED, said, remedy, 0.0)

    def _finding(self, check: Check, status: Status, said: str, remedy: str, took_s: float) -> Finding:
        what = f"{check} {self.item}" if self.item else str(check)
        return Finding(self.area, self.name, what, status, said, remedy, round(took_s * 1000))


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
    """Say in one line how it went: `41 checks: 38 ok, 1 warning, 2 failures. 5 of 7 hosts are well.`"""
    number = counts(findings)
    words = [f"{number[Status.OK]} ok"]
    words += [_plural(number[Status.WARN], "warning")] if number[Status.WARN] else []
    words += [_plural(number[Status.FAIL], "failure")] if number[Status.FAIL] else []
    words += [f"{number[Status.SKIPPED]} skipped"] if number[Status.SKIPPED] else []
    return f"{_plural(len(findings), 'check')}: {', '.join(words)}.{_hosts_well(findings)}"


def _hosts_well(findings: Sequence[Finding]) -> str:
    found = [finding for finding in findings if finding.area is Area.HOSTS]
    hosts = {finding.subject for finding in found}
    sick = {finding.subject for finding in found if finding.status is not Status.OK}
    return f" {len(hosts - sick)} of {len(hosts)} hosts are well." if len(hosts) > 1 else ""


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
