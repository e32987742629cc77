"""What all actions on a service share: the card, sending the command once, and judging from the host how it ended."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from opsbot.context import Context
from opsbot.domain import (
    CommandResult,
    Host,
    HostOutcome,
    Impact,
    Result,
    ServiceManager,
    UnitFacts,
    UnitVerb,
)
from opsbot.errors import BadArguments, CommandTimedOut, HostUnreachable, OutcomeUnknown, ToolError
from opsbot.looks import UNIT, Look
from opsbot.readable import duration_text, plain_line, time_text
from opsbot.root_commands import sudoers_rule, unit_command

_UNKNOWN: Final = "unknown"
# Looks at the unit are this far apart; so many equal ones in a row make a state count as settled.
_LOOK_EVERY_S = 1.0
_STABLE_LOOKS = 3
# A unit that fell over by itself before is watched for longer: it may come up well and fall over again.
PATIENT_LOOKS: Final = 12
_MAX_LOOKS = 300
_MAX_BLIND_LOOKS = 5
_HEALTH_TRIES = 10
_EVIDENCE_LINES = 15
# A unit that systemd restarted within the last minute is taken to be falling over again and again.
_FALLING_S = 60
_CHANGING = "changing by itself"
_REFUSED = ("a password is required", "is not allowed to execute", "not in the sudoers", "no tty present")
_NO_SUDO = ("sudo: not found", "sudo: command not found")
_NO_RIGHT = ("authentication required", "Access denied", "Permission denied", "Operation not permitted")
_SHOW = ("env", "TZ=UTC", "LC_ALL=C", "SYSTEMD_COLORS=0", "systemctl", "--no-pager", "show")
_DETAILS = (
    "Type,CanStart,CanStop,CanReload,ReloadResult,UnitFileState,Restart,ConditionResult,StateChangeTimestampMonotonic,"
    "TriggeredBy,FragmentPath"
)


# --- before ----------------------------------------------------------------------------------------------------------


def service_card(ctx: Context, host: Host, facts: UnitFacts) -> list[tuple[str, str]]:
    """Collect what is shown of a service before anything is done to it."""
    shown = [
        ("state", state_text(facts) + ("; it keeps falling over" if falls_over(facts) else "")),
        ("main PID", str(facts.main_pid or "none")),
        ("running since", _since(facts)),
        ("automatic restarts", _UNKNOWN if facts.restarts is None else str(facts.restarts)),
        ("network", _network(ctx, host, facts)),
        ("needed by", ", ".join(facts.required_by[:10]) or "no other unit"),
        ("health now", _health(ctx.healthy(host, facts.unit))),
    ]
    if facts.triggered_by:
        shown.append(("started on demand by", ", ".join(facts.triggered_by[:10])))
    return shown


def check_startable(host: Host, facts: UnitFacts) -> None:
    """Raise BadArguments for a unit that cannot be started."""
    check_there(host, facts)
    if facts.load_state == "masked":
        raise BadArguments(f"{facts.unit} is masked on {host.name}: its owner has forbidden to start it.")
    if not facts.exists:
        raise BadArguments(f"{facts.unit} on {host.name} cannot be started: its definition is {facts.load_state}.")


def check_there(host: Host, facts: UnitFacts) -> None:
    """Raise BadArguments for a unit the host does not have; one that outlived its definition is still there."""
    if facts.load_state == "not-found" and facts.active_state in ("inactive", ""):
        raise BadArguments(f"{host.name} has no service {facts.unit}; nothing to do.")


def check_systemd(host: Host, verb: UnitVerb) -> None:
    """Raise BadArguments for a verb that only systemd knows, on a host without it."""
    if host.service_manager is not ServiceManager.SYSTEMD:
        raise BadArguments(
            f"{host.name}: {host.service_manager} cannot {verb} a program; it knows start, stop, restart."
        )


def service_fingerprint(facts: UnitFacts) -> dict[str, str]:
    """Identify the run that would be touched. A unit that falls over has a new one every few seconds: no drift."""
    if falls_over(facts):
        return {"invocation_id": _CHANGING, "main_pid": _CHANGING, "active_state": _CHANGING}
    return {
        "invocation_id": facts.invocation_id,
        "main_pid": str(facts.main_pid or ""),
        "active_state": facts.active_state,
        "restarts": str(facts.restarts or 0),
    }


def service_looks(host: Host) -> Iterator[Look]:
    """Yield what `service_details` sends."""
    if host.service_manager is ServiceManager.SYSTEMD:
        yield (*_SHOW, f"--property={_DETAILS}", "--", UNIT)


def service_details(ctx: Context, host: Host, unit: str) -> Mapping[str, str]:
    """Read what only systemd knows of a unit, by the names of its properties. What it does not say is missing."""
    if host.service_manager is not ServiceManager.SYSTEMD:
        return {}
    said = ctx.run(host, *_SHOW, f"--property={_DETAILS}", "--", unit)
    pairs = (line.partition("=") for line in said.stdout.splitlines() if said.exit_status == 0)
    return {name: plain_line(value, limit=300).strip() for name, equals, value in pairs if equals}


def falls_over(facts: UnitFacts) -> bool:
    """Tell whether the service manager restarts it again and again."""
    if facts.sub_state == "auto-restart":
        return True
    young = facts.active_since is not None and (datetime.now(UTC) - facts.active_since).total_seconds() < _FALLING_S
    return bool(facts.restarts) and young


def state_text(facts: UnitFacts) -> str:
    """Spell a state: `active (running)`."""
    state = facts.active_state or _UNKNOWN
    return f"{state} ({facts.sub_state})" if facts.sub_state else state


def _network(ctx: Context, host: Host, facts: UnitFacts) -> str:
    try:
        return ctx.connections(host, facts)
    except ToolError:
        return _UNKNOWN


def _since(facts: UnitFacts) -> str:
    if facts.active_since is None:
        return _UNKNOWN if facts.active else "not running"
    running_s = (datetime.now(UTC) - facts.active_since).total_seconds()
    return f"{time_text(facts.active_since)} ({duration_text(running_s)})"


def _health(answer: str | None) -> str:
    if answer is None:
        return "no check configured"
    return "passed" if answer == "" else f"failed: {answer}"


# --- the action ------------------------------------------------------------------------------------------------------


def service_serves(ctx: Context, host: Host, unit: str) -> bool:
    """Tell whether the service runs, and is healthy as far as a check is configured."""
    return ctx.show(host, unit).active and not ctx.healthy(host, unit)


def act_on_service(ctx: Context, host: Host, verb: UnitVerb, before: UnitFacts) -> dict[str, object]:
    """Do it, once, and return what was said, with the service before and after.

    Raises:
        ToolError: the host's own rules kept the command from running at all, or it failed and changed nothing.
    """
    sent = ctx.act(host, verb, before.unit)
    _check_allowed(host, verb, before.unit, sent)
    was, after = _brief(before), _after(ctx, host, before.unit)
    said = plain_line((sent.stderr or sent.stdout).strip(), limit=500)
    if sent.exit_status != 0 and was == after:
        raise ToolError(f"{host.name} answered: {said or f'status {sent.exit_status}'}")
    return {"unit": before.unit, "exit_status": sent.exit_status, "output": said, "before": was, "after": after}


def refused_by_sudo(sent: CommandResult) -> bool:
    """Tell whether sudo kept the command from running."""
    return sent.exit_status != 0 and _says(sent, _REFUSED)


def _check_allowed(host: Host, verb: UnitVerb, unit: str, sent: CommandResult) -> None:
    if sent.exit_status == 127 and _says(sent, _NO_SUDO):
        raise ToolError(
            f"{host.name} has no sudo; nothing was changed. Install it there, or say `sudo: false` in the inventory "
            "and allow the bot's user by a polkit rule."
        )
    if refused_by_sudo(sent):
        raise ToolError(
            f"{host.name}: sudo refuses the bot to {verb} {unit}; nothing was changed. The rule is missing on that "
            f"host: `{sudoers_rule(host, unit_command(verb, unit))}` in /etc/sudoers.d/. "
            f"`opsbot sudoers {host.name}` prints all it needs."
        )
    if sent.exit_status != 0 and _says(sent, _NO_RIGHT):
        raise ToolError(
            f"{host.name}: the bot's user may not {verb} {unit}; nothing was changed. "
            "Allow it on that host by a sudo or polkit rule."
        )


def _says(sent: CommandResult, phrases: Sequence[str]) -> bool:
    said = f"{sent.stderr}\n{sent.stdout}".lower()
    return any(phrase.lower() in said for phrase in phrases)


def _after(ctx: Context, host: Host, unit: str) -> dict[str, object] | None:
    """The command was sent: from here on nothing may look as if it had not been."""
    try:
        return _brief(ctx.show(host, unit))
    except ToolError:
        return None


def _brief(facts: UnitFacts) -> dict[str, object]:
    return {
        "active_state": facts.active_state,
        "sub_state": facts.sub_state,
        "main_pid": facts.main_pid,
        "invocation_id": facts.invocation_id,
        "active_since": None if facts.active_since is None else facts.active_since.isoformat(),
    }


# --- after -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServiceEnd:
    """What the looks at a service came to, with the last thing seen. `words` follow the unit's name."""

    result: Result
    words: str
    facts: UnitFacts


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """How the end of one verb is recognized.

    `failure(now, last)` says at each look why it has failed, or ""; `last` is the look before, if any. `settled(now)`
    judges a state that has lasted for `looks` looks. With `health` what is done also has to pass its health check.
    """

    failure: Callable[[UnitFacts, UnitFacts | None], str]
    settled: Callable[[UnitFacts], ServiceEnd]
    looks: int = _STABLE_LOOKS
    health: bool = True


def judge_service(ctx: Context, host: Host, before: Impact, unit: str, rules: ServiceRules) -> HostOutcome:
    """Wait until the unit has settled and judge by the rules of the verb; a host that cannot be read is unknown."""
    try:
        end = _watch(ctx, host, unit, rules)
        if rules.health and end.result is Result.DONE:
            end = _with_health(ctx, host, unit, end)
    except (HostUnreachable, CommandTimedOut, OutcomeUnknown) as error:
        return HostOutcome(host.name, Result.UNKNOWN, f"{unit}: the host could not be read: {error}")
    evidence = _evidence(ctx, host, unit) if end.result is Result.FAILED else ""
    return HostOutcome(host.name, end.result, f"{unit} {end.words}", evidence, _changes(before, end.facts))


def start_failure(before: Impact, now: UnitFacts, last: UnitFacts | None) -> str:
    """Say why a unit that was to come up has failed, or ""."""
    if now.load_state != "loaded":
        return f"is {now.load_state} now"
    if now.active_state == "failed" and not same_run(before, now):
        status = "" if now.exit_status is None else f", status {now.exit_status}"
        return f"did not come {'back' if _ran(before) else 'up'}: {now.result or 'failed'}{status}"
    if now.sub_state == "auto-restart":
        return f"started and fell over again ({now.result or 'no result'})"
    if last is not None and _started_again(before, last, now):
        return "started, fell over, and was started again"
    return ""


def looks_for(before: Impact) -> int:
    """Return how many equal looks make a state count as settled, by what the unit did before."""
    fell = before.fingerprint.get("restarts", "0") != "0" or before.fingerprint.get("invocation_id") == _CHANGING
    return PATIENT_LOOKS if fell else _STABLE_LOOKS


def same_run(before: Impact, now: UnitFacts) -> bool:
    """Tell whether this is the very run that was there before: by its id, or by its main process if ids are unknown."""
    known, state = before.fingerprint.get("invocation_id", ""), before.fingerprint.get("active_state", "")
    if known and now.invocation_id:
        return known == now.invocation_id
    return before.fingerprint.get("main_pid", "") == str(now.main_pid or "") and state == now.active_state


def _ran(before: Impact) -> bool:
    return before.fingerprint.get("active_state", "") not in ("inactive", "failed")


def _watch(ctx: Context, host: Host, unit: str, rules: ServiceRules) -> ServiceEnd:
    """Look until one state has lasted for several looks, the unit has failed, or the time is used up."""
    looks = 0
    last: UnitFacts | None = None
    for _ in range(_MAX_LOOKS):
        try:
            if last is not None:
                ctx.sleep(_LOOK_EVERY_S)
            now = _look(ctx, host, unit)
        except CommandTimedOut:
            if last is None:
                raise
            break
        failure = rules.failure(now, last)
        if failure:
            return ServiceEnd(Result.FAILED, failure, now)
        looks = _lasting(now, last, looks)
        if looks >= rules.looks:
            return rules.settled(now)
        last = now
    assert last is not None  # the loop looks at least once
    return ServiceEnd(Result.UNKNOWN, f"was last seen {state_text(last)}; what becomes of it is not known", last)


def _look(ctx: Context, host: Host, unit: str) -> UnitFacts:
    """Read the unit; a few lost connections are forgiven, since the action may cut the line it was asked on."""
    for _ in range(_MAX_BLIND_LOOKS - 1):
        try:
            return ctx.show(host, unit)
        except (HostUnreachable, OutcomeUnknown):
            ctx.sleep(_LOOK_EVERY_S)
    return ctx.show(host, unit)


def _started_again(before: Impact, last: UnitFacts, now: UnitFacts) -> bool:
    """Whether one run after our action gave way to another, without our doing."""
    both_ran = last.active and now.active and bool(last.invocation_id) and not same_run(before, last)
    return both_ran and last.invocation_id != now.invocation_id


def _lasting(now: UnitFacts, last: UnitFacts | None, looks: int) -> int:
    """Count equal looks at a state in which nothing is under way."""
    if now.active_state not in ("active", "inactive", "failed"):
        return 0
    if last is None or _identity(now) != _identity(last) or now.active_state != last.active_state:
        return 1
    return looks + 1


def _identity(facts: UnitFacts) -> str:
    return facts.invocation_id or str(facts.main_pid)


def _with_health(ctx: Context, host: Host, unit: str, end: ServiceEnd) -> ServiceEnd:
    """Give the service some tries to become healthy."""
    answer = ctx.healthy(host, unit)
    for _ in range(_HEALTH_TRIES):
        if not answer:
            break
        try:
            ctx.sleep(_LOOK_EVERY_S)
        except CommandTimedOut:
            break
        answer = ctx.healthy(host, unit)
    if answer is None:
        return end
    if answer:
        return ServiceEnd(Result.FAILED, f"{end.words}, but its health check fails: {answer}", end.facts)
    return ServiceEnd(end.result, f"{end.words}; its health check passes", end.facts)


def _evidence(ctx: Context, host: Host, unit: str) -> str:
    """Read the newest log lines until two readings agree: a journal can be behind what it records."""
    seen: list[str] = []
    try:
        for _ in range(4):
            lines = [line.text for line in ctx.logs(host, unit, lines=_EVIDENCE_LINES)]
            if lines and lines == seen:
                break
            seen = lines
            ctx.sleep(_LOOK_EVERY_S / 2)
    except ToolError as error:
        return "\n".join(seen) or f"(the log could not be read: {error})"
    return "\n".join(seen)


def _changes(before: Impact, now: UnitFacts) -> tuple[tuple[str, str], ...]:
    was = dict(before.facts)
    return (
        ("state", f"{was.get('state', _UNKNOWN)} -> {state_text(now)}"),
        ("main PID", f"{was.get('main PID', _UNKNOWN)} -> {now.main_pid or 'none'}"),
        ("running since", _since(now)),
    )
