"""Machines in memory: hosts with services that restart, fail, flap or hang as a test scripts them.

    machines = FakeMachines({
        "web-1": ["nginx", FakeUnit("brittle", on_restart="fails")],
        "db-1": ["redis-server"],
    })
    machines.fault("db-1", "down")                          # down | hang | no-sudo | lost | lost-before
    machines.unit("web-1", "nginx").health = "GET ... answered 503"
    machines.restarts["web-1", "nginx.service"]             # how often the service was really restarted
    machines.done["web-1", "nginx.service", "stop"]         # how often any verb was really carried out
    machines.commands                                       # every (host, argv) that reached a host, in order

Unit names may be written short; they are kept as `name.service`. A host that was not named in the constructor has no
units and is up. Calls come from several threads: all changes are made under one lock.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from opsbot.domain import (
    CertificateReport,
    CheckResult,
    CommandResult,
    Disk,
    Host,
    LogLine,
    ServerFacts,
    ServiceManager,
    UnitFacts,
    UnitVerb,
    Vitals,
)
from opsbot.errors import CommandTimedOut, HostUnreachable, OutcomeUnknown
from opsbot.ports import Machines, Services
from opsbot.units import canonical_unit

# What a restart does: "works"; "fails" (ends failed, status 1, `log_on_failure` logged); "flaps" (up, then auto-restart
# again and again); "nothing" (status 0, yet the same run goes on). The same for the other verbs, where it can be.
OnRestart = Literal["works", "fails", "flaps", "nothing"]
# down: HostUnreachable at once. hang: waits until the call's timeout (or `heal`), then CommandTimedOut. no-sudo: a
# restart is refused, status 1. lost: a restart happens, then OutcomeUnknown. lost-before: OutcomeUnknown, no restart.
# lost-for-good: as `lost`, and the host is down from then on.
Fault = Literal["down", "hang", "no-sudo", "lost", "lost-before", "lost-for-good"]

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


@dataclass
class FakeUnit:
    """One service and its script. `settle_shows`: after a restart that many `show` calls still see `activating`."""

    name: str
    on_restart: OnRestart = "works"
    active_state: str = "active"
    sub_state: str = "running"
    load_state: str = "loaded"
    description: str = ""
    log: list[str] = field(default_factory=lambda: ["started"])
    log_on_failure: Sequence[str] = ("config error: line 7: unknown key",)
    health: str | None = None
    connections: str = "listens on tcp 80; 2 connections from 2 addresses"
    settle_shows: int = 0
    required_by: tuple[str, ...] = ()
    triggered_by: tuple[str, ...] = ()
    # What systemd says of it besides; `StateChangeTimestampMonotonic` counts up with all that happens.
    details: dict[str, str] = field(default_factory=lambda: {"Type": "simple", "CanReload": "yes"})
    changes: int = 1
    run: int = 1
    auto_restarts: int = 0
    result: str = "success"
    settling: int = 0


class FakeMachines(Machines):
    """All hosts of a test. See the module's first lines."""

    def __init__(self, units: Mapping[str, Sequence[str | FakeUnit]] | None = None) -> None:
        self.lock = threading.RLock()
        self.restarts: Counter[tuple[str, str]] = Counter()
        self.done: Counter[tuple[str, str, str]] = Counter()
        self.commands: list[tuple[str, tuple[str, ...]]] = []
        self.answers: dict[tuple[str, tuple[str, ...]], CommandResult] = {}
        self.servers: dict[str, ServerFacts] = {}
        self.seen_from_bot: dict[tuple[str, str], CheckResult] = {}
        self.certificate_reports: dict[str, tuple[CertificateReport, ...]] = {}
        self.names_from_bot: dict[str, tuple[str, ...] | None] = {}
        self._faults: dict[str, Fault] = {}
        self._healed: dict[str, threading.Event] = {}
        self._gates: dict[str, threading.Event] = {}
        self._units: dict[str, dict[str, FakeUnit]] = {}
        for host, listed in (units or {}).items():
            self._units[host] = {}
            for item in listed:
                self.add(host, item)

    def add(self, host: str, unit: str | FakeUnit) -> FakeUnit:
        """Install a service on a host."""
        fresh = FakeUnit(unit) if isinstance(unit, str) else unit
        fresh.name = canonical_unit(fresh.name, ServiceManager.SYSTEMD)
        self._units.setdefault(host, {})[fresh.name] = fresh
        return fresh

    def unit(self, host: str, name: str) -> FakeUnit:
        """Return a service to inspect or to change."""
        return self._units[host][canonical_unit(name, ServiceManager.SYSTEMD)]

    def units_of(self, host: str) -> tuple[FakeUnit, ...]:
        """Return all services of a host."""
        return tuple(self._units.get(host, {}).values())

    def answer(self, host: str, *argv: str, stdout: str = "", stderr: str = "", exit_status: int = 0) -> None:
        """Script what `run` returns for exactly this command (otherwise: empty output, status 0)."""
        self.answers[host, argv] = CommandResult(argv, exit_status, stdout, stderr)

    def fault(self, host: str, kind: Fault) -> None:
        """Break a host from now on."""
        self._healed[host] = threading.Event()
        self._faults[host] = kind

    def heal(self, host: str) -> None:
        """End the host's fault; calls that hang in it end now, as timed out."""
        self._faults.pop(host, None)
        self._healed.pop(host, threading.Event()).set()

    def hold_restarts(self, host: str) -> threading.Event:
        """Make restarts on this host wait, before they do anything, until the returned event is set."""
        self._gates[host] = threading.Event()
        return self._gates[host]

    def fault_of(self, host: str) -> Fault | None:
        """Return the host's present fault."""
        return self._faults.get(host)

    def reach(self, host: Host, argv: Sequence[str], timeout_s: float) -> None:
        """Count a command that reaches the host, or raise as the host's fault demands."""
        fault = self._faults.get(host.name)
        if fault == "down":
            raise HostUnreachable(f"{host.name}: no connection within {timeout_s:.0f} s.")
        with self.lock:
            self.commands.append((host.name, tuple(argv)))
        if fault == "hang":
            self._healed[host.name].wait(timeout_s)
            raise CommandTimedOut(f"{host.name}: no answer within {timeout_s:.1f} s.")

    def pass_gate(self, host: Host, timeout_s: float) -> None:
        """Wait while a test holds restarts."""
        gate = self._gates.get(host.name)
        if gate is not None and not gate.wait(timeout_s):
            raise CommandTimedOut(f"{host.name}: held by the test for {timeout_s:.1f} s.")

    # --- Machines ---

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        self.reach(host, argv, timeout_s)
        usual = CommandResult(tuple(argv), 0, self._details(host, argv))
        result = self.answers.get((host.name, tuple(argv)), usual)
        if len(result.stdout) <= max_bytes:
            return result
        return replace(result, stdout=result.stdout[:max_bytes], truncated=True)

    def _details(self, host: Host, argv: Sequence[str]) -> str:
        """Answer `systemctl show --property=… -- UNIT`."""
        known = self._units.get(host.name, {}).get(argv[-1]) if "systemctl" in argv and "show" in argv else None
        if known is None:
            return ""
        said = known.details | {"StateChangeTimestampMonotonic": str(known.changes)}
        return "".join(f"{name}={value}\n" for name, value in said.items())

    def facts(self, host: Host, *, timeout_s: float) -> ServerFacts:
        self.reach(host, ("facts",), timeout_s)
        failed = tuple(u.name for u in self.units_of(host.name) if u.active_state == "failed")
        return replace(self.servers.get(host.name, server_facts(host.name)), failed_units=failed)

    def vitals(self, host: Host, *, timeout_s: float) -> Vitals:
        self.reach(host, ("vitals",), timeout_s)
        return vitals_of(self.servers.get(host.name, server_facts(host.name)))

    def services(self, host: Host) -> "FakeServices":
        return FakeServices(self, host)

    def healthy(self, host: Host, unit: str) -> str | None:
        known = self._units.get(host.name, {}).get(unit)
        return None if known is None else known.health

    def checks(self, host: Host, units: Sequence[str], *, timeout_s: float) -> Mapping[str, CheckResult]:
        return {unit: self.seen_from_bot[host.name, unit] for unit in units if (host.name, unit) in self.seen_from_bot}

    def certificates(self, host: Host, *, timeout_s: float) -> tuple[CertificateReport, ...]:
        return self.certificate_reports.get(host.name, ())

    def lookups(self, host: Host, *, timeout_s: float) -> Mapping[str, tuple[str, ...] | None]:
        return {name: self.names_from_bot.get(name) for name in host.dns_names}


class FakeServices(Services):
    """The service manager of one fake host."""

    def __init__(self, machines: FakeMachines, host: Host) -> None:
        self._machines = machines
        self._host = host

    def show(self, unit: str, *, timeout_s: float) -> UnitFacts:
        self._machines.reach(self._host, ("show", unit), timeout_s)
        known = self._known(unit)
        if known is None:
            return UnitFacts(unit, load_state="not-found", active_state="inactive", sub_state="dead")
        with self._machines.lock:
            _tick(known)
            return unit_facts(self._host.name, known)

    def units(self, *, timeout_s: float) -> tuple[UnitFacts, ...]:
        self._machines.reach(self._host, ("units",), timeout_s)
        return tuple(unit_facts(self._host.name, unit) for unit in self._machines.units_of(self._host.name))

    def logs(self, unit: str, *, lines: int, since: str = "", timeout_s: float) -> tuple[LogLine, ...]:
        self._machines.reach(self._host, ("logs", unit, str(lines), since), timeout_s)
        known = self._known(unit)
        texts = known.log[-lines:] if known else []
        return tuple(LogLine(START + timedelta(seconds=n), text, unit, 6) for n, text in enumerate(texts))

    def act(self, verb: UnitVerb, unit: str, *, timeout_s: float) -> CommandResult:
        argv = (str(verb), unit)
        self._machines.reach(self._host, argv, timeout_s)
        self._machines.pass_gate(self._host, timeout_s)
        fault = self._machines.fault_of(self._host.name)
        if fault == "lost-before":
            raise OutcomeUnknown(f"{self._host.name}: the connection was lost after the command was sent.")
        if fault == "no-sudo":
            return CommandResult(argv, 1, "", "sudo: a password is required")
        known = self._known(unit)
        if known is None or known.load_state == "masked":
            return CommandResult(argv, 5, "", f"Failed to {verb} {unit}: Unit {unit} not found.")
        with self._machines.lock:
            self._machines.done[self._host.name, known.name, str(verb)] += 1
            self._machines.restarts[self._host.name, known.name] += verb is UnitVerb.RESTART
            result = _carried_out(verb, known, argv)
        if fault in ("lost", "lost-for-good"):
            if fault == "lost-for-good":
                self._machines.fault(self._host.name, "down")
            raise OutcomeUnknown(f"{self._host.name}: the connection was lost after the command was sent.")
        return result

    def connections(self, unit: UnitFacts, *, timeout_s: float) -> str:
        self._machines.reach(self._host, ("connections", unit.unit), timeout_s)
        known = self._known(unit.unit)
        return known.connections if known else "unknown"

    def _known(self, unit: str) -> FakeUnit | None:
        return next((u for u in self._machines.units_of(self._host.name) if u.name == unit), None)


def _carried_out(verb: UnitVerb, unit: FakeUnit, argv: tuple[str, ...]) -> CommandResult:
    if unit.on_restart == "nothing":
        return CommandResult(argv, 0, "")
    match verb:
        case UnitVerb.START if unit.active_state == "active":
            return CommandResult(argv, 0, "")
        case UnitVerb.START | UnitVerb.RESTART:
            unit.changes += 1
            return _restart(unit, argv)
        case UnitVerb.STOP:
            return _stop(unit, argv)
        case UnitVerb.RELOAD:
            return _reload(unit, argv)
        case UnitVerb.RESET_FAILED:
            unit.auto_restarts = 0
            if unit.active_state == "failed":
                unit.active_state, unit.sub_state, unit.result = "inactive", "dead", "success"
            return CommandResult(argv, 0, "")


def _stop(unit: FakeUnit, argv: tuple[str, ...]) -> CommandResult:
    if unit.active_state not in ("inactive", "failed"):
        fails = unit.on_restart == "fails"
        state = ("failed", "failed", "timeout") if fails else ("inactive", "dead", "success")
        unit.active_state, unit.sub_state, unit.result = state
        unit.changes += 1
        unit.log.append("stopped")
    return CommandResult(argv, 0, "")


def _reload(unit: FakeUnit, argv: tuple[str, ...]) -> CommandResult:
    if unit.active_state != "active":
        return CommandResult(argv, 1, "", f"{unit.name} is not active, cannot reload.")
    unit.changes += 1
    if unit.on_restart == "fails":
        unit.details["ReloadResult"] = "exit-code"
        unit.log.extend(unit.log_on_failure)
        return CommandResult(argv, 1, "", f"Job for {unit.name} failed.")
    unit.details["ReloadResult"] = "success"
    return CommandResult(argv, 0, "")


def _restart(unit: FakeUnit, argv: tuple[str, ...]) -> CommandResult:
    unit.run += 1
    unit.log.append("stopped")
    if unit.on_restart == "fails":
        unit.active_state, unit.sub_state, unit.result = "failed", "failed", "exit-code"
        unit.log.extend(unit.log_on_failure)
        return CommandResult(argv, 1, "", f"Job for {unit.name} failed because the control process exited.")
    unit.active_state, unit.sub_state, unit.result, unit.settling = "active", "running", "success", unit.settle_shows
    unit.log.append("started")
    return CommandResult(argv, 0, "")


def _tick(unit: FakeUnit) -> None:
    """Let a unit that settles or flaps move on by one step per look."""
    if unit.on_restart == "flaps" and unit.run > 1:
        down = unit.sub_state == "running"
        unit.active_state, unit.sub_state = ("activating", "auto-restart") if down else ("active", "running")
        unit.result = "exit-code" if down else "success"
        unit.auto_restarts, unit.run = unit.auto_restarts + down, unit.run + down
    elif unit.settling:
        unit.settling -= 1


def unit_facts(host: str, unit: FakeUnit) -> UnitFacts:
    """Say what the fake's `show` says, without moving the unit on."""
    settling = unit.settling > 0
    active = unit.active_state == "active"
    return UnitFacts(
        unit=unit.name,
        description=unit.description or unit.name.removesuffix(".service"),
        load_state=unit.load_state,
        active_state="activating" if settling else unit.active_state,
        sub_state="start" if settling else unit.sub_state,
        result=unit.result,
        main_pid=1000 + unit.run if active else None,
        exit_status=0 if unit.result == "success" else 78,
        restarts=unit.auto_restarts,
        active_since=START + timedelta(minutes=unit.run) if active and not settling else None,
        memory_bytes=12_000_000,
        tasks=3,
        invocation_id=hashlib.sha256(f"{host}/{unit.name}/{unit.run}".encode()).hexdigest()[:32],
        required_by=unit.required_by,
        triggered_by=unit.triggered_by,
    )


def vitals_of(facts: ServerFacts) -> Vitals:
    """Return the part of the facts that is read without a process."""
    return Vitals(**{field.name: getattr(facts, field.name) for field in fields(Vitals)})


def server_facts(hostname: str) -> ServerFacts:
    """Return a calm Debian server with one disk of 50 GB, nine tenths full."""
    return ServerFacts(
        hostname=hostname,
        os="Debian GNU/Linux 12 (bookworm)",
        kernel="6.1.0-42-amd64",
        cpus=2,
        load=(0.21, 0.35, 0.4),
        cpu_percent=7.5,
        memory_total_bytes=4 * 2**30,
        memory_available_bytes=3 * 2**30,
        swap_total_bytes=0,
        swap_used_bytes=0,
        disks=(Disk("/", 50 * 10**9, 45 * 10**9, 3_276_800, 210_000),),
        uptime_s=1_051_200.0,
        boot_id=hashlib.sha256(hostname.encode()).hexdigest()[:32],
        failed_units=(),
    )
