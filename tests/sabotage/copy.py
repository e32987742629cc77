"""A copy of the project in which one defence is taken out, and the tests that should notice."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NEEDED = (
    "opsbot",
    "tools",
    "tests",
    "docs",
    "config.yaml",
    "manifest.json",
    "pyproject.toml",
    "README.md",
    "Makefile",
)
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Change:
    """One place made weaker: `before` stands exactly once in `file` and becomes `after`."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A defence taken out by one change, or by several where others stand behind it; `tests` are those to notice."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the tests ended in the copy. `caught`: some test failed, as it should; anything else is a hole."""

    caught: bool
    said: str


def make_copy(folder: Path) -> Path:
    """Copy what the tests need, and let the tools be found under their installed name."""
    for name in _NEEDED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    (folder / "opsbot_tools").symlink_to("tools")
    return folder


def apply(sabotage: Sabotage, folder: Path) -> None:
    """Weaken the copy. Raises AssertionError when a place is not as described: the patch has to be written anew."""
    for change in sabotage.changes:
        path = folder / change.file
        text = path.read_text(encoding="utf-8")
        found = text.count(change.before)
        assert found == 1, f"{sabotage.name}: {change.before!r} stands {found} times in {change.file}"
        path.write_text(text.replace(change.before, change.after), encoding="utf-8")


def undo(sabotage: Sabotage, folder: Path) -> None:
    """Put the originals back."""
    for change in sabotage.changes:
        shutil.copy2(ROOT / change.file, folder / change.file)


def tried(sabotage: Sabotage, folder: Path) -> Ending:
    """Run the tests in the weakened copy, until the first fails."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        *sabotage.tests,
    ]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    apply(sabotage, folder)
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    finally:
        undo(sabotage, folder)
    # 1: tests failed. 2 and more: nothing was tested, which proves nothing.
    return Ending(done.returncode == 1, done.stdout[-1500:] + done.stderr[-500:])
