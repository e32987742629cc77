"""How a server is doing."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from operator import le
from typing import Any

from opsbot import (
    Context,
    Host,
    Metric,
    ServerFacts,
    Table,
    ToolError,
    duration_text,
    percent_text,
    since_when,
    size_text,
    tool,
)

_DISKS_SHOWN = 12
_UNITS_SHOWN = 20
_FULL_PERCENT = 90.0
# How far back "since when" looks: as long as every sample is kept.
_SINCE_HOURS = 48
# A state that began with the newest sample began now, as far as anybody knows.
_JUST_NOW = timedelta(minutes=3)


def _table(results: Mapping[str, Any]) -> Table:
    headers = ("server", "load 1m", "CPU", "memory", "swap", "fullest disk", "inodes", "failed services", "up")
    return Table(headers, tuple(_row(name, result) for name, result in results.items()))


def _row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    fullest: Mapping[str, Any] = max(result["disks"], key=lambda disk: disk["used_percent"], default={})
    inodes = [disk["inodes_used_percent"] for disk in result["disks"] if disk["inodes_used_percent"] is not None]
    free = f"{size_text(fullest['available_bytes'])} free" if fullest else ""
    since = {name: f" ({said})" for name, said in result.get("since", {}).items()}
    memory = f"{percent_text(result['memory_used_percent'])} of {size_text(result['memory_total_bytes'])}"
    swap = result["swap_total_bytes"]
    failed = result["failed_units"]
    return (
        name,
        f"{result['load_1m']:.2f} of {result['cpus']}{since.get('load', '')}",
        percent_text(result["cpu_percent"]),
        f"{memory}{since.get('memory', '')}",
        percent_text(100 * result["swap_used_bytes"] / swap) if swap else "none",
        f"{fullest['mount']} {percent_text(fullest['used_percent'])}, {free}{since.get(fullest['mount'], '')}"
        if fullest
        else "unknown",
        percent_text(max(inodes)) if inodes else "unknown",
        "unknown" if failed is None else ", ".join(failed) or "none",
        duration_text(result["uptime_s"]),
    )


@tool(
    risk="read", timeout_s=15, table=_table, taints=False, by_hand="uptime; free -m; df -h; df -i; systemctl --failed"
)
def server_status(ctx: Context, host: Host) -> dict[str, object]:
    """Report a server's load, CPU, memory, swap, disks, inodes, uptime and failed services, as they are now.

    null: unknown. Compare load with the number of CPUs.
    """
    facts = ctx.facts(host)
    used = facts.memory_total_bytes - facts.memory_available_bytes
    answer = {
        "hostname": facts.hostname,
        "os": facts.os,
        "kernel": facts.kernel,
        "uptime_s": int(facts.uptime_s),
        "cpus": facts.cpus,
        "load_1m": facts.load[0],
        "load_5m": facts.load[1],
        "load_15m": facts.load[2],
        "cpu_percent": facts.cpu_percent,
        "memory_total_bytes": facts.memory_total_bytes,
        "memory_available_bytes": facts.memory_available_bytes,
        "memory_used_percent": _percent(used, facts.memory_total_bytes),
        "swap_total_bytes": facts.swap_total_bytes,
        "swap_used_bytes": facts.swap_used_bytes,
        **_disks(facts),
        "failed_units": None if facts.failed_units is None else list(facts.failed_units[:_UNITS_SHOWN]),
    }
    since = _since(ctx, host, _worries(answer))
    return answer | ({"since": since} if since else {})


def _worries(answer: Mapping[str, Any]) -> dict[tuple[Metric, str], float]:
    """Return what is beyond its limit now, with the limit."""
    found = {(Metric.DISK, disk["mount"]): _FULL_PERCENT for disk in answer["disks"] if _full(disk["used_percent"])}
    if _full(answer["memory_used_percent"]):
        found[Metric.MEMORY, ""] = _FULL_PERCENT
    if answer["cpus"] and answer["load_1m"] >= answer["cpus"]:
        found[Metric.LOAD, ""] = float(answer["cpus"])
    return found


def _full(percent: float | None) -> bool:
    return percent is not None and percent >= _FULL_PERCENT


def _since(ctx: Context, host: Host, worries: Mapping[tuple[Metric, str], float]) -> dict[str, str]:
    """Say of each worry since when it is one, where the samples kept of this server tell."""
    if not worries:
        return {}
    try:
        kept = ctx.history(host, *{metric for metric, _ in worries}, hours=_SINCE_HOURS)
    except ToolError:
        return {}  # the state itself is what was asked for
    said = {}
    for (metric, part), limit in worries.items():
        points = [(one.at, one.value) for one in kept.samples if (one.metric, one.part) == (metric, part)]
        since = since_when(points, partial(le, limit))
        if since is not None and kept.until - since > _JUST_NOW:
            earlier = " or earlier" if since == points[0][0] else ""
            unit = "" if metric is Metric.LOAD else "%"
            name = {Metric.MEMORY: "memory", Metric.LOAD: "load"}.get(metric, part)
            said[name] = f"at or above {limit:g}{unit} since {since:%Y-%m-%d %H:%M} UTC{earlier}"
    return said


def _disks(facts: ServerFacts) -> dict[str, object]:
    """Name the fullest file systems; full as `df` counts it, so that 100% means that users can write no more."""
    listed: list[dict[str, Any]] = []
    for disk in facts.disks:
        free = disk.size_bytes - disk.used_bytes if disk.available_bytes is None else disk.available_bytes
        listed.append(
            {
                "mount": disk.mount,
                "size_bytes": disk.size_bytes,
                "available_bytes": free,
                "used_percent": _percent(disk.used_bytes, disk.used_bytes + free) or 0.0,
                "inodes_used_percent": _percent(disk.inodes_used, disk.inodes),
            }
        )
    listed.sort(key=lambda disk: float(disk["used_percent"]), reverse=True)
    return {"disks": listed[:_DISKS_SHOWN], "disks_not_shown": max(0, len(listed) - _DISKS_SHOWN)}


def _percent(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else round(100 * part / whole, 1)
