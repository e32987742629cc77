"""Pinned tool files: their names and checksums in a file, compared before any of them runs."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from opsbot.errors import ToolDefinitionError
from opsbot.tool_files import ToolFile, unsafe

_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)", re.ASCII)
_HEAD = """\
# The tool files opsbot may load, as `sha256  file`; written by `opsbot tools pin`.
# With `tools.pinned: true` the bot does not start when one is changed, missing, or not listed here.
"""
# Far more than any number of tools needs.
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pins:
    """The pinned files: name to checksum. `file` is where they stand, `folder` where their names start."""

    file: Path
    folder: Path
    sums: Mapping[str, str]

    def of(self, files: Iterable[ToolFile]) -> "Pins":
        """Return pins of these files as they are now.

        Raises:
            ToolDefinitionError: the name of one cannot stand in a line.
        """
        sums = {self.name_of(file): file.sha256 for file in files}
        strange = [name for name in sums if not (name.isprintable() and _LINE.fullmatch(f"{'0' * 64}  {name}"))]
        if strange:
            raise ToolDefinitionError(*(f"{name!a}: cannot be pinned under this name; rename it." for name in strange))
        return Pins(self.file, self.folder, dict(sorted(sums.items())))

    def name_of(self, file: ToolFile) -> str:
        """Return the file's name as pins spell it: from `folder` on where it lies below."""
        folder = f"{self.folder}{os.sep}"
        return file.name if file.shipped else file.name.removeprefix(folder)

    def faults(self, files: Iterable[ToolFile]) -> Iterator[str]:
        """Say which of these files must not be loaded, and which are gone."""
        found = {self.name_of(file): file for file in files}
        for name, file in found.items():
            pinned = self.sums.get(name)
            if pinned is None:
                yield (
                    f"{file.path}: is not listed in {self.file}; if it belongs there, read it and run "
                    "`opsbot tools pin`, else take it away."
                )
            elif pinned != file.sha256:
                yield (
                    f"{file.path}: is not the file that was pinned in {self.file} (sha256 {file.sha256[:12]}…, pinned "
                    f"{pinned[:12]}…); put that one back, or read the change and run `opsbot tools pin`."
                )
        for name in sorted(self.sums.keys() - found.keys()):
            yield f"{name}: is pinned in {self.file} and is not there; put it back, or run `opsbot tools pin`."

    def changes_from(self, old: "Pins") -> Iterator[str]:
        """Say what is new, changed and gone since the old pins, one line each."""
        for name in sorted(self.sums.keys() | old.sums.keys()):
            before, now = old.sums.get(name), self.sums.get(name)
            if before is None and now is not None:
                yield f"new      {name}  {now[:12]}"
            elif before is not None and now is None:
                yield f"gone     {name}  {before[:12]}"
            elif before is not None and now is not None and before != now:
                yield f"changed  {name}  {before[:12]} -> {now[:12]}"

    def write(self) -> None:
        """Replace the file as a whole, on the disk before it has its name.

        Raises:
            ToolDefinitionError: it cannot be written.
        """
        text = _HEAD + "".join(f"{checksum}  {name}\n" for name, checksum in self.sums.items())
        try:
            _replace(self.file, text.encode("utf-8"))
        except OSError as error:
            raise ToolDefinitionError(
                f"{self.file}: cannot be written ({error.strerror}); run this as a user who may, or set tools.pins."
            ) from error


def read_pins(file: Path, folder: Path) -> Pins:
    """Read the pinned names and checksums.

    Raises:
        ToolDefinitionError: it is missing, unreadable, or could have been written by somebody else.
    """
    try:
        if faults := list(unsafe(file)):
            raise ToolDefinitionError(*faults)
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ToolDefinitionError(
            f"{file}: cannot be read ({error.strerror}); `tools.pinned` is true, so read the tool files and run "
            "`opsbot tools pin`."
        ) from error
    return Pins(file, folder, _parsed(file, content))


def _parsed(file: Path, content: bytes) -> dict[str, str]:
    sums: dict[str, str] = {}
    faults = [] if len(content) <= _MAX_BYTES else [f"{file}: is larger than {_MAX_BYTES} bytes; that is no such file."]
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        if not line or line.startswith("#") or faults:
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[2] in sums:
            what = "is no line of `sha256  file`" if found is None else f"names {found[2]} again"
            faults.append(f"{file}:{number}: {what}; run `opsbot tools pin` after you have read the tool files.")
        else:
            sums[found[2]] = found[1]
    if faults:
        raise ToolDefinitionError(*faults)
    return sums


def _replace(file: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as opened:
            os.fchmod(opened.fileno(), 0o644)
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
