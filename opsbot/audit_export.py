"""The audit log for other programs: a line of ASCII JSON per record, or a table for spreadsheets without formulas."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from opsbot.audit import Line, parse_entry, parse_json
from opsbot.domain import AuditEntry, AuditRecord, Json

# What a spreadsheet takes for a formula (OWASP, CSV injection, read 2026-11), and the mark itself.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_NEVER = datetime.min.replace(tzinfo=UTC)
_HIDDEN = re.compile(r"[^ -~]")
HEADERS = ("seq", "at", "kind", "actor", "conversation", "approval", "tool", "hosts", "facts", "hash")


def json_line(line: Line) -> str:
    """Return the record as one line of ASCII; `parse_line` gives it back. What is no entry is kept as text."""
    try:
        parse_entry(parse_json(line.text))
        entry = f'"entry":{_escaped(line.text)}'
    except (ValueError, TypeError, RecursionError):
        entry = f'"entry":null,"stored":{json.dumps(line.text)}'
    return f'{{{entry},"hash":{json.dumps(line.hash)},"prev":{json.dumps(line.prev)},"seq":{line.seq}}}'


def parse_line(text: str) -> AuditRecord:
    """Read a record back. Raises ValueError when it is none."""
    document = parse_json(text)
    if not isinstance(document, dict) or not isinstance(document.get("seq"), int):
        raise ValueError("not an audit record")
    return AuditRecord(
        int(str(document["seq"])), str(document.get("prev")), parse_entry(document.get("entry")), str(document["hash"])
    )


def csv_rows(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows as CSV: every cell quoted, one line each."""
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return file.getvalue()


def csv_cells(record: AuditRecord) -> tuple[str, ...]:
    """Return a record's cells; each is printable ASCII and no formula."""
    entry = record.entry
    facts = dict(entry.facts)
    hosts = facts.get("hosts")
    cells = (
        str(record.seq),
        f"{entry.at:%Y-%m-%d %H:%M:%S.%f}Z",
        entry.kind,
        entry.actor,
        entry.conversation_id,
        entry.approval_id,
        str(facts.get("tool", "")),
        " ".join(map(str, hosts)) if isinstance(hosts, list) else "",
        json.dumps(facts, sort_keys=True),
        record.hash,
    )
    return tuple(cell(text) for text in cells)


def cell(text: str) -> str:
    """Make a text safe for a spreadsheet: what could begin a formula gets an apostrophe before it."""
    shown = _escaped(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def plain(text: str) -> str:
    """Take back what `cell` put before a text."""
    return text[1:] if text.startswith("'") else text


def unreadable(line: Line) -> AuditRecord:
    """Return a record that stands for one whose text is no entry."""
    facts: Mapping[str, Json] = {"stored": line.text[:2000]}
    return AuditRecord(line.seq, line.prev, AuditEntry("audit.unreadable", _NEVER, facts=facts), line.hash)


def _escaped(text: str) -> str:
    """Write everything but printable ASCII as JSON does."""
    return text if text.isascii() and text.isprintable() else _HIDDEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
