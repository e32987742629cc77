"""Mutation testing of what no action gets around; run as `python -m tests.mutation.run`.

mutmut makes one small mistake at a time in the modules that pyproject.toml names, in a copy of the project, and the
tests named there have to notice. It fails when less than `LEAST` per cent are noticed in one of `HELD`, when a mutant
survives that nobody looked at (`accepted.toml`), or when that list names one that there is not. What came of it is
written to docs/safety-mutation.json, for the safety page.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.mutation.mutants import Change, Fate, Mutant, Score, accepted, score, tried
from tests.sabotage.copy import ROOT, make_copy

RESULTS = ROOT / "docs/safety-mutation.json"
LEAST = 95.0
# The gates of the design: the policy, approvals, the executor, and the forced command of a host.
HELD = ("opsbot/approvals.py", "opsbot/executor.py", "opsbot/gate.py", "opsbot/policy.py", "opsbot/policy_rules.py")
_PROCESSES = 2


def main() -> int:
    """Try every mutant, say and write down what became of them; 0: all is as it has to be."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        make_copy(Path(folder))
        os.chdir(folder)
        mutmut = Path(sys.executable).with_name("mutmut")
        done = subprocess.run([mutmut, "run", "--max-children", str(_PROCESSES)], check=False)
        if done.returncode:
            return done.returncode
        found = {module: list(of_it) for module, of_it in groupby(tried(), key=lambda mutant: mutant.module)}
        listed = accepted()
        scores = [score(module, of_it, _on(listed.get(module, {}), of_it)) for module, of_it in found.items()]
        trouble = [line for module, of_it in found.items() for line in _unlisted(of_it, listed.get(module, {}))]
        trouble += [line for module, of_it in found.items() for line in _gone(of_it, listed.get(module, {}))]
    trouble += [f"{each.module}: {each.percent:.1f} % are fewer than {LEAST:g} %" for each in scores if _too_few(each)]
    _write(scores)
    print("", *map(line_of, scores), *trouble, sep="\n")
    return 1 if trouble else 0


def line_of(one: Score) -> str:
    """Say how a module fared."""
    return (
        f"{one.module}: {one.killed + one.timed_out} of {one.mutants} noticed ({one.percent:.1f} %; "
        f"{one.percent_but_accepted:.1f} % without {one.accepted} accepted)"
    )


def _too_few(one: Score) -> bool:
    return one.module in HELD and one.percent < LEAST


def _on(listed: dict[Change, str], mutants: Iterable[Mutant]) -> list[Mutant]:
    return [mutant for mutant in mutants if mutant.fate is Fate.SURVIVED and mutant.change in listed]


def _unlisted(mutants: Iterable[Mutant], listed: dict[Change, str]) -> list[str]:
    lost = (mutant for mutant in mutants if mutant.fate in (Fate.SURVIVED, Fate.UNTRIED))
    return [
        f"{mutant.fate}: {mutant.name}\n  - {mutant.change.was}\n  + {mutant.change.becomes}"
        for mutant in lost
        if mutant.fate is Fate.UNTRIED or mutant.change not in listed
    ]


def _gone(mutants: Iterable[Mutant], listed: dict[Change, str]) -> list[str]:
    functions = {change.function for change in listed}
    there = {mutant.change for mutant in mutants if mutant.function in functions}
    return [f"accepted, but there is no such mutant: {each.function}: {each.becomes}" for each in listed.keys() - there]


def _write(scores: Iterable[Score]) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    content = {
        "on": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu_seconds": round(used.ru_utime + used.ru_stime),
        "modules": {
            one.module: {
                "mutants": one.mutants,
                "killed": one.killed,
                "timed_out": one.timed_out,
                "accepted": one.accepted,
            }
            for one in scores
        },
    }
    RESULTS.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
