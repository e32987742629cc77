"""opsbot's exec path: one command a question, over its pool of warm connections."""

from concurrent.futures import ThreadPoolExecutor

from opsbot_hosts import hosts_of
from peer import FILES, good, job, serve

from opsbot.adapters.ssh import ParamikoShell
from opsbot.domain import Host

work = job()
shell = ParamikoShell()


def ask(host: Host) -> bool:
    return good(shell.run(host, ("cat", *FILES), timeout_s=30).stdout)


with ThreadPoolExecutor(work.parallel) as pool:
    targets = hosts_of(work)
    serve(lambda: sum(pool.map(ask, targets)))
