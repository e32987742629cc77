"""The configuration's files as a source of inventories while the bot runs."""

import os
from collections.abc import Hashable
from pathlib import Path

from opsbot.config import Config, load
from opsbot.reload import Loaded

# Settings that make the inventory; all others count from the next start on.
_LIVE = ("hosts", "groups", "defaults", "inventory", "host_keys")


class WatchedConfig:
    """Reads the running configuration's files again; blocking. Which files these are can change with their content."""

    def __init__(self, running: Config) -> None:
        self._running = running
        self._latest = running
        # Secrets left the environment after the start; that they were there is part of the configuration.
        self._environ = dict(os.environ) | dict.fromkeys(running.secret_variables(), "(fetched)")

    def load(self) -> Loaded:
        """Read and check everything anew. Raises ConfigError with every fault."""
        self._latest = load(Path(self._running.source), self._environ)
        old, new = self._running.settings, self._latest.settings
        sections = [name for name in type(new).model_fields if name not in _LIVE]
        waiting = tuple(name for name in sections if getattr(old, name) != getattr(new, name))
        return Loaded(self._latest.inventory(), waiting)

    def stamp(self) -> Hashable:
        """Return what differs as soon as a file was written, replaced, removed or made."""
        return tuple(_stamp(path) for path in self._latest.inventory_sources())


def _stamp(path: Path) -> Hashable:
    try:
        found = path.stat()
    except OSError as error:
        return (str(path), error.errno)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)
