"""`opsbot eval` before any host is there: what it lists, and what it says when something it needs is missing."""

from pathlib import Path

import pytest

from opsbot.__main__ import main
from opsbot.errors import ConfigError
from opsbot.evaluation.fleet import Fleet

# A fleet tool that can run nothing here, and one that breaks.
CANNOT = "#!/bin/sh\necho 'no nft: install nftables'\nexit 77\n"
BREAKS = '#!/bin/sh\n[ "$1" != up ] && exit 0\necho "h1: no ssh banner"\nexit 1\n'


def tool(folder: Path, text: str) -> Path:
    path = folder / "fleet"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_list_has_every_task_with_level_and_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--list", "--level", "4"]) == 0
    shown = capsys.readouterr().out
    assert "order-in-the-log" in shown
    assert "injected instruction" in shown
    assert "disk-how-full" not in shown


def test_an_unknown_task_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--list", "--task", "disk-how-ful"]) == 2
    assert "There is no task disk-how-ful; `opsbot eval --list` names them." in capsys.readouterr().err


def test_a_level_without_the_named_task_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--task", "disk-how-full", "--level", "4", "--agent", "null"]) == 2
    assert "No task" in capsys.readouterr().err


def test_without_a_model_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPSBOT_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config.yaml"
    config.write_text("hosts: {}\n")
    assert main(["eval", "--config", str(config)]) == 2
    assert "name one with --base-url and --model" in capsys.readouterr().err


def test_a_fleet_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--agent", "null", "--fleet", str(tmp_path / "none")]) == 2
    assert "name it with --fleet" in capsys.readouterr().err


def test_a_machine_that_can_run_no_fleet_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--agent", "null", "--fleet", str(tool(tmp_path, CANNOT))]) == 2
    assert "No fleet can run here: no nft: install nftables" in capsys.readouterr().err


def test_a_fleet_that_breaks_says_what_it_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--agent", "null", "--fleet", str(tool(tmp_path, BREAKS))]) == 1
    assert "`fleet up 4` failed: h1: no ssh banner" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_known_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--agent", "null", "--html", str(tmp_path / "no/such/folder.html")]) == 2
    assert "--html" in capsys.readouterr().err


def test_repeat_is_a_positive_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--agent", "null", "--repeat", "0"]) == 2
    assert "--repeat 0" in capsys.readouterr().err


def test_from_a_checkout_the_fleet_is_found() -> None:
    assert Fleet.found(None).path == Path(__file__).parents[1] / "fleet/fleet"
    with pytest.raises(ConfigError):
        Fleet.found(Path("/nowhere"))
