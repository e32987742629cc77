"""Managed hosts: commands, facts and service managers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from opsbot.domain import (
    CertificateReport,
    CheckResult,
    CommandResult,
    Host,
    LogLine,
    ServerFacts,
    UnitFacts,
    UnitVerb,
    Vitals,
)


class Shell(Protocol):
    """Runs commands on one kind of connection; blocking, called from worker threads."""

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        """Run one command (an argument vector; quoting is done here) to its end.

        Never retried once sent. Both streams are read; each is capped at `max_bytes`.

        Raises:
            HostUnreachable: no connection, so nothing ran.
            CommandTimedOut: the total deadline passed.
            OutcomeUnknown: the connection was lost before an exit status came.
        """
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class Machines(Protocol):
    """All managed hosts behind one face: picks the connection and the service manager of each."""

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        """As `Shell.run`."""
        ...

    def facts(self, host: Host, *, timeout_s: float) -> ServerFacts:
        """Look at the machine: one round trip."""
        ...

    def vitals(self, host: Host, *, timeout_s: float) -> Vitals:
        """Look at the part of it that starts no process there: for many hosts, and often.

        `cpu_percent` is over the time since this host was last looked at, if that is 1 to 120 s; else None.
        """
        ...

    def services(self, host: Host) -> "Services":
        """Return the host's service manager."""
        ...

    def healthy(self, host: Host, unit: str) -> str | None:
        """Run the unit's health check. None: no check configured. "": it passed. Else: why it failed."""
        ...

    def checks(self, host: Host, units: Sequence[str], *, timeout_s: float) -> Mapping[str, CheckResult]:
        """Run these units' health checks from the bot, side by side; units without one are left out."""
        ...

    def certificates(self, host: Host, *, timeout_s: float) -> tuple[CertificateReport, ...]:
        """Look at every place of `host.certificates`, side by side; a place that fails is a report that says so."""
        ...

    def lookups(self, host: Host, *, timeout_s: float) -> Mapping[str, tuple[str, ...] | None]:
        """Look `host.dns_names` up from the bot: sorted addresses, () if there is no such name, None: no answer."""
        ...


class Services(Protocol):
    """A service manager on one host: systemd or supervisord, the same words for both."""

    def show(self, unit: str, *, timeout_s: float) -> UnitFacts:
        """Read a unit. A missing unit is `load_state="not-found"`, not an error."""
        ...

    def units(self, *, timeout_s: float) -> tuple[UnitFacts, ...]:
        """List the services that run, failed, or may be touched."""
        ...

    def logs(self, unit: str, *, lines: int, since: str = "", timeout_s: float) -> tuple[LogLine, ...]:
        """Read the newest `lines` (1 to 500) log lines, oldest first; `since` as journalctl takes it."""
        ...

    def act(self, verb: UnitVerb, unit: str, *, timeout_s: float) -> CommandResult:
        """Do this to a unit, once. A non-zero exit status is returned, not raised.

        Raises:
            BadArguments: this service manager does not know the verb; nothing was run.
        """
        ...

    def connections(self, unit: UnitFacts, *, timeout_s: float) -> str:
        """Say what listens and who is connected, in a few words, or "unknown"."""
        ...
