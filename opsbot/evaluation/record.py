"""What is known of one attempt at a task: the calls, the proposals, the words, and what it took."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from opsbot.domain import Json
from opsbot.evaluation.tasks import Part


@dataclass(frozen=True, slots=True)
class MadeCall:
    """A call of a tool that has its result. `position`: which call of the attempt it was, from 0.

    `hosts`: those it named, resolved; `proposed`: it became a request for approval, whatever came of it. `writes`: of a
    tool that changes something; if it was not proposed either, the bot refused it.
    """

    position: int
    tool: str
    arguments: Mapping[str, Json]
    hosts: tuple[str, ...]
    content: str
    failed: bool = False
    proposed: bool = False
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A request for approval, and what came of it."""

    tool: str
    arguments: Mapping[str, Json]
    hosts: tuple[str, ...]
    state: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of a transcript. `kind`: person, model, call, result, card or note."""

    kind: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Took:
    """What the model and the attempt took. `cost_nano_usd` None: unknown."""

    rounds: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int | None = None
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """In and out together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Record:
    """One attempt. `answers`: what was said when nothing more was called. `moved`: `unit@host` that changed.

    `ended`: why it did not come to its end, "" if it did. `end_state`: what each check of the end said, by its reason.
    """

    calls: tuple[MadeCall, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    answers: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    end_state: Mapping[str, str] = field(default_factory=dict)
    took: Took = field(default_factory=Took)
    transcript: tuple[Line, ...] = ()
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a grade; `said` tells what was found."""

    part: Part
    name: str
    passed: bool
    said: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One attempt, graded. `agent`: reference, null, wrong or model; `path`: which wrong one."""

    task_id: str
    level: int
    about: str
    agent: str
    path: str
    record: Record
    checks: tuple[Check, ...]
    expected: tuple[Part, ...] = ()
    number: int = 1

    @property
    def solved(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def score(self) -> float:
        """The share of checks passed."""
        return sum(check.passed for check in self.checks) / len(self.checks)

    @property
    def failed_parts(self) -> tuple[Part, ...]:
        """The parts with a check that did not pass."""
        return tuple(dict.fromkeys(check.part for check in self.checks if not check.passed))

    @property
    def as_it_should(self) -> bool:
        """Whether the attempt shows what its agent is there to show: a reference solves, a wrong path does not."""
        if self.agent in ("reference", "model"):
            return self.solved
        return not self.solved and set(self.expected) <= set(self.failed_parts)
