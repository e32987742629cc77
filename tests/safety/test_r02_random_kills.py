"""R02: `kill -9` at random, again and again, while people ask, approve, and real services are restarted."""

import asyncio
import json
import random
import time

import pytest

from opsbot.replica import MAX_ATTEMPTS
from tests.ledger import Ledger
from tests.safety.kills import UNLIMITED, People
from tests.slow_services import SlowServices
from tests.whole_bot import WholeBot
from tests.workbench_fixture import MANIFEST, Limits, running_workbench

pytestmark = [pytest.mark.kill, pytest.mark.timeout(2400)]

HOSTS = 6
# An interrupted restart is looked at for some seconds, so some lives must be longer than others.
MEAN_LIFE_S = 2.0
# Slack waits three seconds for an acknowledgement, then shows an error to whoever clicked.
LIMITS = Limits(ack_timeout_s=3.0)


@pytest.fixture
def services(tmp_path):
    services = SlowServices(tmp_path, HOSTS)
    yield services
    services.stop()


async def kill_on(bot: WholeBot, kills: int, chance: random.Random) -> None:
    """Kill it at random moments of its life; the next one starts at once, as under systemd."""
    for _ in range(kills):
        await asyncio.sleep(0.05 + chance.expovariate(1 / MEAN_LIFE_S))
        bot.kill()
        await asyncio.to_thread(bot.start)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_nothing_is_doubled_and_nothing_vanishes(
    tmp_path, zygote, services, database, request, figures, scale
) -> None:
    kills = scale(8, 200)
    store_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    async with running_workbench(manifest=json.loads(MANIFEST.read_text()), limits=LIMITS) as workbench:
        bot = WholeBot(tmp_path, workbench, UNLIMITED + services.hosts, store_url=store_url, zygote=zygote)
        await asyncio.to_thread(bot.start)
        ledger = Ledger(bot.store_url)
        people = People(workbench, services, ledger)
        working = asyncio.create_task(people.work())
        began = time.monotonic()
        await kill_on(bot, kills, random.Random(database))
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
            f"unknown_{database}": f"{book.unknown_percent:.1f} %",
            f"asked_again_after_{MAX_ATTEMPTS}_deaths_{database}": book.abandoned,
            f"all_ended_after_the_last_start_{database}_s": round(all_ended_s, 1),
        }
    )
    assert (book.doubled, book.vanished, book.wrong) == ([], [], [])
    assert book.unknown_percent <= 1
    assert left == []
    assert all_ended_s <= 60
