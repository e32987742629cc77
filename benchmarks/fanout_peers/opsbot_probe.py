"""opsbot's probe path: the same figures by the persistent read-only channel."""

from concurrent.futures import ThreadPoolExecutor

from opsbot_hosts import hosts_of
from peer import job, serve

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.domain import Host

work = job()
machines = HostMachines(ParamikoShell(), LocalShell())


def ask(host: Host) -> bool:
    return machines.vitals(host, timeout_s=30).memory_total_bytes > 0


with ThreadPoolExecutor(work.parallel) as pool:
    targets = hosts_of(work)
    serve(lambda: sum(pool.map(ask, targets)))
