"""What is sent to a host to look at it, as templates: for the gate that guards a key which may only look."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from opsbot.domain import Host
from opsbot.root_commands import ENGINES, as_root, container_log, container_look


class Kind(StrEnum):
    """What may stand in a word of a template."""

    UNIT = "unit"
    CONTAINER = "container"
    NUMBER = "number"
    TIME = "time"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Slot:
    """A word that varies: its kind, and what stands before and after it in the same word (neither holds `|`)."""

    kind: Kind
    before: str = ""
    after: str = ""

    def within(self, before: str, after: str = "") -> "Slot":
        """Return the slot with these around it: `NUMBER.within("--lines=")`."""
        return replace(self, before=before, after=after)


# A command line, word by word: as it is sent, but for its slots.
Look: TypeAlias = tuple[str | Slot, ...]

UNIT, CONTAINER, NUMBER = Slot(Kind.UNIT), Slot(Kind.CONTAINER), Slot(Kind.NUMBER)
# As journalctl takes it.
TIME = Slot(Kind.TIME)
# An absolute path, of any characters but control characters and the single quote.
PATH = Slot(Kind.PATH)


def script_look(script: str, *words: str | Slot) -> Look:
    """Return the template of a fixed script with these arguments."""
    return ("sh", "-c", script, "sh", *words) if words else ("sh", "-c", script)


def container_looks(host: Host) -> Iterator[Look]:
    """Yield how listed containers are looked at: by the account itself, and by sudo where the inventory says so."""
    for engine in ENGINES:
        for name in host.containers:
            for command in (container_look(engine, name), container_log(engine, name)):
                yield (engine, *command[1:])
                if host.sudo:
                    yield as_root(host, command)
