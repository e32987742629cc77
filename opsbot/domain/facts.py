"""What was read of hosts."""

from dataclasses import dataclass
from datetime import datetime

from opsbot.errors import CommandFailed


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command on a host produced; the text is decoded with replacement and capped in bytes."""

    argv: tuple[str, ...]
    exit_status: int
    stdout: str
    stderr: str = ""
    truncated: bool = False
    duration_s: float = 0.0

    def check(self) -> "CommandResult":
        """Return self, or raise CommandFailed with the first words of stderr."""
        if self.exit_status != 0:
            said = (self.stderr or self.stdout).strip()[:300] or "it said nothing"
            raise CommandFailed(f"`{self.argv[0]}` ended with status {self.exit_status}: {said}")
        return self


@dataclass(frozen=True, slots=True)
class Disk:
    """One mounted file system."""

    mount: str
    size_bytes: int
    used_bytes: int
    inodes: int | None = None
    inodes_used: int | None = None
    # What ordinary users may still fill; less than size - used where blocks are reserved for root.
    available_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """How a machine is doing, the same facts whether read by SSH or by psutil. None means "unknown"."""

    hostname: str
    os: str
    kernel: str
    cpus: int
    load: tuple[float, float, float]
    cpu_percent: float | None
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    disks: tuple[Disk, ...]
    uptime_s: float
    boot_id: str
    failed_units: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Vitals:
    """The part of a machine's state that is read without starting a process on it. None means "unknown"."""

    load: tuple[float, float, float]
    cpu_percent: float | None
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    uptime_s: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a health check went, seen from the bot. `failure` is "" if it passed; None means "unknown".

    `target` and `redirect_host` (where a redirect leads; it is not followed) hold no user, password or query.
    """

    target: str
    failure: str = ""
    latency_ms: float | None = None
    status: int | None = None
    body_bytes: int | None = None
    tls_not_after: datetime | None = None
    redirect_host: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself. `names`: DNS names and addresses it is for. `key`: kind and bits."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """What was found at one place of `Host.certificates`: `chain`, the certificate itself first, and its problems.

    `failure`: why nothing could be read. `verified`: whether the bot's own trust store accepts it; None for a file, or
    when that could not be tried.
    """

    place: str
    failure: str = ""
    chain: tuple[Certificate, ...] = ()
    problems: tuple[str, ...] = ()
    verified: bool | None = None


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A service as its manager sees it. None means "unknown" or "not applicable"."""

    unit: str
    description: str = ""
    load_state: str = ""
    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    main_pid: int | None = None
    exit_status: int | None = None
    restarts: int | None = None
    active_since: datetime | None = None
    memory_bytes: int | None = None
    tasks: int | None = None
    # Identifies one run of the unit: systemd's InvocationID, or boot id + pid + start tick elsewhere.
    invocation_id: str = ""
    triggered_by: tuple[str, ...] = ()
    required_by: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.load_state == "loaded"

    @property
    def active(self) -> bool:
        return self.active_state == "active"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One journal line. `at` is aware UTC, None if the source has no time."""

    at: datetime | None
    text: str
    source: str = ""
    priority: int | None = None
