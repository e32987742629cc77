"""`kill -9` at random, again and again, while people ask, approve, and real services are restarted."""

import asyncio
import random
import time
from pathlib import Path

from opsbot.replica import MAX_ATTEMPTS
from tests.ledger import Ledger
from tests.safety.figures import Figures
from tests.safety.kills import UNLIMITED, People, busy_workbench
from tests.slow_services import SlowServices
from tests.whole_bot import WholeBot
from tests.zygote import Zygote

HOSTS = 6
# An interrupted restart is looked at for some seconds, so some lives must be longer than others.
LEAST_MEAN_LIFE_S = 2.0


async def kill_on(bot: WholeBot, people: People, kills: int, chance: random.Random) -> float:
    """Kill it at random moments of its life; the next one starts at once, as under systemd.

    The first requests are left in peace: a machine on which they take long is given longer lives, so that most kills
    hit something that is going on, and not the start. Returns the mean life in seconds.
    """
    mean_life_s = max(LEAST_MEAN_LIFE_S, await people.first_round_s() / 2)
    for _ in range(kills):
        await asyncio.sleep(0.05 + chance.expovariate(1 / mean_life_s))
        bot.kill()
        await asyncio.to_thread(bot.start)
    return mean_life_s


async def survive(
    kills: int, database: str, folder: Path, zygote: Zygote, figures: Figures, store_url: str = ""
) -> None:
    """Kill it so often on this database, see everything to its end, and hold what is told against what happened."""
    services = SlowServices(folder, HOSTS)
    try:
        await _survive(kills, database, services, folder, zygote, figures, store_url)
    finally:
        services.stop()


async def _survive(
    kills: int,
    database: str,
    services: SlowServices,
    folder: Path,
    zygote: Zygote,
    figures: Figures,
    store_url: str,
) -> None:
    async with busy_workbench() as workbench:
        bot = WholeBot(folder, workbench, UNLIMITED + services.hosts, store_url=store_url, zygote=zygote)
        await asyncio.to_thread(bot.start)
        ledger = Ledger(bot.store_url)
        people = People(workbench, services, ledger)
        working = asyncio.create_task(people.work())
        began = time.monotonic()
        mean_life_s = await kill_on(bot, people, kills, random.Random(database))
        took_s = time.monotonic() - began
        people.enough.set()
        last_start = time.monotonic()
        book = await working
        all_ended_s = time.monotonic() - last_start
        assert await asyncio.to_thread(bot.terminate) == 0
        left = ledger.leases()
        ledger.close()
    note = f"{book.ends.total()} approvals in {kills} kills ({took_s:.0f} s): {dict(sorted(book.ends.items()))}"
    figures.note(
        **{
            f"{database}": f"{note}, {len(book.doubled)} doubled, {len(book.vanished)} vanished",
            f"mean_life_{database}_s": round(mean_life_s, 1),
            f"unknown_{database}": f"{book.unknown_percent:.1f} %",
            f"asked_again_after_{MAX_ATTEMPTS}_deaths_{database}": book.abandoned,
            f"all_ended_after_the_last_start_{database}_s": round(all_ended_s, 1),
        }
    )
    assert book.faults() == [], "\n".join(book.faults())
    assert book.unknown_percent <= 1
    assert left == []
    assert all_ended_s <= 60
