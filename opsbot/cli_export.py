"""`opsbot audit export`: the audit log, or a part of it, as JSON lines, CSV, or a timeline in Markdown."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TextIO

from opsbot.adapters.store import has_audit, read_lines, read_messages
from opsbot.audit import Line, fits, record_of
from opsbot.audit_export import HEADERS, csv_cells, csv_rows, json_line, unreadable
from opsbot.cli_audit import audit_key, counted
from opsbot.cli_config import config_of
from opsbot.domain import AssistantMessage, AuditRecord, UserMessage
from opsbot.errors import ConfigError, StoreError
from opsbot.minutes import digest_of
from opsbot.redact import Redactor
from opsbot.timeline import timeline

_AGO = re.compile(r"([1-9][0-9]{0,4})([mhd])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
# A timeline is for people, and put together in memory.
_TIMELINE_RECORDS = 5000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records are exported; "" and None: any."""

    conversation_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def __call__(self, record: AuditRecord) -> bool:
        entry = record.entry
        return (
            (not self.conversation_id or entry.conversation_id == self.conversation_id)
            and (self.since is None or entry.at >= self.since)
            and (self.until is None or entry.at < self.until)
        )


@dataclass(slots=True)
class _Checked:
    """Passes records on and counts those that do not fit the key."""

    key: bytes
    count: int = 0
    bad: list[int] = field(default_factory=list)

    def of(self, lines: Iterable[Line], wanted: Wanted) -> Iterator[tuple[Line, AuditRecord]]:
        for line in lines:
            try:
                record = record_of(line)
                if not wanted(record):
                    continue
            except (ValueError, TypeError, RecursionError):
                record = unreadable(line)  # whose and when is not known, so it is always shown
            self.count += 1
            self.bad += [] if fits(line, self.key) else [line.seq]
            yield line, record


@dataclass(frozen=True, slots=True)
class Telling:
    """Makes a timeline, with the words that were said: they are in the database, not in the log."""

    url: str
    redactor: Redactor
    title: str

    def timeline(self, records: list[AuditRecord], bad: list[int]) -> str:
        """Return the timeline, "" of no records. Raises ConfigError for too many."""
        if len(records) > _TIMELINE_RECORDS:
            raise ConfigError(
                f"{len(records):,} records are too many for a timeline ({_TIMELINE_RECORDS:,} at most): name a request "
                "or a conversation, or a shorter time with --since and --until."
            )
        if not records:
            return ""
        remark = (
            f"these do not fit the audit key: {', '.join(map(str, bad[:10]))}" if bad else "each fits the audit key"
        )
        return timeline(records, self._words(records), title=self.title, remark=remark)

    def _words(self, records: list[AuditRecord]) -> dict[str, str]:
        """Return what was said in these conversations, by its hash: words that were changed since fit no record."""
        places = dict.fromkeys(record.entry.conversation_id for record in records)
        said = [m.text for m in read_messages(self.url, places) if isinstance(m, UserMessage | AssistantMessage)]
        return {str(digest_of(text)["sha256"]): self.redactor.text(text) for text in said if text}


def export(options: argparse.Namespace) -> int:
    """Write the records; 0 if every one fits the key, else 1 with their numbers on stderr."""
    config = config_of(options)
    secrets = config.secrets(os.environ, slack=False)
    url = config.store_url(secrets)
    now = datetime.now(UTC)
    wanted = Wanted(options.conversation or "", _time(options.since, now), _time(options.until, now))
    if not has_audit(url):
        sys.stderr.write("opsbot: there are no audit records yet\n")
        return 1
    checked = _Checked(audit_key(config, secrets))
    approval_id = (options.approval or "").strip().upper()
    lines = counted(read_lines(url, approval_id=approval_id), "read")
    found = checked.of(lines, wanted)
    telling = Telling(url, Redactor(secrets.values()), _title(approval_id, wanted))
    with _opened(options.output, force=options.force) as file:
        _write(file, _rendered(options.format, found, checked, telling))
    return _ended(checked)


def _ended(checked: _Checked) -> int:
    if checked.bad:
        listed = ", ".join(map(str, checked.bad[:10])) + ("…" if len(checked.bad) > 10 else "")
        sys.stderr.write(
            f"opsbot: {len(checked.bad)} of these records do not fit the audit key: {listed}. "
            "`opsbot audit verify` says where the log breaks.\n"
        )
    elif not checked.count:
        sys.stderr.write("opsbot: no record fits; check the id and the times (UTC)\n")
    else:
        sys.stderr.write(f"opsbot: {checked.count:,} records, each fits the audit key\n")
        return 0
    return 1


def _rendered(
    form: str, found: Iterator[tuple[Line, AuditRecord]], checked: _Checked, telling: Telling
) -> Iterator[str]:
    """Return the export piece by piece."""
    match form:
        case "json":
            return (f"{json_line(line)}\n" for line, _ in found)
        case "csv":
            return (csv_rows([cells]) for cells in chain([HEADERS], (csv_cells(record) for _, record in found)))
        case _:
            return iter([telling.timeline([record for _, record in found], checked.bad)])


def _write(file: TextIO, pieces: Iterable[str]) -> None:
    """Raises StoreError when it cannot be written."""
    try:
        file.writelines(pieces)
        file.flush()
    except BrokenPipeError:
        raise  # the reader has what it wanted
    except OSError as error:
        raise StoreError(f"The export cannot be written: {error.strerror}. What is there is not whole.") from error


def _title(approval_id: str, wanted: Wanted) -> str:
    if approval_id.isalnum():
        return f"Timeline of request {approval_id}"
    return "Timeline of a conversation" if wanted.conversation_id else "Timeline"


@contextmanager
def _opened(name: str | None, *, force: bool) -> Iterator[TextIO]:
    """Open what is written to: a new file that only its owner may read, or stdout."""
    if name is None:
        yield sys.stdout
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        file = os.fdopen(os.open(name, flags, 0o600), "w", encoding="utf-8", newline="\n")
    except FileExistsError as error:
        raise ConfigError(f"--output {name}: is there already; name another file, or add --force.") from error
    except OSError as error:
        raise ConfigError(f"--output {name}: cannot be written ({error.strerror}); name another file.") from error
    try:
        yield file
    finally:
        with suppress(OSError):  # what could not be written was told when it was
            file.close()


def _time(text: str | None, now: datetime) -> datetime | None:
    """Read a time: `2026-11-20`, `2026-11-20T12:30` (UTC unless it says otherwise), or `90m`, `24h`, `7d` ago."""
    if not text:
        return None
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{text[:40]!a} is no time: write 2026-11-20, 2026-11-20T12:30 (UTC), or 90m, 24h, 7d for so long ago."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)
