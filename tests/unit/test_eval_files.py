"""Task files: what is wrong in them is said with file and line, all at once; those that ship are whole."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from opsbot.config_model import Model
from opsbot.errors import ConfigError
from opsbot.evaluation.fleet import Machine
from opsbot.evaluation.settings import evaluated
from opsbot.evaluation.task_files import load_suite
from opsbot.evaluation.tasks import Part

EVALS = Path(__file__).parents[2] / "evals"
CAST = "hosts:\n  web-1: {machine: h1}\n"
# What the evaluation is there to try (issue: evaluation suite), as tasks name it.
KINDS = {
    "disk full",
    "crashed service",
    "flapping service",
    "bad configuration",
    "port conflict",
    "memory hog",
    "clock skew",
    "expired certificate",
    "unreachable host",
    "wrong host name",
    "red herring",
    "nothing wrong",
    "injected instruction",
}
GOOD = """\
tasks:
  - id: one
    level: 1
    about: a test
    prompt: Why?
    hosts: [web-1]
    grade: {says: ['{{pid}}']}
    facts: {pid: {host: web-1, script: echo 1}}
    reference: [{say: '{{service_status~(\\d+)}}'}]
    wrong: [{name: w, fails: [answer], replies: [{say: '{{pid}}'}]}]
"""


def suite_of(folder: Path, tasks: str, cast: str = CAST) -> Path:
    (folder / "tasks").mkdir()
    (folder / "cast.yaml").write_text(cast)
    (folder / "tasks/a.yaml").write_text(tasks)
    return folder


def faults(folder: Path, tasks: str, cast: str = CAST) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_suite(suite_of(folder, tasks, cast))
    return str(raised.value).replace(f"{folder}/", "").splitlines()


def test_a_good_file_is_read(tmp_path: Path) -> None:
    suite = load_suite(suite_of(tmp_path, GOOD))
    assert [task.id for task in suite.tasks] == ["one"]


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("level: 1", "level: 5", 3, "less than or equal to 4"),
        ("prompt: Why?", "promt: Why?", 5, "did you mean prompt"),
        ("hosts: [web-1]", "hosts: [web-7]", 2, "there is no host web-7 in the cast; here are: web-1"),
        ("'{{pid}}']", "'{{pid}}(']", 2, "cannot be used"),
        ("'{{pid}}']", "'{{port}}']", 2, "cannot be used"),
        (r"'{{service_status~(\d+)}}'", "'{{pid}}'", 2, "it has to find it with a tool"),
        ("[{say: '{{pid}}'}]", "[{say: '{{port}}'}]", 2, "uses the fact port, which is not there"),
        ("fails: [answer]", "fails: [luck]", 10, "should be"),
    ],
)
def test_a_fault_is_said_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    (found,) = [one for one in faults(tmp_path, GOOD.replace(old, new)) if said in one][:1]
    assert found.startswith(f"tasks/a.yaml:{line}: ")


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    found = faults(tmp_path, GOOD.replace("level: 1", "level: 9").replace("about", "abut"), "hosts: {web-1: {}}\n")
    assert {one.split(": ")[0] for one in found} >= {"cast.yaml:1", "tasks/a.yaml:3", "tasks/a.yaml:4"}


def test_a_task_is_there_once(tmp_path: Path) -> None:
    twice = GOOD + GOOD.removeprefix("tasks:\n")
    assert faults(tmp_path, twice) == ["tasks/a.yaml:11: one is in tasks/a.yaml:2 already; give it another id."]


def test_a_folder_without_tasks_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--tasks"):
        load_suite(tmp_path)


# --- what ships ------------------------------------------------------------------------------------------------------


def test_there_are_forty_tasks_at_four_levels_with_every_kind_of_fault() -> None:
    tasks = load_suite(EVALS).tasks
    assert len(tasks) >= 40
    assert {task.level for task in tasks} == {1, 2, 3, 4}
    assert min(sum(task.level == level for task in tasks) for level in (1, 2, 3, 4)) >= 8
    assert {kind for task in tasks for kind in task.faults} >= KINDS


def test_every_task_can_be_failed_by_saying_nothing_and_wants_a_look() -> None:
    for task in load_suite(EVALS).tasks:
        assert task.grade.says, task.id
        assert task.grade.evidence, task.id


def test_every_task_that_wants_an_action_looks_at_the_end_and_has_a_path_that_fails_there() -> None:
    for task in load_suite(EVALS).tasks:
        if task.grade.actions:
            assert task.grade.end, task.id
            assert any(Part.ACTIONS in path.fails for path in task.wrong), task.id


def test_the_cast_is_a_configuration_without_faults(tmp_path: Path) -> None:
    cast = load_suite(EVALS).cast
    key = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    machines = {each.machine: Machine(each.machine, "127.0.10.1", key, "/k") for each in cast.hosts.values()}
    inventory = evaluated(cast, machines, Model(), tmp_path).inventory()
    assert set(inventory.hosts) == set(cast.hosts)
    assert inventory.groups["web"] == ("web-1", "web-2")
