"""R02: `kill -9` at random while people have real systemd units on real hosts restarted over SSH."""

import asyncio
import random
from collections.abc import Callable

import pytest

from opsbot.domain import Host
from tests.fleet.test_fleet_main_job import hosts_section
from tests.ledger import Ledger
from tests.safety.kills import UNLIMITED, People, busy_workbench
from tests.safety.random_kills import kill_on
from tests.whole_bot import WholeBot

pytestmark = [pytest.mark.timed, pytest.mark.fleet, pytest.mark.timeout(2400)]

# nginx and redis start and stop at once; stubborn is killed after five seconds of deafness.
UNITS = ("nginx.service", "stubborn.service", "redis-server.service")
# systemd's own mark of a unit that has started: SD_MESSAGE_UNIT_STARTED of systemd/sd-messages.h (252).
STARTED = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf"


class RealUnits:
    """One unit on each host of the fleet; its starts are counted by the host's own journal, past the bot."""

    def __init__(self, hosts: dict[str, Host], as_root: Callable[..., str]) -> None:
        self._hosts = sorted(hosts)
        self._as_root = as_root

    @property
    def numbers(self) -> range:
        return range(len(self._hosts))

    def host(self, number: int) -> str:
        return self._hosts[number]

    def unit(self, number: int) -> str:
        return UNITS[number % len(UNITS)]

    def starts(self, number: int) -> int:
        """How often this unit was started; nothing but the bot starts it."""
        words = ("journalctl", "-q", "--no-pager", "-o", "cat", STARTED, f"UNIT={self.unit(number)}")
        return len(self._as_root(self.host(number), *words).splitlines())


async def test_nothing_is_doubled_and_what_was_unknown_is_known_once_the_hosts_were_asked(
    tmp_path,
    zygote,
    fleet_hosts,
    as_root,
    figures,
    scale,
) -> None:
    kills = scale(6, 100)
    units = RealUnits(fleet_hosts, as_root)
    settings = UNLIMITED + hosts_section(fleet_hosts)
    async with busy_workbench() as workbench:
        bot = WholeBot(tmp_path, workbench, settings, zygote=zygote)
        await asyncio.to_thread(bot.start)
        ledger = Ledger(bot.store_url)
        people = People(workbench, units, ledger)
        working = asyncio.create_task(people.work())
        await kill_on(bot, people, kills, random.Random("fleet"))
        people.enough.set()
        book = await working
        assert await asyncio.to_thread(bot.terminate) == 0
        ledger.close()
    figures.note(
        real_hosts=f"{book.ends.total()} approvals in {kills} kills: {dict(sorted(book.ends.items()))}, "
        f"{len(book.doubled)} doubled, {len(book.vanished)} vanished",
        unknown_real_hosts=f"{book.unknown_percent:.1f} %",
    )
    assert book.faults() == [], "\n".join(book.faults())
    assert book.unknown_percent <= 1
