"""End one process of a service: known by its number, its start and the boot, so that no other can be hit in its place.

Numbers of processes are used again. The check of who it is runs in the same command as the kill, so between the two
lie microseconds, not the minutes of an approval; that rest is left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from opsbot import (
    NUMBER,
    BadArguments,
    CommandTimedOut,
    Context,
    Host,
    HostOutcome,
    HostUnreachable,
    Impact,
    Look,
    OutcomeUnknown,
    Result,
    ToolError,
    as_root,
    duration_text,
    kill_command,
    plain_line,
    refused_by_sudo,
    script_look,
    service_details,
    service_looks,
    size_text,
    state_text,
    sudoers_rule,
    tool,
    unit_in_cgroup,
)

# 2^22, the most a 64-bit kernel numbers (proc(5), pid_max). 1 is the service manager.
Pid = Annotated[int, Field(ge=2, le=4_194_304)]
Ticks = Annotated[int, Field(ge=0, le=2**63)]
# PF_KTHREAD of include/linux/sched.h, in field 9 of /proc/PID/stat.
_KERNEL_THREAD = 0x200000
_LOOK_EVERY_S = 1.0
_LOOKS = 30
_MAX_BLIND_LOOKS = 5
_NOT_THE_ONE = 71
_GONE = 72

_LOOK = """# opsbot: one process
LC_ALL=C; export LC_ALL
mark() { printf '\\n@@opsbot %s\\n' "$1"; }
mark boot; cat /proc/sys/kernel/random/boot_id; cut -d ' ' -f 1 /proc/uptime; getconf CLK_TCK 2>/dev/null || echo 100
mark stat; cat "/proc/$1/stat" 2>/dev/null
mark status; grep -E '^(Uid|VmRSS|Threads):' "/proc/$1/status" 2>/dev/null
mark user; stat -c %U "/proc/$1" 2>/dev/null
mark cgroup; cat "/proc/$1/cgroup" 2>/dev/null
mark children; cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | awk -v parent="$1" '$2 == parent' | grep -c .
mark end
exit 0
"""
# $1 boot, $2 pid, $3 start; then the command. Who it is and what is done to it, in one breath.
_KILL = f"""# opsbot: end one process
[ "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" = "$1" ] || exit {_NOT_THE_ONE}
line=$(cat "/proc/$2/stat" 2>/dev/null) || exit {_GONE}
started() {{ shift 19; printf '%s' "$1"; }}
[ "$(started ${{line##*) }})" = "$3" ] || exit {_NOT_THE_ONE}
shift 3
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class _Process:
    """A process as /proc tells of it; `ticks` is when it started, in clock ticks since the boot."""

    boot_id: str
    name: str
    state: str
    ticks: int
    kernel: bool
    unit: str
    user: str
    age_s: float
    memory_bytes: int | None
    threads: str
    children: str


# --- before ----------------------------------------------------------------------------------------------------------


def impact(ctx: Context, host: Host, pid: int, started_ticks: int, signal: str = "TERM") -> Impact:
    """Collect what would be ended. Raises BadArguments for a process that is gone, another one, or not allowed."""
    process = _look(ctx, host, pid)
    if process is None:
        raise BadArguments(f"{host.name} has no process {pid}: it has ended already.")
    _check(host, process, pid, started_ticks)
    facts = ctx.show(host, process.unit)
    again = service_details(ctx, host, process.unit).get("Restart", "unknown")
    main = "yes" if facts.main_pid == pid else f"no, that is {facts.main_pid or 'none'}"
    shown = (
        ("process", f"{process.name} (PID {pid})"),
        ("signal", "TERM: it may end in its own way" if signal == "TERM" else "KILL: at once, nothing is saved"),
        ("service", f"{process.unit}, {state_text(facts)}"),
        ("main process of it", main),
        ("main PID", str(facts.main_pid or "none")),
        ("restarts by itself", again),
        ("user", process.user),
        ("running for", duration_text(process.age_s)),
        ("memory", size_text(process.memory_bytes)),
        ("threads and children", f"{process.threads} and {process.children}"),
        ("state", {"D": "blocked in the kernel: no signal reaches it now"}.get(process.state, process.state)),
    )
    fingerprint = {"boot_id": process.boot_id, "started_ticks": str(process.ticks), "unit": process.unit}
    return Impact(shown, fingerprint)


def _check(host: Host, process: _Process, pid: int, started_ticks: int) -> None:
    if process.ticks != started_ticks:
        raise BadArguments(
            f"{pid} is another process now ({process.name}, started at tick {process.ticks}); look again first."
        )
    if process.kernel:
        raise BadArguments(f"{pid} ({process.name}) belongs to the kernel; no signal ends it.")
    if process.state == "Z":
        raise BadArguments(f"{pid} ({process.name}) has ended already; its parent has to collect it.")
    if process.unit not in host.units:
        listed = ", ".join(host.units) or "none"
        of = process.unit or "no service"
        raise BadArguments(f"{pid} ({process.name}) belongs to {of}; on {host.name} the inventory allows: {listed}.")


def _look(ctx: Context, host: Host, pid: int) -> _Process | None:
    return parse_process(ctx.run(host, "sh", "-c", _LOOK, "sh", str(pid)).check().stdout)


def parse_process(output: str) -> _Process | None:
    """Read the script's output; None if there is no such process. Raises ToolError for what cannot be read."""
    parts = {
        head: body for head, _, body in (piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:])
    }
    if "end" not in parts or "stat" not in parts:
        raise ToolError("The host's answer about the process broke off.")
    if not parts["stat"].strip():
        return None
    # proc(5): the name stands in parentheses and may hold any character, so the last one counts.
    name, _, rest = parts["stat"].partition("(")[2].rpartition(")")
    fields, boot = rest.split(), parts.get("boot", "").split()
    try:
        ticks, flags = int(fields[19]), int(fields[6])
        uptime_s, hertz = float(boot[1]), int(boot[2])
    except (IndexError, ValueError) as error:
        raise ToolError("The host's answer about the process cannot be read.") from error
    status = dict(line.split(":", 1) for line in parts.get("status", "").splitlines() if ":" in line)
    return _Process(
        boot_id=plain_line(boot[0], limit=64),
        name=plain_line(name, limit=40),
        state=plain_line(fields[0], limit=1),
        ticks=ticks,
        kernel=bool(flags & _KERNEL_THREAD),
        unit=_unit(parts.get("cgroup", "")),
        user=plain_line(parts.get("user", "").strip(), limit=40) or "unknown",
        age_s=max(0.0, uptime_s - ticks / max(1, hertz)),
        memory_bytes=_kib(status),
        threads=plain_line(status.get("Threads", "?").strip(), limit=10),
        children=plain_line(parts.get("children", "").strip(), limit=10) or "0",
    )


def _unit(cgroups: str) -> str:
    """The unit by systemd's own hierarchy: `0::` (version 2), or `name=systemd`."""
    for line in cgroups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number == "0" and not controllers) or controllers == "name=systemd":
            unit = unit_in_cgroup(path)
            if unit:
                return unit
    return ""


def _kib(status: Mapping[str, str]) -> int | None:
    words = status.get("VmRSS", "").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() and len(words[0]) < 16 else None


# --- after -----------------------------------------------------------------------------------------------------------


def verify(ctx: Context, host: Host, before: Impact, pid: int, started_ticks: int, signal: str = "TERM") -> HostOutcome:
    """Wait until the process is gone, and say what became of its service."""
    unit = before.fingerprint.get("unit", "")
    try:
        left = _wait(ctx, host, before, pid, started_ticks)
        if left is not None:
            way = " Propose KILL, if it must go." if signal == "TERM" else " The kernel holds it; only a reboot would."
            state = " blocked in the kernel" if left.state == "D" else ""
            return HostOutcome(host.name, Result.NOT_DONE, f"process {pid} still runs{state}.{way}")
        facts = ctx.show(host, unit)
        sick = ctx.healthy(host, unit)
    except (HostUnreachable, CommandTimedOut, OutcomeUnknown) as error:
        return HostOutcome(host.name, Result.UNKNOWN, f"process {pid}: the host could not be read: {error}")
    shown = (("service", f"{unit}, {state_text(facts)}"), ("main PID", _main_pids(before, facts.main_pid)))
    said = f"process {pid} ended; {unit} is {state_text(facts)}"
    if facts.active_state == "failed" or sick:
        why = f", and its health check fails: {sick}" if sick else ""
        return HostOutcome(host.name, Result.FAILED, f"{said}{why}", _log(ctx, host, unit), shown)
    return HostOutcome(host.name, Result.DONE, said, "", shown)


def _wait(ctx: Context, host: Host, before: Impact, pid: int, started_ticks: int) -> _Process | None:
    """Return the process if it is still there after all looks."""
    blind = 0
    process: _Process | None = None
    for look in range(_LOOKS):
        try:
            if look:
                ctx.sleep(_LOOK_EVERY_S)
            process = _look(ctx, host, pid)
        except (HostUnreachable, OutcomeUnknown):
            blind += 1
            if blind >= _MAX_BLIND_LOOKS:
                raise
            continue
        except CommandTimedOut:
            if process is None:
                raise
            break
        same = process is not None and process.boot_id == before.fingerprint.get("boot_id")
        if not same or process is None or process.ticks != started_ticks or process.state in ("Z", "X"):
            return None
    return process


def _main_pids(before: Impact, now: int | None) -> str:
    return f"{dict(before.facts).get('main PID', 'unknown')} -> {now or 'none'}"


def _log(ctx: Context, host: Host, unit: str) -> str:
    try:
        return "\n".join(line.text for line in ctx.logs(host, unit, lines=15))
    except ToolError as error:
        return f"(the log could not be read: {error})"


# --- the action ------------------------------------------------------------------------------------------------------


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_LOOK, NUMBER)
    yield from service_looks(host)


@tool(risk="danger", timeout_s=30, impact=impact, verify=verify, needs="kill", deferred=True, looks=_looks)
def kill_process(
    ctx: Context, host: Host, pid: Pid, started_ticks: Ticks, signal: Literal["TERM", "KILL"] = "TERM"
) -> dict[str, object]:
    """Propose to end one process of a service on a server; nothing happens until people have approved it.

    Only processes of services the inventory allows there. To free a service from trouble, propose a restart instead.

    Args:
        pid: Number of the process, as top_processes tells it.
        started_ticks: When it started, as top_processes tells it: keeps another process from being hit.
        signal: TERM asks it to end, KILL ends it at once.
    """
    process = _look(ctx, host, pid)
    if process is None:
        return {"sent": False, "because": "it had ended already"}
    _check(host, process, pid, started_ticks)
    command = kill_command(signal, pid)
    argv = as_root(host, command)
    sent = ctx.run(host, "sh", "-c", _KILL, "sh", process.boot_id, str(pid), str(started_ticks), *argv)
    if sent.exit_status == _NOT_THE_ONE:
        raise ToolError(f"{pid} is another process now; nothing was sent.")
    if refused_by_sudo(sent):
        raise ToolError(
            f"{host.name}: sudo refuses the bot to end processes; nothing was sent. `opsbot sudoers {host.name}` "
            f"prints the rule it needs, for `{sudoers_rule(host, command)}` and the like."
        )
    said = plain_line((sent.stderr or sent.stdout).strip(), limit=500)
    if sent.exit_status not in (0, _GONE) and "no such process" not in said.lower():
        raise ToolError(f"{host.name} answered: {said or f'status {sent.exit_status}'}")
    return {"sent": sent.exit_status == 0, "output": said}
