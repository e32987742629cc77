"""R17: ended by SIGTERM under load, again and again: within 20 s, with nothing half-done that is not written down."""

import asyncio
import random
import signal
import time
from dataclasses import dataclass, field

import pytest

from tests.ledger import Entry, Ledger
from tests.notify_socket import NotifySocket
from tests.ports import reserved_port
from tests.safety.kills import UNLIMITED, People, busy_workbench
from tests.slow_services import SlowServices
from tests.whole_bot import WholeBot

pytestmark = pytest.mark.timeout(2400)

HOSTS = 6
ENDS_WITHIN_S = 20.0
MEAN_LIFE_S = 2.0
WATCHDOG_S = 3.0


@pytest.fixture
def services(tmp_path):
    services = SlowServices(tmp_path, HOSTS)
    yield services
    services.stop()


@pytest.fixture
def systemd(tmp_path):
    listening = NotifySocket(tmp_path, watchdog_s=WATCHDOG_S)
    yield listening
    listening.close()


@pytest.fixture
async def workbench():
    async with busy_workbench() as running:
        yield running


@dataclass
class AtRest:
    """What the database and the services say while no bot runs."""

    ledger: Ledger
    services: SlowServices
    ends_s: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    left: int = 0

    def look(self) -> None:
        """Compare what was begun on the hosts with what is written down."""
        begun = sum(self.services.starts(n) for n in self.services.numbers) - self.services.count
        written = self.ledger.recorded("execution.intent")
        if begun > written:
            self.unrecorded.append(f"{begun} restarts, {written} of them written down")
        executing = [entry for entry in self.ledger.entries() if entry.state == "executing"]
        self.left += len(executing)
        self.unrecorded += [f"{entry.id} executes, unwritten" for entry in executing if not self._decided(entry)]
        self.unrecorded += [f"lives on: {row[0]}" for row in self.ledger.rows("SELECT id FROM replicas")]

    def _decided(self, entry: Entry) -> bool:
        query = f"SELECT count(*) FROM audit WHERE approval_id = '{entry.id}' AND entry LIKE '%\"execution.%'"
        return bool(self.ledger.rows(query)[0][0])


async def restarts(bot: WholeBot, count: int, chance: random.Random, rest: AtRest) -> None:
    """End it as systemd does at random moments of its life, look, and start it again."""
    for _ in range(count):
        await asyncio.sleep(0.05 + chance.expovariate(1 / MEAN_LIFE_S))
        began = time.monotonic()
        rest.codes.append(await asyncio.to_thread(bot.terminate))
        rest.ends_s.append(time.monotonic() - began)
        await asyncio.to_thread(rest.look)
        await asyncio.to_thread(bot.start)


@pytest.mark.kill
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_restarts_under_load_leave_nothing_half_done_unwritten(
    tmp_path, zygote, services, systemd, workbench, database, request, figures, scale
) -> None:
    count = scale(4, 25)  # fifty on both databases together
    store_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    bot = WholeBot(tmp_path, workbench, UNLIMITED + services.hosts, store_url=store_url, zygote=zygote)
    bot.environment = systemd.environment
    await asyncio.to_thread(bot.start)
    ledger = Ledger(bot.store_url)
    people, rest = People(workbench, services, ledger), AtRest(ledger, services)
    working = asyncio.create_task(people.work())
    await restarts(bot, count, random.Random(database), rest)
    people.enough.set()
    book = await working
    assert await asyncio.to_thread(bot.terminate) == 0
    await asyncio.to_thread(rest.look)
    ledger.close()
    note = f"{book.ends.total()} approvals: {dict(sorted(book.ends.items()))}"
    figures.note(
        **{
            f"{database}": f"{note}, {len(book.doubled)} doubled, {len(book.vanished)} vanished",
            f"restarts_{database}": count,
            f"slowest_end_{database}_s": round(max(rest.ends_s), 1),
            f"actions_left_to_the_next_start_{database}": rest.left,
            f"unwritten_{database}": len(rest.unrecorded),
        }
    )
    assert rest.unrecorded == []
    assert set(rest.codes) == {0}
    assert max(rest.ends_s) <= ENDS_WITHIN_S
    assert book.faults() == []
    told = systemd.states("READY=1", "STOPPING=1")
    assert told == ["READY=1", "STOPPING=1"] * (count + 1)
    assert "WATCHDOG=1" in systemd.states()


async def until(condition, timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


@pytest.mark.kill
async def test_an_action_without_end_does_not_hold_up_the_end(tmp_path, workbench, figures) -> None:
    """A service that does not stop for minutes: the bot ends without it, and the next one says what became of it."""
    services = SlowServices(tmp_path, 1, stop_s=30)
    bot = WholeBot(tmp_path, workbench, UNLIMITED + services.hosts)
    await asyncio.to_thread(bot.start)
    ledger = Ledger(bot.store_url)
    people = People(workbench, services, ledger, rounds=1)
    working = asyncio.create_task(people.work())
    await until(lambda: ledger.recorded("execution.intent") == 1)
    began = time.monotonic()
    assert await asyncio.to_thread(bot.terminate) == 0
    ended_s = time.monotonic() - began
    assert [entry.state for entry in ledger.entries()] == ["executing"]
    assert ledger.recorded("execution.intent") == 1
    await asyncio.to_thread(bot.start)
    book = await working
    figures.note(ends_beside_an_action_without_end_after_s=round(ended_s, 1))
    assert ended_s <= ENDS_WITHIN_S
    assert book.faults() == []
    assert await asyncio.to_thread(bot.terminate) == 0
    ledger.close()
    services.stop()


async def test_a_request_that_never_comes_whole_does_not_hold_up_the_end(tmp_path, zygote, workbench, figures) -> None:
    with reserved_port() as port:
        bot = WholeBot(
            tmp_path, workbench, "hosts: {this-machine: {connection: local}}\n", http_port=port, zygote=zygote
        )
        await asyncio.to_thread(bot.start)
        _, half = await asyncio.open_connection("127.0.0.1", port)
        half.write(b"POST /slack/events HTTP/1.1\r\nHost: opsbot\r\nContent-Length: 1000\r\n\r\n{")
        await half.drain()
        began = time.monotonic()
        assert await asyncio.to_thread(bot.terminate) == 0
        ended_s = time.monotonic() - began
        half.close()
    figures.note(ends_beside_half_a_request_after_s=round(ended_s, 1))
    assert ended_s <= ENDS_WITHIN_S


async def test_a_bot_that_stands_still_shows_no_life(tmp_path, zygote, workbench, systemd) -> None:
    bot = WholeBot(tmp_path, workbench, "hosts: {this-machine: {connection: local}}\n", zygote=zygote)
    bot.environment = systemd.environment
    await asyncio.to_thread(bot.start)
    await asyncio.to_thread(systemd.wait_for, "WATCHDOG=1", 3)
    bot.signal(signal.SIGSTOP)
    await asyncio.to_thread(bot.stands_still)
    shown = len(systemd.states("WATCHDOG=1"))
    await asyncio.sleep(WATCHDOG_S)
    assert len(systemd.states("WATCHDOG=1")) == shown
    bot.signal(signal.SIGCONT)
    await asyncio.to_thread(systemd.wait_for, "WATCHDOG=1", shown + 2)
    assert await asyncio.to_thread(bot.terminate) == 0


async def test_systemd_is_not_told_ready_when_slack_refuses(tmp_path, workbench, systemd) -> None:
    bot = WholeBot(tmp_path, workbench, "hosts: {this-machine: {connection: local}}\n")
    bot.environment = systemd.environment | {"SLACK_BOT_TOKEN": "xoxb-wrong"}
    with pytest.raises(AssertionError, match="did not get ready"):
        await asyncio.to_thread(bot.start)
    assert await asyncio.to_thread(bot.wait, 60) != 0
    assert "READY=1" not in systemd.states()
