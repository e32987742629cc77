"""OpenSSH's client, one process a host, over connections kept open by ControlMaster."""

import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

from peer import COMMAND, good, job, serve

work = job()
# Not TemporaryDirectory: the masters outlive a round and end by themselves when unused (ControlPersist).
sockets = tempfile.mkdtemp(prefix="fanout")
OPTIONS = (
    "ssh",
    "-F/dev/null",
    f"-oUserKnownHostsFile={work.known_hosts}",
    "-oGlobalKnownHostsFile=/dev/null",
    "-oStrictHostKeyChecking=yes",
    "-oIdentitiesOnly=yes",
    "-oBatchMode=yes",
    f"-i{work.key_file}",
    f"-p{work.port}",
    "-oControlMaster=auto",
    f"-oControlPath={sockets}/%h",
    "-oControlPersist=120",
)


def ask(address: str) -> bool:
    ran = subprocess.run([*OPTIONS, f"{work.user}@{address}", COMMAND], capture_output=True, text=True, check=False)
    return good(ran.stdout)


with ThreadPoolExecutor(work.parallel) as pool:
    serve(lambda: sum(pool.map(ask, work.addresses)))
