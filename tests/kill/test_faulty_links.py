"""Every link of the bot fails at random while people work: to Slack, the hosts, the database and the model.

Nothing runs twice, nothing vanishes, nothing is told wrong, and with the links back all of it comes to an end.
"""

import asyncio
import json
import random
from contextlib import AsyncExitStack

import pytest

from tests.fault_proxy import Fault, FaultProxy
from tests.ledger import Entry, Ledger
from tests.model_servers import ModelServer, Turn
from tests.real_sshd import needs_sshd, start_sshd
from tests.safety.kills import UNLIMITED, Book, People
from tests.slow_services import SlowServices
from tests.whole_bot import WholeBot
from tests.workbench_fixture import MANIFEST, Limits, RunningWorkbench, running_workbench

__all__ = ["start_sshd"]

pytestmark = [pytest.mark.kill, pytest.mark.timeout(600), needs_sshd]

HOSTS = 4
FAULTS = 24
LIMITS = Limits(ack_timeout_s=3.0)
OPS = "C0OPS"


@pytest.fixture
def services(tmp_path):
    services = SlowServices(tmp_path, HOSTS)
    yield services
    services.stop()


def by_ssh(services: SlowServices, sshd, port: int) -> str:
    """The hosts of the services, reached through a port."""
    where = f'address: 127.0.0.1\n    port: {port}\n    user: {sshd.user}\n    key: "{sshd.key_file}"'
    return services.hosts.replace("connection: local", f'{where}\n    host_key: "{sshd.host_key}"')


class Persistent(People):
    """Who was told that something does not work, or heard nothing, asks again after a while; late answers count too."""

    async def _ask(self, number: int) -> Entry | None:
        host = f"box-{number}"
        known = len(await self._entries(host))
        while not self.enough.is_set():
            text = f"/ops restart svc-{number} {host} because of the links"
            await self._does(self.workbench.person("alice").command(OPS, text))
            for _ in range(30):
                found = await self._entries(host)
                if len(found) > known or (found and found[-1].state == "pending"):
                    return found[-1]
                await asyncio.sleep(0.1)
        return None

    async def _see_it_end(self, entry: Entry) -> None:
        """What is unknown is looked at again every half minute; until then a restart may still be under way."""
        await super()._see_it_end(entry)
        async with asyncio.timeout(120):
            while (await self._entry(entry.id)).state == "unknown":
                await asyncio.sleep(0.2)


async def questions(workbench: RunningWorkbench, enough: asyncio.Event) -> None:
    """Alice talks to the model all the while."""
    while not enough.is_set():
        await workbench.person("alice").says(OPS, "<@U0BOT> how are you?")
        await asyncio.sleep(3)


async def play(links: dict[str, FaultProxy], chance: random.Random) -> list[str]:
    """Let one link after the other fail for a moment, and heal."""
    played = []
    for number in range(FAULTS):
        name = sorted(links)[number % len(links)]
        fault = chance.choice([fault for fault in Fault if fault is not Fault.NONE])
        links[name].fault = fault
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        links[name].fault = Fault.NONE
        played.append(f"{name} {fault.name.lower()}")
        await asyncio.sleep(chance.uniform(0.0, 0.5))
    return played


async def test_nothing_is_doubled_or_vanishes_while_links_fail(tmp_path, services, start_sshd, postgres) -> None:
    async with AsyncExitStack() as stack:
        workbench = await stack.enter_async_context(
            running_workbench(manifest=json.loads(MANIFEST.read_text()), limits=LIMITS)
        )
        database = stack.enter_context(postgres.database())
        model = await stack.enter_async_context(ModelServer(Turn("I am well."), repeat=True))
        sshd = await asyncio.to_thread(start_sshd, "MaxStartups 100:30:200", "MaxSessions 100")
        name, folder = database.removeprefix("postgresql://").split("@/")[1].split("?host=")
        user = database.removeprefix("postgresql://").split("@")[0]
        upstreams = {
            "slack": int(workbench.url.rsplit(":", 1)[1]),
            "hosts": sshd.port,
            "database": f"{folder}/.s.PGSQL.5432",
            "model": int(model.base_url.rsplit(":", 1)[1].removesuffix("/v1")),
        }
        links = {
            link: await stack.enter_async_context(FaultProxy(upstream, http=link == "slack").running())
            for link, upstream in upstreams.items()
        }
        workbench.bench.workspace.base_url = f"http://127.0.0.1:{links['slack'].port}"
        bot = WholeBot(
            tmp_path,
            workbench,
            UNLIMITED + by_ssh(services, sshd, links["hosts"].port),
            store_url=f"postgresql://{user}@127.0.0.1:{links['database'].port}/{name}",
            model_url=f"http://127.0.0.1:{links['model'].port}/v1",
        )
        await asyncio.to_thread(bot.start)
        try:
            book = await worked(workbench, services, Ledger(database), links)
        finally:
            ended = await asyncio.to_thread(bot.terminate)
    assert ended == 0
    used = {name: link.connections for name, link in links.items()}
    assert all(used.values()), used
    assert book.faults() == []
    assert book.unknown_percent <= 10


def done_for_all(ledger: Ledger, services: SlowServices, before: set[str]) -> bool:
    """Whether each host had a request carried out that is not one of these."""
    done = {entry.host for entry in ledger.entries() if entry.state == "done" and entry.id not in before}
    return len(done) == len(services.numbers)


async def worked(
    workbench: RunningWorkbench, services: SlowServices, ledger: Ledger, links: dict[str, FaultProxy]
) -> Book:
    """Have people work while links fail, and a while longer."""
    people = Persistent(workbench, services, ledger)
    working = asyncio.create_task(people.work())
    talking = asyncio.create_task(questions(workbench, people.enough))
    print(*await play(links, random.Random("links")), sep=", ")
    # With every link back the work goes on, for every host.
    healed = {entry.id for entry in await asyncio.to_thread(ledger.entries)}
    async with asyncio.timeout(120):
        while not await asyncio.to_thread(done_for_all, ledger, services, healed):
            await asyncio.sleep(0.2)
    people.enough.set()
    book = await working
    await talking
    ledger.close()
    return book
