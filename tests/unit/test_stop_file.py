"""The stop file: only "not there, in a folder that is there" lets actions begin; everything else is a stop."""

import os
from pathlib import Path

import pytest

from opsbot.adapters.stop_file import StopFile


@pytest.fixture
def switch(tmp_path: Path) -> StopFile:
    return StopFile(tmp_path / "opsbot.stop")


def reason(switch: StopFile) -> str:
    stop = switch.thrown()
    assert stop is not None
    return stop.reason


def test_no_file_stops_nothing(switch: StopFile) -> None:
    assert switch.thrown() is None


def test_the_first_line_of_the_file_is_the_reason(switch: StopFile) -> None:
    switch.path.write_text("fire\x1b[31m in\u202e row 7\nmore\n")
    assert reason(switch) == "fire in row 7"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b"x" * 100_000])
def test_any_content_is_a_stop(switch: StopFile, content: bytes) -> None:
    switch.path.write_bytes(content)
    assert len(reason(switch)) <= 300


def _folder(path: Path) -> None:
    path.mkdir()


def _dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_folder, _dangling, _loop, _pipe])
def test_whatever_has_the_name_is_a_stop_and_is_never_waited_for(switch: StopFile, make) -> None:
    make(switch.path)
    assert reason(switch)


def test_a_folder_that_is_gone_is_a_stop(tmp_path: Path) -> None:
    assert "cannot be told" in reason(StopFile(tmp_path / "unmounted/opsbot.stop"))


def test_a_part_of_the_path_that_is_a_file_is_a_stop(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be told" in reason(StopFile(tmp_path / "file/opsbot.stop"))


@pytest.mark.parametrize("path", ["x\0y", "n" * 300])
def test_a_path_the_system_refuses_is_a_stop(tmp_path: Path, path: str) -> None:
    assert "cannot be told" in reason(StopFile(tmp_path / path))


@pytest.mark.parametrize("errno", [13, 5, 40, 116])
def test_any_error_but_absence_is_a_stop(switch: StopFile, errno: int, monkeypatch) -> None:
    def failing(path):
        raise OSError(errno, os.strerror(errno))

    monkeypatch.setattr(os, "lstat", failing)
    assert os.strerror(errno) in reason(switch)


def test_thrown_and_released(switch: StopFile) -> None:
    switch.throw("SIGUSR1")
    assert reason(switch) == "SIGUSR1"
    assert os.listdir(switch.path.parent) == ["opsbot.stop"]
    assert switch.release() is True
    assert switch.release() is False
    assert switch.thrown() is None


def test_a_file_that_is_there_keeps_its_words(switch: StopFile) -> None:
    switch.path.write_text("first\n")
    switch.throw("second")
    assert reason(switch) == "first"
    assert os.listdir(switch.path.parent) == ["opsbot.stop"]


def test_a_file_that_cannot_be_written_stops_this_process_all_the_same(tmp_path: Path) -> None:
    switch = StopFile(tmp_path / "gone/opsbot.stop")
    switch.throw("SIGUSR1")
    (tmp_path / "gone").mkdir()
    assert "could not be written" in reason(switch)
