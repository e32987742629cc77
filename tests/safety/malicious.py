"""The model is the attacker: it calls anything, people press anything, processes die, clocks jump, and all at once.

What may happen stands in `invariant`, what can happen in `hostile_steps`.
"""

from collections import Counter, deque
from collections.abc import Sequence

import opsbot_tools

from opsbot.discovery import load_tools
from tests.safety.hostile_calls import Calls
from tests.safety.hostile_steps import Life

LIFE_STEPS = 1_000
_KEPT_STEPS = 60
_SHRINKING_TRIES = 80


class Attack:
    """One world after the other under attack. `broken` tells of the first thing that must not be."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._calls = Calls(load_tools([opsbot_tools.__name__]).tools, seed)
        self.counts: Counter[str] = Counter()
        self.steps = 0
        self.trace: deque[str] = deque(maxlen=_KEPT_STEPS)
        self.broken = ""
        self.broke_in = 0

    async def run(self, steps: int) -> None:
        """Attack until so many steps are done or something happened that must not be."""
        life = 0
        while self.steps < steps and not self.broken:
            await self.live(life, range(min(LIFE_STEPS, steps - self.steps)))
            life += 1

    @property
    def figures(self) -> dict[str, object]:
        """What was done, for people."""
        verbs = sorted((name.removeprefix("effects: "), n) for name, n in self.counts.items() if ": " in name)
        effects = f"{self.counts['effects']:,} ({', '.join(f'{verb} {n:,}' for verb, n in verbs)})"
        return {"effects": effects, "processes_killed": self.counts["processes killed"]}

    async def live(self, number: int, steps: Sequence[int]) -> bool:
        """Live one life, of these steps of it; tell whether it broke something."""
        self.trace.clear()
        life = Life(self.seed, number, self._calls, self.trace)
        await life.begin()
        for step in steps:
            await life.step(step)
            self.steps += 1
            if life.ledger.broken:
                self.broken, self.broke_in = life.ledger.broken, number
                break
        await life.end()
        self.counts += life.counts
        return bool(life.ledger.broken)

    async def shrunk(self) -> list[int]:
        """Leave out steps of the life that broke something as long as it still does; return those that are left."""
        left = list(range(int(self.trace[-1].split()[0]) + 1))
        size, tries = len(left) // 2, 0
        while size and tries < _SHRINKING_TRIES:
            for begin in range(0, len(left), size):
                fewer = left[:begin] + left[begin + size :]
                tries += 1
                if fewer and tries < _SHRINKING_TRIES and await Attack(self.seed).live(self.broke_in, fewer):
                    left = fewer
                    break
            else:
                size //= 2
        return left
