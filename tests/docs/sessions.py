"""Documents whose files are written and whose commands are run: what they show is what is printed."""

import re
from pathlib import Path

import pytest

from opsbot.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


class Document:
    """One page of docs/: its files by name, and its console sessions."""

    def __init__(self, name: str) -> None:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        self.files = re.findall(r"```(?:yaml|ini|text)\n# ([\w.-]+)\n(.*?)```", text, re.DOTALL)
        self.sessions = re.findall(r"```console\n(.*?)```", text, re.DOTALL)

    def write(self, folder: Path) -> None:
        """Write its files, and the key that its configuration names."""
        for name, content in self.files:
            (folder / name).write_text(content)
        (folder / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
        (folder / "id_ed25519").chmod(0o600)


def check(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a session's commands and compare what they print with what is shown."""
    steps = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert steps
    for command, expected in steps:
        printed = "".join(f"{line.rstrip()}\n" for line in _run(command, capsys).splitlines())
        assert printed == expected, command


def _run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    words = command.split()
    if words[0] == "cat":
        return Path(words[1]).read_text()
    assert words[0] == "opsbot"
    main(words[1:])
    shown = capsys.readouterr()
    return shown.err + shown.out
