"""OpenSSH's client, one process and one new connection a host, with the key exchange opsbot uses."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

from peer import COMMAND, good, job, serve

work = job()
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
    "-oKexAlgorithms=curve25519-sha256",
)


def ask(address: str) -> bool:
    ran = subprocess.run([*OPTIONS, f"{work.user}@{address}", COMMAND], capture_output=True, text=True, check=False)
    return good(ran.stdout)


with ThreadPoolExecutor(work.parallel) as pool:
    serve(lambda: sum(pool.map(ask, work.addresses)))
