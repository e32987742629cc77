"""`opsbot runbooks check`, `index` and `search`: beside a running bot and without one, with and without an endpoint."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store
from opsbot.passages import Incident
from tests.model_servers import ModelServer, Status, Vectors
from tests.records import KEY

ROOT = Path(__file__).parents[2]
CONFIG = """\
store: {{url: "sqlite:///{folder}/x.db", audit_key: {{file: "{folder}/audit.key"}}}}
runbooks: {{folder: books, {backend}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audit.key").write_text(KEY.hex())
    (tmp_path / "audit.key").chmod(0o600)
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "nginx.md").write_text("# nginx\n\n## 502 Bad Gateway\nLook at the upstream.\n")
    configure(tmp_path)
    return tmp_path


def configure(folder: Path, backend: str = "backend: none") -> None:
    (folder / "config.yaml").write_text(CONFIG.format(folder=folder, backend=backend))


def opsbot(folder: Path, *words: str, status: int = 0) -> str:
    """Run a command; return what it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SLACK_"))}
    done = subprocess.run(
        [sys.executable, "-m", "opsbot", "runbooks", *words, "--config", str(folder / "config.yaml")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=["running", "stopped"])
async def bot(folder: Path, request: pytest.FixtureRequest):
    """A bot that has the database open, or had it."""
    store = open_store(f"sqlite:///{folder}/x.db", audit_key=KEY)
    if request.param == "stopped":
        await store.close()
    yield
    await store.close()


def test_check_lists_every_fault_with_its_line_and_needs_no_database(folder: Path) -> None:
    assert opsbot(folder, "check") == "1 runbooks, 1 passages, 0 faults.\n"
    (folder / "books" / "half.md").write_text("---\ntags: {}\n---\n# H\ntext\n")
    (folder / "books" / "empty.md").write_text("")
    (folder / "books" / "binary.md").write_bytes(b"\x00")
    (folder / "books" / "large.md").write_bytes(b"x" * 300_000)
    said = opsbot(folder, "check", status=1)
    assert f"{folder}/books/half.md:2: front matter: tags must be a list" in said
    for name, what in (("empty", "no text"), ("binary", "not text"), ("large", "larger than 256 KiB")):
        assert any(f"{name}.md" in line and what in line and "left out" in line for line in said.splitlines())
    assert said.endswith("2 runbooks, 2 passages, 4 faults.\n")


def test_without_a_folder_the_setting_is_named(folder: Path) -> None:
    (folder / "config.yaml").write_text("store: {url: 'sqlite:///x.db'}\n")
    assert "runbooks.folder is not set" in opsbot(folder, "check", status=2)


async def test_index_and_search_beside_a_bot_and_without_one(folder: Path, bot: None) -> None:
    assert "nothing among 0 fits. `opsbot runbooks index`" in await asyncio.to_thread(
        opsbot, folder, "search", "gateway", status=1
    )
    said = await asyncio.to_thread(opsbot, folder, "index")
    assert said == "1 runbooks: 1 new or changed, 0 gone; by words alone.\n"
    said = await asyncio.to_thread(opsbot, folder, "search", "502", "gateway")
    assert "nginx.md › 502 Bad Gateway (line 4, score " in said
    assert "    Look at the upstream." in said


async def test_past_incidents_are_searched_too(folder: Path) -> None:
    store = open_store(f"sqlite:///{folder}/x.db", audit_key=KEY)
    await store.incidents.put(Incident("INC-7", "Checkout down", datetime(2026, 11, 3, tzinfo=UTC), "Payments failed."))
    await store.close()
    assert "INC-7 › Checkout down" in await asyncio.to_thread(opsbot, folder, "search", "--incidents", "payments")


async def test_an_endpoint_makes_vectors_and_one_that_fails_is_named(folder: Path) -> None:
    await open_store(f"sqlite:///{folder}/x.db", audit_key=KEY).close()
    async with ModelServer(Vectors(), Vectors(), *[Status(500)] * 3) as server:
        configure(folder, f"backend: compatible, model: m, base_url: '{server.base_url}'")
        said = await asyncio.to_thread(opsbot, folder, "index")
        assert "1 new vectors by m at 127.0.0.1." in said
        said = await asyncio.to_thread(opsbot, folder, "search", "upstream")
        assert "nginx.md › 502 Bad Gateway" in said
        assert "only words" not in said
        (folder / "books" / "more.md").write_text("# More\nother words\n")
        said = await asyncio.to_thread(opsbot, folder, "index", status=1)
        assert "vectors are missing: The embedding service at 127.0.0.1 is failing (500)" in said
        assert "2 runbooks: 1 new or changed" in said


def test_before_the_first_start_there_is_no_database(folder: Path) -> None:
    assert "it is made when the bot starts" in opsbot(folder, "index", status=1)
