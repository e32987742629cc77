"""What opsbot's open connections cost: memory of 100 and 500 warm hosts, and the CPU of 100 that nobody asks.

.venv/bin/python benchmarks/pool.py            root; boots a fleet with 500 endpoints; about two minutes
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from fanout import endpoints

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.domain import Host

IDLE_S = 30.0
# performance.md, part 1: most MiB and most share of a core, by number of hosts.
MOST_MIB = {100: 12.0, 500: 120.0}
MOST_IDLE_SHARE = 0.001


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        _child(json.loads(options.child))
        return 0
    with endpoints(max(MOST_MIB)) as job:
        for count in MOST_MIB:
            part = {**job, "addresses": job["addresses"][:count]}
            subprocess.run([sys.executable, str(Path(__file__)), "--child", json.dumps(part)], check=True)
    return 0


def _child(job: dict[str, str]) -> None:
    hosts = [
        Host(f"host-{n}", address=each, user=job["user"], key_file=job["key_file"], host_key=job["host_key"])
        for n, each in enumerate(job["addresses"], 1)
    ]
    machines = HostMachines(ParamikoShell(PoolLimits(connections=len(hosts))), LocalShell())
    me = psutil.Process()
    with ThreadPoolExecutor(20) as pool:
        pool.submit(machines.vitals, hosts[0], timeout_s=30).result()  # modules and threads that one host needs
        before_bytes = me.memory_info().rss
        for _ in range(2):
            list(pool.map(lambda host: machines.vitals(host, timeout_s=60), hosts))
    grown_mib = (me.memory_info().rss - before_bytes) / 2**20
    threads, descriptors = me.num_threads(), me.num_fds()
    began, cpu_before_s = time.monotonic(), sum(me.cpu_times()[:2])
    time.sleep(IDLE_S)
    idle_share = (sum(me.cpu_times()[:2]) - cpu_before_s) / (time.monotonic() - began)
    machines.close()
    met = grown_mib <= MOST_MIB[len(hosts)]
    print(
        f"{len(hosts)} warm hosts: {grown_mib:.1f} MiB more ({_verdict(met)} at most {MOST_MIB[len(hosts)]:g}), "
        f"{threads} threads, {descriptors} descriptors; idle {idle_share:.3%} of a core"
        + (f" ({_verdict(idle_share <= MOST_IDLE_SHARE)} at most {MOST_IDLE_SHARE:.1%})" if len(hosts) == 100 else "")
    )


def _verdict(met: bool) -> str:
    return "met:" if met else "MISSED:"


if __name__ == "__main__":
    sys.exit(main())
