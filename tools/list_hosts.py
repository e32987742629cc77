"""Which servers there are."""

from collections.abc import Mapping
from typing import Any

from opsbot import BadArguments, Context, Host, Table, tool

_SHOWN = 50
_GROUPS_SHOWN = 30
_TAG = "tag:"


def _table(results: Mapping[str, Any]) -> Table:
    (result,) = results.values()
    rows = tuple(
        (
            host["name"],
            host["environment"],
            ", ".join(host["groups"]),
            ", ".join(host["tags"]),
            ", ".join(host["units_that_may_be_restarted"]),
        )
        for host in result["hosts"]
    )
    title = f"{len(rows)} of {result['matching']} servers" if len(rows) < result["matching"] else ""
    return Table(("server", "environment", "groups", "tags", "may be restarted"), rows, title)


@tool(risk="read", table=_table, taints=False)
def list_hosts(ctx: Context, group: str | None = None, environment: str | None = None) -> dict[str, object]:
    """List servers with environment, groups, tags and the services that may be restarted there.

    A long list is cut: narrow it.

    Args:
        group: Group, or `tag:WORD`.
        environment: Environment.
    """
    groups = sorted({name for host in ctx.hosts for name in host.groups})
    tags = sorted({_TAG + tag for host in ctx.hosts for tag in host.tags})
    environments = sorted({host.environment for host in ctx.hosts})
    _check("group", group, [*groups, *tags])
    _check("environment", environment, environments)
    matching = [host for host in ctx.hosts if _matches(host, group, environment)]
    return {
        "matching": len(matching),
        "not_shown": max(0, len(matching) - _SHOWN),
        "groups": groups[:_GROUPS_SHOWN],
        "tags": tags[:_GROUPS_SHOWN],
        "environments": environments[:_GROUPS_SHOWN],
        "hosts": [_line(host) for host in matching[:_SHOWN]],
    }


def _check(what: str, name: str | None, known: list[str]) -> None:
    if name is not None and name not in known:
        listed = ", ".join(known[:_GROUPS_SHOWN]) or "none"
        raise BadArguments(f"No {what} named {name[:80]!r} in the inventory; there are: {listed}.")


def _matches(host: Host, group: str | None, environment: str | None) -> bool:
    inside = group is None or group in host.groups or group in {_TAG + tag for tag in host.tags}
    return inside and (environment is None or environment == host.environment)


def _line(host: Host) -> dict[str, object]:
    return {
        "name": host.name,
        "environment": host.environment,
        "groups": list(host.groups[:10]),
        "tags": list(host.tags[:10]),
        "units_that_may_be_restarted": list(host.units[:10]),
    }
