"""Clear the failed state of a service: what would be forgotten, doing it once, and judging whether it is gone."""

from opsbot import (
    Context,
    Host,
    HostOutcome,
    Impact,
    Result,
    ServiceEnd,
    ServiceRules,
    Unit,
    UnitFacts,
    UnitVerb,
    act_on_service,
    check_systemd,
    check_there,
    judge_service,
    same_run,
    service_fingerprint,
    state_text,
    tool,
)


def impact(ctx: Context, host: Host, unit: Unit) -> Impact:
    """Collect what would be forgotten. Raises BadArguments for a unit the host does not have."""
    facts = _there(ctx, host, unit)
    shown = [
        ("state", state_text(facts)),
        ("result of its last run", facts.result or "unknown"),
        ("exit status", "unknown" if facts.exit_status is None else str(facts.exit_status)),
        ("automatic restarts", "unknown" if facts.restarts is None else str(facts.restarts)),
    ]
    if facts.load_state == "not-found":
        shown.append(("note", "its definition is gone: the host would forget it altogether"))
    elif facts.active_state != "failed":
        shown.append(("note", "it is not failed: only its count of restarts would be set to zero"))
    else:
        shown.append(("note", "it would not be started by this"))
    return Impact(tuple(shown), service_fingerprint(facts))


def _there(ctx: Context, host: Host, unit: str) -> UnitFacts:
    check_systemd(host, UnitVerb.RESET_FAILED)
    facts = ctx.show(host, unit)
    check_there(host, facts)
    return facts


def verify(ctx: Context, host: Host, before: Impact, unit: Unit) -> HostOutcome:
    """Look once the unit is at rest: neither failed nor with restarts on its count is done."""

    def settled(now: UnitFacts) -> ServiceEnd:
        return _settled(before, now)

    rules = ServiceRules(lambda now, last: "", settled, looks=1, health=False)
    return judge_service(ctx, host, before, unit, rules)


def _settled(before: Impact, now: UnitFacts) -> ServiceEnd:
    count = before.fingerprint.get("restarts", "0")
    counted = int(count) if count.isdecimal() else 0
    if now.active_state == "failed":
        if same_run(before, now):
            return ServiceEnd(Result.NOT_DONE, "is still failed, by the same run", now)
        return ServiceEnd(Result.FAILED, f"failed again since: {now.result or 'no result'}", now)
    if now.restarts and now.restarts >= counted > 0:
        return ServiceEnd(Result.NOT_DONE, f"still has {now.restarts} restarts on its count, {state_text(now)}", now)
    since = f"; restarted {now.restarts} times since" if now.restarts else ""
    return ServiceEnd(Result.DONE, f"is not failed, its count of restarts is cleared{since}: {state_text(now)}", now)


@tool(risk="change", timeout_s=30, impact=impact, verify=verify, needs="reset-failed", deferred=True)
def reset_failed(ctx: Context, host: Host, unit: Unit) -> dict[str, object]:
    """Propose to clear a service's failed state and restart count, without starting it; a person approves it first.

    For a service that is failed and dealt with, or may not start because it fell over too often.

    Args:
        unit: Service name.
    """
    return act_on_service(ctx, host, UnitVerb.RESET_FAILED, _there(ctx, host, unit))
