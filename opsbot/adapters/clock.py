"""The real clock."""

import asyncio
import socket
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from opsbot.domain import Moment

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MACHINE_ID = Path("/etc/machine-id")


class SystemClock:
    """Implements `ports.Clock`."""

    def __init__(self, *, boot_id: Path = _BOOT_ID, machine_id: Path = _MACHINE_ID) -> None:
        # Where a system does not name its boots, each process counts as one: monotonic times are never compared
        # across what might have been a restart of the machine.
        self._boot_id = _first_line(boot_id) or f"process {uuid.uuid4().hex}"
        # The host name as well: images of containers and machines are copied together with their machine id.
        self._machine = f"{_first_line(machine_id)}/{socket.gethostname()}"

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def moment(self) -> Moment:
        return Moment(self.now(), self._machine, self._boot_id, self.monotonic())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
