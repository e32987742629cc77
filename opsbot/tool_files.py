"""Which files are tool code, each read once, and whether anybody else could have written them."""

import errno
import importlib.util
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

# The tools that ship with opsbot: a package of its own, found by name and never imported by a statement.
SHIPPED_TOOLS = "opsbot_tools"
# As Linux: more links than this on one way are a loop (path_resolution(7)).
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class ToolFile:
    """One file of tool code as it was read: what is checked is what runs, whatever stands there afterwards.

    `name` is what pins call it, `module` the module it becomes. A file that does not `load` (its name begins with `_`,
    or it lies in a folder below) is only there for others to use.
    """

    path: Path
    name: str
    module: str
    source: bytes
    loads: bool

    @property
    def sha256(self) -> str:
        return sha256(self.source).hexdigest()

    @property
    def shipped(self) -> bool:
        """Whether it is a module of an installed package."""
        return not self.module.startswith(_FOLDER_MODULE)


_FOLDER_MODULE = "opsbot_tool_folder_"


def tool_files(folder: Path | str, faults: list[str]) -> tuple[ToolFile, ...]:
    """Read every Python file of a folder (a `Path`) or of an installed package (a module name), sorted.

    A folder, its files, and every directory and link on the way to them must belong to root or to the bot's user and
    be writable by nobody else; what is wrong is added to `faults`, and then no file is returned. A package is not
    looked at so: whoever may write there may write opsbot itself.
    """
    try:
        return _of_package(folder) if isinstance(folder, str) else _of_folder(folder, faults)
    except OSError as error:
        where = error.filename or folder
        faults.append(
            f"{where}: the tool folder cannot be read ({error.strerror}); create it or correct tools.folders."
        )
        return ()


def unsafe(path: Path) -> Iterator[str]:
    """Say why somebody else could change what stands at `path`: itself, or a directory or link on the way to it.

    A sticky directory on the way protects what is in it from others.

    Raises:
        OSError: it is not there, cannot be read, or the links on the way are a loop.
    """
    way = _way(path)
    for step in way:
        fault = _fault(step, above=step is not way[-1])
        if fault:
            yield fault


def _of_package(package: str) -> tuple[ToolFile, ...]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        text = "the package of shipped tools is not installed"
        raise FileNotFoundError(errno.ENOENT, text, package)
    folder = Path(next(iter(spec.submodule_search_locations)))
    return tuple(
        ToolFile(path, f"{package}/{path.relative_to(folder)}", f"{package}.{path.stem}", path.read_bytes(), loads)
        for path, loads in _python_files(folder)
    )


def _of_folder(folder: Path, faults: list[str]) -> tuple[ToolFile, ...]:
    found = list(_python_files(folder))
    wrong = dict.fromkeys(fault for path in (folder, *(path for path, _ in found)) for fault in unsafe(path))
    faults.extend(wrong)
    if wrong:
        return ()
    real = folder.resolve(strict=True)
    prefix = f"{_FOLDER_MODULE}{sha256(str(real).encode()).hexdigest()[:8]}_"
    return tuple(
        ToolFile(real / path.relative_to(folder), str(path), f"{prefix}{path.stem}", path.read_bytes(), loads)
        for path, loads in found
    )


def _python_files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Yield every file of Python code, and whether it is loaded."""
    direct = {path for path in folder.iterdir() if path.match("[!._]*.py")}
    for path in sorted(direct | {path for path in folder.rglob("*.py") if path.is_file()}):
        yield path, path in direct


def _way(path: Path) -> list[Path]:
    """Return every directory, link and file that decides what `path` is, the thing itself last."""
    todo = list(path.absolute().parts)
    at = Path(todo.pop(0))
    way, links = [at], 0
    while todo:
        part = todo.pop(0)
        at = at.parent if part == ".." else at / part
        way.append(at)
        if at.is_symlink():
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = Path(os.readlink(at))
            todo = [*target.parts, *todo]
            at = Path(todo.pop(0)) if target.is_absolute() else at.parent
            way.append(at)
    return way


def _fault(path: Path, *, above: bool) -> str:
    facts = path.lstat()
    if facts.st_uid not in (0, os.geteuid()):
        return f"{path}: belongs to user {facts.st_uid}; tool code must belong to root or to the bot's user (chown it)."
    if stat.S_ISLNK(facts.st_mode):
        return ""  # a link has no permissions; who may replace it is decided by its directory
    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (above and facts.st_mode & stat.S_ISVTX):
        return f"{path}: others may write it, and its code would run in the bot; run `chmod go-w {path}`."
    return ""
