"""Reboot a host: what it takes down, sending the command once, and judging by the boot id that it is back and well."""

from collections.abc import Iterator, Sequence

from opsbot import (
    NUMBER,
    BadArguments,
    CommandTimedOut,
    Connection,
    Context,
    Host,
    HostOutcome,
    Impact,
    Look,
    OutcomeUnknown,
    Result,
    ToolError,
    UnitFacts,
    as_root,
    duration_text,
    plain_line,
    reboot_command,
    refused_by_sudo,
    script_look,
    sudoers_rule,
    tool,
)

_SERVICES = "services that run"
_NONE = "none"
# Between looks at a host that is going down or coming up, and what one look may take.
_LOOK_EVERY_S = 3.0
_LOOK_S = 15.0
# What is left of the time when a host that is silent is called so, instead of being looked at once more.
_RESERVE_S = 3.0
# How long the host's own start may take after the first answer, of the time there is.
_SETTLE_S = 45.0
_SERVICE_LOOKS = 10
# A host that says so often in a row that it is up, in the same boot, is not going down.
_STILL_UP_LOOKS = 3
# systemctl(1), is-system-running: neither `stopping` nor `offline`, nor no answer at all.
_UP = ("running", "degraded", "starting", "initializing", "maintenance")

# Who would notice, and what is in the way. Nothing here needs rights.
_BEFORE = """# opsbot: before a reboot
LC_ALL=C; export LC_ALL
mark() { printf '\\n@@opsbot %s\\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
mark users; bounded 3 who 2>/dev/null | head -n 50
mark inhibitors; bounded 3 systemd-inhibit --list --no-legend --no-pager --mode=block 2>/dev/null | head -n 20
mark required; [ -e /run/reboot-required ] && echo yes
mark scheduled; head -n 3 /run/systemd/shutdown/scheduled 2>/dev/null
mark packages; cat /proc/[0-9]*/comm 2>/dev/null | grep -cxE 'dpkg|apt-get|apt|dnf|rpm|unattended-upgr'
exit 0
"""
_STATE = """# opsbot: how far a start has come
if command -v timeout >/dev/null 2>&1; then bounded="timeout $1"; fi
LC_ALL=C $bounded systemctl is-system-running --wait 2>/dev/null || LC_ALL=C systemctl is-system-running 2>/dev/null
exit 0
"""


# --- before ----------------------------------------------------------------------------------------------------------


def impact(ctx: Context, host: Host) -> Impact:
    """Collect what a reboot would take down. Raises BadArguments for the machine the bot itself runs on."""
    if host.connection is Connection.LOCAL:
        raise BadArguments(f"{host.name} is the machine opsbot runs on: it would not be there to say how it went.")
    vitals = ctx.vitals(host)
    if not vitals.boot_id:
        raise ToolError(f"{host.name} does not tell its boot id, so a reboot could not be verified.")
    parts = _parts(ctx.run(host, "sh", "-c", _BEFORE).check().stdout)
    behind = sorted(other.name for other in ctx.hosts if other.jump == host.name)
    inhibitors = [plain_line(line, limit=120) for line in parts.get("inhibitors", "").splitlines() if line.strip()]
    shown = [
        ("up for", duration_text(vitals.uptime_s)),
        (_SERVICES, ", ".join(_running(ctx, host)) or _NONE),
        ("people logged in", _people(parts.get("users", ""))),
        ("reboot required", "yes" if "yes" in parts.get("required", "") else "no"),
    ]
    if behind:
        shown.append(("cut off meanwhile", f"{', '.join(behind[:10])} (reached through it)"))
    if inhibitors:
        shown.append(("in the way", "; ".join(inhibitors[:3])))
    if parts.get("packages", "0").strip() not in ("0", ""):
        shown.append(("warning", "packages are being installed: a reboot now can leave the system half installed"))
    if "USEC=" in parts.get("scheduled", ""):
        shown.append(("note", "a shutdown or reboot is scheduled there already"))
    return Impact(tuple(shown), {"boot_id": vitals.boot_id})


def _parts(output: str) -> dict[str, str]:
    pieces = (piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:])
    return {head: body for head, _, body in pieces}


def _people(text: str) -> str:
    sessions = [plain_line(line.split()[0], limit=40) for line in text.splitlines() if line.split()]
    return f"{len(sessions)} ({', '.join(sorted(set(sessions))[:5])})" if sessions else _NONE


def _running(ctx: Context, host: Host) -> list[str]:
    """The services of the inventory that run now: they have to run afterwards."""
    return sorted(facts.unit for facts in _allowed(host, ctx.units(host)) if facts.active)


def _allowed(host: Host, units: Sequence[UnitFacts]) -> list[UnitFacts]:
    return [facts for facts in units if facts.unit in host.units]


# --- after -----------------------------------------------------------------------------------------------------------


def verify(ctx: Context, host: Host, before: Impact) -> HostOutcome:
    """Wait for another boot id, then for the services that ran before."""
    old = before.fingerprint.get("boot_id", "")
    boot_id, trouble = _another_boot(ctx, host, old)
    if boot_id is None:
        return HostOutcome(
            host.name,
            Result.UNKNOWN,
            f"has not come back yet: {trouble} Look at its console, or power it on from outside.",
        )
    if boot_id == old:
        if _state(ctx, host, 1) in _UP:
            return HostOutcome(host.name, Result.NOT_DONE, "was not rebooted: the same boot goes on.")
        return HostOutcome(host.name, Result.UNKNOWN, "answers, but has not rebooted yet; it may be going down.")
    return _judged(ctx, host, before, boot_id)


def _another_boot(ctx: Context, host: Host, old: str) -> tuple[str | None, str]:
    """Look until another boot answers; return its id, the old one, or (None, why) for a host that is silent."""
    seen: str | None = None
    trouble = "it did not answer."
    still_up = 0
    try:
        while ctx.remaining_s > _RESERVE_S:
            try:
                seen = ctx.within(_LOOK_S).vitals(host).boot_id
                still_up = still_up + 1 if seen == old and _state(ctx, host, 1) in _UP else 0
                if seen != old or still_up >= _STILL_UP_LOOKS:
                    return seen, ""
            except ToolError as error:
                seen, still_up, trouble = None, 0, str(error)
            ctx.sleep(_LOOK_EVERY_S)
    except CommandTimedOut:
        pass
    return seen, trouble


def _state(ctx: Context, host: Host, wait_s: int) -> str:
    """How the host's own start or end goes: `running`, `degraded`, `starting`, `stopping`, or "" where nobody says."""
    try:
        said = ctx.within(wait_s + _LOOK_S).run(host, "sh", "-c", _STATE, "sh", str(wait_s))
    except ToolError:
        return ""
    lines = said.stdout.split()
    return plain_line(lines[-1], limit=40) if lines else ""


def _judged(ctx: Context, host: Host, before: Impact, boot_id: str) -> HostOutcome:
    state = _state(ctx, host, max(1, int(min(_SETTLE_S, ctx.remaining_s / 2))))
    wanted = [name for name in dict(before.facts).get(_SERVICES, _NONE).split(", ") if name != _NONE]
    try:
        missing, failed = _services(ctx, host, wanted)
        sick = [f"{unit} ({said})" for unit in wanted if unit not in missing and (said := ctx.healthy(host, unit))]
    except ToolError as error:
        return HostOutcome(host.name, Result.UNKNOWN, f"rebooted, but its services could not be read: {error}")
    facts = (
        ("boot", f"{before.fingerprint.get('boot_id', '')[:8]} -> {boot_id[:8]}"),
        ("system", state or "unknown"),
        ("failed units", ", ".join(failed[:10]) or _NONE),
    )
    if missing or sick:
        words = [f"not running: {', '.join(missing)}"] if missing else []
        words += [f"health check fails: {', '.join(sick)}"] if sick else []
        first = missing[0] if missing else ""
        return HostOutcome(host.name, Result.FAILED, f"rebooted, but {'; '.join(words)}", _log(ctx, host, first), facts)
    ran = f"; {len(wanted)} services run as before" if wanted else ""
    return HostOutcome(host.name, Result.DONE, f"rebooted, and is {state or 'up'} again{ran}", "", facts)


def _services(ctx: Context, host: Host, wanted: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give the services some tries to come up; return those that did not, and all that failed."""
    units = ctx.units(host)
    for _ in range(_SERVICE_LOOKS):
        missing = _missing(units, wanted)
        if not missing:
            break
        try:
            ctx.sleep(_LOOK_EVERY_S)
            units = ctx.units(host)
        except CommandTimedOut:
            break
    return _missing(units, wanted), sorted(facts.unit for facts in units if facts.active_state == "failed")


def _missing(units: Sequence[UnitFacts], wanted: Sequence[str]) -> list[str]:
    active = {facts.unit for facts in units if facts.active}
    return [unit for unit in wanted if unit not in active]


def _log(ctx: Context, host: Host, unit: str) -> str:
    try:
        return "\n".join(line.text for line in ctx.logs(host, unit, lines=15)) if unit else ""
    except ToolError as error:
        return f"(the log could not be read: {error})"


# --- the action ------------------------------------------------------------------------------------------------------


def available(ctx: Context, host: Host) -> bool:
    """Whether the host answers and all its services of the inventory run."""
    units = {facts.unit: facts for facts in ctx.units(host)}
    return all(units[unit].active for unit in host.units if unit in units)


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_BEFORE)
    yield script_look(_STATE, NUMBER)


@tool(
    risk="danger",
    timeout_s=600,
    impact=impact,
    verify=verify,
    available=available,
    needs="reboot",
    deferred=True,
    looks=_looks,
)
def reboot_host(ctx: Context, host: Host) -> dict[str, object]:
    """Propose to reboot servers, one after the other; nothing happens until people have approved it.

    Only where the inventory allows it. Waits until the server is back, with another boot id. Say why it is needed.
    """
    old = ctx.vitals(host).boot_id
    said = _send(ctx, host)
    boot_id, trouble = _another_boot(ctx, host, old)
    return {"output": said, "boot_id_before": old, "boot_id_after": boot_id, "trouble": trouble}


def _send(ctx: Context, host: Host) -> str:
    """Send the command once. That the connection ends is what a reboot does. Raises ToolError: nothing was rebooted."""
    try:
        sent = ctx.within(60).run(host, *as_root(host, reboot_command()))
    except (OutcomeUnknown, CommandTimedOut):
        return "the connection ended with the command"
    if refused_by_sudo(sent):
        raise ToolError(
            f"{host.name}: sudo refuses the bot to reboot it; nothing was done. The rule is missing on that host: "
            f"`{sudoers_rule(host, reboot_command())}`. `opsbot sudoers {host.name}` prints all it needs."
        )
    said = plain_line((sent.stderr or sent.stdout).strip(), limit=500)
    # A status of 128 and more is a signal: the session was ended by the reboot itself.
    if 0 < sent.exit_status < 128:
        raise ToolError(f"{host.name} answered: {said or f'status {sent.exit_status}'}")
    return said
