"""Restart a service: what it would hit, doing it once, and judging from the host what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opsbot import (
    BadArguments,
    CommandResult,
    CommandTimedOut,
    Context,
    Host,
    HostOutcome,
    HostUnreachable,
    Impact,
    OutcomeUnknown,
    Result,
    ToolError,
    Unit,
    UnitFacts,
    UnitVerb,
    duration_text,
    time_text,
    tool,
)

_UNKNOWN = "unknown"
# Looks at the unit are this far apart; so many equal ones in a row make a state count as settled.
_LOOK_EVERY_S = 1.0
_STABLE_LOOKS = 3
# A unit that fell over by itself before is watched for longer: it may come up well and fall over again.
_STABLE_LOOKS_AFTER_FALLS = 12
_MAX_LOOKS = 300
_MAX_BLIND_LOOKS = 5
_HEALTH_TRIES = 10
_EVIDENCE_LINES = 15
# A unit that systemd restarted within the last minute is taken to be falling over again and again.
_FALLING_S = 60
_CHANGING = "changing by itself"
_REFUSED = ("a password is required", "is not allowed to execute", "not in the sudoers", "no tty present")
_NO_RIGHT = ("authentication required", "Access denied", "Permission denied", "Operation not permitted")


# --- before ----------------------------------------------------------------------------------------------------------


def impact(ctx: Context, host: Host, unit: Unit) -> Impact:
    """Collect what a restart would hit. Raises BadArguments for a unit that cannot be restarted."""
    facts = ctx.show(host, unit)
    _refuse(host, facts)
    falling = _falls_over(facts)
    shown = [
        ("state", _state(facts) + ("; it keeps falling over" if falling else "")),
        ("main PID", str(facts.main_pid or "none")),
        ("running since", _since(facts)),
        ("automatic restarts", _UNKNOWN if facts.restarts is None else str(facts.restarts)),
        ("network", _network(ctx, host, facts)),
        ("needed by", ", ".join(facts.required_by[:10]) or "no other unit"),
        ("health now", _health(ctx.healthy(host, unit))),
    ]
    if facts.triggered_by:
        shown.append(("started on demand by", ", ".join(facts.triggered_by[:10])))
    if not facts.active:
        shown.append(("note", "it is not running: a restart would start it"))
    return Impact(tuple(shown), _fingerprint(facts, falling))


def _refuse(host: Host, facts: UnitFacts) -> None:
    if facts.load_state == "not-found":
        raise BadArguments(f"{host.name} has no service {facts.unit}; nothing to restart.")
    if facts.load_state == "masked":
        raise BadArguments(f"{facts.unit} is masked on {host.name}: its owner has forbidden to start it.")
    if not facts.exists:
        raise BadArguments(f"{facts.unit} on {host.name} cannot be started: its definition is {facts.load_state}.")


def _fingerprint(facts: UnitFacts, falling: bool) -> dict[str, str]:
    """Identify the run that would be ended. A unit that falls over has a new one every few seconds: no drift."""
    if falling:
        return {"invocation_id": _CHANGING, "main_pid": _CHANGING, "active_state": _CHANGING}
    return {
        "invocation_id": facts.invocation_id,
        "main_pid": str(facts.main_pid or ""),
        "active_state": facts.active_state,
        "restarts": str(facts.restarts or 0),
    }


def _falls_over(facts: UnitFacts) -> bool:
    if facts.sub_state == "auto-restart":
        return True
    young = facts.active_since is not None and (datetime.now(UTC) - facts.active_since).total_seconds() < _FALLING_S
    return bool(facts.restarts) and young


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


def _state(facts: UnitFacts) -> str:
    state = facts.active_state or _UNKNOWN
    return f"{state} ({facts.sub_state})" if facts.sub_state else state


def _health(answer: str | None) -> str:
    if answer is None:
        return "no check configured"
    return "passed" if answer == "" else f"failed: {answer}"


# --- after -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _End:
    """What the looks at the unit came to, with the last thing seen."""

    result: Result
    words: str
    facts: UnitFacts


def verify(ctx: Context, host: Host, before: Impact, unit: Unit) -> HostOutcome:
    """Wait until the unit has settled and judge: a new run that lasts and is healthy is done, all else is not."""
    try:
        end = _watch(ctx, host, before, unit)
        if end.result is Result.DONE:
            end = _with_health(ctx, host, unit, end)
    except (HostUnreachable, CommandTimedOut, OutcomeUnknown) as error:
        return HostOutcome(host.name, Result.UNKNOWN, f"{unit}: the host could not be read: {error}")
    evidence = _evidence(ctx, host, unit) if end.result is Result.FAILED else ""
    return HostOutcome(host.name, end.result, f"{unit} {end.words}", evidence, _changes(before, end.facts))


def _watch(ctx: Context, host: Host, before: Impact, unit: Unit) -> _End:
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
        failure = _failure(before, now, last)
        if failure:
            return _End(Result.FAILED, failure, now)
        looks = _lasting(now, last, looks)
        if looks >= _looks_needed(before):
            return _settled(before, now)
        last = now
    assert last is not None  # the loop looks at least once
    return _End(Result.UNKNOWN, f"was last seen {_state(last)}; it may yet come up or fail", last)


def _look(ctx: Context, host: Host, unit: Unit) -> UnitFacts:
    """Read the unit; a few lost connections are forgiven, since a restart may cut the line it was asked on."""
    for _ in range(_MAX_BLIND_LOOKS - 1):
        try:
            return ctx.show(host, unit)
        except (HostUnreachable, OutcomeUnknown):
            ctx.sleep(_LOOK_EVERY_S)
    return ctx.show(host, unit)


def _failure(before: Impact, now: UnitFacts, last: UnitFacts | None) -> str:
    """Say why the unit has failed, or ""."""
    if now.load_state != "loaded":
        return f"is {now.load_state} now"
    if now.active_state == "failed" and not _same_run(before, now):
        status = "" if now.exit_status is None else f", status {now.exit_status}"
        return f"did not come back: {now.result or 'failed'}{status}"
    if now.sub_state == "auto-restart":
        return f"started and fell over again ({now.result or 'no result'})"
    if last is not None and _started_again(before, last, now):
        return "started, fell over, and was started again"
    return ""


def _started_again(before: Impact, last: UnitFacts, now: UnitFacts) -> bool:
    """Whether one run after our restart gave way to another, without our doing."""
    both_ran = last.active and now.active and bool(last.invocation_id) and not _same_run(before, last)
    return both_ran and last.invocation_id != now.invocation_id


def _lasting(now: UnitFacts, last: UnitFacts | None, looks: int) -> int:
    """Count equal looks at a state in which nothing is under way."""
    if now.active_state not in ("active", "inactive", "failed"):
        return 0
    if last is None or _identity(now) != _identity(last) or now.active_state != last.active_state:
        return 1
    return looks + 1


def _looks_needed(before: Impact) -> int:
    fell = before.fingerprint.get("restarts", "0") != "0" or before.fingerprint.get("invocation_id") == _CHANGING
    return _STABLE_LOOKS_AFTER_FALLS if fell else _STABLE_LOOKS


def _settled(before: Impact, now: UnitFacts) -> _End:
    if _same_run(before, now):
        return _End(Result.NOT_DONE, f"was not restarted: the same run goes on, {_state(now)}", now)
    if now.active:
        return _End(Result.DONE, f"was restarted and is {_state(now)}", now)
    if now.result in ("", "success") and before.fingerprint.get("active_state") != "active":
        return _End(Result.DONE, f"ran to its end and is {_state(now)}", now)
    return _End(Result.FAILED, f"is not running any more: {_state(now)}", now)


def _same_run(before: Impact, now: UnitFacts) -> bool:
    """Whether this is the very run that was there before: by its id, or by its main process where ids are unknown."""
    known, state = before.fingerprint.get("invocation_id", ""), before.fingerprint.get("active_state", "")
    if known and now.invocation_id:
        return known == now.invocation_id
    return before.fingerprint.get("main_pid", "") == str(now.main_pid or "") and state == now.active_state


def _identity(facts: UnitFacts) -> str:
    return facts.invocation_id or str(facts.main_pid)


def _with_health(ctx: Context, host: Host, unit: Unit, end: _End) -> _End:
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
        return _End(Result.FAILED, f"runs again, but its health check fails: {answer}", end.facts)
    return _End(end.result, f"{end.words}; its health check passes", end.facts)


def _evidence(ctx: Context, host: Host, unit: Unit) -> str:
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
        ("state", f"{was.get('state', _UNKNOWN)} -> {_state(now)}"),
        ("main PID", f"{was.get('main PID', _UNKNOWN)} -> {now.main_pid or 'none'}"),
        ("running since", _since(now)),
    )


# --- the action ------------------------------------------------------------------------------------------------------


def available(ctx: Context, host: Host, unit: Unit) -> bool:
    """Whether the service runs, and is healthy as far as a check is configured."""
    return ctx.show(host, unit).active and not ctx.healthy(host, unit)


@tool(risk="change", timeout_s=90, impact=impact, verify=verify, available=available, needs="restart")
def restart_service(ctx: Context, host: Host, unit: Unit) -> dict[str, object]:
    """Propose to restart one service on the given servers; nothing happens until a person has approved it.

    Only services the inventory allows on that server. Look at the service and its log first, and say why.

    Args:
        unit: Service name.
    """
    before = ctx.show(host, unit)
    _refuse(host, before)
    sent = ctx.act(host, UnitVerb.RESTART, unit)
    _check_allowed(host, unit, sent)
    return {
        "unit": unit,
        "exit_status": sent.exit_status,
        "output": (sent.stderr or sent.stdout).strip()[:500],
        "before": _brief(before),
        "after": _after(ctx, host, unit),
    }


def _check_allowed(host: Host, unit: str, sent: CommandResult) -> None:
    """Raise ToolError when the host's own rules kept the command from running at all."""
    if sent.exit_status == 0:
        return
    if _says(sent, _REFUSED):
        user = host.user or "THE_BOT_USER"
        raise ToolError(
            f"{host.name}: sudo refuses the bot to restart {unit}; nothing was changed. The rule is missing on that "
            f"host: `{user} ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager restart -- {unit}` in /etc/sudoers.d/."
        )
    if _says(sent, _NO_RIGHT):
        raise ToolError(
            f"{host.name}: the bot's user may not restart {unit}; nothing was changed. "
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
