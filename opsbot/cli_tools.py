"""Pin tool files."""

import argparse
import sys

from opsbot.cli_config import config_of
from opsbot.errors import ToolDefinitionError
from opsbot.pins import Pins, read_pins
from opsbot.tool_files import tool_files
from opsbot.toolbox import tool_places


def pin(options: argparse.Namespace) -> int:
    """Show what changed since tool files were pinned last, and pin them as they are now; none of them runs."""
    config = config_of(options)
    faults: list[str] = []
    files = [file for place in tool_places(config) for file in tool_files(place, faults)]
    if faults:
        raise ToolDefinitionError(*faults)
    path = config.pins_file()
    old = read_pins(path, config.folder) if path.exists() else Pins(path, config.folder, {})
    new = old.of(files)
    changes = list(new.changes_from(old))
    sys.stdout.write("".join(f"{line}\n" for line in changes))
    if options.check:
        sys.stdout.write(f"{path}: {_differs(len(changes), len(files))}\n")
        return 1 if changes else 0
    if changes:
        new.write()
    sys.stdout.write(f"{path}: {len(files)} tool files pinned, {len(changes)} of them changed, new or gone.\n")
    if not config.tools.pinned:
        sys.stderr.write("opsbot: nothing holds the bot to this until the configuration says `tools.pinned: true`.\n")
    return 0


def _differs(changes: int, files: int) -> str:
    if not changes:
        return f"all {files} tool files are the pinned ones."
    return f"{changes} tool files differ from what is pinned; read them, then run `opsbot tools pin`."
