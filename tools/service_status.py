"""How a service is doing, or which services a server has."""

import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opsbot import Context, Host, Table, Unit, UnitFacts, duration_text, size_text, tool

_SHOWN = 25


def _table(results: Mapping[str, Any]) -> Table:
    headers = ("server", "service", "state", "up", "main PID", "restarts", "memory", "health")
    rows = []
    for name, result in results.items():
        rows += [_row(name, entry) for entry in result.get("units", [result])]
    return Table(headers, tuple(rows))


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    state = entry["active_state"] + (f" ({entry['sub_state']})" if entry["sub_state"] else "")
    if entry["load_state"] != "loaded":
        state = entry["load_state"]
    active = entry["active_state"] == "active"
    return (
        name,
        entry["unit"],
        state,
        duration_text(entry["active_for_s"]) if active else "",
        str(entry["main_pid"] or ""),
        "" if entry["restarts"] is None else str(entry["restarts"]),
        "" if entry["memory_bytes"] is None else size_text(entry["memory_bytes"]),
        entry.get("health", ""),
    )


@tool(risk="read", timeout_s=15, table=_table, taints=False, by_hand="[systemctl status {unit}]")
def service_status(ctx: Context, host: Host, unit: Unit | None = None) -> dict[str, object]:
    """Report the state of one service, or without a name list the services worth a look: failed ones first.

    null: unknown. `restarts`: automatic ones since the last manual one.

    Args:
        unit: Service name; leave it out for a list.
    """
    if unit is None:
        return _listing(host, ctx.units(host))
    facts = ctx.show(host, unit)
    result = _entry(host, facts)
    if facts.load_state == "not-found":
        return result | {"similar": difflib.get_close_matches(unit, [known.unit for known in ctx.units(host)], n=3)}
    return result | {
        "result": facts.result,
        "exit_status": facts.exit_status,
        "tasks": facts.tasks,
        "active_since": None if facts.active_since is None else facts.active_since.isoformat(),
        "triggered_by": list(facts.triggered_by[:10]),
        "required_by": list(facts.required_by[:10]),
        "health": _health(ctx.healthy(host, unit)),
    }


def _listing(host: Host, units: Sequence[UnitFacts]) -> dict[str, object]:
    """Order: failed or in trouble, then what may be restarted, then what else runs."""
    notable = sorted(units, key=lambda facts: (_rank(host, facts), facts.unit))
    return {
        "units": [_entry(host, facts) for facts in notable[:_SHOWN]],
        "not_shown": max(0, len(notable) - _SHOWN),
    }


def _rank(host: Host, facts: UnitFacts) -> int:
    if facts.active_state in ("failed", "activating", "deactivating"):
        return 0
    if _may_be_restarted(host, facts):
        return 1
    return 2 if facts.sub_state == "running" else 3


def _may_be_restarted(host: Host, facts: UnitFacts) -> bool:
    return facts.unit in host.units or facts.unit.removesuffix(".service") in host.units


def _entry(host: Host, facts: UnitFacts) -> dict[str, object]:
    since = facts.active_since
    return {
        "unit": facts.unit,
        "load_state": facts.load_state,
        "active_state": facts.active_state,
        "sub_state": facts.sub_state,
        "main_pid": facts.main_pid,
        "restarts": facts.restarts,
        "active_for_s": None if since is None else max(0, int((datetime.now(UTC) - since).total_seconds())),
        "memory_bytes": facts.memory_bytes,
        "may_be_restarted": _may_be_restarted(host, facts),
    }


def _health(answer: str | None) -> str:
    if answer is None:
        return "no check configured"
    return answer or "passed"
