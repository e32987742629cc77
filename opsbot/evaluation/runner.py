"""A whole run: every task with every agent, one attempt after the other, each on hosts as the task wants them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from opsbot.evaluation.attempt import Mind, attempt
from opsbot.evaluation.grading import grade
from opsbot.evaluation.record import Record, Result
from opsbot.evaluation.scene import Scene
from opsbot.evaluation.scripted import ScriptedEndpoint
from opsbot.evaluation.tasks import Part, ScriptedReply, Task

AGENTS = ("reference", "null", "wrong", "model")
# What nobody can be asked in a script: the same words whatever is asked.
_NULL = (ScriptedReply(say="I do not know."),)
# A request in one of these states was not carried out, so the hosts are as they were.
_UNTOUCHED = ("pending", "denied", "withdrawn", "expired", "stale")


@dataclass(frozen=True, slots=True)
class Try:
    """An attempt to be made. `replies` None: by the model under evaluation."""

    agent: str
    path: str = ""
    replies: tuple[ScriptedReply, ...] | None = None
    expected: tuple[Part, ...] = ()
    knows_facts: bool = False
    number: int = 1


@dataclass(slots=True)
class Run:
    """What a run needs. `tell` is told of each result as it comes; `mind` None: no model is evaluated."""

    scene: Scene
    endpoint: ScriptedEndpoint
    scripted: Mind
    tell: Callable[[Result], None]
    mind: Mind | None = None
    results: list[Result] = field(default_factory=list)

    async def all(self, tasks: Sequence[Task], agents: Iterable[str], repeat: int = 1) -> None:
        """Make every attempt at these tasks. Raises FleetError, ConfigError."""
        chosen = tuple(agents)
        for task in tasks:
            await self._task(task, tuple(tries(task, chosen, repeat)))

    async def _task(self, task: Task, attempts: Sequence[Try]) -> None:
        hosts = hosts_of(task)
        facts = await self.scene.set_up(task)
        for index, one in enumerate(attempts):
            result = await self._attempt(task, one, facts)
            self.results.append(result)
            self.tell(result)
            if index < len(attempts) - 1 and _touched(result.record):
                await self.scene.restore(hosts)
                facts = await self.scene.set_up(task)
        await self.scene.restore(hosts)

    async def _attempt(self, task: Task, one: Try, facts: dict[str, str]) -> Result:
        hosts = hosts_of(task)
        before = await self.scene.units(hosts)
        if one.replies is not None:
            self.endpoint.begin(one.replies, facts if one.knows_facts else {})
        mind = self.scripted if one.replies is not None or self.mind is None else self.mind
        record = await attempt(task, mind)
        after = await self.scene.units(hosts)
        moved = tuple(name for name in sorted(before | after) if before.get(name) != after.get(name))
        record = replace(record, facts=facts, moved=moved, end_state=await self.scene.end_state(task.grade.end))
        checks = grade(task, record)
        return Result(
            task.id, task.level, task.about, one.agent, one.path, record, checks, one.expected, number=one.number
        )


def tries(task: Task, agents: Sequence[str], repeat: int) -> Iterator[Try]:
    """Yield the attempts at a task: those that change least come first."""
    if "null" in agents:
        yield Try("null", replies=_NULL, expected=(Part.ANSWER,) if task.grade.says else ())
    if "wrong" in agents:
        for path in task.wrong:
            yield Try("wrong", path.name, path.replies, path.fails, knows_facts=True)
    for agent, replies in (("reference", task.reference), ("model", None)):
        if agent in agents:
            for number in range(1, repeat + 1):
                yield Try(agent, replies=replies, number=number)


def hosts_of(task: Task) -> tuple[str, ...]:
    """Return every host a task breaks, asks about or looks at."""
    grade = task.grade
    wanted = (*grade.actions, *grade.may_propose)
    named = {
        *task.hosts,
        *grade.may_look_at,
        *(step.host for step in task.setup),
        *(host for each in wanted for host in each.hosts),
        *(one.host for one in grade.end),
    }
    return tuple(sorted(named))


def _touched(record: Record) -> bool:
    return bool(record.ended) or any(each.state not in _UNTOUCHED for each in record.proposals)
