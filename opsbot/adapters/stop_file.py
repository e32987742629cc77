"""The stop file: while it is there, no action begins. It works without the database, without Slack, without opsbot."""

import os
import stat
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from opsbot.holds import FILE, Hold, HoldKind, Scope, Where
from opsbot.readable import plain_line

log = structlog.get_logger(__name__)

_REASON_MAX = 300


@dataclass(slots=True)
class StopFile:
    """Implements `ports.StopSwitch`. Only "there is no such file, in a folder that is there" is not stopped."""

    path: Path
    # Thrown while the file could not be written.
    forced: str = ""

    def thrown(self) -> Hold | None:
        """Return the stop that the file makes; whatever cannot be told is a stop."""
        if self.forced:
            return self._stop(datetime.now(UTC), self.forced)
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return None if _is_folder(self.path.parent) else self._unreadable("its folder cannot be looked into")
        except (OSError, ValueError) as error:
            return self._unreadable(getattr(error, "strerror", None) or str(error))
        return self._stop(datetime.fromtimestamp(found.st_mtime, UTC), self._reason())

    def throw(self, reason: str) -> None:
        """Make the file; if that fails, this process stays stopped until it ends."""
        try:
            _write(self.path, reason)
        except OSError as error:
            self.forced = f"{reason} (the file could not be written: {error.strerror})"
            log.error("stop.file_not_written", path=str(self.path), error=error.strerror)

    def release(self) -> bool:
        """Remove the file; False: there was none, or it cannot be removed (the log says why)."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            log.error("stop.file_not_removed", path=str(self.path), error=error.strerror)
            return False
        self.forced = ""
        return True

    def _unreadable(self, why: str) -> Hold:
        return self._stop(datetime.now(UTC), f"whether the file is there cannot be told: {why}")

    def _stop(self, at: datetime, reason: str) -> Hold:
        said = plain_line(reason, limit=_REASON_MAX)
        return Hold("file", HoldKind.STOP, Scope(Where.ALL), f"{FILE}/{self.path}", at, said)

    def _reason(self) -> str:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            return f"the file is there, and cannot be read ({error.strerror})"
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "something of that name is there"
            text = os.read(descriptor, 4096).decode("utf-8", "replace").strip()
        except OSError as error:
            return f"the file is there, and cannot be read ({error.strerror})"
        finally:
            os.close(descriptor)
        return text.splitlines()[0] if text else "the file is there"


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _write(path: Path, reason: str) -> None:
    """Make the file whole or not at all, and let it last; one that is there keeps its words."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(reason + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        Path(temporary).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
