"""All managed hosts behind one face: over SSH or on this machine, under systemd or supervisord."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from opsbot.adapters import certificates, hostfacts, probes
from opsbot.adapters.cpu_readings import CpuReading, CpuReadings
from opsbot.adapters.hostfacts import Probe
from opsbot.adapters.local import local_facts, local_reading, local_vitals
from opsbot.adapters.services import supervisord, systemd
from opsbot.adapters.services.supervisord import SupervisordServices
from opsbot.adapters.services.systemd import SystemdServices
from opsbot.adapters.ssh_probe import PROBE_WORDS
from opsbot.domain import (
    CertificateReport,
    CheckResult,
    CommandResult,
    Connection,
    Host,
    ServerFacts,
    ServiceManager,
    Vitals,
)
from opsbot.looks import Look
from opsbot.ports import Machines, Services, Shell


def looks(host: Host) -> Iterator[Look]:
    """Yield everything that is sent to a host to look at it, but for what tools send by themselves."""
    yield PROBE_WORDS
    yield from (probe.argv for probe in Probe)
    match host.service_manager:
        case ServiceManager.SYSTEMD:
            yield from systemd.looks(host)
        case ServiceManager.SUPERVISORD:
            yield from supervisord.looks(host)
    yield from certificates.looks(host)


class HostMachines(Machines):
    """Real machines. `ssh` reaches those of the inventory's `ssh` connection, `local` the bot's own.

    Facts and vitals are asked over the probe channels of `ssh` if it has any (`hostfacts.Prober`).
    """

    def __init__(self, ssh: Shell, local: Shell) -> None:
        self._ssh = ssh
        self._local = local
        self._prober = ssh if isinstance(ssh, hostfacts.Prober) else None
        self._cpu = CpuReadings()

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        return self._shell(host).run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)

    def facts(self, host: Host, *, timeout_s: float) -> ServerFacts:
        if host.connection is Connection.LOCAL:
            return local_facts(self._local, host, timeout_s=timeout_s)
        known = self._cpu.ready(host.name)
        output = self._ask(host, Probe.FACTS if known else Probe.FACTS_SAMPLED, timeout_s)
        facts = hostfacts.parse(output)
        since_then = self._busy(host, facts, output)
        return replace(facts, cpu_percent=since_then) if facts.cpu_percent is None else facts

    def vitals(self, host: Host, *, timeout_s: float) -> Vitals:
        if host.connection is Connection.LOCAL:
            vitals = local_vitals()
            return replace(vitals, cpu_percent=self._cpu.percent(host.name, local_reading(vitals)))
        output = self._ask(host, Probe.VITALS, timeout_s)
        vitals = hostfacts.parse_vitals(output)
        return replace(vitals, cpu_percent=self._busy(host, vitals, output))

    def _ask(self, host: Host, probe: Probe, timeout_s: float) -> str:
        if self._prober:
            return self._prober.probe(host, probe, timeout_s=timeout_s).check().stdout
        run = self._ssh.run(host, probe.argv, timeout_s=timeout_s, max_bytes=hostfacts.MAX_BYTES)
        return run.check().stdout

    def _busy(self, host: Host, seen: ServerFacts | Vitals, output: str) -> float | None:
        cpu = hostfacts.cpu_time(output)
        return self._cpu.percent(host.name, CpuReading(seen.boot_id, seen.uptime_s, cpu)) if cpu else None

    def services(self, host: Host) -> Services:
        match host.service_manager:
            case ServiceManager.SYSTEMD:
                return SystemdServices(host, self._shell(host))
            case ServiceManager.SUPERVISORD:
                return SupervisordServices(host, self._shell(host))

    def healthy(self, host: Host, unit: str) -> str | None:
        check = host.health.get(unit)
        return None if check is None else probes.probe(check)

    def checks(self, host: Host, units: Sequence[str], *, timeout_s: float) -> Mapping[str, CheckResult]:
        wanted = {unit: host.health[unit] for unit in units if unit in host.health}
        return probes.check_all(wanted, timeout_s=timeout_s)

    def certificates(self, host: Host, *, timeout_s: float) -> tuple[CertificateReport, ...]:
        return certificates.certificates(host, self._shell(host), timeout_s=timeout_s)

    def lookups(self, host: Host, *, timeout_s: float) -> Mapping[str, tuple[str, ...] | None]:
        return probes.lookups(host.dns_names, timeout_s=timeout_s)

    def close(self) -> None:
        """Close every connection."""
        self._ssh.close()
        self._local.close()

    def _shell(self, host: Host) -> Shell:
        return self._local if host.connection is Connection.LOCAL else self._ssh
