"""R22: without gate, audit log, host keys, policy or checksums the bot does not start; with all of them it is quick."""

import asyncio
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from opsbot.__main__ import main
from opsbot.adapters.store import open_store
from opsbot.adapters.store.sqlite import sidecar_path
from opsbot.anchors import anchor_line
from tests.records import KEY, entry
from tests.safety.conftest import FULL, Figures, Scale
from tests.whole_bot import WholeBot
from tests.workbench_fixture import RunningWorkbench

ROOT = Path(__file__).resolve().parents[2]
READY_S = 3.0
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHQ1eGJYcT0uPqgzhE2r8nUoVhOzpVEbF1kEaWkCmF5q"

CONFIG = """
slack: {mode: socket, api_url: "http://127.0.0.1:9/api/"}
store: {url: "sqlite:///opsbot.db"}
audit: {anchor: {syslog: none, file: anchors}}
tools: {folders: [tools], pinned: true}
policy:
  askers: {users: [U0ALICE]}
  approvers:
    - {environments: ["*"], users: [U0BOB]}
hosts:
  web-1: {address: 192.0.2.1, user: opsbot, key: id, host_key: "HOST_KEY", environment: production, units: [nginx]}
"""
TOOL = '''"""A tool."""

from opsbot import Context, tool


@tool(risk="read")
def mine(ctx: Context) -> str:
    """Say a word."""
    return "word"
'''


class Place:
    """A whole installation that could start, but for a Slack that is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "opsbot.db"
        (folder / "tools").mkdir()
        self.write("tools/mine.py", TOOL, 0o644)
        self.write("config.yaml", CONFIG.replace("HOST_KEY", HOST_KEY), 0o644)
        self.write("audit.key", KEY.hex())
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id")], check=True)
        for path in (folder, folder / "tools"):
            path.chmod(0o755)
        asyncio.run(self._live())
        assert main(["tools", "pin", "--config", str(folder / "config.yaml")]) == 0

    async def _live(self) -> None:
        store = open_store(f"sqlite:///{self.database}", audit_key=KEY)
        for n in range(5):
            record = await store.audit.append(entry("lived", n=n))
        await store.close()
        self.write("anchors", anchor_line((record.seq, record.hash), KEY) + "\n")

    def write(self, name: str, text: str, mode: int = 0o600) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(mode)

    def configure(self, old: str, new: str) -> None:
        text = (self.folder / "config.yaml").read_text()
        assert old in text
        self.write("config.yaml", text.replace(old, new), 0o644)

    def alter(self, statement: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            assert connection.execute(statement).rowcount > 0

    def start(self) -> int:
        """Start as an operator does; return the exit code."""
        return main(["run", "--config", str(self.folder / "config.yaml")])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1-secret")
    monkeypatch.setenv("SLACK_APP_TOKEN", "xapp-1-secret")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("SLACK_API_URL", raising=False)
    made = Place(tmp_path)
    capsys.readouterr()
    return made


def _unlink(*names: str) -> Callable[[Place], None]:
    def remove(place: Place) -> None:
        for name in names:
            (place.folder / name).unlink()

    return remove


def _configure(old: str, new: str) -> Callable[[Place], None]:
    return lambda place: place.configure(old, new)


def _write(name: str, text: str, mode: int = 0o600) -> Callable[[Place], None]:
    return lambda place: place.write(name, text, mode)


def _cut(place: Place) -> None:
    """Cut the log and whatever lies beside it; only the anchors still know."""
    place.alter("DELETE FROM audit WHERE seq > 3")
    sidecar_path(place.database).unlink()


APPROVERS = '  approvers:\n    - {environments: ["*"], users: [U0BOB]}\n'
# What is missing, how it went missing, and what the operator is told.
MISSING: dict[str, tuple[Callable[[Place], None], str]] = {
    "policy: nobody may ask": (_configure("askers: {users: [U0ALICE]}", "askers: {}"), r"policy\.askers: nobody"),
    "policy: nobody approves": (_configure(APPROVERS, ""), r"nobody approves changes"),
    "policy: unknown setting": (_configure("policy:", "policy:\n  askerz: {}"), r"askerz"),
    "policy: not YAML": (_configure("policy:", "policy: ["), r"config\.yaml"),
    "policy: a rule without people": (_configure("users: [U0BOB]", "users: []"), r"no approver"),
    "gate: a tool without a risk": (
        _write("tools/mine.py", TOOL.replace('risk="read"', ""), 0o644),
        r"risk|pinned|pin",
    ),
    "gate: a risk that was lowered": (
        _configure("tools: {", "tools: {risk: {restart_service: read}, "),
        r"restart_service",
    ),
    "audit: no key": (_unlink("audit.key"), r"audit key .* is gone"),
    "audit: a damaged key": (_write("audit.key", "zz"), r"damaged"),
    "audit: a key others may read": (_write("audit.key", KEY.hex(), 0o644), r"chmod 600"),
    "audit: another key": (_write("audit.key", "ab" * 32), r"does not fit the audit key"),
    "audit: no database": (_unlink("opsbot.db"), r"is gone"),
    "audit: an edited record": (
        lambda place: place.alter("UPDATE audit SET entry = replace(entry, 'lived', 'liVed') WHERE seq = 2"),
        r"Audit record 2 is edited",
    ),
    "audit: a record is missing": (
        lambda place: place.alter("DELETE FROM audit WHERE seq = 2"),
        r"Audit record 2 is missing",
    ),
    "audit: a cut end": (_cut, r"lacks audit record 5, whose head was noted"),
    "audit: PostgreSQL without a key": (
        _configure('"sqlite:///opsbot.db"', '"postgresql://opsbot@127.0.0.1/opsbot"'),
        r"store\.audit_key: is missing",
    ),
    "audit: PostgreSQL is away": (
        _configure(
            '{url: "sqlite:///opsbot.db"}',
            '{url: "postgresql://opsbot@127.0.0.1:9/opsbot", audit_key: {file: audit.key}}',
        ),
        r"PostgreSQL cannot be reached",
    ),
    "host keys: none": (_configure(f'host_key: "{HOST_KEY}", ', ""), r"has no `host_key`"),
    "host keys: damaged": (_configure("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAB"), r"host_key"),
    "host keys: a file of nonsense": (
        lambda place: (place.configure("hosts:", "host_keys: keys\nhosts:"), place.write("keys", "nonsense"))[0],
        r"keys",
    ),
    "checksums: a tool file changed": (
        _write("tools/mine.py", TOOL.replace("Say a word", "Do as told"), 0o644),
        r"mine\.py",
    ),
    "checksums: a new tool file": (_write("tools/other.py", TOOL.replace("mine", "other"), 0o644), r"other\.py"),
    "checksums: no pins": (_unlink("tools.pins"), r"tools pin"),
    "secrets: no token": (lambda _: os.environ.pop("SLACK_BOT_TOKEN"), r"SLACK_BOT_TOKEN"),  # type: ignore[dict-item]
    "secrets: a private key others may read": (lambda place: (place.folder / "id").chmod(0o644), r"chmod 600"),
}
# A small run tries one of each kind; a full one all.
TRIED = MISSING if FULL else {name.partition(":")[0]: name for name in reversed(MISSING)}.values()


@pytest.mark.skipif(not FULL, reason="waits for a Slack that is not there")
def test_the_whole_installation_gets_as_far_as_slack(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """The control: what follows fails for its own reason."""
    assert place.start() == 1
    assert "Slack" in capsys.readouterr().err


@pytest.mark.parametrize("missing", TRIED)
def test_it_does_not_start_without(
    missing: str, place: Place, capsys: pytest.CaptureFixture[str], figures: Figures
) -> None:
    remove, told = MISSING[missing]
    remove(place)
    before = place.database.read_bytes() if place.database.exists() else None
    assert place.start() in (1, 2)
    said = capsys.readouterr().err
    assert re.search(told, said), said
    assert "Slack" not in said
    assert "Traceback" not in said
    assert (place.database.read_bytes() if place.database.exists() else None) == before
    figures.note(missing_things_refused=f"{len(TRIED)} of {len(MISSING)}")


def test_what_is_installed_has_checksums() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text())
        packages = [block for block in blocks if re.match(r"[A-Za-z0-9_.-]+(\[.*\])?==", block)]
        assert packages
        assert [block.split()[0] for block in packages if "--hash=sha256:" not in block] == []
    assert (ROOT / "Makefile").read_text().count("--require-hashes") == 2


async def test_a_cold_start_is_quick(
    workbench: RunningWorkbench, tmp_path: Path, figures: Figures, scale: Scale
) -> None:
    """In CPU time: how long it takes by the clock depends on what else the machine does."""
    bot = WholeBot(tmp_path, workbench, "hosts: {this-machine: {connection: local}}\n")
    cpu_s, wall_s = [], []
    for _ in range(scale(1, 3)):
        began = time.monotonic()
        await asyncio.to_thread(bot.start)
        wall_s.append(time.monotonic() - began)
        cpu_s.append(bot.cpu_s)
        await asyncio.to_thread(bot.terminate)
    figures.note(ready_after=f"{min(cpu_s):.2f} s of CPU, {min(wall_s):.2f} s by the clock")
    assert min(cpu_s) < READY_S
