"""opsbot's exec path with a new connection for every question."""

from concurrent.futures import ThreadPoolExecutor

from opsbot_hosts import hosts_of
from peer import FILES, good, job, serve

from opsbot.adapters.ssh import ParamikoShell
from opsbot.domain import Host

work = job()


def round_of_all() -> int:
    shell = ParamikoShell()

    def ask(host: Host) -> bool:
        return good(shell.run(host, ("cat", *FILES), timeout_s=30).stdout)

    try:
        return sum(pool.map(ask, targets))
    finally:
        shell.close()


with ThreadPoolExecutor(work.parallel) as pool:
    targets = hosts_of(work)
    serve(round_of_all)
