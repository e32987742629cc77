"""docs/policy.md: its policy loads, its expectations hold, and its commands print what it shows."""

from pathlib import Path

import pytest

from opsbot.__main__ import main
from opsbot.policy_trial import Expectation
from tests.docs.sessions import ROOT, Document, check

PAGE = Document("policy.md")


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
    assert [name for name, _ in PAGE.files] == ["config.yaml", "policy-tests.yaml"]
    assert len(PAGE.sessions) == 3


def test_expectations_need_no_key_and_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "id_ed25519").unlink()
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert main(["policy", "test", "policy-tests.yaml"]) == 0


def test_an_expectation_that_does_not_hold_ends_with_1_and_says_why(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "policy-tests.yaml"
    file.write_text(
        file.read_text().replace("rule: contractors-only-look", "rule: askers").replace("U0CARL", "U0CARLA")
    )
    assert main(["policy", "test", "policy-tests.yaml"]) == 1
    shown = capsys.readouterr()
    assert "4 of 5 expectations hold" in shown.out
    assert "opsbot: U0CARLA restart_service unit=nginx on lab-1: the rule is contractors-only-look." in shown.err


def test_every_word_of_an_expectation_is_explained() -> None:
    text = (ROOT / "docs/policy.md").read_text(encoding="utf-8")
    assert [name for name in Expectation.model_fields if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "expectations: is missing; add it."),
        ("expectations: []", "needs at least 1"),
        ("expectations:\n  - {who: alice, tool: x, expect: deny}", "2: expectations[0].who: does not fit"),
        ("expectations:\n  - {who: U0A, tool: x, expect: maybe}", "2: expectations[0].expect: must be"),
        ("expectations:\n  - {who: U0A, tool: x, expect: deny, at: now}", "2: expectations[0]: at: write a time"),
        ("expectations:\n  - {who: U0A, tool: x, expect: deny}", "2: expectations[0]: has no `at`"),
        ("expectations: !!python/object:os.system {}", "1: the tag"),
        ("expectation:\n  - {}", "did you mean expectations?"),
    ],
)
def test_a_faulty_file_of_expectations_is_refused_by_line(
    written: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "policy-tests.yaml").write_text(written)
    assert main(["policy", "test", "policy-tests.yaml"]) == 2
    assert said in capsys.readouterr().err
