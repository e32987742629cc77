"""Which processes use the CPU and the memory right now, and which are stuck."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from opsbot import (
    Context,
    Host,
    Look,
    Table,
    duration_text,
    percent_text,
    plain_line,
    script_look,
    size_text,
    tool,
    unit_in_cgroup,
)

_SHOWN = 15
_STUCK_SHOWN = 10

# $1: cpu or memory. Two readings of /proc one second apart; the host picks the highest, so that little is sent. A name
# may hold line ends and parentheses: `grep -H` puts the file before each line of it, and the fields follow the last
# ")". The PSS of a process that hangs in the kernel hangs its reader too: it comes last and has a time limit.
_SCRIPT = r"""# opsbot: processes
LC_ALL=C; export LC_ALL
by=$1
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout -s KILL "$@"; else shift; "$@"; fi; }
reading() { cat /proc/uptime; head -n 1 /proc/stat; grep -sH '' /proc/[0-9]*/stat; }
rows=$({ reading; sleep 1; echo '@@second'; reading; } | awk -v me=$$ '
/^@@second$/ { second = 1; next }
/^cpu / { print "C" substr($0, 4); next }
/^[0-9]/ { print "U " $1; next }
{ pid = substr($0, 7) + 0; if (!match($0, /.*\) /)) next
  $0 = substr($0, RLENGTH + 1); if (NF < 22) next
  if (!second) { before[pid] = $12 + $13; began[pid] = $20; next }
  if (pid == me || $2 == me) next
  used[pid] = $12 + $13; start[pid] = $20; rss[pid] = $22; state[pid] = $1 }
END {
  for (pid in used) {
    count++; states[state[pid]]++
    spent = used[pid] - ((pid in before) && began[pid] == start[pid] ? before[pid] : 0)
    print "P " spent " " rss[pid] " " pid " " start[pid] " " state[pid]
  }
  print "T " count + 0 " " states["R"] + 0 " " states["D"] + 0 " " states["Z"] + 0 }')
mark system
echo "ticks $(getconf CLK_TCK 2>/dev/null)"; echo "cpus $(grep -c '^processor' /proc/cpuinfo)"
echo "page $(getconf PAGESIZE 2>/dev/null || awk '/^KernelPageSize/ { print $2 * 1024; exit }' /proc/self/smaps)"
[ -r /proc/1/stat ] || echo '@@hidden'
mark totals; printf '%s\n' "$rows" | grep '^[CUT]'
mark chosen
if [ "$by" = memory ]; then order='-k3,3nr -k2,2nr'; else order='-k2,2nr -k3,3nr'; fi
sorted=$(printf '%s\n' "$rows" | grep '^P' | sort $order)
chosen=$({ printf '%s\n' "$sorted" | head -n 15
  printf '%s\n' "$sorted" | grep ' D$' | head -n 10; printf '%s\n' "$sorted" | grep ' Z$' | head -n 10; } |
  awk '!seen[$4]++')
printf '%s\n' "$chosen"
files=; status=; memory=
for pid in $(printf '%s\n' "$chosen" | awk '{ print $4 }'); do
  files="$files /proc/$pid/stat /proc/$pid/comm /proc/$pid/cgroup"; status="$status /proc/$pid/status"
done
for pid in $(printf '%s\n' "$chosen" | awk '$6 != "D" && $6 != "Z" { print $4 }'); do
  memory="$memory /proc/$pid/smaps_rollup"
done
mark files; grep -sH '' /dev/null $files; grep -sH '^Uid:' /dev/null $status
mark users
grep -sh '^Uid:' /dev/null $status | awk '{ print $3 }' | sort -u | bounded 2 xargs -r getent passwd | cut -d : -f 1,3
mark shares; [ "$by" = memory ] && bounded 2 grep -sH '^Pss:' /dev/null $memory
mark end
exit 0
"""

# proc(5), man-pages 6.03.
_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "blocked",
    "Z": "zombie",
    "T": "stopped",
    "t": "traced",
    "I": "idle",
    "X": "dead",
}
# PF_KTHREAD of include/linux/sched.h, in field 9 of /proc/PID/stat.
_KERNEL_THREAD = 0x200000
_STUCK = ("blocked", "zombie")
# Below this a process is not what is looked for, and one that is stuck comes before it.
_BUSY_PERCENT = 1
_LARGE_BYTES = 100 * 2**20


def _table(results: Mapping[str, Any]) -> Table:
    by = next((result["by"] for result in results.values()), "cpu")
    rows = [(name, entry) for name, result in results.items() for entry in result["processes"]]
    key, much = ("memory_bytes", _LARGE_BYTES) if by == "memory" else ("cpu_percent", _BUSY_PERCENT)
    rows.sort(key=lambda row: ((row[1][key] or 0) < much, row[1]["state"] not in _STUCK, -(row[1][key] or 0)))
    cells = [_row(name, entry) for name, entry in rows]
    cells += [(name, "", "not read", "", "", "", "", "", "", w) for name, r in results.items() for w in r["not_read"]]
    headers = ("server", "PID", "command", "unit", "user", "CPU", "memory", "threads", "age", "state")
    return Table(headers, tuple(cells), "; ".join(_summary(results)))


def _row(host: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        host,
        str(entry["pid"]),
        entry["command"],
        entry["unit"] or "",
        entry["user"],
        percent_text(entry["cpu_percent"]),
        size_text(entry["memory_bytes"]),
        str(entry["threads"]),
        duration_text(entry["age_s"]),
        entry["state"].upper() if entry["state"] in _STUCK else entry["state"],
    )


def _summary(results: Mapping[str, Any]) -> list[str]:
    """Say of each server what no row says; of many servers only of those that are in trouble."""
    said = []
    for name, result in results.items():
        totals, cpu = result["totals"], result["cpu"]
        if totals is None or (len(results) > 3 and not _in_trouble(result)):
            continue
        counts = f"{totals['processes']} processes, {totals['running']} running"
        counts += f", {totals['blocked']} blocked" if totals["blocked"] else ""
        counts += f", {_count(totals['zombies'], 'zombie')}" if totals["zombies"] else ""
        shares = [(cpu["busy_percent"], "busy"), (cpu["io_wait_percent"], "I/O wait"), (cpu["steal_percent"], "stolen")]
        told = ", ".join(f"{percent_text(share)} {word}" for share, word in shares if share is not None)
        said.append(f"{name}: {counts}" + (f"; CPU {told}" if told else ""))
    return said[:10]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _in_trouble(result: Mapping[str, Any]) -> bool:
    stuck = result["totals"]["blocked"] or result["totals"]["zombies"]
    return bool(stuck or any((result["cpu"][key] or 0) >= 10 for key in ("io_wait_percent", "steal_percent")))


def _looks(host: Host) -> Iterator[Look]:
    yield from (script_look(_SCRIPT, by) for by in ("cpu", "memory"))


@tool(risk="read", timeout_s=15, table=_table, deferred=True, looks=_looks, by_hand="top -b -n 1")
def top_processes(ctx: Context, host: Host, by: Literal["cpu", "memory"] = "cpu") -> dict[str, object]:
    """List what uses the CPU (measured over one second) or the memory of a server, and what is stuck.

    `cpu_percent` of a process: 100 is one CPU. `memory_bytes`: what it has in RAM (RSS), `share_bytes` its fair part of
    it (PSS) where readable. Zombies, and processes blocked in the kernel (state D, mostly on I/O), are listed too.
    `pid` and `started_ticks` together identify a process. Arguments of commands are left out: they can hold secrets.
    null: unknown.

    Args:
        by: What to sort by.
    """
    result = ctx.run(host, "sh", "-c", _SCRIPT, "sh", by, max_bytes=262_144)
    found = parse_processes(result.check().stdout, by)
    if result.truncated:
        found["not_read"].append("the end of a very long answer")
    return found


def parse_processes(output: str, by: str) -> dict[str, Any]:
    """Read the script's output; what is missing is null or named under `not_read`."""
    pieces = (piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:])
    parts = {head.strip(): body for head, _, body in pieces}
    totals = [line.split() for line in parts.get("totals", "").splitlines() if line]
    system = _system(parts.get("system", ""))
    uptimes = [_number(words[1]) for words in totals if words[0] == "U" and len(words) == 2]
    system["uptime_s"] = uptimes[-1] if uptimes else None
    system["interval_s"] = _interval(uptimes)
    counts = next((words[1:] for words in totals if words[0] == "T" and len(words) == 5), None)
    entries = _entries(parts, system, by)
    missing = [] if "end" in parts else ["the rest: the server's answer ends early"]
    if counts is None or not counts[0].isdecimal() or counts[0] == "0":
        counts = None
        missing.append("processes: the server's /proc cannot be read")
    if "@@hidden" in parts.get("system", ""):
        missing.append("processes of other users: the server hides them (hidepid)")
    return {
        "by": by,
        "interval_s": system["interval_s"],
        "totals": None if counts is None else _totals(counts),
        "cpu": {"cpus": system["cpus"], **_shares([words[1:] for words in totals if words[0] == "C"])},
        "processes": entries,
        "not_shown": max(0, int(counts[0]) - len(entries)) if counts else 0,
        "not_read": missing,
    }


def _totals(words: Sequence[str]) -> dict[str, int | None]:
    names = ("processes", "running", "blocked", "zombies")
    return {name: int(word) if word.isdecimal() else None for name, word in zip(names, words, strict=True)}


def _system(text: str) -> dict[str, Any]:
    """Return ticks a second (Linux tells 100 on all but old machines), page size and number of CPUs."""
    words = [line.split() for line in text.splitlines()]
    figures = {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and re.fullmatch(r"[0-9]{1,9}", pair[1])}
    return {
        "ticks": figures.get("ticks") or 100,
        "page_bytes": figures.get("page") or None,
        "cpus": figures.get("cpus") or None,
    }


def _interval(uptimes: Sequence[float | None]) -> float | None:
    if len(uptimes) != 2 or uptimes[0] is None or uptimes[1] is None or uptimes[1] <= uptimes[0]:
        return None
    return round(uptimes[1] - uptimes[0], 2)


def _number(word: str) -> float | None:
    return float(word) if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{0,9})?", word, re.ASCII) else None


def _shares(readings: Sequence[Sequence[str]]) -> dict[str, float | None]:
    """Say what the CPUs did between two readings of /proc/stat; guests' time is counted in `user` already."""
    names = ("busy_percent", "io_wait_percent", "steal_percent")
    if len(readings) != 2 or any(len(words) < 8 or not all(map(str.isdecimal, words[:8])) for words in readings):
        return dict.fromkeys(names)
    spent = [max(0, int(after) - int(before)) for before, after in zip(readings[0][:8], readings[1][:8], strict=True)]
    total = sum(spent)
    if not total:
        return dict.fromkeys(names)
    _, _, _, idle, wait, _, _, steal = spent
    values = (total - idle - wait - steal, wait, steal)
    return {name: round(100 * value / total, 1) for name, value in zip(names, values, strict=True)}


def _entries(parts: Mapping[str, str], system: Mapping[str, Any], by: str) -> list[dict[str, Any]]:
    files = _files(parts.get("files", ""))
    names = (line.rpartition(":") for line in parts.get("users", "").splitlines())
    users = {uid: name for name, _, uid in names}
    shares = _files(parts.get("shares", ""))
    entries = []
    for line in parts.get("chosen", "").splitlines()[: _SHOWN + 2 * _STUCK_SHOWN]:
        words = line.split()
        if len(words) == 6 and all(word.isdecimal() and len(word) < 19 for word in words[1:5]):
            entry = _entry(words, files, users, system)
            entries.append(entry | (_share(shares.get((words[3], "smaps_rollup"), "")) if by == "memory" else {}))
    return entries


def _share(text: str) -> dict[str, int | None]:
    found = re.search(r"Pss:\s+(\d{1,15}) kB", text, re.ASCII)
    return {"share_bytes": int(found.group(1)) * 1024 if found else None}


def _files(text: str) -> dict[tuple[str, str], str]:
    """Return what each file of a process held: `/proc/PID/NAME:line` for every line."""
    found: dict[tuple[str, str], str] = {}
    for line in text.split("\n"):
        match = re.match(r"/proc/(\d+)/(\w+):(.*)", line, re.ASCII)
        if match:
            key = (match.group(1), match.group(2))
            found[key] = f"{found[key]}\n{match.group(3)}" if key in found else match.group(3)
    return found


def _entry(
    words: Sequence[str], files: Mapping[tuple[str, str], str], users: Mapping[str, str], system: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe one chosen process: `P`, ticks spent, pages of RSS, pid, start ticks, state."""
    _, spent, pages, pid, started, state = words
    # The last ")" ends the name; what follows is state (field 3), parent (4), … threads (20), … start (22).
    name, _, rest = files.get((pid, "stat"), "").rpartition(")")
    fields = rest.split()
    if len(fields) < 20 or fields[19] != started:  # gone since, or another process has its number
        name, fields = "", []
    told = name.partition("(")[2] and files.get((pid, "comm"), name.partition("(")[2])
    uid = _effective_uid(files.get((pid, "status"), "")) if fields else ""
    kernel = bool(fields) and fields[6].isdecimal() and bool(int(fields[6]) & _KERNEL_THREAD)
    interval, uptime = system["interval_s"], system["uptime_s"]
    age = None if uptime is None else uptime - int(started) / system["ticks"]
    return {
        "pid": int(pid),
        "started_ticks": int(started),
        "command": plain_line(told, limit=60).strip() or ("?" if fields else "ended meanwhile"),
        "unit": "kernel" if kernel else (_unit(files.get((pid, "cgroup"), "")) if fields else None),
        "user": plain_line(users.get(uid, uid), limit=64) or "unknown",
        "state": _STATES.get(state, "unknown"),
        "parent_pid": int(fields[1]) if fields and fields[1].isdecimal() else None,
        "threads": int(fields[17]) if fields and fields[17].isdecimal() else None,
        "age_s": None if age is None or age < 0 else int(age),
        "cpu_percent": None if interval is None else round(100 * int(spent) / system["ticks"] / interval, 1),
        "memory_bytes": None if system["page_bytes"] is None else int(pages) * system["page_bytes"],
    }


def _effective_uid(status: str) -> str:
    words = status.split()
    return words[2] if len(words) >= 3 and words[2].isdecimal() else ""


def _unit(cgroup: str) -> str | None:
    """Return the unit from the lines of /proc/PID/cgroup: systemd's own hierarchy before the others."""
    lines = [line.split(":", 2) for line in cgroup.split("\n") if line.count(":") >= 2]
    lines.sort(key=lambda line: (line[1] != "", line[1] != "name=systemd"))
    return next((unit for line in lines if (unit := unit_in_cgroup(line[2]))), None)
