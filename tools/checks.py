"""Whether services answer, seen from the bot, and whether names resolve, seen from the server."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from opsbot import CheckResult, Context, Host, Look, Table, ToolError, Unit, plain_line, tool

_SHOWN = 40
_ADDRESSES_SHOWN = 8
# getent does not tell "no such name" from "no server answered"; the resolver's own patience begins at seconds.
_SLOW_MS = 3000
_NOTHING_FOUND = "no address: there is no such name, or its resolvers cannot be reached"
_SEARCH = ("search", "domain")
_NAME = re.compile(r"name (\S+) (\S*) (\S*) (yes|no)$")

# One `getent` a name, side by side, as programs on that host would look it up; each block is one short write.
_DNS = r"""# opsbot: names
LC_ALL=C; export LC_ALL
bounded() { if command -v timeout >/dev/null 2>&1; then timeout 6 "$@"; else "$@"; fi; }
look() {
  began=$(date +%s%N)
  found=$(bounded getent ahosts "$1" | head -n 40)
  ended=$(date +%s%N)
  local=no; getent -s files hosts "$1" >/dev/null 2>&1 && local=yes
  printf '@@opsbot name %s %s %s %s\n%s\n' "$1" "$began" "$ended" "$local" "$found"
}
printf '@@opsbot resolv.conf\n'; grep -E '^(nameserver|search|domain|options)[[:blank:]]' /etc/resolv.conf | head -n 20
printf '@@opsbot nsswitch\n'; grep -E '^hosts:' /etc/nsswitch.conf
printf '@@opsbot resolved\n'
if [ -e /run/systemd/resolve/stub-resolv.conf ]; then bounded resolvectl --no-pager dns 2>/dev/null | head -n 20; fi
command -v getent >/dev/null 2>&1 || { printf '@@opsbot no getent\n'; exit 0; }
for name; do look "$name" & done
wait
exit 0
"""


# --- health checks ---------------------------------------------------------------------------------------------------


def _table(results: Mapping[str, Any]) -> Table:
    entries = [(entry["passed"], name, entry) for name, result in results.items() for entry in result["checks"]]
    entries.sort(key=lambda row: (row[0], row[1], row[2]["unit"]))
    rows = [_row(name, entry) for _, name, entry in entries]
    rows += [
        (name, "", "no such check in the inventory", "", "") for name, result in results.items() if not result["checks"]
    ]
    return Table(("server", "service", "result", "took", "details"), tuple(rows))


def _row(host: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    details = [entry["target"]] if entry["passed"] else []
    if entry.get("redirects_to"):
        details.append(f"redirects to {entry['redirects_to']} (not followed)")
    if entry.get("tls_days_left") is not None:
        details.append(f"certificate ends in {entry['tls_days_left']} days")
    details += [entry["note"]] if entry.get("note") else []
    status = f" ({entry['status']})" if entry.get("status") else ""
    said = f"passed{status}" if entry["passed"] else entry["failure"]
    took = "" if entry["latency_ms"] is None else f"{entry['latency_ms']:.0f} ms"
    return (host, entry["unit"], said, took, "; ".join(details))


@tool(risk="read", timeout_s=20, table=_table, deferred=True, taints=False)
def http_check(ctx: Context, host: Host, unit: Unit | None = None) -> dict[str, object]:
    """Run a server's HTTP health checks from the bot: status, latency to the first line, bytes, TLS days left.

    Only the checks the inventory lists. A redirect passes, is named and is not followed. null means unknown.

    Args:
        unit: Only this service's check; leave it out for all.
    """
    checks = _run(ctx, host, unit, [name for name, check in host.health.items() if check.url])
    now = datetime.now(UTC)
    return {"checks": [_entry(name, seen) | _http(seen, now) for name, seen in checks]}


@tool(risk="read", timeout_s=20, table=_table, deferred=True, taints=False)
def tcp_check(ctx: Context, host: Host, unit: Unit | None = None) -> dict[str, object]:
    """Run a server's TCP health checks from the bot: whether the port accepts a connection, and how fast.

    Only the checks the inventory lists.

    Args:
        unit: Only this service's check; leave it out for all.
    """
    checks = _run(ctx, host, unit, [name for name, check in host.health.items() if check.tcp])
    return {"checks": [_entry(name, seen) for name, seen in checks]}


def _run(ctx: Context, host: Host, unit: Unit | None, known: Sequence[str]) -> list[tuple[str, CheckResult]]:
    """Run the checks, the failed ones first. Raises ToolError if the service asked for has none of this kind."""
    short = {name.removesuffix(".service"): name for name in known}
    wanted = known if unit is None else [short[unit.removesuffix(".service")]] if _has(unit, short) else []
    if unit is not None and not wanted:
        there = ", ".join(known[:10]) or "none"
        raise ToolError(f"The inventory has no such check for {unit} on {host.name}; there are: {there}.")
    seen = ctx.checks(host, wanted)
    return sorted(seen.items(), key=lambda item: (not item[1].failure, item[0]))[:_SHOWN]


def _has(unit: str, short: Mapping[str, str]) -> bool:
    return unit.removesuffix(".service") in short


def _entry(unit: str, seen: CheckResult) -> dict[str, Any]:
    return {
        "unit": unit,
        "passed": not seen.failure,
        "failure": plain_line(seen.failure, limit=300),
        "target": plain_line(seen.target, limit=300),
        "latency_ms": seen.latency_ms,
    }


def _http(seen: CheckResult, now: datetime) -> dict[str, Any]:
    ends = seen.tls_not_after
    return {
        "status": seen.status,
        "body_bytes": seen.body_bytes,
        "tls_days_left": None if ends is None else (ends - now).days,
        "redirects_to": seen.redirect_host,
        "note": seen.note,
    }


# --- names -----------------------------------------------------------------------------------------------------------


def _dns_table(results: Mapping[str, Any]) -> Table:
    rows = []
    for name, result in results.items():
        servers = ", ".join(result["resolvers"]) or "unknown"
        rows += [(_trouble(entry), _dns_row(name, entry, servers)) for entry in result["names"]]
        if not result["names"]:
            rows.append((2, (name, "no names listed in the inventory", "", "", "", servers)))
    rows.sort()
    headers = ("server", "name", "addresses", "took", "the bot's own answer", "resolvers")
    return Table(headers, tuple(row for _, row in rows))


def _dns_row(host: str, entry: Mapping[str, Any], servers: str) -> tuple[str, ...]:
    shown = ", ".join(entry["addresses"]) if entry["addresses"] else entry["failure"]
    shown += " (from /etc/hosts)" if entry["in_hosts_file"] else ""
    took = "unknown" if entry["took_ms"] is None else f"{entry['took_ms']} ms"
    return (host, entry["name"], shown, took, entry["compared_with_bot"], servers)


def _trouble(entry: Mapping[str, Any]) -> int:
    return 0 if entry["failure"] else 1 if entry["compared_with_bot"] == "differs" else 2


def _dns_looks(host: Host) -> Iterator[Look]:
    yield ("sh", "-c", _DNS, "sh", *host.dns_names)


@tool(risk="read", timeout_s=20, table=_dns_table, deferred=True, looks=_dns_looks)
def dns_check(ctx: Context, host: Host) -> dict[str, object]:
    """Look up on a server the names the inventory lists for it: addresses, time taken, its resolvers.

    `compared_with_bot` compares with the bot's own answer; inside and outside views may differ on purpose.
    """
    result = ctx.run(host, "sh", "-c", _DNS, "sh", *host.dns_names)
    found = parse_lookups(result.check().stdout)
    own = ctx.lookups(host)
    names = [
        _compared(found["names"].get(name), name, own.get(name), getent=found["getent"]) for name in host.dns_names
    ]
    names.sort(key=_trouble)
    return {
        "names": names[:_SHOWN],
        "not_shown": max(0, len(names) - _SHOWN),
        "resolvers": found["resolvers"],
        "search": found["search"],
        "behind_systemd_resolved": found["behind"],
        "lookup_order": found["order"],
    }


def parse_lookups(output: str) -> dict[str, Any]:
    """Read the script's output: per name (addresses, milliseconds, in /etc/hosts), and how the host resolves."""
    parts = [part.partition("\n") for part in f"\n{output}".split("\n@@opsbot ")[1:]]
    sections = {head.strip(): body for head, _, body in parts}
    words = [line.split() for line in sections.get("resolv.conf", "").splitlines() if len(line.split()) > 1]
    resolved = sections.get("resolved", "").splitlines()
    return {
        "resolvers": [plain_line(found[1], limit=60) for found in words if found[0] == "nameserver"],
        "search": [plain_line(word, limit=100) for found in words if found[0] in _SEARCH for word in found[1:]][:8],
        "behind": [plain_line(line.strip(), limit=200) for line in resolved if line.strip()][:8],
        "order": plain_line(sections.get("nsswitch", "").partition(":")[2].strip(), limit=100),
        "names": dict(_lookup(found, body) for head, body in sections.items() if (found := _NAME.match(head))),
        "getent": "no getent" not in sections,
    }


def _lookup(found: re.Match[str], body: str) -> tuple[str, tuple[list[str], int | None, bool]]:
    name, began, ended, local = found.groups()
    took_ms = max(0, int(ended) - int(began)) // 1_000_000 if began.isdecimal() and ended.isdecimal() else None
    words = {line.split()[0] for line in body.splitlines() if line.strip()}
    return name, (sorted(word for word in words if _is_address(word)), took_ms, local == "yes")


def _is_address(word: str) -> bool:
    try:
        ip_address(word.partition("%")[0])
    except ValueError:
        return False
    return True


def _compared(
    seen: tuple[list[str], int | None, bool] | None, name: str, own: tuple[str, ...] | None, *, getent: bool
) -> dict[str, Any]:
    addresses, took_ms, local = seen or ([], None, False)
    failure = ""
    if not getent:
        failure = "unknown: the server has no getent"
    elif seen is None:
        failure = "unknown: the server did not say"
    elif not addresses:
        slow = took_ms is not None and took_ms >= _SLOW_MS
        failure = "no answer in time: its resolvers may be down" if slow else _NOTHING_FOUND
    return {
        "name": name,
        "addresses": addresses[:_ADDRESSES_SHOWN],
        "addresses_not_shown": max(0, len(addresses) - _ADDRESSES_SHOWN),
        "failure": failure,
        "took_ms": took_ms,
        "in_hosts_file": local,
        "compared_with_bot": "unknown" if failure.startswith("unknown") else _agreement(addresses, own),
        "bot_addresses": None if own is None else list(own[:_ADDRESSES_SHOWN]),
    }


def _agreement(addresses: Sequence[str], own: Sequence[str] | None) -> str:
    if own is None:
        return "unknown: the bot got no answer"
    if set(addresses) == set(own):
        return "same"
    return "overlaps" if set(addresses) & set(own) else "differs"
