"""A folder of Markdown files as documents: what is too large, not text, or leads out of the folder is refused."""

import os
import stat
from collections.abc import Hashable
from pathlib import Path

from opsbot.adapters.runbook_text import read_runbook
from opsbot.passages import Document, Fault, Shelved

FILE_BYTES = 256 * 1024
FILES_MAX = 1000
PASSAGES_MAX = 5000
_ENTRIES_MAX = 20_000
_DEPTH_MAX = 12
_ENDINGS = (".md", ".markdown")


class RunbookFolder:
    """Reads a folder; blocking. It may be written to meanwhile, and by anybody who may write runbooks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def stamp(self) -> Hashable:
        """Return what differs as soon as a file was written, replaced, removed or made; it reads none of them."""
        return tuple((name, *_stamp(path)) for name, path in self._files([]) or ())

    def read(self) -> Shelved:
        """Read every file. What cannot be read is a fault, and no reason to leave out the others."""
        faults: list[Fault] = []
        documents: list[Document] = []
        left = PASSAGES_MAX
        files = self._files(faults)
        if files is None:
            return Shelved((), tuple(faults), whole=False)
        for name, path in files:
            document = self._document(name, path, faults)
            if document is None:
                continue
            left -= len(document.passages)
            if left < 0:
                faults.append(Fault(name, 1, f"there are more than {PASSAGES_MAX:,} passages; split the folder up."))
                break
            documents.append(document)
        return Shelved(tuple(documents), tuple(faults))

    def _document(self, name: str, path: Path, faults: list[Fault]) -> Document | None:
        try:
            text = _text(path, self.folder)
        except OSError as error:
            faults.append(Fault(name, 1, f"cannot be read ({error.strerror or error}); check its owner and mode."))
        except ValueError as error:
            faults.append(Fault(name, 1, str(error)))
        else:
            read = read_runbook(name, text)
            empty = not read.document.passages
            faults += [Fault(name, line, said, left_out=empty) for line, said in read.faults]
            return None if empty else read.document
        return None

    # --- which files there are ---------------------------------------------------------------------------------------

    def _files(self, faults: list[Fault]) -> list[tuple[str, Path]] | None:
        """Return (path in the folder, file) of each, in order; None: the folder itself cannot be read."""
        found: list[tuple[str, Path]] = []
        try:
            root = self.folder.resolve(strict=True)
            self._walk(root, root, 0, found, faults)
        except OSError as error:
            faults.append(Fault(str(self.folder), 1, f"cannot be read ({error.strerror or error}); check the path."))
            return None
        found.sort()
        if len(found) > FILES_MAX:
            faults.append(Fault(found[FILES_MAX][0], 1, f"there are more than {FILES_MAX:,} files; split the folder."))
        return found[:FILES_MAX]

    def _walk(self, root: Path, folder: Path, depth: int, found: list[tuple[str, Path]], faults: list[Fault]) -> None:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= _ENTRIES_MAX or depth > _DEPTH_MAX:
                    name = str(folder.relative_to(root))
                    faults.append(Fault(name, 1, "too many entries, or too deep; the rest is not looked at."))
                    return
                if not entry.name.startswith("."):
                    self._entry(root, entry, depth, found, faults)

    def _entry(
        self, root: Path, entry: "os.DirEntry[str]", depth: int, found: list[tuple[str, Path]], faults: list[Fault]
    ) -> None:
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        if entry.is_dir(follow_symlinks=False):
            try:
                self._walk(root, path, depth + 1, found, faults)
            except OSError as error:
                faults.append(Fault(name, 1, f"cannot be read ({error.strerror or error}); check its mode."))
        elif entry.name.lower().endswith(_ENDINGS):
            if not _printable(name):
                faults.append(Fault(ascii(name), 1, "its name cannot be shown; rename it."))
            elif entry.is_symlink() and not _inside(path, root):
                faults.append(Fault(name, 1, "is a link that leads out of the folder, or nowhere; put the file here."))
            else:
                found.append((name, path))


def _inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root)
    except (OSError, RuntimeError):
        return False


def _printable(name: str) -> bool:
    return name.isprintable() and len(name) <= 300


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _text(path: Path, folder: Path) -> str:
    """Return the text of a regular file in the folder. Raises OSError; ValueError in words for people."""
    # A named pipe would block an open for ever. What was swapped since it was listed, also for a link, is seen by what
    # was really opened.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("is not a regular file; remove it.")
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder.resolve()) or not os.path.samestat(real.stat(), os.fstat(file.fileno())):
            raise ValueError("was changed while it was read, or leads out of the folder; put the file here.")
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise ValueError(f"is larger than {FILE_BYTES // 1024} KiB; split it up.")
    if b"\x00" in data:
        raise ValueError("is not text; remove it, or give it another ending.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8 text; save it as UTF-8.") from error
