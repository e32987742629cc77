"""T33: whatever a record says, it is one line of an export, comes back equal, and is no formula, cell or markup."""

import asyncio
import contextlib
import csv
import io
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot import audit
from opsbot.__main__ import main
from opsbot.adapters.store import open_store, read_audit
from opsbot.audit_export import HEADERS, csv_cells, csv_rows, json_line, parse_line, plain
from opsbot.domain import AuditEntry, AuditRecord
from opsbot.timeline import timeline
from tests.records import KEY, NOON
from tests.safety.conftest import Figures
from tests.safety.hostile_text import EVERY, texts

FORMULAS = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=HYPERLINK(\"http://evil.example\")", "'=1",
    "=cmd|' /C calc'!A0",
    '";=1;"', '","=1', "1,\n=1", " =1", "\uff1d1+1", "\x00=1", "=1\u2028=2", "%0A=1", '"=1"', "''=1",
)  # fmt: skip
HOSTILE = (*EVERY, *FORMULAS)
KINDS = (
    "approval.requested",
    "execution.host",
    "decision.refused",
    "call.refused",
    "conversation.closed",
    "other.kind",
)


def whole(text: str) -> str:
    """What a database can hold of it: no half of a character."""
    return text.encode("utf-8", "replace").decode()


def record_of(text: str, seq: int = 1) -> AuditRecord:
    """A record with the text wherever somebody else's text can be."""
    shown = whole(text)
    facts = {
        "text": shown, "reason": shown, "summary": shown, "note": shown, "tool": shown, "host": shown, "hosts": [shown],
        "arguments": {"unit": shown}, "shown": {shown: [[shown, shown]]}, "state": shown, "result": shown,
        "verb": shown, "rule": shown, "calls": [{"tool": shown}],
    }  # fmt: skip
    entry = AuditEntry(KINDS[seq % len(KINDS)], NOON, shown, shown, shown, facts)
    return audit.chain(AuditRecord(seq - 1, "", entry, "ab" * 32) if seq > 1 else None, entry, KEY)


def check_json(record: AuditRecord) -> None:
    line = json_line(audit.line_of(record))
    assert re.fullmatch(r"[ -~]+", line)
    again = parse_line(line)
    assert again == record
    assert audit.genuine(again, KEY)


def check_csv(record: AuditRecord) -> None:
    cells = csv_cells(record)
    text = csv_rows([cells])
    assert len(text.splitlines()) == 1
    assert re.fullmatch(r"[ -~]+\n", text)
    (read,) = csv.reader(io.StringIO(text))
    assert tuple(read) == cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert audit.parse_json(plain(cells[HEADERS.index("facts")])) == dict(record.entry.facts)


def check_timeline(record: AuditRecord) -> None:
    """Read it as GitHub does: cells end at pipes without a backslash, also in code; what is in code is only shown."""
    lines = timeline([record], {}, title="Timeline", remark="fine").splitlines()
    for line in lines:
        assert not {unicodedata.category(each) for each in line} & {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
        if not line.startswith("|"):
            continue
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        assert len(cells) in (3, 5, 6)
        for cell in cells:
            assert cell.count("`") % 2 == 0
            bare = re.sub(r"`[^`]*`", "", cell).replace("<br>", "")
            assert re.fullmatch(r"[A-Za-z0-9 :;,.()\-]*", bare), bare
    assert len([line for line in lines if line.startswith("| 2026-")]) == 1
    assert next(line for line in lines if line.startswith("#")) == "# Timeline"


def test_every_hostile_text_is_one_line_that_comes_back_equal(figures: Figures) -> None:
    for seq, text in enumerate(HOSTILE, 1):
        record = record_of(text, seq)
        check_json(record)
        check_csv(record)
        check_timeline(record)
    figures.note(hostile_texts=len(HOSTILE), lines_that_were_not_one_record=0, formulas=0, cells_and_marks_forged=0)


@settings(max_examples=200, deadline=None)
@given(st.text() | texts, st.integers(1, 12))
def test_so_is_any_text(text: str, seq: int) -> None:
    record = record_of(text, seq)
    check_json(record)
    check_csv(record)
    check_timeline(record)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of hostile records, and a configuration for the command line."""

    async def fill() -> None:
        store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
        for seq, text in enumerate(HOSTILE[::5], 1):
            await store.audit.append(record_of(text, seq).entry)
        await store.close()

    asyncio.run(fill())
    (tmp_path / "audit.key").write_text(KEY.hex())
    (tmp_path / "audit.key").chmod(0o600)
    (tmp_path / "config.yaml").write_text("store: {url: sqlite:///opsbot.db}\nhosts: {here: {connection: local}}\n")
    return tmp_path


def exported(log: Path, *options: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["audit", "export", "--config", str(log / "config.yaml"), *options]) == 0
    return out.getvalue()


def test_an_exported_log_has_as_many_lines_as_records_and_verifies(log: Path) -> None:
    stored = list(read_audit(f"sqlite:///{log}/opsbot.db"))
    lines = exported(log, "--format", "json").split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(stored)
    again = [parse_line(line) for line in lines]
    assert again == stored
    assert audit.verify(again, KEY).ok
    rows = list(csv.reader(io.StringIO(exported(log, "--format", "csv"))))
    assert rows[0] == list(HEADERS)
    assert len(rows) == len(stored) + 1
    assert exported(log, "--format", "csv").count("\n") == len(stored) + 1
    told = exported(log, "--format", "md")
    assert len(re.findall(r"^\| 2026-.*\|$", told, re.MULTILINE)) == len(stored)
