"""Where heads of the audit log are noted: the system log, a file, a channel of the chat service."""

import asyncio
import errno
import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from opsbot.anchoring import Anchorage
from opsbot.anchors import Head, find_anchors
from opsbot.audit import timestamp
from opsbot.domain import Place, Text
from opsbot.errors import ConfigError
from opsbot.ports import Chat

# A socket of the machine's log daemon, or (host, port) of one that takes UDP.
Address: TypeAlias = str | tuple[str, int]

DEV_LOG = "/dev/log"
_TIMEOUT_S = 3.0
# RFC 3164: facility 10 (security, not for everybody), severity 6.
_AUTHPRIV_INFO = 10 * 8 + 6
# A channel is told at most this often.
_CHANNEL_APART_S = 60.0
# Where the newest lines of a file of anchors are.
_TAIL_BYTES = 65536


def chosen(syslog_setting: str, path: Path | None, posting: tuple[Chat, str] | None) -> tuple[Anchorage, ...]:
    """Return the anchorages of a configuration; `posting` is the chat service and one of its channels."""
    address = _address(syslog_setting)
    found = [syslog(address)] if address is not None else []
    found += [file(path)] if path is not None else []
    return (*found, *([channel(*posting)] if posting is not None else []))


def _address(setting: str) -> Address | None:
    if setting == "none":
        return None
    if setting == "auto":
        return here()
    if setting.startswith("/"):
        return setting
    host, _, port = setting.rpartition(":")
    return host.strip("[]"), int(port)


def syslog(address: Address) -> Anchorage:
    """Note heads in the system log. Over UDP nobody says whether they arrived."""
    return Anchorage(f"syslog {address}", lambda text: asyncio.to_thread(_send, address, text))


def _send(address: Address, text: str) -> None:
    """Send one message, as RFC 3164 has it; every step ends in time, so that no thread is left behind."""
    line = b"<%d>opsbot: %b" % (_AUTHPRIV_INFO, text.encode())
    if not isinstance(address, str):
        (family, kind, _, _, target), *_ = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
        with socket.socket(family, kind) as link:
            link.sendto(line, target)
        return
    try:
        _send_local(socket.SOCK_DGRAM, address, line)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
        _send_local(socket.SOCK_STREAM, address, line + b"\0")


def _send_local(kind: socket.SocketKind, address: str, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX, kind) as link:
        link.settimeout(_TIMEOUT_S)
        link.connect(address)
        link.sendall(line)


def here() -> Address | None:
    """Return the machine's own log socket, if there is one."""
    try:
        return DEV_LOG if stat.S_ISSOCK(os.stat(DEV_LOG).st_mode) else None
    except OSError:
        return None


def file(path: Path) -> Anchorage:
    """Note heads in a file: one line each, appended and synced."""

    def append(text: str) -> None:
        line = f"{timestamp(datetime.now(UTC))} {text}\n".encode()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, "only a part of the line was written", str(path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    return Anchorage(f"file {path}", lambda text: asyncio.to_thread(append, text))


def newest_in(path: Path | None, key: bytes) -> Head | None:
    """Return the newest head noted in a file, None if there is none (yet). Raises ConfigError if it cannot be read."""
    if path is None or not path.exists():
        return None
    try:
        with path.open("rb") as lines:
            lines.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = lines.read(_TAIL_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"audit.anchor.file: {path} cannot be read ({error.strerror}); correct it.") from error
    return find_anchors(text.splitlines(), key).newest


def channel(chat: Chat, channel_id: str) -> Anchorage:
    """Note heads in a channel."""

    async def post(text: str) -> None:
        await chat.post(Place("", channel_id), Text(f"`{text}`", trusted=True), key=text.split()[1][:80])

    return Anchorage(f"channel {channel_id}", post, _CHANNEL_APART_S)
