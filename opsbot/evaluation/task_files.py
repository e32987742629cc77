"""Reading the tasks and the cast: every fault at once, each with file and line."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from opsbot.config_faults import Place, fault_of
from opsbot.config_types import Section
from opsbot.config_yaml import read_file, read_yaml
from opsbot.errors import ConfigError
from opsbot.evaluation.placeholders import FACT, LOOKED_UP, with_facts
from opsbot.evaluation.tasks import Cast, ScriptedReply, Step, Task, TaskFile, Wanted

_ANY = TypeVar("_ANY", bound=Section)
_CAST = "cast.yaml"


@dataclass(frozen=True, slots=True)
class Suite:
    """A folder of tasks, by level, and its cast."""

    cast: Cast
    tasks: tuple[Task, ...]


def load_suite(folder: Path) -> Suite:
    """Read `cast.yaml` and every file in `tasks/` of the folder.

    Raises:
        ConfigError: every fault, each as `file:line: what and the way out`.
    """
    files = sorted((folder / "tasks").glob("*.yaml"))
    if not (folder / _CAST).is_file() or not files:
        raise ConfigError(f"{folder}: there is no {_CAST} with tasks/*.yaml; name the folder of tasks with --tasks.")
    faults: list[str] = []
    cast = _read(folder / _CAST, Cast, faults)
    read = [(path, _read(path, TaskFile, faults)) for path in files]
    known = frozenset(cast.hosts) if cast else frozenset()
    seen: dict[str, str] = {}
    for path, file in read:
        lines = _lines(path)
        for index, task in enumerate(file.tasks if file else ()):
            place: Place = ("tasks", index)
            found = _faults_of(task, known) if cast else ()
            faults.extend(f"{path}:{lines(place)}: {task.id}: {said}" for said in found)
            if task.id in seen:
                faults.append(f"{path}:{lines(place)}: {task.id} is in {seen[task.id]} already; give it another id.")
            seen.setdefault(task.id, f"{path}:{lines(place)}")
    if faults or cast is None:
        raise ConfigError(*faults)
    tasks = (task for _, file in read if file for task in file.tasks)
    return Suite(cast, tuple(sorted(tasks, key=lambda task: task.level)))


def _read(path: Path, kind: type[_ANY], faults: list[str]) -> _ANY | None:
    document = read_yaml(_text(path))
    faults.extend(f"{path}:{line}: {said}" for line, said in document.faults)
    if document.faults:
        return None
    try:
        return kind.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        found = [fault_of(kind, detail) for detail in error.errors(include_url=False)]
        faults.extend(dict.fromkeys(f"{path}:{document.line_of(place)}: {said}" for place, said in found))
        return None


class _lines:  # noqa: N801 - a function that remembers its file
    """Say the line of a place in a file."""

    def __init__(self, path: Path) -> None:
        self._document = read_yaml(_text(path))

    def __call__(self, place: Place) -> int:
        return self._document.line_of(place)


def _text(path: Path) -> str:
    try:
        return read_file(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error}).") from error


def _faults_of(task: Task, known: frozenset[str]) -> Iterator[str]:
    """Yield what no schema sees."""
    for host in sorted(_hosts_of(task) - known):
        yield f"there is no host {host} in the cast; here are: {', '.join(sorted(known))}."
    for pattern in _patterns(task):
        try:
            re.compile(with_facts(pattern, dict.fromkeys(task.facts, "1"), escape=True))
        except (re.error, KeyError) as error:
            yield f"the pattern {pattern!r} cannot be used: {error}."
    for name in sorted(_facts_used(task.reference)):
        yield f"the reference uses the fact {{{{{name}}}}}; it has to find it with a tool: {{{{tool~pattern}}}}."
    for path in task.wrong:
        for name in sorted(_facts_used(path.replies) - set(task.facts)):
            yield f"the wrong path {path.name!r} uses the fact {name}, which is not there."
    names = [path.name for path in task.wrong]
    if len(set(names)) < len(names):
        yield "two wrong paths have the same name; give each its own."


def _hosts_of(task: Task) -> set[str]:
    grade = task.grade
    steps: Iterable[Step] = task.setup
    wanted: Sequence[Wanted] = (*grade.actions, *grade.may_propose, *task.person.approve)
    return {
        *task.hosts,
        *(step.host for step in steps),
        *(fact.host for fact in task.facts.values()),
        *(host for each in wanted for host in each.hosts),
        *(one.host for one in grade.evidence if one.host),
        *(one.host for one in grade.end),
        *grade.may_look_at,
    }


def _patterns(task: Task) -> tuple[str, ...]:
    shows = (one.shows for one in task.grade.evidence)
    return (*shows, *task.grade.says, *task.grade.never_says, *(one.when for one in task.person.replies))


def _facts_used(replies: Iterable[ScriptedReply]) -> set[str]:
    texts = (reply.say + json.dumps([call.arguments for call in reply.calls]) for reply in replies)
    return {found for text in texts for found in FACT.findall(LOOKED_UP.sub("", text))}
