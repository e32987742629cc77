"""The socket on which systemd hears its services, in a test's hands."""

import os
import socket
import threading
import time
from pathlib import Path

_PATIENCE_S = 60.0


class NotifySocket:
    """Takes down what is told, with the time of each. `environment` is what systemd would give the service."""

    def __init__(self, folder: Path, *, watchdog_s: float = 0.0) -> None:
        self.path = folder / "notify"
        self.environment = {"NOTIFY_SOCKET": str(self.path)}
        if watchdog_s:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.told: list[tuple[float, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        threading.Thread(target=self._listen, daemon=True).start()

    def states(self, *wanted: str) -> list[str]:
        """What was told, in order; of these only, if any are named."""
        return [state for _, state in self.told if not wanted or state in wanted]

    def wait_for(self, state: str, count: int = 1) -> None:
        """Wait until it was told so often."""
        deadline = time.monotonic() + _PATIENCE_S
        while len(self.states(state)) < count:
            assert time.monotonic() < deadline, f"no {state}: {self.told[-5:]}"
            time.sleep(0.02)

    def settled(self) -> list[str]:
        """What was told up to now, with nothing on its way any more."""
        mark = f"X_MARK={time.monotonic()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(mark.encode(), str(self.path))
        self.wait_for(mark)
        return [state for state in self.states() if not state.startswith("X_MARK=")]

    def close(self) -> None:
        self._socket.close()
        os.unlink(self.path)

    def _listen(self) -> None:
        while True:
            try:
                datagram = self._socket.recv(4096)
            except OSError:
                return
            self.told += [(time.monotonic(), line) for line in datagram.decode().splitlines()]
