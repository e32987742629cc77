"""docs/inventory.md: its files are written, its commands run, and what it shows is what they print."""

import re
from pathlib import Path

import pytest

from opsbot.__main__ import main

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "inventory.md").read_text(encoding="utf-8")
FILES = re.findall(r"```(?:yaml|ini|text)\n# ([\w.]+)\n(.*?)```", TEXT, re.DOTALL)
SESSIONS = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSBOT_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    for name, content in FILES:
        (tmp_path / name).write_text(content)
    (tmp_path / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "id_ed25519").chmod(0o600)
    return tmp_path


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    words = command.split()
    if words[0] == "cat":
        return Path(words[1]).read_text()
    assert words[0] == "opsbot"
    main(words[1:])
    shown = capsys.readouterr()
    return shown.err + shown.out


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.splitlines()[0])
def test_commands_print_what_is_shown(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert steps
    for command, expected in steps:
        printed = "".join(f"{line.rstrip()}\n" for line in run(command, capsys).splitlines())
        assert printed == expected, command


def test_the_files_are_all_used() -> None:
    assert [name for name, _ in FILES] == ["config.yaml", "hosts.yaml", "host_keys", "site.ini", "list.txt"]
    assert len(SESSIONS) >= 4


def test_what_was_imported_passes_the_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts", "import", "--from", "ansible", "site.ini", "--output", "imported.yaml"]) == 0
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("[hosts.yaml]", "[hosts.yaml, imported.yaml]"))
    assert main(["check"]) == 0
    assert "9 hosts in 5 groups" in capsys.readouterr().out
