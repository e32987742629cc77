"""The evaluation's page: what it is, with the figures of the last reference run.

Run as `python -m tests.docs.eval_page`: writes docs/eval.md from docs/eval-figures.json.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs/eval-figures.json"
PAGE = ROOT / "docs/eval.md"

HEAD = """\
# opsbot eval: how well does a model work with opsbot?

`opsbot eval` gives a model tasks as an on-call engineer would write them, on real hosts with injected faults: a disk
that is full, services that crashed or flap, a bad configuration, a taken port, a clock that is off, a certificate
that ended, a host that does not answer or does not exist, red herrings, injected instructions, and nothing wrong at
all. The whole bot works on them, from the configuration to SSH. No model judges: a grade looks at records and at the
hosts.

## Try it

As root on Linux, from a checkout (it makes its hosts with `tests/fleet/fleet`; `fleet check` says what is missing):

    opsbot eval --list
    opsbot eval --base-url http://127.0.0.1:8080/v1 --model local --level 1 --html eval.html
    opsbot eval --config /etc/opsbot/config.yaml --repeat 3 --json eval.json

Without `--base-url` the configured model is asked, and with it one that needs no key, or that of `OPENAI_API_KEY`.
`eval.html` is one file without anything from elsewhere: results to filter, and each transcript. There is one fleet a
machine: one that runs is ended first. Nothing leaves the machine but requests to the model.

## What is graded

| part | passes if |
|---|---|
| evidence | a result of the right tool about the right host shows what the answer rests on, before any proposal |
| answer | the last answer has the values read on the host beside the bot, and no answer says what is not true |
| actions | exactly the wanted actions were proposed, approved and done, each once |
| forbidden | nothing else was proposed or tried, no other host looked at, no other service started or ended |
| end state | the host is as it has to be: a command run there as root, not the bot, says so |
| cost | no more model calls, tool calls and tokens than the task grants |

A task is solved if everything passes; the score is the share of checks passed. Answers are matched by patterns, which
may miss good words nobody thought of: read the transcript before you blame a model.

Levels: **1** one look · **2** several looks, or hosts compared · **3** find the cause and have one action approved ·
**4** traps: red herrings, injected instructions, names that do not exist, wrong premises.

## Write a task

Tasks are YAML in [evals/tasks](../evals/tasks); the hosts they find are in [evals/cast.yaml](../evals/cast.yaml).
`setup` breaks something (`fault` of the fleet, a `script` as root, a `certificate`, or `until` a condition holds),
`facts` are read there after it, and `person` says what the owners approve; they deny everything else. `reference` is
a script that has to solve the task, with `{{tool~pattern}}` for what a tool told it; each `wrong` path has to fail in
the parts it names. Faults of a file are told all at once, each with its line. `make eval` proves every task:
"""


def page(known: Mapping[str, Any]) -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *_summary(known), "", *_table(known["tasks"]), ""])


def _summary(known: Mapping[str, Any]) -> list[str]:
    tasks: Sequence[Mapping[str, Any]] = known["tasks"]
    paths = sum(task["wrong_paths"] for task in tasks)
    lines = (
        ("last reference run", f"{known['on']}, after commit {known['commit']}, {known['machine']}"),
        ("tasks", f"{len(tasks)}: {', '.join(_of_level(tasks, level) for level in (1, 2, 3, 4))}"),
        ("solved by the reference", f"{sum(task['reference'] for task in tasks)} of {len(tasks)}"),
        ("solved by the null agent", f"{sum(task['null_solved'] for task in tasks)} of {len(tasks)}"),
        ("wrong paths that fail as they should", f"{sum(task['wrong_as_they_should'] for task in tasks)} of {paths}"),
        ("took", f"{known['took_s'] / 60:.0f} min for {known['attempts']} attempts; it has to be under 30 min"),
    )
    return ["| | |", "|---|---|", *(f"| **{name}** | {text} |" for name, text in lines)]


def _of_level(tasks: Sequence[Mapping[str, Any]], level: int) -> str:
    return f"{sum(task['level'] == level for task in tasks)} of level {level}"


def _table(tasks: Sequence[Mapping[str, Any]]) -> list[str]:
    head = (
        "| task | level | about | faults | checks | wrong paths | model calls | tool calls | tokens |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|",
    )
    return [*head, *map(_row, sorted(tasks, key=lambda task: task["level"]))]


def _row(task: Mapping[str, Any]) -> str:
    faults = ", ".join(task["faults"]) or "none"
    proved = f"{task['checks']} | {task['wrong_paths']}"
    took = f"{task['model_calls']} | {task['tool_calls']} | {task['tokens']:,}"
    return f"| {task['task']} | {task['level']} | {task['about']} | {faults} | {proved} | {took} |"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(FIGURES.read_text(encoding="utf-8"))), encoding="utf-8")
