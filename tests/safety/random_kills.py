"""`kill -9` at random, again and again, while people ask, approve, and real services are restarted."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from opsbot.replica import MAX_ATTEMPTS
from tests.ledger import Ledger
from tests.safety.figures import Figures
from tests.safety.kills import UNLIMITED, Book, People, busy_workbench
from tests.slow_services import SlowServices
from tests.whole_bot import WholeBot
from tests.zygote import Zygote

# Hosts of each bot: the people of one bot are no more than a small team.
HOSTS = 3
# An interrupted restart is looked at for some seconds, so many lives must be longer than that: what ended opsbot
# twenty times in a row is left to people, as unknown.
LEAST_MEAN_LIFE_S = 4.0


async def kill_on(
    bot: WholeBot, people: People, kills: int, chance: random.Random, least_mean_life_s: float = LEAST_MEAN_LIFE_S
) -> float:
    """Kill it at random moments of its life; the next one starts at once, as under systemd.

    The first requests are left in peace: a machine on which they take long is given longer lives, so that most kills
    hit something that is going on, and not the start. Returns the mean life in seconds.
    """
    mean_life_s = max(least_mean_life_s, await people.first_round_s() / 2)
    for _ in range(kills):
        await asyncio.sleep(0.05 + chance.expovariate(1 / mean_life_s))
        bot.kill()
        await asyncio.to_thread(bot.start)
    return mean_life_s


@dataclass(slots=True)
class Story:
    """What came of one bot that was killed again and again."""

    book: Book
    kills: int
    mean_life_s: float
    took_s: float
    all_ended_s: float
    left: list[str]


async def story(
    kills: int, seed: str, folder: Path, zygote: Zygote, *, store_url: str = "", least_mean_life_s: float
) -> Story:
    """Kill one bot so often, and see everything to its end. `store_url`: its own database, else an SQLite file."""
    folder.mkdir()
    services = SlowServices(folder, HOSTS)
    try:
        async with busy_workbench() as workbench:
            bot = WholeBot(folder, workbench, UNLIMITED + services.hosts, store_url=store_url, zygote=zygote)
            await asyncio.to_thread(bot.start)
            ledger = Ledger(bot.store_url)
            people = People(workbench, services, ledger)
            working = asyncio.create_task(people.work())
            began = time.monotonic()
            mean_life_s = await kill_on(bot, people, kills, random.Random(seed), least_mean_life_s)
            took_s = time.monotonic() - began
            people.enough.set()
            last_start = time.monotonic()
            book = await working
            all_ended_s = time.monotonic() - last_start
            assert await asyncio.to_thread(bot.terminate) == 0
            left = ledger.leases()
            ledger.close()
    finally:
        services.stop()
    return Story(book, kills, mean_life_s, took_s, all_ended_s, left)


def judge(stories: Sequence[Story], database: str, figures: Figures) -> None:
    """Hold what was told against what happened, over all bots on this kind of database."""
    book = Book()
    for each in stories:
        book.add(each.book)
    kills, took_s = sum(each.kills for each in stories), max(each.took_s for each in stories)
    all_ended_s = max(each.all_ended_s for each in stories)
    note = f"{book.ends.total()} approvals in {kills} kills of {len(stories)} bots ({took_s:.0f} s): "
    figures.note(
        **{
            f"{database}": f"{note}{dict(sorted(book.ends.items()))}, {len(book.doubled)} doubled, "
            f"{len(book.vanished)} vanished",
            f"mean_life_{database}_s": round(max(each.mean_life_s for each in stories), 1),
            f"unknown_{database}": f"{book.unknown_percent:.1f} %",
            f"asked_again_after_{MAX_ATTEMPTS}_deaths_{database}": book.abandoned,
            f"all_ended_after_the_last_start_{database}_s": round(all_ended_s, 1),
        }
    )
    assert book.faults() == [], "\n".join(book.faults())
    assert book.unknown_percent <= 1
    assert [each.left for each in stories] == [[]] * len(stories)
    assert all_ended_s <= 60
