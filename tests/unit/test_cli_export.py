"""`opsbot audit export`: what is chosen, where it is written, and what the exit code says."""

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsbot import cli_audit
from opsbot.__main__ import main
from opsbot.adapters.store import open_store
from opsbot.audit_export import parse_line
from opsbot.domain import AuditEntry
from tests.records import KEY

DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 10, 20)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three days with a record of each of two conversations."""

    async def fill() -> None:
        store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
        for at in DAYS:
            for place in ("T1/C1/1", "T1/C2/2"):
                await store.audit.append(AuditEntry("test.happened", at, "T1/U1", place, f"ID{at.day}", {"n": at.day}))
        await store.close()

    asyncio.run(fill())
    (tmp_path / "audit.key").write_text(KEY.hex())
    (tmp_path / "audit.key").chmod(0o600)
    (tmp_path / "config.yaml").write_text("store: {url: sqlite:///opsbot.db}\nhosts: {here: {connection: local}}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def exported(capsys: pytest.CaptureFixture[str], *options: str) -> list[int]:
    assert main(["audit", "export", "--format", "json", *options]) == 0
    return [parse_line(line).seq for line in capsys.readouterr().out.splitlines()]


def test_records_are_chosen_by_request_conversation_and_time(folder: Path, capsys) -> None:
    assert exported(capsys) == [1, 2, 3, 4, 5, 6]
    assert exported(capsys, "--approval", " id10 ") == [3, 4]
    assert exported(capsys, "--conversation", "T1/C2/2") == [2, 4, 6]
    assert exported(capsys, "--since", "2026-11-10") == [3, 4, 5, 6]
    assert exported(capsys, "--until", "2026-11-10T00:00:00Z") == [1, 2]
    assert exported(capsys, "--since", "2026-11-09T23:00-02:00", "--conversation", "T1/C1/1") == [5]
    days = (datetime.now(UTC) - DAYS[1]).days + 1
    if days > 0:
        assert exported(capsys, "--since", f"{days}d") == [3, 4, 5, 6]


@pytest.mark.parametrize("options", [["--approval", "NONE"], ["--since", "2030-01-01"], ["--conversation", "x"]])
@pytest.mark.parametrize("form", ["json", "csv", "md"])
def test_nothing_found_is_said_and_is_exit_code_1(folder: Path, capsys, options: list[str], form: str) -> None:
    assert main(["audit", "export", "--format", form, *options]) == 1
    assert "no record fits" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--format", "xml"],
        ["--format", "md", "--approval", "A", "--conversation", "B"],
        ["--format", "json", "--since", "yesterday"],
        ["--format", "json", "--until", "7w"],
        ["--format", "json", "--output", "no/such/folder"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(folder: Path, options: list[str]) -> None:
    def code() -> int:
        try:
            return main(["audit", "export", *options])
        except SystemExit as stop:  # argparse ends the process itself
            return int(str(stop.code))

    assert code() == 2


def test_a_file_is_private_and_not_replaced_unless_told(folder: Path, capsys) -> None:
    words = ["audit", "export", "--format", "csv", "--output", "out.csv"]
    assert main(words) == 0
    assert (folder / "out.csv").stat().st_mode & 0o777 == 0o600
    before = (folder / "out.csv").read_bytes()
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--approval", "ID1", "--force"]) == 0
    assert len((folder / "out.csv").read_bytes()) < len(before)


def test_a_full_disk_is_told(folder: Path, capsys) -> None:
    assert main(["audit", "export", "--format", "json", "--output", "/dev/full", "--force"]) == 1
    assert "not whole" in capsys.readouterr().err


def test_records_that_do_not_fit_the_key_are_exported_named_and_exit_code_1(folder: Path, capsys) -> None:
    with sqlite3.connect("opsbot.db") as connection:
        connection.execute("UPDATE audit SET entry = replace(entry, 'U1', 'U2') WHERE seq = 2")
        connection.execute("UPDATE audit SET entry = 'gone' WHERE seq = 4")
    for form in ("json", "csv", "md"):
        assert main(["audit", "export", "--format", form]) == 1
        said = capsys.readouterr()
        assert "2 of these records do not fit the audit key: 2, 4" in said.err
        assert len(said.out.splitlines()) >= 6
    assert "these do not fit the audit key: 2, 4" in said.out


def test_too_much_for_a_timeline_is_refused(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("opsbot.cli_export._TIMELINE_RECORDS", 3)
    assert main(["audit", "export", "--format", "md"]) == 2
    assert "--since" in capsys.readouterr().err


def test_long_logs_say_how_far_they_are(folder: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(cli_audit, "_PROGRESS_EVERY", 2)
    assert main(["audit", "verify"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"opsbot: {n} records checked" for n in (2, 4, 6)]


def test_without_records_there_is_nothing_to_export(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "config.yaml").write_text("hosts: {here: {connection: local}}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["audit", "export", "--format", "json"]) == 1
    assert "no audit records yet" in capsys.readouterr().err
