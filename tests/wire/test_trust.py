"""`opsbot hosts trust` against SSH servers on loopback: what it pins, and what it refuses to."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from opsbot.trust import fingerprint_of
from tests import ssh_answers
from tests.ssh_servers import Keys, RawServer, SshServer, pin_of
from tests.whole_bot import ROOT


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "k").mkdir()
    return Keys.make(tmp_path / "k")


@pytest.fixture
def server(keys: Keys):
    with SshServer(keys) as running:
        yield running


class Desk:
    """A folder with a configuration, and the command."""

    def __init__(self, folder: Path, server: SshServer) -> None:
        self.folder = folder
        (folder / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
        (folder / "id").chmod(0o600)
        self.hosts = {"box": f"port: {server.port}"}
        self.key = pin_of(server.keys.host_key)

    def trust(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        hosts = "".join(f"  {name}: {{address: 127.0.0.1, {rest}}}\n" for name, rest in self.hosts.items())
        (self.folder / "config.yaml").write_text(f"host_keys: keys\ndefaults: {{user: bot, key: id}}\nhosts:\n{hosts}")
        command = [sys.executable, "-m", "opsbot", "hosts", "trust", *words, "--config", f"{self.folder}/config.yaml"]
        return subprocess.run(
            command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, env={"COLUMNS": "300"}
        )

    @property
    def pinned(self) -> str:
        path = self.folder / "keys"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def desk(tmp_path: Path, server: SshServer) -> Desk:
    return Desk(tmp_path, server)


def test_without_a_person_or_a_second_source_nothing_is_pinned(desk: Desk) -> None:
    ended = desk.trust("box")
    assert ended.returncode == 1
    assert fingerprint_of(desk.key) in ended.stdout
    assert "--compare" in ended.stderr
    assert desk.pinned == ""


def test_a_second_source_that_agrees_pins_and_a_second_run_finds_it_pinned(desk: Desk) -> None:
    ended = desk.trust("box", "--compare", "-", stdin=f"256 {fingerprint_of(desk.key)} root@box (ED25519)\n")
    assert ended.returncode == 0, ended.stderr
    assert f"box {desk.key}\n" in desk.pinned
    again = desk.trust("box")
    assert again.returncode == 0
    assert "this key" in again.stdout


def test_a_second_source_that_disagrees_wins_over_yes(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    other = pin_of(Keys.make(tmp_path / "o").host_key)
    (tmp_path / "known").write_text(f"[127.0.0.1]:{desk.hosts['box'].split()[1]} {other}\n")
    ended = desk.trust("box", "--yes", "--replace", "--compare", str(tmp_path / "known"))
    assert ended.returncode == 1
    assert "in between" in ended.stdout
    assert desk.pinned == ""


def test_yes_believes_who_answers_but_never_over_another_pin(desk: Desk, tmp_path: Path) -> None:
    assert desk.trust("all", "--yes").returncode == 0
    (tmp_path / "o").mkdir()
    other = pin_of(Keys.make(tmp_path / "o").host_key)
    (tmp_path / "keys").write_text(f"# mine\nbox {other}\nelse {other}\n")
    refused = desk.trust("box", "--yes")
    assert refused.returncode == 1
    assert fingerprint_of(other) in refused.stdout
    assert desk.key not in desk.pinned
    assert desk.trust("box", "--yes", "--replace").returncode == 0
    assert desk.pinned == f"# mine\nelse {other}\nbox {desk.key}\n"


def test_a_key_beside_the_host_is_never_written_elsewhere(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    desk.hosts["box"] += f", host_key: {pin_of(Keys.make(tmp_path / 'o').host_key)}"
    ended = desk.trust("box", "--yes", "--replace")
    assert f"{desk.key}\n" in ended.stdout
    assert "stands in the configuration" in ended.stderr
    assert desk.pinned == ""


def test_a_host_that_is_silent_costs_only_its_own_line(desk: Desk) -> None:
    with RawServer(ssh_answers.never_speaks) as silent:
        desk.hosts["dumb"] = f"port: {silent.port}"
        began = time.monotonic()
        ended = desk.trust("all", "--yes", "--timeout", "2")
        assert time.monotonic() - began < 20
    assert ended.returncode == 1
    assert "no SSH greeting" in ended.stdout
    assert desk.pinned.count("\nbox ") == 1
    assert "dumb" not in desk.pinned


def test_a_host_behind_a_jump_host_is_asked_through_it(desk: Desk, keys: Keys, tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    with SshServer(Keys.make(tmp_path / "g")) as gate:
        way = gate.host("gate")
        desk.hosts["gate"] = f"port: {gate.port}, user: {way.user}, key: {way.key_file}, host_key: {way.host_key}"
        desk.hosts["box"] += ", jump: gate"
        ended = desk.trust("box", "--yes")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"box {desk.key}\n" in desk.pinned


def test_names_that_mean_nothing_and_sources_that_are_none_are_refused(desk: Desk) -> None:
    assert "bax" in desk.trust("bax").stderr
    nothing = desk.trust("box", "--compare", "-", stdin="hello\n")
    assert nothing.returncode == 2
    assert "stdin:1" in nothing.stderr
