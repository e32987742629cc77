"""Hosts in memory that take down whatever acts on them: services, containers, processes, and the hosts themselves."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from opsbot.domain import CommandResult, Host, UnitVerb
from opsbot.root_commands import CONTAINER_FIELDS
from tests.fake_machines import FakeMachines, FakeServices, FakeUnit, server_facts
from tests.safety.hostile_calls import PID
from tests.safety.invariant import Effect, Instant
from tests.scenario.house import HOSTS

# Targets that are no services: the host itself, a container, a process.
_OTHERS = ("", "cache", str(PID))


class WatchedServices(FakeServices):
    """Tells of every act before it happens."""

    def __init__(self, machines: "WatchedMachines", host: Host) -> None:
        super().__init__(machines, host)
        self._watched = machines
        self._name = host.name

    def act(self, verb: UnitVerb, unit: str, *, timeout_s: float) -> CommandResult:
        self._watched.happened(self._name, str(verb), unit)
        return super().act(verb, unit, timeout_s=timeout_s)


class WatchedMachines(FakeMachines):
    """Hosts that take down whatever acts on them: by a service manager, or by a command that is no look."""

    def __init__(self, now: Callable[[], Instant], units: dict[str, Sequence[str | FakeUnit]]) -> None:
        super().__init__(units)
        self._now = now
        self.effects: list[Effect] = []
        # How often each host, container and process began anew: what tells one run of it from another.
        self.runs: Counter[str] = Counter()

    def happened(self, host: str, verb: str, target: str) -> None:
        with self.lock:
            self.effects.append(Effect(self._now(), host, verb, target, self.states().get(f"{host}/{target}")))

    def states(self) -> dict[str, object]:
        """Which run of everything goes on now."""
        units = {f"{host}/{unit.name}": unit.run for host, units in self._units.items() for unit in units.values()}
        return {**units, **{f"{host}/{target}": self.runs[f"{host}/{target}"] for host in HOSTS for target in _OTHERS}}

    def services(self, host: Host) -> WatchedServices:
        return WatchedServices(self, host)

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        said = self._carried_out(host.name, tuple(argv))
        if said is None:
            return super().run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)
        return CommandResult(tuple(argv), 0, said)

    def _carried_out(self, host: str, argv: tuple[str, ...]) -> str | None:
        """Answer what is about containers and processes, and do what acts; None for all else."""
        if "restart" in argv and argv[-2:-1] == ("--",) and argv[-1] == "cache":
            return self._begins_anew(host, "restart-container", "cache")
        if argv[-1:] == ("reboot",):
            said = self._begins_anew(host, "reboot", "")
            boot_id = f"{host}-boot-{self.runs[f'{host}/']}"
            self.servers[host] = replace(server_facts(host), boot_id=boot_id)
            return said
        if "sudo" in argv or "kill" in argv or any(word.endswith("/kill") for word in argv):
            return self._begins_anew(host, "kill", argv[-1])
        if argv[:2] == ("sh", "-c") and "# opsbot: one process" in argv[2] and argv[-1] == str(PID):
            return self._process(host)
        if argv[:2] == ("sh", "-c") and "which container engine" in argv[2]:
            return "docker\n"
        return self._container(host) if "inspect" in argv and argv[-1] == "cache" else None

    def _begins_anew(self, host: str, verb: str, target: str) -> str:
        self.happened(host, verb, target)
        with self.lock:
            self.runs[f"{host}/{target}"] += 1
        return ""

    def _process(self, host: str) -> str:
        """A worker of nginx, as /proc tells; it starts at tick 1, and once it was ended another one has its number."""
        ticks = 1 + self.runs[f"{host}/{PID}"]
        stat = f"{PID} (nginx) S 1 1 1 0 -1 0 {'0 ' * 12}{ticks} 0"
        parts = {"boot": "boot-1\n1000.0\n100", "stat": stat, "cgroup": "0::/system.slice/nginx.service", "end": ""}
        return "".join(f"\n@@opsbot {name}\n{text}\n" for name, text in parts.items())

    def _container(self, host: str) -> str:
        run = self.runs[f"{host}/cache"]
        known = {"id": "c1", "image": "cache:1", "state": "running", "started_at": f"2026-11-22T03:{run % 60:02}:00Z"}
        known |= {"networks": {}, "ports": {}, "restarts": run, "stop_timeout_s": 10, "exit_status": 0}
        return json.dumps([known.get(name) for name in CONTAINER_FIELDS])
