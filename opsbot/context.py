"""The Context through which a tool reaches hosts, within one deadline. Standard library only."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime

from opsbot.domain import (
    CertificateReport,
    CheckResult,
    CommandResult,
    History,
    Host,
    LogLine,
    Metric,
    ServerFacts,
    UnitFacts,
    UnitVerb,
    Vitals,
)
from opsbot.errors import CommandTimedOut, StoreError, ToolError
from opsbot.passage_ports import Library
from opsbot.passages import Incident, Kind, Searched
from opsbot.ports import Machines, Past


class NoPast:
    """Implements `ports.Past` where nothing is kept."""

    def history(self, host: str, metrics: Sequence[Metric], *, hours: float) -> History:
        return History((), datetime.now(UTC))


class Context:
    """What a tool may do: look at hosts and run commands on them, all within one deadline."""

    def __init__(  # noqa: PLR0913 - independent settings, all with defaults
        self,
        machines: Machines,
        *,
        timeout_s: float,
        hosts: Sequence[Host] = (),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        past: Past | None = None,
        library: Library | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` is called right before every command of the tool's and may raise, so that it is not sent."""
        self._check = check
        self._machines = machines
        self._may_act = True
        self._past = past or NoPast()
        self._library = library
        self._monotonic = monotonic
        self._sleep = sleep
        self._deadline = monotonic() + timeout_s
        self.hosts: tuple[Host, ...] = tuple(hosts)

    @property
    def remaining_s(self) -> float:
        """Seconds left. Raises CommandTimedOut when there are none."""
        left = self._deadline - self._monotonic()
        if left <= 0:
            raise CommandTimedOut("The tool's time is used up.")
        return left

    def run(self, host: Host, *argv: str, max_bytes: int = 65536, stdin: str = "") -> CommandResult:
        """Run one command on the host: an argument vector, never a shell line."""
        self._check()
        return self._machines.run(host, argv, timeout_s=self.remaining_s, max_bytes=max_bytes, stdin=stdin)

    def facts(self, host: Host) -> ServerFacts:
        """Load, CPU, memory, swap, disks, inodes, uptime and failed units, in one round trip."""
        return self._machines.facts(host, timeout_s=self.remaining_s)

    def vitals(self, host: Host) -> Vitals:
        """Load, memory, swap, uptime and boot id, and CPU since the last look: in milliseconds, without a process."""
        return self._machines.vitals(host, timeout_s=self.remaining_s)

    def history(self, host: Host, *metrics: Metric, hours: float) -> History:
        """What was measured of the host over the last hours; it is not asked now, so it may also be down.

        Raises:
            ToolError: what is kept cannot be read just now.
        """
        try:
            return self._past.history(host.name, metrics, hours=hours)
        except StoreError as error:
            raise ToolError(f"What was measured of {host.name} cannot be read: {error}") from error

    def search(self, kind: Kind, question: str, *, limit: int) -> Searched:
        """What was written down about a question, in runbooks or past incidents; no host is asked.

        Raises:
            ToolError: it cannot be read just now.
        """
        if self._library is None:
            return Searched((), 0)
        try:
            return self._library.search(kind, question, limit=limit, timeout_s=self.remaining_s / 2)
        except StoreError as error:
            raise ToolError(f"What was written down cannot be read: {error}") from error

    def incident(self, incident_id: str) -> Incident | None:
        """A past incident, None if there is none of that id. Raises ToolError, as `search`."""
        try:
            return self._library.incident(incident_id) if self._library is not None else None
        except StoreError as error:
            raise ToolError(f"The past incident cannot be read: {error}") from error

    def show(self, host: Host, unit: str) -> UnitFacts:
        """Read one service."""
        return self._machines.services(host).show(unit, timeout_s=self.remaining_s)

    def units(self, host: Host) -> tuple[UnitFacts, ...]:
        """List services."""
        return self._machines.services(host).units(timeout_s=self.remaining_s)

    def logs(self, host: Host, unit: str, *, lines: int = 50, since: str = "") -> tuple[LogLine, ...]:
        """Read a service's newest log lines, oldest first."""
        return self._machines.services(host).logs(unit, lines=lines, since=since, timeout_s=self.remaining_s)

    def act(self, host: Host, verb: UnitVerb, unit: str) -> CommandResult:
        """Do this to a service, once.

        Raises:
            ToolError: this is not an approved action, so nothing was done.
        """
        if not self._may_act:
            raise ToolError(
                f"Only an approved action may {verb} a service; this looks at {host.name}. Nothing was done."
            )
        self._check()
        return self._machines.services(host).act(verb, unit, timeout_s=self.remaining_s)

    def connections(self, host: Host, unit: UnitFacts) -> str:
        """Say what the service listens on and who is connected, or "unknown"."""
        return self._machines.services(host).connections(unit, timeout_s=self.remaining_s)

    def healthy(self, host: Host, unit: str) -> str | None:
        """Run the service's health check: None if there is none, "" if it passed, else why it failed."""
        return self._machines.healthy(host, unit)

    def checks(self, host: Host, units: Sequence[str]) -> Mapping[str, CheckResult]:
        """Run these services' health checks from the bot, side by side, and look at each answer in full."""
        return self._machines.checks(host, units, timeout_s=self.remaining_s)

    def certificates(self, host: Host) -> tuple[CertificateReport, ...]:
        """Look at the certificates the inventory lists for the host: files on it, and TLS endpoints from the bot."""
        return self._machines.certificates(host, timeout_s=self.remaining_s)

    def lookups(self, host: Host) -> Mapping[str, tuple[str, ...] | None]:
        """Look the host's `dns_names` up from the bot: addresses, () if there is no such name, None: no answer."""
        return self._machines.lookups(host, timeout_s=self.remaining_s)

    def within(self, seconds: float) -> "Context":
        """Return a context for one step of this work: as much time as is left, but at most so much."""
        step = copy(self)
        step._deadline = self._monotonic() + min(seconds, self.remaining_s)
        return step

    def looking(self) -> "Context":
        """Return a context for work that only looks: `act` is refused."""
        looking = copy(self)
        looking._may_act = False
        return looking

    def sleep(self, seconds: float) -> None:
        """Wait, at most until the deadline."""
        self._sleep(min(seconds, self.remaining_s))
