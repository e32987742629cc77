"""What came of a run, as a table, JSON, and the figures of the documentation."""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.table import Table

from opsbot.domain import Json
from opsbot.evaluation.record import Result
from opsbot.evaluation.tasks import Part, Task
from opsbot.spending import NANO


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole run: what was run, on what, how long it took, and every result."""

    began_at: datetime
    seconds: float
    model: str
    results: tuple[Result, ...]
    rebuilt: int = 0

    @property
    def well(self) -> bool:
        """Whether every attempt came out as its agent is there to show."""
        return all(result.as_it_should for result in self.results)


def table(results: Iterable[Result]) -> Table:
    """Return the results as a table for the terminal."""
    headers = (
        "task",
        "level",
        "agent",
        "result",
        "score",
        "failed",
        "model calls",
        "tool calls",
        "tokens",
        "cost",
        "s",
    )
    drawn = Table(*headers, title="Evaluation", title_justify="left")
    for result in results:
        drawn.add_row(*row(result))
    return drawn


def row(result: Result) -> tuple[str, ...]:
    """Return one result in words."""
    took = result.record.took
    return (
        result.task_id,
        str(result.level),
        result.agent,
        verdict(result),
        _share(result, Part.EVIDENCE),
        f"{100 * result.score:.0f} %",
        str(took.rounds),
        str(took.calls),
        f"{took.tokens:,}",
        cost_text(took.cost_nano_usd),
        f"{took.seconds:.1f}",
    )


def _share(result: Result, part: Part) -> str:
    """Say how many checks of a part passed."""
    here = [check.passed for check in result.checks if check.part is part]
    return f"{sum(here)} of {len(here)}"


def agent_text(result: Result) -> str:
    """Name the agent, and which wrong path or which repetition it was."""
    if result.path:
        return f"{result.agent}: {result.path}"
    return f"{result.agent} {result.number}" if result.number > 1 else result.agent


def verdict(result: Result) -> str:
    """Say what came of an attempt; what must not be is in capitals."""
    said = "solved" if result.solved else "not solved"
    return said if result.as_it_should else said.upper()


def cost_text(cost_nano_usd: int | None) -> str:
    """Say a cost; unknown is never 0."""
    return "unknown" if cost_nano_usd is None else f"${cost_nano_usd / NANO:.4f}"


def document(outcome: Outcome) -> dict[str, Json]:
    """Return everything for scripts."""
    return {
        "began_at": outcome.began_at.isoformat(),
        "seconds": round(outcome.seconds, 1),
        "model": outcome.model,
        "well": outcome.well,
        "rebuilt": outcome.rebuilt,
        "results": [_one(result) for result in outcome.results],
    }


def _one(result: Result) -> dict[str, Json]:
    record, took = result.record, result.record.took
    return {
        "task": result.task_id,
        "level": result.level,
        "about": result.about,
        "agent": result.agent,
        "path": result.path,
        "number": result.number,
        "solved": result.solved,
        "as_it_should": result.as_it_should,
        "score": round(result.score, 4),
        "failed_parts": [str(part) for part in result.failed_parts],
        "parts": {str(part): _share(result, part) for part in Part if any(c.part is part for c in result.checks)},
        "checks": [{"part": str(c.part), "name": c.name, "passed": c.passed, "said": c.said} for c in result.checks],
        "facts": dict(record.facts),
        "ended": record.ended,
        "model_calls": took.rounds,
        "tool_calls": took.calls,
        "input_tokens": took.input_tokens,
        "output_tokens": took.output_tokens,
        "cost_usd": None if took.cost_nano_usd is None else took.cost_nano_usd / NANO,
        "seconds": round(took.seconds, 2),
        "proposals": [
            {"tool": p.tool, "hosts": [*p.hosts], "arguments": dict(p.arguments), "state": p.state}
            for p in record.proposals
        ],
        "transcript": [{"kind": line.kind, "title": line.title, "text": line.text} for line in record.transcript],
    }


def summary(outcome: Outcome) -> str:
    """Say in a line what came of it."""
    by_agent: dict[str, list[Result]] = {}
    for result in outcome.results:
        by_agent.setdefault(result.agent, []).append(result)
    said = [f"{agent}: {sum(r.solved for r in found)} of {len(found)} solved" for agent, found in by_agent.items()]
    return f"{'; '.join(said)}; {outcome.seconds / 60:.1f} min"


def figures(outcome: Outcome, tasks: Sequence[Task], commit: str) -> dict[str, Json]:
    """Return what the documentation shows of a reference run: no transcripts, one entry a task."""
    entries: list[Json] = []
    for task in tasks:
        found = [result for result in outcome.results if result.task_id == task.id]
        reference = next((result for result in found if result.agent == "reference"), None)
        wrong = [result for result in found if result.agent == "wrong"]
        null = [result for result in found if result.agent == "null"]
        took = reference.record.took if reference else None
        entries.append(
            {
                "task": task.id,
                "level": task.level,
                "about": task.about,
                "faults": list(task.faults),
                "reference": bool(reference and reference.solved),
                "null_solved": sum(result.solved for result in null),
                "wrong_paths": len(wrong),
                "wrong_as_they_should": sum(result.as_it_should for result in wrong),
                "checks": len(reference.checks) if reference else 0,
                "model_calls": took.rounds if took else 0,
                "tool_calls": took.calls if took else 0,
                "tokens": took.tokens if took else 0,
                "seconds": round(took.seconds, 1) if took else 0,
            }
        )
    machine = f"{platform.machine()}, Linux {platform.release()}"
    return {
        "on": outcome.began_at.date().isoformat(),
        "commit": commit,
        "machine": machine,
        "took_s": round(outcome.seconds),
        "attempts": len(outcome.results),
        "tasks": entries,
    }


def as_json(content: Json) -> str:
    """Write JSON for files."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
