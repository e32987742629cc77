"""The order of a run: which attempts there are, on which hosts, and when hosts are brought back."""

from dataclasses import dataclass, field

import pytest

from opsbot.evaluation import runner
from opsbot.evaluation.attempt import Mind
from opsbot.evaluation.record import Proposal, Record, Result
from opsbot.evaluation.runner import Run, hosts_of, tries
from opsbot.evaluation.scripted import ScriptedEndpoint
from opsbot.evaluation.tasks import EndCheck, Part, Task
from tests.unit.eval_cases import RESTART, a_task


@dataclass
class FakeScene:
    """Writes down what is done to the hosts; `units` are what the next look finds."""

    done: list[str] = field(default_factory=list)
    units_found: list[dict[str, str]] = field(default_factory=list)

    async def set_up(self, task: Task) -> dict[str, str]:
        self.done.append("set up")
        return {"pid": "1"}

    async def units(self, hosts: tuple[str, ...]) -> dict[str, str]:
        return self.units_found.pop(0) if self.units_found else {}

    async def end_state(self, checks: tuple[EndCheck, ...]) -> dict[str, str]:
        return {check.why: "" for check in checks}

    async def restore(self, hosts: tuple[str, ...]) -> None:
        self.done.append(f"restore {','.join(hosts)}")


def run_of(scene: FakeScene, monkeypatch: pytest.MonkeyPatch, *records: Record) -> tuple[Run, list[Result]]:
    waiting = list(records)

    async def made(task: Task, mind: Mind) -> Record:
        scene.done.append("attempt")
        return waiting.pop(0) if waiting else Record(answers=("x",))

    monkeypatch.setattr(runner, "attempt", made)
    told: list[Result] = []
    mind = Mind(lambda folder: pytest.fail(f"no bot is made in {folder}"))
    return Run(scene, ScriptedEndpoint(), mind, told.append), told  # type: ignore[arg-type]


def test_the_attempts_that_change_least_come_first() -> None:
    made = [(one.agent, one.path, one.number) for one in tries(a_task(), ("reference", "wrong", "null"), 2)]
    assert made == [("null", "", 1), ("wrong", "w", 1), ("reference", "", 1), ("reference", "", 2)]


def test_only_a_wrong_path_knows_facts() -> None:
    assert [one.agent for one in tries(a_task(), runner.AGENTS, 1) if one.knows_facts] == ["wrong"]


def test_a_null_agent_has_to_fail_by_what_it_says() -> None:
    (null,) = tries(a_task(says=["78"]), ("null",), 1)
    assert null.expected == (Part.ANSWER,)


def test_every_host_that_a_task_touches_is_brought_back() -> None:
    task = a_task(
        may_look_at=["cache-1"],
        actions=[RESTART | {"hosts": ["web-2"]}],
        end=[{"host": "jobs-1", "script": "true", "why": "x"}],
    )
    assert hosts_of(task) == ("cache-1", "jobs-1", "web-1", "web-2")


async def test_hosts_are_broken_once_for_attempts_that_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = FakeScene()
    run, told = run_of(scene, monkeypatch)
    await run.all([a_task()], ("null", "wrong", "reference"))
    assert scene.done == ["set up", "attempt", "attempt", "attempt", "restore web-1"]
    assert told == run.results


@pytest.mark.parametrize(
    ("record", "again"),
    [
        (Record(proposals=(Proposal("restart_service", {}, ("web-1",), "done"),)), True),
        (Record(proposals=(Proposal("restart_service", {}, ("web-1",), "failed"),)), True),
        (Record(proposals=(Proposal("restart_service", {}, ("web-1",), "unknown"),)), True),
        (Record(ended="it took too long"), True),
        (Record(proposals=(Proposal("restart_service", {}, ("web-1",), "denied"),)), False),
    ],
)
async def test_hosts_are_broken_anew_after_an_attempt_that_may_have_changed_them(
    record: Record, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = FakeScene()
    run, _ = run_of(scene, monkeypatch, record)
    await run.all([a_task()], ("null", "reference"))
    between = ["restore web-1", "set up"] if again else []
    assert scene.done == ["set up", "attempt", *between, "attempt", "restore web-1"]


async def test_services_that_ran_anew_are_found_beside_the_bot(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = {"a@web-1": "1", "b@web-1": "1"}, {"a@web-1": "2", "b@web-1": "1", "c@web-1": "1"}
    run, _ = run_of(FakeScene(units_found=[before, after]), monkeypatch)
    await run.all([a_task()], ("null",))
    assert run.results[0].record.moved == ("a@web-1", "c@web-1")
    assert run.results[0].record.facts == {"pid": "1"}


def test_no_attempt_is_made_without_an_agent() -> None:
    assert [*tries(a_task(), (), 1)] == []
