"""`opsbot eval`: tasks on real hosts with injected faults, for the configured model or scripted agents."""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from opsbot.adapters.clock import SystemClock
from opsbot.cli_config import config_of
from opsbot.config import Secrets
from opsbot.config_model import Model
from opsbot.config_secrets import Secret
from opsbot.domain import Host
from opsbot.errors import ConfigError
from opsbot.evaluation.attempt import Mind
from opsbot.evaluation.fleet import Fleet
from opsbot.evaluation.html_report import page
from opsbot.evaluation.record import Result
from opsbot.evaluation.report import Outcome, agent_text, as_json, document, figures, summary, table, verdict
from opsbot.evaluation.runner import Run, tries
from opsbot.evaluation.scene import Machines, Scene
from opsbot.evaluation.scripted import NAME, scripted_endpoint
from opsbot.evaluation.settings import evaluated
from opsbot.evaluation.task_files import Suite, load_suite
from opsbot.evaluation.tasks import Task

_CLOCK = SystemClock()
# A real model thinks for as long as it thinks; the turn has a limit of its own.
_MODEL_TIMEOUT_S = 900.0
# In a file or a pipe.
_TABLE_WIDTH = 140


def evaluate(options: argparse.Namespace) -> int:
    """Run the chosen tasks with the chosen agents; 1 if an attempt did not come out as it should."""
    _check(options)
    suite = load_suite(options.tasks or Path(__file__).resolve().parents[1] / "evals")
    tasks = _chosen(suite.tasks, options)
    agents = tuple(options.agent or ("model",))
    if options.list:
        _print(_listed(tasks))
        return 0
    model = _model(options) if "model" in agents else None
    fleet = Fleet.found(options.fleet)
    outcome = asyncio.run(_run(suite, tasks, agents, options, fleet, model))
    _write(outcome, tasks, options)
    _print(table(outcome.results))
    sys.stdout.write(summary(outcome) + "\n")
    return 0 if outcome.well else 1


def _check(options: argparse.Namespace) -> None:
    """Refuse what would only fail after the run. Raises ConfigError with every fault."""
    faults = [f"--repeat {options.repeat}: use 1 or more."] if options.repeat < 1 else []
    for name in ("json", "html", "figures"):
        path = getattr(options, name)
        if path is not None and not path.absolute().parent.is_dir():
            faults.append(f"--{name} {path}: there is no folder {path.absolute().parent}; make it or name another.")
    if faults:
        raise ConfigError(*faults)


def _print(drawn: Table) -> None:
    width = None if sys.stdout.isatty() else _TABLE_WIDTH
    Console(file=sys.stdout, width=width, highlight=False, markup=False).print(drawn)


def _chosen(tasks: Sequence[Task], options: argparse.Namespace) -> tuple[Task, ...]:
    known = {task.id for task in tasks}
    if unknown := [name for name in options.task or () if name not in known]:
        raise ConfigError(f"There is no task {', '.join(unknown)}; `opsbot eval --list` names them.")
    named = (task for task in tasks if not options.task or task.id in options.task)
    chosen = tuple(task for task in named if options.level in (None, task.level))
    if not chosen:
        raise ConfigError(f"No task named is of level {options.level}; `opsbot eval --list` shows their levels.")
    return chosen


def _listed(tasks: Sequence[Task]) -> Table:
    drawn = Table("task", "level", "about", "hosts", "faults", "wrong paths")
    for task in tasks:
        drawn.add_row(
            task.id,
            str(task.level),
            task.about,
            ", ".join(task.hosts),
            ", ".join(task.faults) or "none",
            str(len(task.wrong)),
        )
    return drawn


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The model under evaluation."""

    model: Model
    secrets: Secrets


def _model(options: argparse.Namespace) -> _Chosen:
    """Return the configured model, or that of --base-url and --model. Raises ConfigError if there is none."""
    if options.base_url:
        key = os.environ.get("OPENAI_API_KEY", "").strip()
        model = Model(base_url=options.base_url, name=options.model or Model().name)
        return _Chosen(model, Secrets(model_api_key=Secret(key) if key else None))
    config = config_of(options)
    if config.model.keyless:
        raise ConfigError(
            f"{config.source}: no model is configured to be evaluated; name one with --base-url and --model, "
            "or run scripts: --agent reference."
        )
    named = {"name": options.model} if options.model else {}
    return _Chosen(config.model.model_copy(update=named), Secrets(config.secrets(slack=False).model_api_key))


async def _run(
    suite: Suite,
    tasks: Sequence[Task],
    agents: Sequence[str],
    options: argparse.Namespace,
    fleet: Fleet,
    chosen: _Chosen | None,
) -> Outcome:
    began_at, began = _CLOCK.now(), time.monotonic()
    total = sum(len([*tries(task, agents, options.repeat)]) for task in tasks)
    progress = _Progress(total)
    scene = Scene(fleet, suite.cast, lambda machines: _hosts(suite, machines), progress.note)
    async with scripted_endpoint() as endpoint:
        script = Model(base_url=endpoint.base_url, name=NAME, api="chat")
        scripted = Mind(lambda folder: evaluated(suite.cast, scene.machines, script, folder))
        mind = None
        if chosen is not None:
            model, secrets = chosen.model, chosen.secrets
            mind = Mind(lambda folder: evaluated(suite.cast, scene.machines, model, folder), secrets, _MODEL_TIMEOUT_S)
        run = Run(scene, endpoint, scripted, progress.tell, mind)
        await scene.build()
        try:
            await run.all(tasks, agents, options.repeat)
        finally:
            if not options.keep:
                await scene.clear()
    name = chosen.model.name if chosen else NAME
    return Outcome(began_at, time.monotonic() - began, name, tuple(run.results), scene.rebuilt)


def _hosts(suite: Suite, machines: Machines) -> Mapping[str, Host]:
    return evaluated(suite.cast, machines, Model(), Path()).inventory().hosts


@dataclass(slots=True)
class _Progress:
    """Lines on stderr, one for each attempt."""

    total: int
    done: int = 0

    def tell(self, result: Result) -> None:
        """Say what came of an attempt."""
        self.done += 1
        parts = f" ({', '.join(result.failed_parts)})" if result.failed_parts else ""
        said = f"{result.task_id} · {agent_text(result)}: {verdict(result)}{parts}, {result.record.took.seconds:.1f} s"
        sys.stderr.write(f"[{self.done}/{self.total}] {said}\n")
        if not result.as_it_should:
            for check in result.checks:
                if check.passed is (result.agent in ("reference", "model")):
                    continue
                sys.stderr.write(f"    {check.part}: {check.name}: {check.said or 'no'}\n")
        sys.stderr.flush()

    def note(self, text: str) -> None:
        """Say what else happens."""
        sys.stderr.write(f"{text}\n")


def _write(outcome: Outcome, tasks: Sequence[Task], options: argparse.Namespace) -> None:
    made: list[tuple[Path | None, Callable[[], str]]] = [
        (options.json, lambda: as_json(document(outcome))),
        (options.html, lambda: page(outcome)),
        (options.figures, lambda: as_json(figures(outcome, tasks, _commit()))),
    ]
    for path, text in made:
        if path is None:
            continue
        try:
            path.write_text(text(), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); name another file.") from error


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    came = subprocess.run(command, capture_output=True, text=True, check=False)
    return came.stdout.strip() or "unknown"
