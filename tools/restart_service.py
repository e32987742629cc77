"""Restart a service: what it would hit, doing it once, and judging from the host what became of it."""

from functools import partial

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
    check_startable,
    judge_service,
    looks_for,
    same_run,
    service_card,
    service_fingerprint,
    service_serves,
    start_failure,
    state_text,
    tool,
)


def impact(ctx: Context, host: Host, unit: Unit) -> Impact:
    """Collect what a restart would hit. Raises BadArguments for a unit that cannot be restarted."""
    facts = ctx.show(host, unit)
    check_startable(host, facts)
    shown = service_card(ctx, host, facts)
    if not facts.active:
        shown.append(("note", "it is not running: a restart would start it"))
    return Impact(tuple(shown), service_fingerprint(facts))


def verify(ctx: Context, host: Host, before: Impact, unit: Unit) -> HostOutcome:
    """Wait until the unit has settled and judge: a new run that lasts and is healthy is done, all else is not."""
    rules = ServiceRules(partial(start_failure, before), partial(_settled, before), looks_for(before))
    return judge_service(ctx, host, before, unit, rules)


def _settled(before: Impact, now: UnitFacts) -> ServiceEnd:
    if same_run(before, now):
        return ServiceEnd(Result.NOT_DONE, f"was not restarted: the same run goes on, {state_text(now)}", now)
    if now.active:
        return ServiceEnd(Result.DONE, f"was restarted and is {state_text(now)}", now)
    if now.result in ("", "success") and before.fingerprint.get("active_state") != "active":
        return ServiceEnd(Result.DONE, f"ran to its end and is {state_text(now)}", now)
    return ServiceEnd(Result.FAILED, f"is not running any more: {state_text(now)}", now)


@tool(risk="change", timeout_s=90, impact=impact, verify=verify, available=service_serves, needs="restart")
def restart_service(ctx: Context, host: Host, unit: Unit) -> dict[str, object]:
    """Propose to restart a service; nothing happens until a person has approved it.

    Only services the inventory allows there. Look at the service and its log first, and say why.

    Args:
        unit: Service name.
    """
    before = ctx.show(host, unit)
    check_startable(host, before)
    return act_on_service(ctx, host, UnitVerb.RESTART, before)
