"""R08: when Slack says wait, nothing is sent too early, nothing is lost or doubled, order is kept, cards go first."""

import asyncio
import random
from collections import Counter
from itertools import pairwise

import pytest

from opsbot.adapters.clock import SystemClock
from opsbot.domain import Card, Place, Text
from tests import records
from tests.safety.conftest import Figures, Scale
from tests.slack_bot import Stage, stage

TEAM = "T0WORKBENCH"
THREADS = 3
MESSAGES = 4
WAIT_S = 7
# Real time passes so much more slowly than the bot's.
HASTE = 20


class HastyClock(SystemClock):
    """The bot's clock: it waits a twentieth of what it should, and believes that it waited all of it."""

    def monotonic(self) -> float:
        return super().monotonic() * HASTE

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / HASTE)


def said(body: dict) -> str:  # type: ignore[type-arg]
    blocks = body.get("blocks") or []
    return next((block["text"] for block in blocks if block["type"] == "markdown"), "card")


async def burst(on: Stage, round_: int, rng: random.Random) -> list[dict]:  # type: ignore[type-arg]
    """Send to several threads at once while Slack refuses at random; return the calls of this round, oldest first."""
    roots = [(await on.bench.person("alice").says("C0OPS", f"root {round_}.{n}"))["ts"] for n in range(THREADS)]
    already = len(await calls(on))
    for _ in range(refusals := rng.randrange(1, 4)):
        await on.bench.control("fault", kind="ratelimited", method="chat.postMessage", count=1, retry_after=WAIT_S)
    posts = [
        on.bot.chat.post(Place(TEAM, "C0OPS", root), Text(f"{n}: {number} of {round_}"), key=f"{round_}.{n}.{number}")
        for number in range(MESSAGES)
        for n, root in enumerate(roots)
    ]
    card = on.bot.chat.post(Place(TEAM, "C0OPS"), Card(records.approval()), key=f"card{round_}")
    async with asyncio.timeout(60):
        await asyncio.gather(*posts, card)
    made = (await calls(on))[already:]
    assert len(made) == THREADS * MESSAGES + 1 + refusals
    return made


async def calls(on: Stage) -> list[dict]:  # type: ignore[type-arg]
    return [
        entry for entry in await on.bench.log() if (entry["direction"], entry["name"]) == ("in", "chat.postMessage")
    ]


@pytest.mark.timeout(600)
async def test_waits_are_kept_and_everything_arrives_once_and_in_order(figures: Figures, scale: Scale) -> None:
    rng = random.Random(8)
    refused = early = lost = doubled = disordered = 0
    cards_at: list[int] = []
    rounds = scale(2, 20)
    async with stage(clock=HastyClock()) as on:
        for round_ in range(rounds):
            made = await burst(on, round_, rng)
            texts = [said(entry["body"]) for entry in made]
            # A refused call is followed by the same one: nothing else goes to this channel meanwhile.
            for one, next_ in pairwise(made):
                if said(one["body"]) == said(next_["body"]):
                    refused += 1
                    early += next_["at"] - one["at"] < WAIT_S / HASTE * 0.98
            delivered = [text for text, following in zip(texts, [*texts[1:], ""], strict=True) if text != following]
            counted = Counter(delivered)
            lost += THREADS * MESSAGES + 1 - len(counted)
            doubled += sum(counted.values()) - len(counted)
            for n in range(THREADS):
                mine = [text for text in delivered if text.startswith(f"{n}:")]
                disordered += mine != sorted(mine)
            cards_at.append(delivered.index("card"))
    figures.note(messages=rounds * (THREADS * MESSAGES + 1), refused_with_retry_after=refused, sent_too_early=early)
    figures.note(lost=lost, doubled=doubled, threads_out_of_order=disordered)
    assert refused >= rounds
    assert (early, lost, doubled, disordered) == (0, 0, 0, 0)
    # One message may be under way already when the card is made; no other goes before it.
    assert max(cards_at) <= 1
