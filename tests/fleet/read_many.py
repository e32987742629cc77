"""Read the vitals of the hosts given on stdin twice, and say in JSON what that cost this process."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.domain import Host
from opsbot.errors import ToolError

PARALLEL = 20
TIMEOUT_S = 60.0
_FIELDS = ("name", "address", "port", "user", "key_file", "host_key")


def main() -> None:
    hosts = [Host(**{name: entry[name] for name in _FIELDS}) for entry in json.load(sys.stdin)]
    process = psutil.Process()
    machines = HostMachines(ParamikoShell(), LocalShell())
    errors: list[str] = []

    def ask(host: Host) -> bool:
        try:
            return machines.vitals(host, timeout_s=TIMEOUT_S).memory_total_bytes > 0
        except ToolError as error:
            errors.append(str(error)[:200])
            return False

    threads_before, before_bytes = threading.active_count(), process.memory_info().rss
    answers, took_s = [], []
    for _ in range(2):
        started_at = time.monotonic()
        with ThreadPoolExecutor(PARALLEL) as calls:
            answers.append(sum(calls.map(ask, hosts)))
        took_s.append(round(time.monotonic() - started_at, 2))
    report = {
        "answers": answers,
        "took_s": took_s,
        "errors": errors[:3],
        "grown_bytes": process.memory_info().rss - before_bytes,
        "connections": len([each for each in process.net_connections("tcp4") if each.raddr]),
        "threads_before": threads_before,
        "threads_open": threading.active_count(),
    }
    machines.close()
    report["threads_after_close"] = threading.active_count()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
