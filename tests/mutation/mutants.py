"""What became of each mutant of a run of mutmut, and the reviewed list of those that may survive."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

ACCEPTED = Path(__file__).parent / "accepted.toml"


class Fate(StrEnum):
    """What became of a mutant. `TIMED_OUT`: its tests did not end, which nobody would overlook."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    UNTRIED = "untried"


_FATES = {"killed": Fate.KILLED, "timeout": Fate.TIMED_OUT, "survived": Fate.SURVIVED, "no tests": Fate.SURVIVED}


@dataclass(frozen=True, slots=True)
class Change:
    """One place of a function, before and after it was mutated: lines without their indentation."""

    function: str
    was: str
    becomes: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutant by mutmut's name, in a module (`opsbot/gate.py`), and what became of it."""

    name: str
    module: str
    fate: Fate

    @property
    def function(self) -> str:
        """The function or method it is a mutant of: `review`, `Window.holds`."""
        function, owner = orig_function_and_class_names_from_key(self.name)
        return f"{owner}.{function}" if owner else function

    @property
    def change(self) -> Change:
        """What was changed; read from mutmut's folder."""
        lines = get_diff_for_mutant(self.name, path=self.module).splitlines()[2:]
        was, becomes = ("\n".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
        return Change(self.function, was, becomes)


def tried() -> Iterator[Mutant]:
    """Yield the mutants of the last run in this folder."""
    for path in walk_mutatable_files():
        found = SourceFileMutationData(path=path)
        found.load()
        for name, code in found.exit_code_by_key.items():
            yield Mutant(name, str(path), _FATES.get(status_by_exit_code[code], Fate.UNTRIED))


def accepted() -> dict[str, dict[Change, str]]:
    """Return, by module, the changes that nobody can notice or that nobody has to, each with its reason."""
    found: dict[str, dict[Change, str]] = {}
    for each in tomllib.loads(ACCEPTED.read_text(encoding="utf-8")).get("accepted", []):
        changes = (Change(each["function"], *change) for change in each["changes"])
        found.setdefault(each["module"], {}).update(dict.fromkeys(changes, each["why"]))
    return found


@dataclass(frozen=True, slots=True)
class Score:
    """The mutants of one module, counted. `accepted`: survivors that are on the list."""

    module: str
    mutants: int
    killed: int
    timed_out: int
    accepted: int

    @property
    def percent(self) -> float:
        """How many were noticed, of all there are."""
        return 100 * (self.killed + self.timed_out) / self.mutants

    @property
    def percent_but_accepted(self) -> float:
        """How many were noticed, of those that are not on the list."""
        return 100 * (self.killed + self.timed_out) / (self.mutants - self.accepted)


def score(module: str, mutants: Iterable[Mutant], accepted_here: Iterable[Mutant]) -> Score:
    """Count the mutants of a module."""
    fates = Counter(mutant.fate for mutant in mutants)
    return Score(module, fates.total(), fates[Fate.KILLED], fates[Fate.TIMED_OUT], len(list(accepted_here)))
