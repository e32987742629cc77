"""Ask 1, 10 and 100 real hosts over SSH, with opsbot and with its peers side by side, and print the ratios.

    .venv/bin/python benchmarks/fanout.py                      all peers, 5 rounds each (root)
    .venv/bin/python benchmarks/fanout.py --rounds 3 --sizes 1,100 --only opsbot,controlmaster

Every peer gets a virtual environment of its own (build/fanout/), made here. All of them answer the same question (load,
memory, uptime) from the same hosts: addresses of one fan-out host of the fleet, whose sshd shares this machine's CPUs.
Rounds are interleaved, medians count, and only ratios within one run mean anything. CPU is that of the client's process
and its children; for OpenSSH and ansible the CPU of the ControlMaster processes is not in it (it favours them).
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENVS = ROOT / "build" / "fanout"
FLEET = ROOT / "tests" / "fleet" / "fleet"
BASE, ANSIBLE, COLD_BASE = "ssh ControlMaster", "ansible-core", "ssh cold"
EXEC, PROBE, COLD = "opsbot exec", "opsbot probe", "opsbot cold"


@dataclass(frozen=True)
class Peer:
    """A way to ask. `packages`: what its environment needs; none: this one's."""

    name: str
    file: str
    packages: tuple[str, ...] = ()
    most_hosts: int = 1000


PEERS = (
    # The newest for Python 3.11; 2.20 and later need 3.12.
    Peer(ANSIBLE, "ansible_core.py", ("ansible-core==2.19.*",)),
    Peer(BASE, "controlmaster.py"),
    Peer("fabric", "fabric_group.py", ("fabric==3.2.*",)),
    Peer("parallel-ssh", "parallel_ssh.py", ("parallel-ssh==2.16.*", "setuptools<81")),
    Peer("asyncssh", "asyncssh_pool.py", ("asyncssh==2.24.*",)),
    Peer("pyinfra", "pyinfra_api.py", ("pyinfra==3.10.*",)),
    Peer(EXEC, "opsbot_exec.py"),
    Peer(PROBE, "opsbot_probe.py"),
    Peer(COLD_BASE, "ssh_cold.py"),
    Peer(COLD, "opsbot_cold.py"),
)
# (peer, compared with, number of hosts, figure, at most): performance.md's targets, as ratios of one run.
TARGETS = (
    (EXEC, BASE, 1, "wall", 0.55),
    (EXEC, BASE, 100, "wall", 0.7),
    (EXEC, BASE, 100, "cpu", 0.3),
    (COLD, COLD_BASE, 100, "wall", 0.85),
    (PROBE, BASE, 100, "wall", 0.2),
    (PROBE, ANSIBLE, 100, "wall", 0.02),
)


@dataclass
class Driver:
    """A peer's process and what its rounds took: seconds of wall and CPU."""

    peer: Peer
    process: "subprocess.Popen[str]"
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)

    def round(self) -> None:
        """Ask every host once."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        took = self._line()
        self.wall_s.append(took["wall_s"])
        self.cpu_s.append(took["cpu_s"])
        self.answered.append(int(took["answered"]))

    def warm(self) -> int:
        """Wait until it has asked every host for the first time; return how many answered."""
        return int(self._line()["warm"])

    def _line(self) -> dict[str, float]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.peer.name} ended with status {self.process.wait()}; its words are above.")
        found: dict[str, float] = json.loads(line)
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; status 1 if a peer lost answers."""
    options = _options(argv)
    chosen = [peer for peer in PEERS if not options.only or any(word in peer.name for word in options.only.split(","))]
    for peer in chosen:
        _environment(peer)
    sizes = [int(word) for word in options.sizes.split(",")]
    medians: dict[tuple[str, int], tuple[float, float]] = {}
    with endpoints(max(sizes)) as job:
        for size in sizes:
            medians |= _measure(chosen, {**job, "addresses": job["addresses"][:size]}, size, options.rounds)
    _report(medians, chosen, sizes)
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds per peer and size (default: 5)")
    parser.add_argument("--sizes", default="1,10,100", help="numbers of hosts (default: 1,10,100)")
    parser.add_argument("--only", default="", help="words of peers' names, separated by commas")
    return parser.parse_args(argv)


def _environment(peer: Peer) -> Path:
    """Return the interpreter that runs this peer; make its environment on first use."""
    if not peer.packages:
        return Path(sys.executable)
    folder = VENVS / peer.name.replace(" ", "-")
    if not (folder / "made").exists():
        print(f"making the environment of {peer.name} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, *peer.packages], check=True)
        (folder / "made").touch()
    return folder / "bin" / "python"


@contextlib.contextmanager
def endpoints(count: int) -> Iterator[dict[str, object]]:
    """Boot the fan-out host; every address of it is an endpoint of its own to a client."""
    hosts = os.environ.get("FLEET_N", "1").split()
    subprocess.run([str(FLEET), "up", *hosts, "--endpoints", str(count)], check=True)
    try:
        inventory = json.loads(subprocess.check_output([str(FLEET), "inventory"]))
        addresses = inventory["endpoints"][:count]
        lines = Path(inventory["known_hosts"]).read_text().splitlines()
        _, kind, key = next(line.split() for line in lines if addresses[0] in line.split()[0].split(","))
        yield {
            "addresses": addresses,
            "port": 22,
            "user": "bot",
            "key_file": inventory["key"],
            "host_key": f"{kind} {key}",
            "known_hosts": inventory["known_hosts"],
            "parallel": 20,
        }
    finally:
        if os.environ.get("FLEET_KEEP") != "1":
            subprocess.run([str(FLEET), "down"], check=True)


def _measure(
    peers: Sequence[Peer], job: dict[str, object], size: int, rounds: int
) -> dict[tuple[str, int], tuple[float, float]]:
    drivers = []
    try:
        for peer in peers:
            driver = Driver(peer, _start(peer, job))
            drivers.append(driver)
            print(f"{size:>4} hosts  {peer.name}: {driver.warm()} answered when it warmed up", flush=True)
        for _ in range(rounds):
            for driver in drivers:
                driver.round()
                time.sleep(0.2)  # what a round leaves behind (closing sessions) must not burden the next peer
    finally:
        for driver in drivers:
            driver.process.kill()
            driver.process.wait()
    for driver in drivers:
        if min(driver.answered) < size:
            raise RuntimeError(
                f"{driver.peer.name}: only {min(driver.answered)} of {size} answered; nothing to compare."
            )
    return {(each.peer.name, size): (statistics.median(each.wall_s), statistics.median(each.cpu_s)) for each in drivers}


def _start(peer: Peer, job: dict[str, object]) -> "subprocess.Popen[str]":
    command = [str(_environment(peer)), str(HERE / "fanout_peers" / peer.file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    return process


def _report(medians: dict[tuple[str, int], tuple[float, float]], peers: Sequence[Peer], sizes: Sequence[int]) -> None:
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} CPUs; wall ms / client CPU ms per host (medians)\n")
    print("| | " + " | ".join(f"{size} host{'s' * (size > 1)}" for size in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for peer in peers:
        cells = [_cell(medians.get((peer.name, size)), size) for size in sizes]
        print(f"| {peer.name} {_version(peer)} | " + " | ".join(cells) + " |")
    print("\nRatios against the targets:")
    for name, base, size, figure, most in TARGETS:
        if (name, size) in medians and (base, size) in medians:
            index = 0 if figure == "wall" else 1
            ratio = medians[name, size][index] / medians[base, size][index]
            met = "met" if ratio <= most else "MISSED"
            print(f"  {name} / {base}, {size} hosts, {figure}: {ratio:.3f} (at most {most}: {met})")


def _cell(median: tuple[float, float] | None, size: int) -> str:
    return "-" if median is None else f"{median[0] * 1000:.1f} / {median[1] * 1000 / size:.1f}"


def _version(peer: Peer) -> str:
    if not peer.packages:
        return ""
    package = peer.packages[0].split("==")[0]
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.check_output([str(_environment(peer)), "-c", ask], text=True).strip()


if __name__ == "__main__":
    sys.exit(main())
