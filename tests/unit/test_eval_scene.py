"""The scene of a task: steps in order, facts read beside the bot, and hosts that come back or are started anew."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography import x509

from opsbot.domain import Host
from opsbot.evaluation.fleet import FleetError, Machine
from opsbot.evaluation.scene import Scene
from opsbot.evaluation.tasks import Cast, Task
from tests.unit.eval_cases import a_task


@dataclass
class FakeFleet:
    """Writes down what it is told; `says` answers scripts that hold a word, with a status and words."""

    told: list[tuple[str, ...]] = field(default_factory=list)
    says: dict[str, tuple[int, str]] = field(default_factory=dict)

    def check(self) -> None:
        self.told.append(("check",))

    def up(self, count: int) -> None:
        self.told.append(("up", str(count)))

    def down(self) -> None:
        self.told.append(("down",))

    def machines(self) -> Mapping[str, Machine]:
        return {"h1": Machine("h1", "127.0.10.1", "key", "/k"), "h2": Machine("h2", "127.0.10.2", "key", "/k")}

    def fault(self, machine: str, *words: str) -> None:
        self.told.append(("fault", machine, *words))

    def heal(self, machine: str) -> None:
        self.told.append(("heal", machine))

    def execute(self, machine: str, script: str) -> tuple[int, str]:
        self.told.append(("execute", machine, script))
        return next((answer for word, answer in self.says.items() if word in script), (0, ""))

    @property
    def scripts(self) -> list[tuple[str, ...]]:
        return [words for words in self.told if words[0] == "execute"]


CAST = Cast.model_validate(
    {"dress": "echo all", "hosts": {"web-1": {"machine": "h1", "dress": "echo own"}, "web-2": {"machine": "h2"}}}
)


def scene_on(fleet: FakeFleet, notes: list[str]) -> Scene:
    hosts = {name: Host(name, user="bot", units=("nginx.service",)) for name in CAST.hosts}
    return Scene(fleet, CAST, lambda machines: hosts, notes.append)  # type: ignore[arg-type]


def broken(*steps: Any, **facts: Any) -> Task:
    task = a_task()
    found = Task.model_validate_json(task.model_dump_json()).model_dump(mode="json")
    return Task.model_validate_json(json.dumps(found | {"setup": steps, "facts": facts}))


async def test_hosts_are_started_anew_dressed_and_their_baseline_taken() -> None:
    fleet = FakeFleet()
    await scene_on(fleet, []).build()
    assert fleet.told[:3] == [("check",), ("down",), ("up", "2")]
    (own,) = [script for _, machine, script in fleet.scripts if machine == "h1"]
    order = [own.index(word) for word in ("hostname web-1", "echo all", "echo own", "/etc/sudoers.d/fleet", "sh /run")]
    assert order == sorted(order)
    assert "bot ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager restart -- nginx.service" in own
    assert own.rstrip().endswith("baseline.sh take\n) || exit 1")


async def test_steps_are_taken_in_order_and_neighbours_on_a_host_in_one_go() -> None:
    fleet = FakeFleet(says={"uname": (0, "6.1\n")})
    steps = (
        {"host": "web-1", "script": "one"},
        {"host": "web-1", "until": "two"},
        {"host": "web-1", "fault": "skew 60"},
        {"host": "web-2", "certificate": "/etc/ssl/a.pem", "days": -2},
    )
    facts = await scene_on(fleet, []).set_up(broken(*steps, kernel={"host": "web-2", "script": "uname -r"}))
    assert facts == {"kernel": "6.1"}
    assert [words[:2] for words in fleet.told] == [
        ("execute", "h1"),
        ("fault", "h1"),
        ("execute", "h2"),
        ("execute", "h2"),
    ]
    assert fleet.told[1] == ("fault", "h1", "skew", "60")
    first, certificate = fleet.told[0][2], fleet.told[2][2]
    assert first.index("one") < first.index("two")
    pem = certificate[certificate.index("-----BEGIN") : certificate.index("END\n)")]
    assert x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.year > 2000


@pytest.mark.parametrize(("said", "why"), [((3, "no such file"), "status 3: no such file"), ((0, " \n"), "is empty")])
async def test_a_scene_that_cannot_be_set_is_an_error(said: tuple[int, str], why: str) -> None:
    scene = scene_on(FakeFleet(says={"uname": said}), [])
    with pytest.raises(FleetError, match=why):
        await scene.set_up(broken(kernel={"host": "web-1", "script": "uname -r"}))


async def test_services_are_told_apart_by_their_run_and_those_of_a_log_in_are_left_out() -> None:
    shown = "Id=nginx.service\nActiveState=active\nInvocationID=a1\n\nId=user@1000.service\nActiveState=active\n"
    units = await scene_on(FakeFleet(says={"baseline.sh units": (0, shown)}), []).units(["web-1"])
    assert units == {"nginx.service@web-1": "active a1"}


async def test_an_end_that_does_not_hold_says_what_was_found() -> None:
    task = a_task(end=[{"host": "web-1", "script": "good", "why": "a"}, {"host": "web-1", "script": "bad", "why": "b"}])
    scene = scene_on(FakeFleet(says={"bad": (3, "inactive\n")}), [])
    assert await scene.end_state(task.grade.end) == {"a": "", "b": "inactive"}


async def test_hosts_that_come_back_stay() -> None:
    fleet = FakeFleet()
    scene = scene_on(fleet, [])
    await scene.restore(["web-1", "web-2"])
    assert {words[:2] for words in fleet.told} == {("heal", "h1"), ("heal", "h2"), ("execute", "h1"), ("execute", "h2")}
    assert scene.rebuilt == 0


async def test_a_host_that_does_not_come_back_has_all_started_anew_and_is_named() -> None:
    notes: list[str] = []
    fleet = FakeFleet(says={"baseline.sh compare": (1, "> listens 0.0.0.0:8081")})
    scene = scene_on(fleet, notes)
    await scene.restore(["web-1"])
    assert scene.rebuilt == 1
    assert ("up", "2") in fleet.told
    assert notes == ["starting every machine anew: web-1: > listens 0.0.0.0:8081"]
