"""Start a service: whether it can be started, doing it once, and judging from the host whether it came up."""

from collections.abc import Mapping
from functools import partial

from opsbot import (
    BadArguments,
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
    service_details,
    service_fingerprint,
    service_looks,
    service_serves,
    start_failure,
    state_text,
    tool,
)


def impact(ctx: Context, host: Host, unit: Unit) -> Impact:
    """Collect what a start would do. Raises BadArguments for a unit that cannot be started."""
    facts = ctx.show(host, unit)
    check_startable(host, facts)
    details = service_details(ctx, host, unit)
    if details.get("CanStart") == "no":
        raise BadArguments(f"{unit} on {host.name} cannot be started by hand: its definition forbids it.")
    shown = service_card(ctx, host, facts)
    if details.get("UnitFileState"):
        shown.append(("at boot", details["UnitFileState"]))
    if facts.active:
        shown.append(("note", "it runs already: a start would do nothing"))
    elif facts.active_state == "failed":
        shown.append(("note", f"its last run failed: {facts.result or 'no result'}; its log says why"))
    return Impact(tuple(shown), service_fingerprint(facts))


def verify(ctx: Context, host: Host, before: Impact, unit: Unit) -> HostOutcome:
    """Wait until the unit has settled and judge: running and healthy is done, all else is not."""

    def settled(now: UnitFacts) -> ServiceEnd:
        return _settled(before, now, service_details(ctx, host, unit))

    return judge_service(
        ctx, host, before, unit, ServiceRules(partial(start_failure, before), settled, looks_for(before))
    )


def _settled(before: Impact, now: UnitFacts, details: Mapping[str, str]) -> ServiceEnd:
    if now.active:
        ran = same_run(before, now)
        did = "was running already; the same run goes on," if ran else "was started and is"
        return ServiceEnd(Result.DONE, f"{did} {state_text(now)}", now)
    if details.get("ConditionResult") == "no":
        return ServiceEnd(Result.NOT_DONE, "was not started: a condition of its definition is not met", now)
    if not same_run(before, now) and now.result in ("", "success"):
        return ServiceEnd(Result.DONE, f"ran to its end and is {state_text(now)}", now)
    if details.get("Type") == "oneshot" and not now.invocation_id and now.active_state == "inactive":
        # systemd forgets a job that ended well and that nothing refers to.
        return ServiceEnd(Result.UNKNOWN, "is a job that ends by itself; whether it ran is not remembered", now)
    return ServiceEnd(Result.NOT_DONE, f"was not started: it is {state_text(now)}", now)


@tool(
    risk="change",
    timeout_s=90,
    impact=impact,
    verify=verify,
    available=service_serves,
    needs="start",
    deferred=True,
    looks=service_looks,
)
def start_service(ctx: Context, host: Host, unit: Unit) -> dict[str, object]:
    """Propose to start one stopped service on the given servers; nothing happens until a person has approved it.

    Only services the inventory allows on that server. A service that runs is left as it is.

    Args:
        unit: Service name.
    """
    before = ctx.show(host, unit)
    check_startable(host, before)
    return act_on_service(ctx, host, UnitVerb.START, before)
