"""pyinfra's API: hosts connected once, a shell command on all of them a round."""

from gevent.pool import Pool
from peer import COMMAND, good, job, serve
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all

work = job()
data = {
    "ssh_user": work.user,
    "ssh_port": work.port,
    "ssh_key": work.key_file,
    "ssh_known_hosts_file": work.known_hosts,
    "ssh_strict_host_key_checking": "yes",
}
state = State(Inventory((list(work.addresses), data)), Config(PARALLEL=work.parallel))
connect_all(state)
pool = Pool(work.parallel)


def one(host: object) -> bool:
    succeeded, output = host.run_shell_command(COMMAND)  # type: ignore[attr-defined]
    return succeeded and good(output.stdout)


def ask() -> int:
    return sum(pool.map(one, list(state.inventory)))


serve(ask)
