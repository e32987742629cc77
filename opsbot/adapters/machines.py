"""All managed hosts behind one face: over SSH or on this machine, under systemd or supervisord."""

import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import SplitResult, urlsplit

from opsbot.adapters import hostfacts
from opsbot.adapters.cpu_readings import CpuReading, CpuReadings
from opsbot.adapters.hostfacts import Probe
from opsbot.adapters.local import local_facts, local_reading, local_vitals
from opsbot.adapters.services.supervisord import SupervisordServices
from opsbot.adapters.services.systemd import SystemdServices
from opsbot.domain import CommandResult, Connection, HealthCheck, Host, ServerFacts, ServiceManager, Vitals
from opsbot.ports import Machines, Services, Shell

_MAX_STATUS_LINE = 1024
_PORTS = {"http": 80, "https": 443}


class HostMachines(Machines):
    """Real machines. `ssh` reaches those of the inventory's `ssh` connection, `local` the bot's own.

    Facts and vitals are asked over the probe channels of `ssh` if it has any (`hostfacts.Prober`).
    """

    def __init__(self, ssh: Shell, local: Shell) -> None:
        self._ssh = ssh
        self._local = local
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
        if isinstance(self._ssh, hostfacts.Prober):
            return self._ssh.probe(host, probe, timeout_s=timeout_s).check().stdout
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
        return None if check is None else probe(check)

    def close(self) -> None:
        """Close every connection."""
        self._ssh.close()
        self._local.close()

    def _shell(self, host: Host) -> Shell:
        return self._local if host.connection is Connection.LOCAL else self._ssh


def probe(check: HealthCheck) -> str:
    """Run a health check from here: "" if it passed, else why it failed. Never follows a redirect."""
    where = check.tcp or _shown(check.url)
    try:
        return _get(check) if check.url else _connect(check)
    except TimeoutError:
        return f"{where} did not answer within {check.timeout_s:g} s"
    except ssl.SSLCertVerificationError as error:
        return f"{where} has a certificate that does not verify: {error.verify_message}"
    except (OSError, ValueError) as error:
        return f"{where} cannot be reached: {getattr(error, 'strerror', None) or error}"


def _connect(check: HealthCheck) -> str:
    name, _, port = check.tcp.rpartition(":")
    with socket.create_connection((name.strip("[]"), int(port)), timeout=check.timeout_s):
        return ""


def _get(check: HealthCheck) -> str:
    """Ask for the URL and read no more than the status line, all within one deadline."""
    deadline = time.monotonic() + check.timeout_s
    url = urlsplit(check.url)
    if url.scheme not in _PORTS:
        raise ValueError("not an http or https URL")
    address = (url.hostname or "", url.port or _PORTS[url.scheme])
    with socket.create_connection(address, timeout=check.timeout_s) as plain:
        plain.settimeout(_left(deadline))
        with _secured(plain, url) as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(_request(url))
            line = _status_line(connection, deadline)
    status = line.split(" ")[1:2]
    if not line.startswith("HTTP/1.") or not status or not status[0].isdecimal():
        return f"{_shown(check.url)} did not answer in HTTP"
    return "" if 200 <= int(status[0]) < 400 else f"{_shown(check.url)} answered {status[0]}"


def _secured(plain: socket.socket, url: SplitResult) -> socket.socket:
    if url.scheme != "https":
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname)


def _request(url: SplitResult) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = url.netloc.rpartition("@")[2]
    lines = (f"GET {target} HTTP/1.1", f"Host: {host}", "User-Agent: opsbot", "Accept: */*", "Connection: close")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def _status_line(connection: socket.socket, deadline: float) -> str:
    received = b""
    while b"\n" not in received and len(received) < _MAX_STATUS_LINE:
        connection.settimeout(_left(deadline))
        piece = connection.recv(_MAX_STATUS_LINE)
        if not piece:
            break
        received += piece
    return received.partition(b"\n")[0].decode("latin-1").strip()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _shown(url: str) -> str:
    """The request, without what may be secret: user, password and query."""
    parts = urlsplit(url)
    return f"GET {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path or '/'}"
