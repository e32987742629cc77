"""Tries many edges side by side, each within its own deadline: one that hangs delays nobody, and is named."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeAlias, TypeVar

from opsbot.diagnosis import Check, Finding, Subject
from opsbot.errors import OpsbotError

T = TypeVar("T")
P = ParamSpec("P")

# A check ends itself at its deadline; one that does not is left behind after this much more.
GRACE_S = 0.5
# Handshakes cost CPU, and hung hosts a whole deadline: 500 of them take five rounds.
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Edge:
    """One thing to try. `attempt` takes the seconds it has, and yields findings as it makes them."""

    subject: Subject
    attempt: Callable[[float], Iterable[Finding]]
    timeout_s: float


@dataclass(slots=True, eq=False)
class _Trial:
    """One edge on its way."""

    edge: Edge
    started: float
    findings: list[Finding] = field(default_factory=list)
    ended: bool = False


_Ended: TypeAlias = "queue.SimpleQueue[_Trial]"

# Another thread may be the one that a signal interrupts; the main thread sees it when it looks next.
_LOOK_EVERY_S = 0.25


class Trials:
    """Runs edges in threads that may be left behind. `findings` holds what is known at any time."""

    def __init__(self, edges: Sequence[Edge], *, at_once: int = AT_ONCE) -> None:
        self._waiting = list(reversed(edges))
        self._running: list[_Trial] = []
        self._at_once = at_once
        self._ended: _Ended = queue.SimpleQueue()
        self._findings: list[Finding] = []

    def run(self) -> Iterator[Edge]:
        """Yield each edge once nothing more will be found about it."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self._at_once:
                self._start(self._waiting.pop())
            for trial in self._settled():
                self._running.remove(trial)
                self._findings += self._of(trial)
                yield trial.edge

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far; edges that have not ended say that they were interrupted."""
        under_way = [
            finding
            for trial in self._running
            for finding in (*trial.findings, trial.edge.subject.skipped(Check.ALL, "interrupted"))
        ]
        never = [edge.subject.skipped(Check.ALL, "interrupted before it began") for edge in reversed(self._waiting)]
        return (*self._findings, *under_way, *never)

    def _start(self, edge: Edge) -> None:
        trial = _Trial(edge, time.monotonic())
        self._running.append(trial)
        threading.Thread(
            target=self._try, args=(trial,), name=f"opsbot-doctor-{edge.subject.name}", daemon=True
        ).start()

    def _try(self, trial: _Trial) -> None:
        subject = trial.edge.subject
        try:
            for finding in trial.edge.attempt(trial.edge.timeout_s):
                trial.findings.append(finding)
        except OpsbotError as error:
            trial.findings.append(subject.fail(Check.ITSELF, str(error), "Mend what it says, and run it again."))
        except Exception as error:  # noqa: BLE001 a fault of one check must not hide the findings of the others
            said = f"a fault in opsbot itself: {type(error).__name__}: {error}"
            trial.findings.append(subject.fail(Check.ITSELF, said, "Please report it, with this line."))
        trial.ended = True
        self._ended.put(trial)

    def _settled(self) -> list[_Trial]:
        """Wait for an edge that ended, for the first deadline, or a moment; return those that are settled."""
        overdue_at = min(_overdue_at(trial) for trial in self._running)
        try:
            ended = [self._ended.get(timeout=min(_LOOK_EVERY_S, max(0.0, overdue_at - time.monotonic())))]
        except queue.Empty:
            ended = []
        late = [trial for trial in self._running if not trial.ended and time.monotonic() >= _overdue_at(trial)]
        return [trial for trial in [*ended, *late] if trial in self._running]

    def _of(self, trial: _Trial) -> Iterable[Finding]:
        if trial.ended:
            return trial.findings
        took_s = time.monotonic() - trial.started
        said = f"no answer within {trial.edge.timeout_s:g} s, and given up"
        remedy = "Try it by hand; if it is only slow, give more time: --timeout."
        return [*trial.findings, trial.edge.subject.fail(Check.ANSWER, said, remedy, took_s=took_s)]


def _overdue_at(trial: _Trial) -> float:
    return trial.started + trial.edge.timeout_s + GRACE_S


def run_async(work: Coroutine[object, object, T]) -> T:
    """Run to the end in this thread. A name that never resolves keeps neither the thread nor the process waiting."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Abandonable())
        return runner.run(work)


class _Abandonable(ThreadPoolExecutor):
    """A thread of its own for each call, never waited for: the system's resolver has no time-out."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 it is handed on to whoever waits
                future.set_exception(error)

        threading.Thread(target=call, name="opsbot-doctor-lookup", daemon=True).start()
        return future
