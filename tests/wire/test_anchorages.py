"""Where heads of the audit log are noted, on real sockets and files."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsbot.adapters import anchorages
from opsbot.adapters.anchorages import channel, chosen, file, newest_in, syslog
from opsbot.anchors import anchor_line, find_anchors
from opsbot.errors import ConfigError
from tests.fake_chat import FakeChat
from tests.records import KEY

HEAD = (7, "ab" * 32)
LINE = anchor_line(HEAD, KEY)


@pytest.fixture(params=[socket.SOCK_DGRAM, socket.SOCK_STREAM])
def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A log daemon's socket, of both kinds there are."""
    with socket.socket(socket.AF_UNIX, request.param) as server:
        server.bind(str(tmp_path / "log"))
        if request.param is socket.SOCK_STREAM:
            server.listen()
        yield server


async def test_a_head_arrives_at_the_log_daemon(daemon: socket.socket, tmp_path: Path) -> None:
    await syslog(str(tmp_path / "log")).put(LINE)
    server = daemon.accept()[0] if daemon.type is socket.SOCK_STREAM else daemon
    received = server.recv(4096).decode()
    assert received.startswith("<86>opsbot: ")
    assert find_anchors([received], KEY).heads == (HEAD,)


async def test_a_head_arrives_by_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        (udp,) = chosen(f"127.0.0.1:{server.getsockname()[1]}", None, None)
        await udp.put(LINE)
        assert find_anchors([server.recv(4096).decode()], KEY).heads == (HEAD,)


async def test_a_daemon_that_is_not_there_or_reads_nothing_is_an_error_in_time(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(OSError, match="No such file"):
        await syslog(str(tmp_path / "none")).put(LINE)
    monkeypatch.setattr(anchorages, "_TIMEOUT_S", 0.2)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        place = syslog(str(tmp_path / "full"))

        async def flood() -> None:
            for _ in range(10_000):
                await place.put(LINE)

        with pytest.raises(TimeoutError):
            await flood()


async def test_a_file_is_appended_to_and_private(tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    assert newest_in(path, KEY) is None
    await file(path).put(LINE)
    await file(path).put(anchor_line((9, "cd" * 32), KEY))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().splitlines()) == 2
    assert newest_in(path, KEY) == (9, "cd" * 32)


async def test_a_full_file_system_is_an_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        await file(Path("/dev/full")).put(LINE)


async def test_the_newest_is_found_at_the_end_of_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    path.write_text("".join(f"{anchor_line((n, f'{n:064x}'), KEY)}\n" for n in range(1, 2000)))
    assert newest_in(path, KEY) == (1999, f"{1999:064x}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "anchors").touch(0o000)
    with pytest.raises(ConfigError, match=r"audit\.anchor\.file"):
        newest_in(tmp_path / "anchors", KEY)


def test_a_folder_is_no_file_of_anchors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"audit\.anchor\.file"):
        newest_in(tmp_path, KEY)


async def test_a_channel_is_told_in_a_line_that_can_be_found_again() -> None:
    chat = FakeChat()
    await channel(chat, "C0AUDIT").put(LINE)
    (posted,) = chat.messages
    assert posted.place.channel_id == "C0AUDIT"
    assert find_anchors([str(posted.content)], KEY).heads == (HEAD,)


def test_settings_choose_the_places(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(anchorages, "here", lambda: "/dev/log")
    names = [place.name for place in chosen("auto", tmp_path / "a", (FakeChat(), "C1"))]
    assert names == ["syslog /dev/log", f"file {tmp_path}/a", "channel C1"]
    monkeypatch.setattr(anchorages, "here", lambda: None)
    assert chosen("auto", None, None) == chosen("none", None, None) == ()
    assert [place.name for place in chosen("[::1]:514", None, None)] == ["syslog ('::1', 514)"]


def test_a_bot_notes_its_heads_where_it_is_told_and_they_fit_its_log(tmp_path: Path) -> None:
    """The whole way, by the command line: a question, its records, their anchors, and the verifier."""
    (tmp_path / "config.yaml").write_text(
        "store: {url: sqlite:///opsbot.db}\n"
        f"audit: {{anchor: {{syslog: {tmp_path}/log, file: anchors}}}}\n"
        "hosts: {here: {connection: local}}\n"
    )
    command = [sys.executable, "-m", "opsbot"]
    options = ["--config", str(tmp_path / "config.yaml")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        subprocess.run([*command, "ask", "how is here?", *options], check=True, capture_output=True, timeout=60)
        daemon.setblocking(False)
        received = daemon.recv(4096).decode()
    key = bytes.fromhex((tmp_path / "audit.key").read_text())
    assert find_anchors([received], key).heads
    (tmp_path / "syslog").write_text(received)
    verify = [*command, "audit", "verify", "--anchors", str(tmp_path / "syslog"), *options]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    records = int(done.stdout.split()[0])
    assert newest_in(tmp_path / "anchors", key) == (records, done.stdout.strip().rpartition(":")[2])
