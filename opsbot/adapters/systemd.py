"""What systemd is told of this process: ready, stopping, still alive (sd_notify(3), systemd 252; no library needed)."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"
# systemd recommends a sign of life at half the time after which it gives up; a third leaves room for one lost.
_SIGNS = 3


@dataclass(frozen=True, slots=True)
class Systemd:
    """`address`: where it listens, "" for nowhere; `watchdog_s`: how long it waits for signs of life (0: for ever)."""

    address: str = ""
    watchdog_s: float = 0.0

    @classmethod
    def of(cls, environment: Mapping[str, str], pid: int) -> "Systemd":
        """Read what systemd says in the environment of the process it started."""
        asked_s = _seconds(environment.get("WATCHDOG_USEC", ""))
        mine = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        return cls(environment.get("NOTIFY_SOCKET", ""), asked_s if mine else 0.0)

    @classmethod
    def found(cls) -> "Systemd":
        """Read this process's environment; what it starts must not speak for it, so the variables go."""
        found = cls.of(os.environ, os.getpid())
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
            os.environ.pop(name, None)
        return found

    def tell(self, *states: str) -> None:
        """Send it at once; nobody there, or nobody reading, is no reason to fail."""
        if not self.address:
            return
        # A leading @ stands for the NUL of an abstract address.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
                out.sendto("\n".join(states).encode(), address)
        except OSError as error:
            log.warning("systemd.not_told", states=states, error=error.strerror)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Show signs of life from the event loop: when it hangs they end, and systemd starts the bot anew."""
        if not self.address or not self.watchdog_s:
            yield
            return
        signs = asyncio.create_task(self._show_life())
        try:
            yield
        finally:
            signs.cancel()

    async def _show_life(self) -> None:
        while True:
            self.tell(ALIVE)
            await asyncio.sleep(self.watchdog_s / _SIGNS)


def _seconds(microseconds: str) -> float:
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() else 0.0
