"""Reload a service's configuration: whether it can, doing it once, and judging whether it did and goes on running."""

from collections.abc import Mapping

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
    check_systemd,
    check_there,
    judge_service,
    same_run,
    service_card,
    service_details,
    service_fingerprint,
    service_looks,
    service_serves,
    state_text,
    tool,
)

# A reload leaves the run and its processes as they are; this moves with every change of state, reloads included.
_CHANGED = "StateChangeTimestampMonotonic"


def impact(ctx: Context, host: Host, unit: Unit) -> Impact:
    """Collect what a reload would touch. Raises BadArguments for a unit that cannot be reloaded now."""
    facts, details = _reloadable(ctx, host, unit)
    shown = service_card(ctx, host, facts)
    if details.get("ReloadResult", "success") != "success":
        shown.append(("last reload", f"failed: {details['ReloadResult']}"))
    return Impact(tuple(shown), service_fingerprint(facts) | {"last_change": details.get(_CHANGED, "")})


def _reloadable(ctx: Context, host: Host, unit: str) -> tuple[UnitFacts, Mapping[str, str]]:
    check_systemd(host, UnitVerb.RELOAD)
    facts = ctx.show(host, unit)
    check_there(host, facts)
    if not facts.active:
        raise BadArguments(f"{unit} on {host.name} is {state_text(facts)}: only a running service can be reloaded.")
    details = service_details(ctx, host, unit)
    if details.get("CanReload") == "no":
        raise BadArguments(f"{unit} on {host.name} cannot be reloaded: its definition says no way to. Restart it.")
    return facts, details


def verify(ctx: Context, host: Host, before: Impact, unit: Unit) -> HostOutcome:
    """Wait until the unit has settled and judge: reloaded without an error, in the same run, and healthy is done."""

    def failure(now: UnitFacts, last: UnitFacts | None) -> str:
        if now.active_state in ("failed", "inactive") or now.sub_state == "auto-restart":
            return f"did not survive the reload: {state_text(now)} ({now.result or 'no result'})"
        if now.active and not same_run(before, now):
            return "was restarted, not reloaded: its run is another one"
        return ""

    def settled(now: UnitFacts) -> ServiceEnd:
        return _settled(ctx, host, before, now)

    return judge_service(ctx, host, before, unit, ServiceRules(failure, settled))


def _settled(ctx: Context, host: Host, before: Impact, now: UnitFacts) -> ServiceEnd:
    details = service_details(ctx, host, now.unit)
    was, changed = before.fingerprint.get("last_change", ""), details.get(_CHANGED, "")
    if not was or not changed:
        return ServiceEnd(Result.UNKNOWN, f"is {state_text(now)}; whether it was reloaded is not known", now)
    if was == changed:
        return ServiceEnd(Result.NOT_DONE, f"was not reloaded: nothing happened to it, it is {state_text(now)}", now)
    if details.get("ReloadResult", "success") not in ("", "success"):
        words = f"could not be reloaded ({details['ReloadResult']}) and goes on as before: {state_text(now)}"
        return ServiceEnd(Result.FAILED, words, now)
    if before.fingerprint.get("main_pid") != str(now.main_pid or ""):
        return ServiceEnd(Result.FAILED, "was reloaded, but its main process is another one now", now)
    return ServiceEnd(Result.DONE, f"was reloaded; the same run goes on, {state_text(now)}", now)


@tool(
    risk="change",
    timeout_s=90,
    impact=impact,
    verify=verify,
    available=service_serves,
    needs="reload",
    deferred=True,
    looks=service_looks,
)
def reload_service(ctx: Context, host: Host, unit: Unit) -> dict[str, object]:
    """Propose that a running service reads its configuration anew, without a restart; a person approves it first.

    Only services the inventory allows on that server, and only those that can be reloaded.

    Args:
        unit: Service name.
    """
    before, _ = _reloadable(ctx, host, unit)
    return act_on_service(ctx, host, UnitVerb.RELOAD, before)
