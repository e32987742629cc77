"""docs/inventory.md: its files are written, its commands run, and what it shows is what they print."""

from pathlib import Path

import pytest

from opsbot.__main__ import main
from tests.docs.sessions import Document, check

PAGE = Document("inventory.md")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSBOT_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    PAGE.write(tmp_path)
    return tmp_path


@pytest.mark.parametrize("session", PAGE.sessions, ids=lambda session: session.splitlines()[0])
def test_commands_print_what_is_shown(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(session, capsys)


def test_the_files_are_all_used() -> None:
    assert [name for name, _ in PAGE.files] == ["config.yaml", "hosts.yaml", "host_keys", "site.ini", "list.txt"]
    assert len(PAGE.sessions) >= 4


def test_what_was_imported_passes_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "import", "--from", "ansible", "site.ini", "--output", "imported.yaml"]) == 0
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("[hosts.yaml]", "[hosts.yaml, imported.yaml]"))
    assert main(["check"]) == 0
    assert "9 hosts in 5 groups" in capsys.readouterr().out
