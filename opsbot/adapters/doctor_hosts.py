"""`opsbot doctor` on hosts: reached, known by their key, logged in to, and allowed to do what the inventory says."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from opsbot.adapters.doctor_host_script import (
    Look,
    RootCommand,
    line_for,
    needs_password,
    parse_look,
    root_commands_of,
    script_for,
)
from opsbot.adapters.doctor_reach import have_keys, hung_remedy, reached, reading, unreached
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.diagnosis import Area, Check, Finding, Subject
from opsbot.domain import CertificateReport, CheckResult, Connection, Host, ServiceManager, UnitFacts
from opsbot.errors import CommandTimedOut, ToolError
from opsbot.ports import Machines
from opsbot.readable import duration_text, plain_line

# Beyond it, journals of two hosts can no longer be laid side by side; signatures of Slack end at 300 s.
SKEW_WARN_S = 5.0
SKEW_FAIL_S = 120.0
# What is left for classifying a failure and for closing; the script on the host ends before.
_RESERVE_S = 1.0
# More missing rules than this are one line: the whole file is to be installed.
_RULES_ONE_BY_ONE = 3


@dataclass(frozen=True, slots=True)
class HostDoctor:
    """Checks one host at a time; thread-safe. `now` is the bot's clock."""

    machines: Machines
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def check(self, host: Host, *, timeout_s: float) -> Iterator[Finding]:
        """Yield what is found about the host, within about `timeout_s`; reads only."""
        subject = Subject(Area.HOSTS, host.name)
        deadline = Deadline(timeout_s)
        commands = root_commands_of(host)
        script = script_for(host, commands, timeout_s - _RESERVE_S)
        asked_at = self.now()
        actor = replace(host, acting=True)  # sudo's rules are those of the account that acts
        try:
            if host.connection is Connection.SSH:
                have_keys(actor)
            said = self.machines.run(actor, ("sh", "-c", script), timeout_s=deadline.left_s, max_bytes=2**18)
        except ToolError as error:
            yield unreached(subject, actor, error, took_s=timeout_s - deadline.left_s)
            return
        yield from reached(subject, actor, said)
        if host.connection is Connection.SSH and host.reads_apart:
            yield from reading(subject, host, self.machines, deadline)
        look = parse_look(said.stdout)
        yield _clock(subject, host, look, asked_at, self.now())
        yield _system(subject, look)
        yield from sudo(subject, host, commands, look)
        yield from containers(subject, host, commands, look)
        if host.units:
            yield from self._services(subject, host, deadline)
        if host.units and host.service_manager is ServiceManager.SYSTEMD:
            yield self._journal(subject, host, deadline) if host.reads_apart else journal(subject, host, look)
        yield from self._health(subject, host, deadline)
        yield from self._certificates(subject, host, deadline)

    def _services(self, subject: Subject, host: Host, deadline: Deadline) -> Iterator[Finding]:
        services = self.machines.services(host)
        started = time.monotonic()
        try:
            known = {facts.unit: facts for facts in services.units(timeout_s=_share(deadline))}
            for unit in host.units:
                if unit not in known or not known[unit].exists:  # an alias is listed under its own name
                    known[unit] = services.show(unit, timeout_s=_share(deadline))
        except ToolError as error:
            remedy = hung_remedy(host) if isinstance(error, CommandTimedOut) else _manager_remedy(host)
            yield subject.fail(Check.UNITS, plain_line(str(error), limit=400), remedy)
            return
        yield from units(subject, host, known, time.monotonic() - started)

    def _journal(self, subject: Subject, host: Host, deadline: Deadline) -> Finding:
        """Read a line as the account that looks would."""
        try:
            self.machines.services(host).logs(host.units[0], lines=1, timeout_s=_share(deadline))
        except ToolError as error:
            remedy = f"On {host.name}: `usermod -aG systemd-journal {host.login_user}`."
            return subject.fail(Check.JOURNAL, plain_line(str(error), limit=400), remedy)
        return subject.ok(Check.JOURNAL, "readable")

    def _health(self, subject: Subject, host: Host, deadline: Deadline) -> Iterator[Finding]:
        if not host.health:
            return
        if deadline.left_s < _RESERVE_S:
            yield subject.skipped(Check.HEALTH_CHECKS, "no time was left", "Give more time: --timeout.")
            return
        results = self.machines.checks(host, sorted(host.health), timeout_s=deadline.left_s)
        yield from health(subject, results)

    def _certificates(self, subject: Subject, host: Host, deadline: Deadline) -> Iterator[Finding]:
        if not host.certificates:
            return
        if deadline.left_s < _RESERVE_S:
            yield subject.skipped(Check.CERTIFICATES, "no time was left", "Give more time: --timeout.")
            return
        try:
            reports = self.machines.certificates(host, timeout_s=deadline.left_s)
        except ToolError as error:
            yield subject.fail(
                Check.CERTIFICATES, plain_line(str(error), limit=400), "Run it again with a longer --timeout."
            )
            return
        yield from certificates(subject, host, reports)


# --- what the host said ----------------------------------------------------------------------------------------------


def _manager_remedy(host: Host) -> str:
    return f"Check `service_manager` and `service_command` of {host.name} (now {host.service_manager})."


def _share(deadline: Deadline) -> float:
    return max(deadline.left_s, 0.1)


def _clock(subject: Subject, host: Host, look: Look, before: datetime, after: datetime) -> Finding:
    if look.time is None:
        return subject.warn(Check.CLOCK, "it did not tell its time", hung_remedy(host))
    # The host looked at its clock at some time in between, and told whole seconds.
    early, late = look.time - after.timestamp(), look.time + 1 - before.timestamp()
    skew_s = max(early, 0.0) + min(late, 0.0)
    if abs(skew_s) < SKEW_WARN_S:
        return subject.ok(Check.CLOCK, "agrees with the bot's")
    said = f"{duration_text(abs(skew_s))} {'ahead of' if skew_s > 0 else 'behind'} the bot's"
    remedy = (
        f"`timedatectl` on {host.name} shows whether it is synchronised; if most hosts differ alike, the wrong clock "
        "is this machine's."
    )
    make = subject.fail if abs(skew_s) >= SKEW_FAIL_S else subject.warn
    return make(Check.CLOCK, said, remedy)


def _system(subject: Subject, look: Look) -> Finding:
    return subject.ok(Check.SYSTEM, look.os or "not said (no /etc/os-release)")


def sudo(subject: Subject, host: Host, commands: Sequence[RootCommand], look: Look) -> Iterator[Finding]:
    """Compare what sudo allows with what the inventory does; containers are looked at apart."""
    asked = [(number, each) for number, each in enumerate(commands) if not each.container]
    yield from _rules(subject, host, Check.SUDO, asked, look)


def _rules(
    subject: Subject, host: Host, check: Check, asked: Sequence[tuple[int, RootCommand]], look: Look
) -> Iterator[Finding]:
    if not asked:
        return
    unasked = [each for number, each in asked if look.may.get(number) is None]
    missing = [each for number, each in asked if (tried := look.may.get(number)) and tried[0] != 0]
    secret = [
        each
        for number, each in asked
        if (tried := look.may.get(number)) and tried[0] == 0 and needs_password(look.rules, each.spelled)
    ]
    words = next((tried[1] for number, _ in asked if (tried := look.may.get(number)) and tried[0] and tried[1]), "")
    yield from _missing(subject, host, check, missing, words)
    for each in secret:
        said = f"{each.purpose}: allowed, but with a password, which nobody types"
        yield subject.fail(check, said, f"Add to sudoers of {host.name}: {line_for(host, each)}")
    if unasked:
        said = f"{len(unasked)} of {len(asked)} rules were not asked about in time, first: {unasked[0].purpose}"
        yield subject.warn(
            check, said, "Give more time: --timeout. If sudo itself is slow there, look at its directory server."
        )
    elif not missing and not secret:
        yield subject.ok(check, f"all {len(asked)} commands allowed without a password")


def _missing(
    subject: Subject, host: Host, check: Check, missing: Sequence[RootCommand], words: str
) -> Iterator[Finding]:
    quoted = f" ({words})" if words else ""
    if len(missing) > _RULES_ONE_BY_ONE:
        said = f"{len(missing)} commands are not allowed, first: {missing[0].purpose}{quoted}"
        lines = f"`opsbot sudoers {host.name}` prints all rules; the first: {line_for(host, missing[0])}"
        yield subject.fail(check, said, lines)
        return
    for each in missing:
        yield subject.fail(
            check, f"{each.purpose}: not allowed{quoted}", f"Add to sudoers of {host.name}: {line_for(host, each)}"
        )


def containers(subject: Subject, host: Host, commands: Sequence[RootCommand], look: Look) -> Iterator[Finding]:
    """Look whether the listed containers can be reached: by the bot's own user, else by sudo."""
    if not host.containers:
        return
    if look.engine not in ("docker", "podman"):
        yield subject.fail(
            Check.CONTAINERS,
            "neither docker nor podman is installed there, but `containers` lists some",
            f"Install one, or take `containers` off {host.name}.",
        )
        return
    for number, name in enumerate(host.containers):
        yield from _container(subject, host, name, look.containers.get(number), (commands, look))


def _container(
    subject: Subject,
    host: Host,
    name: str,
    tried: tuple[int, str] | None,
    root: tuple[Sequence[RootCommand], Look],
) -> Iterator[Finding]:
    commands, look = root
    subject = subject.of(name)
    if tried is not None and tried[0] == 0:
        yield subject.ok(Check.CONTAINER, f"there, in {look.engine}, as the bot's own user")
        return
    if tried is not None and "no such" in tried[1].lower() and not host.sudo:
        yield subject.fail(
            Check.CONTAINER, f"{look.engine} has none of that name", f"Correct `containers` of {host.name}."
        )
        return
    asked = [
        (number, each) for number, each in enumerate(commands) if each.engine == look.engine and each.words[-1] == name
    ]
    if not asked:
        said = tried[1] if tried else "not asked in time"
        remedy = f"Let {host.user or 'its user'} speak to {look.engine}, or set `sudo: true`."
        yield subject.fail(Check.CONTAINER, said, remedy)
        return
    yield from _rules(subject, host, Check.CONTAINER, asked, look)


def journal(subject: Subject, host: Host, look: Look) -> Finding:
    """Whether the bot may read the journal; without it `service_logs` knows nothing."""
    match look.journal:
        case "open":
            return subject.ok(Check.JOURNAL, "readable")
        case "none":
            return subject.warn(Check.JOURNAL, "there is no system journal", "Check that systemd-journald runs there.")
        case _:
            remedy = f"On {host.name}: `usermod -aG systemd-journal {look.user or host.user or 'USER'}`."
            return subject.fail(Check.JOURNAL, "the bot's user may not read it, so logs are not known", remedy)


def units(subject: Subject, host: Host, known: Mapping[str, UnitFacts], took_s: float) -> Iterator[Finding]:
    """Whether what may be touched exists."""
    strange = [unit for unit in host.units if not known[unit].exists]
    for unit in strange:
        state = plain_line(known[unit].load_state, limit=40) or "unknown"
        yield subject.fail(Check.UNITS, *_strange(host, unit, state), took_s=took_s)
    if not strange:
        yield subject.ok(Check.UNITS, f"all {len(host.units)} exist", took_s=took_s)


def _strange(host: Host, unit: str, state: str) -> tuple[str, str]:
    match state:
        case "not-found":
            return f"{unit} does not exist there", f"Correct `units` of {host.name}, or install it there."
        case "masked":
            remedy = f"On {host.name}: `systemctl unmask {unit}`; or take it off `units`."
            return f"{unit} is masked: nobody can start it", remedy
        case _:
            remedy = f"On {host.name}: `systemctl status {unit}` says what is wrong with it; or take it off `units`."
            return f"{unit} cannot be used: {state}", remedy


def health(subject: Subject, results: Mapping[str, CheckResult]) -> Iterator[Finding]:
    """Health checks, as the bot makes them after a restart."""
    for unit, result in sorted(results.items()):
        of_unit = subject.of(unit)
        if result.failure:
            remedy = f"Try it from here: {result.target}. If the service is well, correct its `health`."
            yield of_unit.warn(Check.HEALTH, plain_line(result.failure, limit=300), remedy)
        else:
            yield of_unit.ok(
                Check.HEALTH, plain_line(result.target, limit=200), took_s=(result.latency_ms or 0.0) / 1000
            )


def certificates(subject: Subject, host: Host, reports: Iterable[CertificateReport]) -> Iterator[Finding]:
    """Whether the listed certificates can be read at all; `certificate_expiry` judges them."""
    for report in reports:
        of_place = subject.of(report.place)
        if report.failure:
            yield of_place.fail(
                Check.CERTIFICATE, plain_line(report.failure, limit=300), _place_remedy(host, report.place)
            )
        else:
            yield of_place.ok(Check.CERTIFICATE, "readable")


def _place_remedy(host: Host, place: str) -> str:
    if place.startswith("/"):
        return f"Correct `certificates` of {host.name}, or let {host.user or 'the bot'} read {place} there."
    return f"Check that {place} can be reached from here by TLS."
