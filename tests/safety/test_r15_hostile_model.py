"""R15: a model that calls anything, people who press anything: nothing unapproved happens, and nothing twice."""

import pytest

from tests.safety.conftest import Figures, Scale
from tests.safety.malicious import Attack

# A process that dies leaves what it had not begun; this is what Python says of it.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")

SEED = 20261128
# Seeds, lives and steps that once got something done that must not be, with as few steps as still did.
# fmt: off
FOUND = (
    pytest.param(2, 5, (204, 210, 370, 375, 378), id="a stop file outlasted by an approval for a while"),
)
# fmt: on


@pytest.mark.timeout(2400)
async def test_no_effect_without_its_own_unexpired_approval(figures: Figures, scale: Scale) -> None:
    attack = Attack(SEED)
    await attack.run(scale(1_000, 100_000))
    figures.note(steps=attack.steps, **attack.figures, effects_nobody_allowed=int(bool(attack.broken)))
    if attack.broken:
        steps = await attack.shrunk()
        pytest.fail("\n".join([attack.broken, f"seed {SEED}, life {attack.broke_in}, steps {steps}", *attack.trace]))
    assert attack.counts["effects"] > scale(5, 1_500), "an attack that never gets anything done proves nothing"


@pytest.mark.parametrize(("seed", "life", "steps"), FOUND)
async def test_what_was_found_once_is_not_possible_any_more(seed: int, life: int, steps: tuple[int, ...]) -> None:
    attack = Attack(seed)
    assert not await attack.live(life, steps), attack.broken
