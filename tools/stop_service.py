"""Stop a service: what would go down with it and what would bring it back, doing it once, and judging the end."""

from functools import partial

from opsbot import (
    PATIENT_LOOKS,
    BadArguments,
    Context,
    Host,
    HostOutcome,
    Impact,
    Result,
    ServiceEnd,
    ServiceRules,
    ToolError,
    Unit,
    UnitFacts,
    UnitVerb,
    act_on_service,
    check_there,
    judge_service,
    looks_for,
    same_run,
    service_card,
    service_details,
    service_fingerprint,
    service_looks,
    state_text,
    tool,
)

_TRIGGERS = "started on demand by"
_MAX_TRIGGERS = 5
# What lets the bot in. OpenSSH is `ssh` on Debian, `sshd` elsewhere.
_DOORS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")


def impact(ctx: Context, host: Host, unit: Unit) -> Impact:
    """Collect what a stop would take away. Raises BadArguments for a unit that cannot be stopped."""
    facts = ctx.show(host, unit)
    check_there(host, facts)
    details = service_details(ctx, host, unit)
    if details.get("CanStop") == "no":
        raise BadArguments(f"{unit} on {host.name} cannot be stopped by hand: its definition forbids it.")
    shown = [row for row in service_card(ctx, host, facts) if row[0] not in ("needed by", _TRIGGERS)]
    shown.append(("would stop too", ", ".join(facts.required_by[:10]) or "no other unit"))
    if facts.triggered_by:
        shown.append((_TRIGGERS, _triggers(ctx, host, facts)))
    at_boot = details.get("UnitFileState")
    if at_boot:
        shown.append(("at boot", "started again" if at_boot.startswith("enabled") else at_boot))
    if unit in _DOORS:
        shown.append(("warning", "people and the bot come in through it: nobody could start it again from here"))
    if not _runs(facts):
        shown.append(("note", "it is not running: a stop would do nothing"))
    elif facts.triggered_by:
        shown.append(("note", "it can be started again at once by what is named above; a stop leaves that as it is"))
    return Impact(tuple(shown), service_fingerprint(facts))


def verify(ctx: Context, host: Host, before: Impact, unit: Unit) -> HostOutcome:
    """Wait until the unit has settled and judge: down, ended well and still down is done, all else is not."""

    by = partial(_by, ctx, host)

    def failure(now: UnitFacts, last: UnitFacts | None) -> str:
        came_back = last is not None and not _runs(last) and _runs(now)
        falling = last is not None and last.sub_state == now.sub_state == "auto-restart"
        if came_back:
            return f"was stopped and started again{by(now)}: it is {state_text(now)}"
        return "is not stopped: it keeps falling over and is started again each time" if falling else ""

    def settled(now: UnitFacts) -> ServiceEnd:
        return _settled(before, now, by(now) if now.active else "")

    triggered = _TRIGGERS in dict(before.facts)
    looks = PATIENT_LOOKS if triggered else looks_for(before)
    return judge_service(ctx, host, before, unit, ServiceRules(failure, settled, looks, health=False))


def _settled(before: Impact, now: UnitFacts, by: str) -> ServiceEnd:
    was_down = before.fingerprint.get("active_state") in ("inactive", "failed")
    if now.active:
        if same_run(before, now):
            return ServiceEnd(Result.NOT_DONE, f"was not stopped: the same run goes on, {state_text(now)}", now)
        return ServiceEnd(Result.FAILED, f"runs, in another run than before{by}: {state_text(now)}", now)
    if was_down:
        return ServiceEnd(Result.DONE, f"was not running already; it is {state_text(now)}", now)
    # One that is inactive ended well, or was waiting for its automatic restart, with the result of an older run.
    if now.active_state == "failed":
        status = "" if now.exit_status is None else f", status {now.exit_status}"
        return ServiceEnd(
            Result.FAILED, f"is down, but did not end well: {now.result or 'no result'}{status}; {state_text(now)}", now
        )
    return ServiceEnd(Result.DONE, f"was stopped and is {state_text(now)}", now)


def _runs(facts: UnitFacts) -> bool:
    return facts.active_state not in ("inactive", "failed")


def _by(ctx: Context, host: Host, facts: UnitFacts) -> str:
    """Name what may have started it; the host does not record which it was."""
    names = ", ".join(facts.triggered_by[:_MAX_TRIGGERS])
    if names:
        return f" (it is started on demand by {names})"
    again = service_details(ctx, host, facts.unit).get("Restart", "no")
    return "" if again == "no" else f" (its definition says Restart={again})"


def _triggers(ctx: Context, host: Host, facts: UnitFacts) -> str:
    shown = [f"{name} ({_state(ctx, host, name)})" for name in facts.triggered_by[:_MAX_TRIGGERS]]
    more = len(facts.triggered_by) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _state(ctx: Context, host: Host, name: str) -> str:
    try:
        return ctx.show(host, name).active_state or "unknown"
    except ToolError:
        return "unknown"


@tool(risk="danger", timeout_s=90, impact=impact, verify=verify, needs="stop", deferred=True, looks=service_looks)
def stop_service(ctx: Context, host: Host, unit: Unit) -> dict[str, object]:
    """Propose to stop one service on the given servers; it stays down. Nothing happens until people have approved it.

    Only where the inventory allows to stop it. To bring a service back to work, propose a restart instead.

    Args:
        unit: Service name.
    """
    before = ctx.show(host, unit)
    check_there(host, before)
    return act_on_service(ctx, host, UnitVerb.STOP, before)
