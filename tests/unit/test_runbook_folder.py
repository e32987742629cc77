"""A folder of runbooks: what may be read, what is refused and named, and what a change looks like."""

import os
from pathlib import Path

import pytest

import opsbot
from opsbot.adapters import runbook_folder
from opsbot.adapters.runbook_folder import FILE_BYTES, RunbookFolder
from opsbot.passages import Shelved

EXAMPLES = Path(opsbot.__file__).parent / "example_runbooks"
GOOD = "# Good\ntext\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "runbooks"
    made.mkdir()
    (made / "good.md").write_text(GOOD)
    return made


def read(folder: Path) -> Shelved:
    return RunbookFolder(folder).read()


def names(folder: Path) -> list[str]:
    return [document.name for document in read(folder).documents]


def refused(folder: Path) -> dict[str, str]:
    return {fault.file: fault.said for fault in read(folder).faults if fault.left_out}


def test_files_in_folders_below_are_read_by_their_path(folder: Path) -> None:
    (folder / "db" / "pg").mkdir(parents=True)
    (folder / "db" / "pg" / "Locks.MARKDOWN").write_text(GOOD)
    (folder / "notes.txt").write_text("not a runbook")
    (folder / ".git").mkdir()
    (folder / ".git" / "x.md").write_text(GOOD)
    assert names(folder) == ["db/pg/Locks.MARKDOWN", "good.md"]
    assert refused(folder) == {}


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").write_text("# Secret\nkey\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.md").write_text(GOOD)
    (folder / "out.md").symlink_to(tmp_path / "secret.md")
    (folder / "up.md").symlink_to("../secret.md")
    (folder / "gone.md").symlink_to("nowhere.md")
    (folder / "loop.md").symlink_to("loop.md")
    (folder / "dir").symlink_to(tmp_path / "elsewhere")
    (folder / "alias.md").symlink_to("good.md")
    assert names(folder) == ["alias.md", "good.md"]
    assert set(refused(folder)) == {"out.md", "up.md", "gone.md", "loop.md"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# H\n" + b"x" * FILE_BYTES, "larger than 256 KiB"),
        (b"# H\n\x00\x01", "not text"),
        (b"# H\n\xff\xfe", "UTF-8"),
        (b"", "no text in it"),
    ],
)
def test_what_is_no_runbook_is_named_and_the_others_are_read(folder: Path, content: bytes, said: str) -> None:
    (folder / "bad.md").write_bytes(content)
    assert names(folder) == ["good.md"]
    assert said in refused(folder)["bad.md"]


def test_a_pipe_or_a_folder_by_that_name_holds_nothing_up(folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    (folder / "folder.md").mkdir()
    assert names(folder) == ["good.md"]
    assert "regular file" in refused(folder)["pipe.md"]


def test_a_name_that_cannot_be_shown_is_refused(folder: Path) -> None:
    (folder / "a\nb.md").write_text(GOOD)
    (folder / os.fsdecode(b"\xff.md")).write_text(GOOD)
    assert names(folder) == ["good.md"]
    assert len(refused(folder)) == 2


def test_broken_front_matter_leaves_the_rest_findable(folder: Path) -> None:
    (folder / "half.md").write_text("---\ntags: {}\n---\n# H\ntext\n")
    (fault,) = read(folder).faults
    assert (fault.file, fault.line, fault.left_out) == ("half.md", 2, False)
    assert names(folder) == ["good.md", "half.md"]


def test_totals_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (folder / f"more-{number}.md").write_text(GOOD)
    monkeypatch.setattr(runbook_folder, "FILES_MAX", 4)
    assert len(names(folder)) == 4
    assert any("more than 4 files" in said for said in refused(folder).values())
    monkeypatch.setattr(runbook_folder, "PASSAGES_MAX", 2)
    assert len(names(folder)) == 2
    assert any("more than 2 passages" in said for said in refused(folder).values())


def test_a_folder_that_is_not_there_says_so_and_nothing_is_known_of_it(tmp_path: Path) -> None:
    shelved = read(tmp_path / "nowhere")
    assert not shelved.whole
    assert "cannot be read" in shelved.faults[0].said


def test_the_stamp_differs_as_soon_as_a_file_does(folder: Path) -> None:
    watched = RunbookFolder(folder)
    seen = [watched.stamp()]
    assert watched.stamp() == seen[0]
    (folder / "new.md").write_text(GOOD)
    seen.append(watched.stamp())
    (folder / "new.md").write_text(GOOD + "more\n")
    seen.append(watched.stamp())
    (folder / "new.md").rename(folder / "renamed.md")
    seen.append(watched.stamp())
    (folder / "renamed.md").unlink()
    seen.append(watched.stamp())
    assert len(set(seen)) == 4
    assert seen[-1] == seen[0]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.md")), ids=lambda path: path.name)
def test_the_examples_that_ship_have_no_faults(path: Path) -> None:
    shelved = read(path.parent)
    assert shelved.faults == ()
    assert path.name in [document.name for document in shelved.documents]
