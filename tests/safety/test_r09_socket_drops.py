"""R09: Socket Mode drops, refreshes and doubles: soon back, nothing acknowledged is lost, nothing comes twice."""

import asyncio
import random
import time
from collections import Counter

import pytest

from tests.safety.conftest import Figures, Scale
from tests.slack_bot import Stage, stage

HOWS = ({"reason": "refresh_requested"}, {"reason": "warning"}, {"plainly": True})
BACK_S = 10.0


async def heard_after_s(on: Stage, wanted: int) -> float:
    """Wait until so many messages were taken; return how long it took.

    Slack's clock is moved on meanwhile: it delivers again what was not acknowledged, a minute later.
    """
    began_s = time.monotonic()
    async with asyncio.timeout(60):
        while len(on.handler.accepted) < wanted:
            await asyncio.sleep(0.1)
            await on.bench.control("clock", advance_s=70)
    return time.monotonic() - began_s


@pytest.mark.timeout(900)
async def test_a_hundred_drops_lose_and_double_nothing(figures: Figures, scale: Scale) -> None:
    rng = random.Random(9)
    drops = scale(6, 100)
    slowest_s = 0.0
    said = 0
    async with stage() as on:
        for number in range(drops):
            if rng.random() < 0.3:
                await on.bench.control("fault", kind=rng.choice(["duplicate", "dropped_ack"]), count=1)
            await on.bench.control("disconnect", **HOWS[number % len(HOWS)])
            for _ in range(rng.randrange(1, 3)):
                await on.bench.person("alice").says("D0ALICE", f"message {said}")
                said += 1
            slowest_s = max(slowest_s, await heard_after_s(on, said))
        counted = Counter(getattr(event, "text", "") for event in on.handler.accepted)
    lost = [number for number in range(said) if f"message {number}" not in counted]
    doubled = sum(counted.values()) - len(counted)
    figures.note(drops=drops, messages=said, lost=len(lost), doubled=doubled)
    figures.note(drop_to_heard_at_most=f"{slowest_s:.1f} s (limit {BACK_S:.0f} s)")
    assert lost == []
    assert doubled == 0
    assert slowest_s < BACK_S
