"""`opsbot hosts`: what the listing shows, and its selectors."""

import json
from pathlib import Path

import pytest

from opsbot.__main__ import main
from tests.unit.test_host_keys import ED

CONFIG = """
host_keys: keys
defaults: {user: bot, key: id}
hosts:
  gate: {address: 192.0.2.1, tags: [edge]}
  inner: {address: 10.0.0.1, jump: gate, tags: [edge, db], groups: [rack]}
  import: {connection: local}
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSBOT_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "id").chmod(0o600)
    (tmp_path / "keys").write_text(f"gate {ED}\n")
    (tmp_path / "config.yaml").write_text(CONFIG)


def test_listing_shows_tags_ways_and_missing_keys(capsys):
    assert main(["hosts"]) == 0
    lines = {line.split()[0]: " ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert lines["gate"] == "gate bot@192.0.2.1:22 default edge none"
    assert lines["inner"] == "inner bot@10.0.0.1:22 via gate (no host key pinned yet) default rack db edge none"
    assert lines["import"] == "import this machine default none"


def test_hosts_are_selected_by_tag(capsys):
    assert main(["hosts", "tag:db", "--json"]) == 0
    (host,) = json.loads(capsys.readouterr().out)
    assert (host["name"], host["tags"], host["jump"], host["host_key_pinned"]) == (
        "inner",
        ["db", "edge"],
        "gate",
        False,
    )
    assert main(["hosts", "tag:egde"]) == 1
    assert "Did you mean tag:edge?" in capsys.readouterr().err


def test_a_host_called_as_an_action_can_still_be_listed(capsys):
    assert main(["hosts", "--json", "--", "import"]) == 0
    assert [host["name"] for host in json.loads(capsys.readouterr().out)] == ["import"]


@pytest.mark.parametrize(
    "argv", [["hosts", "import"], ["hosts", "import", "x"], ["hosts", "import", "--from", "nagios", "x"]]
)
def test_an_import_says_what_it_needs(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("opsbot: ")


def test_an_import_needs_no_configuration(tmp_path, capsys):
    (tmp_path / "config.yaml").unlink()
    (tmp_path / "list").write_text("alpha\n")
    assert main(["hosts", "import", "--from", "plain", "list"]) == 0
    assert "alpha" in capsys.readouterr().out
