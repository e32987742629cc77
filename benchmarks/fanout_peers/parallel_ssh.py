"""parallel-ssh: libssh2 under gevent, connections kept open."""

from peer import COMMAND, good, job, serve
from pssh.clients import ParallelSSHClient

work = job()
client = ParallelSSHClient(
    list(work.addresses), user=work.user, port=work.port, pkey=work.key_file, pool_size=work.parallel, allow_agent=False
)


def ask() -> int:
    outputs = client.run_command(COMMAND, stop_on_errors=False)
    return sum(good("\n".join(output.stdout or ())) for output in outputs)


serve(ask)
