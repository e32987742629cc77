"""What listens on a server's network, for whom, and who is connected."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from opsbot import Context, Host, Look, Table, plain_line, script_look, tool, unit_in_cgroup

_LISTENERS_SHOWN = 40
_OUTGOING_SHOWN = 15
_PEERS_SHOWN = 10
_SS_ROWS = 600
_PROC_ROWS = 4000
# Connections the other side has closed and the service has not: a few are on their way, many are a leak.
_MANY_CLOSE_WAIT = 20

# Connections are counted on the host: there can be a hundred thousand. Each line of `ss` gets a letter in front, so
# that the name of a process, which may hold a line end, looks like nothing else.
_SCRIPT = r"""# opsbot: network ports
LC_ALL=C; export LC_ALL
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
mark counters; grep '^TcpExt:' /proc/net/netstat
if command -v ss >/dev/null 2>&1; then
  if ss -lnHe --cgroup 'sport = :0' >/dev/null 2>&1; then groups=--cgroup; else groups=; fi
  mark listeners
  listeners=$(bounded 4 ss -tulnpHe $groups 2>/dev/null) && echo '@@answered'
  printf '%s\n' "$listeners" | sed 's/^/L /' | head -n 600
  mark connections
  { printf '%s\n' "$listeners" | grep '^tcp' | sed 's/^/L /'
    bounded 6 ss -tnHe $groups state connected 2>/dev/null | sed 's/^/C /'; } | awk '
    $1 == "L" { port = $6; sub(/.*:/, "", port); listens[port] = 1; next }
    { port = $5; sub(/.*:/, "", port); group = "-"
      for (n = 7; n <= NF; n++) if ($n ~ /^cgroup:/) { group = substr($n, 8); break }
      if (port in listens) {
        count["I " $2 " " $5 " " group]++
        if ($2 == "ESTAB") { peer = $6; sub(/:[^:]*$/, "", peer); count["P " port " " peer " -"]++ }
      } else count["O " $2 " " $6 " " group]++ }
    END { for (key in count) print key " " count[key] }' | sort -k5,5nr |
    awk '{ if (++rows[$1] <= 200) print; else left[$1]++; if ($1 == "P") peers[$2]++ }
      END { for (port in peers) print "N " port " " peers[port]; print "X " left["I"] + left["O"] }'
  mark processes
  pids=$(printf '%s\n' "$listeners" | grep -o 'pid=[0-9]*' | sort -u | head -n 100)
  grep -sH '' /dev/null $(printf '%s\n' "$pids" | sed -n 's|pid=\(.*\)|/proc/\1/cgroup|p')
  mark sockets
  case $listeners in *cgroup:/init.scope*)
    bounded 3 systemctl --no-pager --no-legend --full list-sockets | head -n 100;; esac
  ids=$(printf '%s\n' "$listeners" | sed -n 's/.* uid:\([0-9]*\) .*/\1/p')
else
  for table in tcp tcp6 udp udp6; do
    mark "proc $table"; head -n 4001 "/proc/net/$table" 2>/dev/null || echo '@@unreadable'
  done
  ids=$(cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null | awk '$4 ~ /^(0A|07)$/ { print $8 }')
fi
mark users; printf '%s\n' 0 $ids | sort -u | head -n 50 | bounded 2 xargs getent passwd | cut -d : -f 1,3
mark end
exit 0
"""

# include/net/tcp_states.h, in the words of ss.
_STATES: tuple[str, ...] = ("-", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "UNCONN")
_STATES += ("CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING")
_EVERYWHERE = ("*", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_LISTENER = re.compile(r"(tcp|udp)\s+(LISTEN|UNCONN)\s+(\d{1,12})\s+(\d{1,12})\s+(\S+)\s+\S+(.*)", re.ASCII)
_ENDPOINT = re.compile(r"(\*|\[?[0-9A-Fa-f:.]{2,45}\]?)(%[A-Za-z0-9_.@-]{1,16})?:(\d{1,5})", re.ASCII)
_USERS = re.compile(r'users:\(\("(.*?)",pid=(\d+)', re.ASCII)


@dataclass(slots=True)
class Listener:
    """A socket that waits for others; None is unknown."""

    proto: str
    address: str
    port: int
    waiting: int
    queue: int | None
    uid: str
    unit: str | None = None
    process: str | None = None
    connections: Counter[str] = field(default_factory=Counter)

    def fits(self, address: str, port: int) -> int:
        """Say how well a connection to this address fits: 3 exactly, 2 or 1 by a wildcard, 0 not at all."""
        if self.proto != "tcp" or self.port != port:
            return 0
        ranks = {"::": 1, "*": 2, "::" if ":" in address else _EVERYWHERE[1]: 2, address: 3}
        return ranks.get(self.address.partition("%")[0], 0)

    @property
    def reach(self) -> str:
        address = self.address.partition("%")[0]
        if address in _EVERYWHERE:
            return "all addresses"
        return "this host only" if ip_address(address).is_loopback else "one address"


@dataclass(slots=True)
class Seen:
    """What was read: listeners, connections counted, and what is missing."""

    listeners: list[Listener] = field(default_factory=list)
    incoming: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    outgoing: Counter[tuple[str, str, int, str]] = field(default_factory=Counter)
    peers: Counter[tuple[int, str]] = field(default_factory=Counter)
    distinct: Counter[int] = field(default_factory=Counter)
    uncounted: int = 0
    not_read: list[str] = field(default_factory=list)


def _table(results: Mapping[str, Any]) -> Table:
    rows = [(name, entry) for name, result in results.items() for entry in result["listeners"]]
    rows.sort(key=lambda row: (not row[1]["problem"], row[1]["reach"] != "all addresses", -row[1]["connected"]))
    cells = [_listener_row(name, entry) for name, entry in rows]
    for name, result in results.items():
        for entry in result["outgoing"][:5]:
            states = _counted(entry["states"])
            cells.append((name, f"to {entry['to']}", "", entry["unit"] or "unknown", "", states, "", entry["problem"]))
        cells += [(name, "not read", "", "", "", "", "", what) for what in result["not_read"]]
    lost = {name: result["overflows_since_boot"] for name, result in results.items()}
    told = [f"{name}: {count} connections met a full queue since the boot" for name, count in lost.items() if count]
    left_out = sum(result["not_shown"] for result in results.values())
    told = told[:10] + ([f"{left_out} more not shown"] if left_out else [])
    headers = ("server", "port", "reachable on", "unit", "user", "connections", "from", "problem")
    return Table(headers, tuple(cells), "; ".join(told))


def _listener_row(host: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    count = entry["addresses_connected"]
    return (
        host,
        f"{entry['proto']} {entry['port']}",
        ", ".join(entry["addresses"][:3]) if entry["reach"] == "one address" else entry["reach"],
        entry["unit"] or entry["process"] or "unknown",
        entry["user"],
        _counted(entry["connections"]),
        f"{count} address" + ("" if count == 1 else "es") if count else "",
        entry["problem"],
    )


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT)


@tool(risk="read", timeout_s=20, table=_table, deferred=True, looks=_looks, by_hand="ss -tulpn")
def network_ports(ctx: Context, host: Host) -> dict[str, object]:
    """List what listens on a server (TCP and UDP), for which unit, and count live connections by state and peer.

    `reach`: on all addresses, one address, or only this host. `waiting` of `queue` connections wait to be accepted.
    `outgoing`: what its services are connected to. A firewall may still be in between. null: unknown.
    """
    result = ctx.run(host, "sh", "-c", _SCRIPT, max_bytes=1_048_576)
    found = parse_ports(result.check().stdout)
    if result.truncated:
        found["not_read"].append("the end of a very long answer")
    return found


def parse_ports(output: str) -> dict[str, Any]:
    """Read the script's output, of `ss` or of /proc/net; what is missing is null or named under `not_read`."""
    pieces = (piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:])
    parts = {head.strip(): body for head, _, body in pieces}
    seen = _from_ss(parts) if "listeners" in parts else _from_proc(parts)
    if "end" not in parts:
        seen.not_read.append("the rest: the server's answer ends early")
    users = {uid: name for name, _, uid in (line.rpartition(":") for line in parts.get("users", "").splitlines())}
    stray = _assign(seen)
    listeners = _listeners(seen, users)
    outgoing = _outgoing(seen.outgoing)
    states: Counter[str] = Counter()
    for key, count in (*seen.incoming.items(), *seen.outgoing.items()):
        states[str(key[0])] += count
    peers = [
        {"address": address, "port": port, "connections": count}
        for (port, address), count in seen.peers.most_common(_PEERS_SHOWN)
    ]
    return {
        "listeners": listeners[:_LISTENERS_SHOWN],
        "outgoing": outgoing[:_OUTGOING_SHOWN],
        "top_peers": peers,
        "states": dict(states.most_common()),
        "overflows_since_boot": _overflows(parts.get("counters", "")),
        "not_shown": seen.uncounted + len(listeners[_LISTENERS_SHOWN:]) + len(outgoing[_OUTGOING_SHOWN:]),
        "not_read": seen.not_read + ([f"{stray} connections to a port that just closed"] if stray else []),
    }


def _from_ss(parts: Mapping[str, str]) -> Seen:
    seen = Seen()
    lines = parts["listeners"].splitlines()
    if "@@answered" not in lines:
        seen.not_read.append("listeners: ss did not answer")
    if len(lines) > _SS_ROWS:
        seen.not_read.append(f"listeners beyond the first {_SS_ROWS}")
    units = _units_of_pids(parts.get("processes", ""))
    activated = _activated(parts.get("sockets", ""))
    for line in lines:
        match = _LISTENER.fullmatch(line.removeprefix("L ").rstrip())
        endpoint = _endpoint(match.group(5)) if match else None
        if match and endpoint:
            listener = _ss_listener(match, endpoint, units)
            if listener.unit == "init.scope":  # systemd itself holds the socket, for a unit it will start
                listener.unit = activated.get(match.group(5), listener.unit)
            seen.listeners.append(listener)
    for line in parts.get("connections", "").splitlines():
        _count(line.split(" "), seen)
    if seen.listeners and not any(listener.unit for listener in seen.listeners):
        seen.not_read.append("units: the kernel or ss does not tell whose sockets these are")
    return seen


def _ss_listener(match: "re.Match[str]", endpoint: tuple[str, int], units: Mapping[str, str]) -> Listener:
    proto, _, waiting, queue, _, rest = match.groups()
    group = re.search(r" cgroup:(/\S*)", rest)
    uid = re.search(r" uid:(\d{1,10}) ", f"{rest} ", re.ASCII)
    process = _USERS.search(rest)
    unit = unit_in_cgroup(group.group(1)) if group else ""
    return Listener(
        proto,
        *endpoint,
        waiting=int(waiting),
        queue=int(queue) if proto == "tcp" else None,
        uid=uid.group(1) if uid else "0",  # ss -e leaves root's out
        unit=unit or (units.get(process.group(2)) if process else None),
        process=plain_line(process.group(1), limit=60) if process else None,
    )


def _endpoint(text: str) -> tuple[str, int] | None:
    """Return address and port of `0.0.0.0:80`, `[::1]:80`, `*:80` or `127.0.0.53%lo:53`; None for what is neither."""
    match = _ENDPOINT.fullmatch(text)
    if match is None or int(match.group(3)) > 65535:
        return None
    if match.group(1) == "*":
        return "*", int(match.group(3))
    address = _address(match.group(1).strip("[]"))
    return (address + (match.group(2) or ""), int(match.group(3))) if address else None


def _address(text: str) -> str:
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _units_of_pids(text: str) -> dict[str, str]:
    rows = (re.match(r"/proc/(\d+)/cgroup:\d+:(name=systemd|):(.*)", line, re.ASCII) for line in text.splitlines())
    return {row.group(1): unit for row in rows if row and (unit := unit_in_cgroup(row.group(3)))}


def _activated(text: str) -> dict[str, str]:
    """Map addresses to the socket units of `systemctl list-sockets`: address, unit, what it starts."""
    rows = (line.split() for line in text.splitlines())
    found = {words[0]: plain_line(words[1], limit=255) for words in rows if len(words) >= 2}
    # systemd writes `[::]:80` for a socket of both families, ss `*:80`.
    return found | {f"*{name.removeprefix('[::]')}": unit for name, unit in found.items() if name.startswith("[::]:")}


def _count(words: Sequence[str], seen: Seen) -> None:
    """Take one line of counts: I(ncoming), O(utgoing), P(eer), N(umber of peers), X (counted, not sent)."""
    kind, count = words[0], words[-1]
    if not count.isdecimal() or len(count) > 9:
        return
    if kind == "X" and len(words) == 2:
        seen.uncounted += int(count)
    elif kind == "N" and len(words) == 3 and words[1].isdecimal():
        seen.distinct[int(words[1])] = int(count)
    elif kind == "P" and len(words) == 5 and words[1].isdecimal():
        address = _address(words[2].strip("[]").partition("%")[0])
        if address:
            seen.peers[int(words[1]), address] += int(count)
    elif len(words) == 5 and words[1] in _STATES:
        endpoint = _endpoint(words[2])
        if endpoint and kind == "I":
            seen.incoming[words[1], *endpoint] += int(count)
        elif endpoint and kind == "O":
            unit = unit_in_cgroup(words[3]) if words[3] != "-" else ""
            seen.outgoing[words[1], *endpoint, unit] += int(count)


def _from_proc(parts: Mapping[str, str]) -> Seen:
    """Read /proc/net/tcp and its kin, where there is no `ss`: they tell a socket's user, not its unit."""
    seen = Seen()
    rows = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = parts.get(f"proc {table}", "").splitlines()[1:]
        rows += [(table[:3], row) for line in lines if (row := _proc_row(line))]
        if len(lines) >= _PROC_ROWS:
            seen.not_read.append(f"connections beyond the first {_PROC_ROWS} of /proc/net/{table}")
    if not rows:
        seen.not_read.append("listeners: there is no ss, and /proc/net cannot be read")
        return seen
    seen.not_read.append("units: there is no ss on the server to tell whose sockets these are")
    for proto, (local, _, state, waiting, uid) in rows:
        if state == "LISTEN" or (proto == "udp" and state == "UNCONN"):
            seen.listeners.append(Listener(proto, *local, waiting=waiting, queue=None, uid=uid))
    ports = {listener.port for listener in seen.listeners if listener.proto == "tcp"}
    connected = [row for proto, row in rows if proto == "tcp" and row[2] != "LISTEN"]
    seen.incoming.update((row[2], *row[0]) for row in connected if row[0][1] in ports)
    seen.outgoing.update((row[2], *row[1], "") for row in connected if row[0][1] not in ports)
    seen.peers.update((row[0][1], row[1][0]) for row in connected if row[2] == "ESTAB" and row[0][1] in ports)
    seen.distinct.update(port for port, _ in seen.peers)
    return seen


def _proc_row(line: str) -> tuple[tuple[str, int], tuple[str, int], str, int, str] | None:
    """Return local and remote end, state, receive queue and uid of a line of /proc/net/tcp; None for garbage."""
    words = line.split()
    try:
        state = _STATES[int(words[3], 16)]
        queue = int(words[4].partition(":")[2], 16)
        return _proc_end(words[1]), _proc_end(words[2]), state, queue, str(int(words[7]))
    except (IndexError, ValueError):
        return None


def _proc_end(text: str) -> tuple[str, int]:
    """Read `0100007F:0050`: words of four bytes in the order of the machine, which is little endian."""
    digits, _, port = text.partition(":")
    swapped = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    return _address(str(IPv4Address(swapped) if len(swapped) == 4 else IPv6Address(swapped))), int(port, 16)


def _assign(seen: Seen) -> int:
    """Count each incoming connection at its listener; return those whose listener is gone."""
    stray = 0
    for (state, address, port), count in seen.incoming.items():
        best = max(seen.listeners, key=lambda listener: listener.fits(address, port), default=None)
        if best is None or not best.fits(address, port):
            stray += count
        else:
            best.connections[state] += count
    return stray


def _listeners(seen: Seen, users: Mapping[str, str]) -> list[dict[str, Any]]:
    """Describe the listeners, those of one port and unit together (as IPv4 and IPv6); in trouble or busy first."""
    grouped: dict[tuple[object, ...], list[Listener]] = {}
    for listener in seen.listeners:
        key = (listener.proto, listener.port, listener.reach, listener.unit, listener.uid)
        grouped.setdefault(key, []).append(listener)
    entries = [_told(group, seen, users) for group in grouped.values()]
    entries.sort(key=lambda entry: (not entry["problem"], -entry["connected"], entry["proto"], entry["port"]))
    return entries


def _told(group: Sequence[Listener], seen: Seen, users: Mapping[str, str]) -> dict[str, Any]:
    one = max(group, key=lambda listener: listener.waiting)
    connections = sum((listener.connections for listener in group), Counter[str]())
    full = f"queue full: {one.waiting} wait to be accepted, room is for {one.queue}"
    return {
        "proto": one.proto,
        "port": one.port,
        "addresses": sorted({listener.address for listener in group})[:8],
        "reach": one.reach,
        "unit": one.unit,
        "process": one.process,
        "user": plain_line(users.get(one.uid, one.uid), limit=64),
        "waiting": one.waiting if one.proto == "tcp" else None,
        "queue": one.queue,
        "connections": dict(connections.most_common()),
        "connected": connections.total(),
        "addresses_connected": seen.distinct.get(one.port, 0) if connections else 0,
        "problem": full if one.queue and one.waiting >= one.queue else _close_problem(connections),
    }


def _close_problem(states: Mapping[str, int]) -> str:
    left_open = states.get("CLOSE-WAIT", 0)
    return f"{left_open} connections the service does not close" if left_open >= _MANY_CLOSE_WAIT else ""


def _outgoing(flows: Mapping[tuple[str, str, int, str], int]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, str], Counter[str]] = {}
    for (state, address, port, unit), count in flows.items():
        grouped.setdefault((unit, f"{address} port {port}"), Counter())[state] += count
    ordered = sorted(grouped.items(), key=lambda item: (not _close_problem(item[1]), -item[1].total()))
    return [
        {"unit": unit or None, "to": peer, "states": dict(states.most_common()), "problem": _close_problem(states)}
        for (unit, peer), states in ordered
    ]


def _overflows(text: str) -> int | None:
    """Return ListenOverflows of /proc/net/netstat: a line of names, then one of numbers."""
    lines = [line.split() for line in text.splitlines() if line.startswith("TcpExt:")]
    if len(lines) < 2:
        return None
    value = dict(zip(lines[0], lines[1], strict=False)).get("ListenOverflows", "")
    return int(value) if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None
