"""The workbench's page of documentation names all there is, and its examples hold."""

import json
import re
from pathlib import Path

import pytest

from opsbot.workbench.faults import KINDS
from tests.workbench_fixture import RunningWorkbench, running_workbench

TEXT = (Path(__file__).parents[2] / "docs" / "workbench.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_fault_is_documented(kind: str) -> None:
    assert f"\n| `{kind}` |" in TEXT


async def test_every_operation_is_documented() -> None:
    async with (
        running_workbench() as running,
        running.session.post(f"{running.url}/_control/nonsense", json={}) as response,
    ):
        reason = (await response.json())["error"]
    known = set(reason.removeprefix("unknown operation; known: ").split(", "))
    documented = set(re.findall(r"^\| `(\w+)` \|", TEXT.split("## Faults")[0], re.MULTILINE))
    assert known <= documented


def keys_of(example: object) -> set[str]:
    return set(example) if isinstance(example, dict) else set()


async def test_state_has_the_documented_keys() -> None:
    block = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert block is not None
    example = json.loads(block.group(1))
    async with running_workbench() as running:
        state = await state_of(running)
    assert keys_of(state) == keys_of(example)
    for key in ("team", "bot"):
        assert keys_of(state[key]) == keys_of(example[key])
    for key in ("users", "groups", "channels"):
        assert keys_of(example[key][0]) <= keys_of(state[key][0])


async def state_of(running: RunningWorkbench) -> dict[str, list[object]]:
    async with running.session.get(f"{running.url}/_control/state") as response:
        state: dict[str, list[object]] = await response.json()
    return state
