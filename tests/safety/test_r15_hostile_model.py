"""R15: a model that calls anything, people who click anything: nothing unapproved happens, and nothing twice."""

import time

import pytest

from tests.safety.conftest import Figures, Scale
from tests.safety.malicious import Attack

SEED = 20261128


@pytest.mark.timeout(2400)
async def test_no_effect_without_its_own_unexpired_approval(figures: Figures, scale: Scale) -> None:
    attack = Attack(SEED)
    began_s = time.monotonic()
    await attack.run(scale(1_500, 100_000))
    figures.note(steps=attack.steps, effects=attack.effects, processes_killed=attack.deaths)
    figures.note(effects_nobody_allowed=int(bool(attack.broken)), took=f"{time.monotonic() - began_s:.0f} s")
    assert not attack.broken, "\n".join([attack.broken, f"seed {SEED}", *attack.trace])
    assert attack.effects > scale(10, 500), "an attack that never gets anything done proves nothing"
