"""`opsbot hosts import`: turns another tool's inventory into a file for `inventory:`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from opsbot.config_faults import fault_of
from opsbot.config_model import HostDefaults
from opsbot.errors import ConfigError
from opsbot.importing.ansible import read_ansible
from opsbot.importing.findings import STDIN, Files, Findings
from opsbot.importing.plain import read_plain
from opsbot.importing.settled import Imported, Wanted, settle
from opsbot.importing.ssh_config import read_ssh_config
from opsbot.importing.written import inventory_text, rows

_ROWS_SHOWN = 40


def _plain(path: Path) -> Findings:
    return read_plain(Files().read(path), str(path))


def _ssh_config(path: Path) -> Findings:
    return read_ssh_config(path, Files())


def _ansible(path: Path) -> Findings:
    return read_ansible(path, Files())


_READERS: Mapping[str, Callable[[Path], Findings]] = {
    "ansible": _ansible,
    "plain": _plain,
    "ssh-config": _ssh_config,
}


def import_hosts(options: argparse.Namespace) -> int:
    """Read, settle and write an inventory. Returns 1 if it has no host."""
    source = Path(options.file)
    target = Path(options.output) if options.output else None
    if target is not None and target.exists() and not options.force:
        raise ConfigError(f"{target}: is there already; name another file, or add --force to replace it.")
    key = str(Path(options.key).absolute()) if options.key and not options.key.startswith("~") else options.key or ""
    wanted = _checked(Wanted(options.user or "", key, options.environment or ""))
    findings = _READERS[options.source](source)
    imported = settle(findings, wanted, one_name_each=options.source == "ssh-config")
    _report(imported)
    if not imported.hosts:
        return 1
    text = inventory_text(imported, f"{options.source}: {'stdin' if options.file == STDIN else options.file}")
    if target is None:
        sys.stdout.write(text)
    else:
        _write(target, text, force=options.force)
    return 0


def _checked(wanted: Wanted) -> Wanted:
    """Return it, if it can stand in an inventory. Raises ConfigError."""
    said = {name: getattr(wanted, name) for name in ("user", "key", "environment") if getattr(wanted, name)}
    try:
        HostDefaults.model_validate(said)
    except ValidationError as error:
        found = [fault_of(HostDefaults, detail)[1] for detail in error.errors(include_url=False)]
        raise ConfigError(*(f"--{fault}" for fault in found)) from error
    return wanted


def _write(path: Path, text: str, *, force: bool) -> None:
    """Put the whole file in place at once: a running bot may read it. Raises ConfigError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(handle, 0o644)
            if not force:
                path.open("x").close()
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); name another file.") from error


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _report(imported: Imported) -> None:
    console = Console(stderr=True)
    found = rows(imported.remarks)
    console.print(
        f"{_count(len(imported.hosts), 'host')}, {_count(len(imported.groups), 'group')}, "
        f"{_count(imported.left_out, 'host')} left out.",
        highlight=False,
    )
    if not found:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("Left out", "Where", "Why"):
        table.add_column(header, overflow="fold")
    for row in found[:_ROWS_SHOWN]:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    if len(found) > _ROWS_SHOWN:
        console.print(f"… and {len(found) - _ROWS_SHOWN} reasons more; the file's comments have them.", highlight=False)
