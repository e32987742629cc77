"""R07: while fifty hosts hang, a command about another answers at once, and threads stay bounded."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.ssh_slots import PoolLimits
from opsbot.domain import Connection, Host, IncomingCommand
from opsbot.lanes import MOST
from tests import ssh_answers
from tests.fake_chat import lines
from tests.safety.conftest import Figures, Scale
from tests.safety.cpu_wait import BUSY, waited_for_cpu_s
from tests.scenario.house import ALICE, CHANNEL, House, World
from tests.ssh_servers import Keys, SshServer

HANGING = 50
LIMIT_S = 1.0


@pytest.fixture
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Host]]:
    """Fifty hosts that accept commands and never answer, and this machine, which does."""
    keys = Keys.make(tmp_path_factory.mktemp("keys"))
    with ExitStack() as running:
        server = running.enter_context(SshServer(keys, ssh_answers.hangs))
        hung = {f"hung-{number}": server.host(f"hung-{number}") for number in range(HANGING)}
        # Names the house's groups speak of.
        rest = {name: server.host(name) for name in ("web-1", "web-2")}
        yield hung | rest | {"here": Host("here", connection=Connection.LOCAL)}


@pytest.mark.timed
@pytest.mark.timeout(300)
async def test_a_command_about_another_host_answers_at_once(
    hosts: dict[str, Host], figures: Figures, scale: Scale
) -> None:
    machines = HostMachines(ParamikoShell(PoolLimits(suspect_s=0), find=hosts.get), LocalShell())
    house = House(World(machines=machines, hosts=hosts))  # type: ignore[arg-type]
    await house.start()
    before = threading.active_count()
    names = " ".join(name for name in hosts if name.startswith("hung"))
    for number in range(rounds := scale(3, 12)):
        await house.send(IncomingCommand(CHANNEL, ALICE, f"status {names}", reply_to=f"all{number}"))
    await asyncio.sleep(1.5)  # all of them are under way, and slow
    worst_s, most_threads = 0.0, 0
    began_s, waited_s = time.monotonic(), waited_for_cpu_s()
    for number in range(scale(5, 50)):
        worst_s = max(worst_s, await answer_s(house, f"here{number}"))
        most_threads = max(most_threads, threading.active_count())
    waited = (waited_for_cpu_s() - waited_s) / (time.monotonic() - began_s)
    figures.note(hanging_hosts=HANGING, calls_under_way=HANGING * rounds, slowest_answer=f"{worst_s:.2f} s (limit 1 s)")
    figures.note(threads_at_most=most_threads, waited_for_a_CPU=f"{100 * waited:.0f} % of the time")
    house.die()
    await house.stop()
    await asyncio.to_thread(machines.close)
    assert worst_s < LIMIT_S or waited >= BUSY
    # Each call holds a thread, each connection one more on either side; this machine plays all the hosts, too.
    assert most_threads <= before + MOST + 4 * len(hosts) + 32


async def answer_s(house: House, handle: str) -> float:
    """Ask how this machine is; return how long the answer took."""
    began_s = time.monotonic()
    await house.send(IncomingCommand(CHANNEL, ALICE, "status here", reply_to=handle))
    async with asyncio.timeout(30):
        while not any(each.reply_to == handle for each in house.world.chat.whispers):
            await asyncio.sleep(0.005)
    said = next(each for each in house.world.chat.whispers if each.reply_to == handle)
    assert "load" in " ".join(lines(said.content))
    return time.monotonic() - began_s
