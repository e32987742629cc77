"""What the kernel complained of: processes killed for memory, disk and file-system errors, hardware, hangs, crashes."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from opsbot import NUMBER, Context, Host, Look, Table, plain_line, script_look, tool

_SHOWN = 30
_TEXT = 300
# The worst first. grep -E reads the patterns on the host and Python here, so they use what both know.
_KINDS = {
    "out of memory": r"out of memory: kill|oom-kill:|killed process [0-9]|invoked oom-killer",
    "disk": r"i/o error|medium error|blk_update_request|(ata|sd)[0-9a-z.]+:.*(exception|failed command|error:)"
    r"|nvme.*(timeout|reset|abort|error)|sense key|dm-[0-9]+:.*error|md/raid.*(fail|error)",
    "file system": r"ext[234]-fs.*(error|warning|corrupt)|xfs.*(error|corrupt|shut)|btrfs.*(error|corrupt)"
    r"|remounting filesystem read-only|fat-fs.*error|jbd2.*(error|abort)",
    "hardware": r"mce:|machine check|hardware error|edac .*(ce|ue|error)|temperature above threshold|cpu.*throttled"
    r"|pcie bus error",
    "hang": r"blocked for more than|soft lockup|hard lockup|rcu.*stall|kernel panic|bug:|oops:|watchdog: .*did not",
    "crash": r"segfault at|general protection|trap (divide|invalid)",
    "limit": r"table full|file-max limit|neighbo?u?r.*overflow|syn flooding|fork rejected",
    "network": r"link is down|netdev watchdog|transmit queue.*timed out|carrier lost",
}
_PATTERN = "|".join(_KINDS.values())
_PATTERNS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _KINDS.items()}
_RANKS = {kind: rank for rank, kind in enumerate(_KINDS)}
_NUMBERS = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|[0-9]+", re.IGNORECASE)

# $1: how far back, as journalctl takes it; $2: what matters. That neither source may be read is said, not guessed.
_SCRIPT = r"""# opsbot: kernel messages
LC_ALL=C; export LC_ALL
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
mark now; date +%s; cat /proc/uptime
mark journal
if command -v journalctl >/dev/null 2>&1; then
  bounded 3 journalctl --no-pager --quiet -o cat -n 1 _TRANSPORT=kernel 2>/dev/null | grep -q . && echo '@@lines'
  for file in /var/log/journal/*/system.journal /run/log/journal/*/system.journal; do
    [ -r "$file" ] && echo '@@readable'
  done
  { bounded 10 journalctl --no-pager --quiet -o short-unix --since "$1" _TRANSPORT=kernel; echo "@@status $?"; } \
    2>/dev/null | grep -aiE "^@@status|$2" | tail -n 1500 | cut -c 1-600
fi
mark dmesg
{ bounded 3 dmesg; echo "@@status $?"; } 2>/dev/null | grep -aiE "^@@status|$2" | tail -n 1500 | cut -c 1-600
mark cgroups
for folder in /sys/fs/cgroup /sys/fs/cgroup/unified; do
  grep -H '^oom_kill [1-9]' "$folder"/system.slice/*/memory.events 2>/dev/null | head -n 50
done
mark units
if [ -d /run/systemd/system ]; then
  TZ=UTC bounded 4 systemctl --no-pager show --property=Id,Result,InactiveEnterTimestamp '*.service' 2>/dev/null |
    grep -B 2 -A 2 '^Result=oom-kill' | head -n 150
fi
mark end
exit 0
"""


def _table(results: Mapping[str, Any]) -> Table:
    rows = sorted((row for name, result in results.items() for row in _rows(name, result)), key=lambda row: row[0])
    left_out = sum(result["not_shown"] for result in results.values())
    title = f"{left_out} more kinds of message not shown" if left_out else ""
    return Table(("server", "kind", "times", "last (UTC)", "message"), tuple(row for _, row in rows), title)


def _rows(name: str, result: Mapping[str, Any]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for each in result["messages"]:
        yield (
            _RANKS.get(each["kind"], 99),
            (name, each["kind"], str(each["count"]), _minute(each["last"]), each["text"]),
        )
    for unit in result["units_killed_for_memory"]:
        times = "" if unit["count"] is None else str(unit["count"])
        yield 0, (name, "out of memory", times, _minute(unit["last"]), f"a process of {unit['unit']} was killed")
    if result["not_read"]:
        yield 90, (name, "not read", "", "", result["not_read"])
    elif not (result["messages"] or result["units_killed_for_memory"]):
        yield 99, (name, "nothing", "0", "", f"read from the {result['source']}")


def _minute(at: str | None) -> str:
    return "" if at is None else at[:16].replace("T", " ")


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT, NUMBER.within("-", "h"), _PATTERN)


@tool(risk="read", timeout_s=25, table=_table, deferred=True, looks=_looks, by_hand="dmesg -T")
def kernel_messages(ctx: Context, host: Host, hours: Annotated[int, Field(ge=1, le=720)] = 24) -> dict[str, object]:
    """Report trouble the kernel logged: out of memory, disk, file system, hardware, hangs, crashes; the worst first.

    Repeated messages are one entry with a count. `not_read` says why nothing is known: then silence means nothing.
    `units_killed_for_memory`: services with a process killed for memory since they were started.

    Args:
        hours: How far back, at most a month.
    """
    result = ctx.run(host, "sh", "-c", _SCRIPT, "sh", f"-{hours}h", _PATTERN, max_bytes=1_048_576)
    return parse_kernel_messages(result.check().stdout, hours)


def parse_kernel_messages(output: str, hours: int) -> dict[str, Any]:
    """Read the script's output; what could not be read is named."""
    parts = {
        head: body for head, _, body in (piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:])
    }
    now, uptime_s = _times(parts.get("now", ""))
    journal, dmesg = parts.get("journal", "").splitlines(), parts.get("dmesg", "").splitlines()
    found = list(_journal_lines(journal))
    source = "journal"
    if "@@lines" not in journal and "@@status 0" in dmesg:
        earliest = now - hours * 3600
        found = [each for each in _dmesg_lines(dmesg, now - uptime_s) if each[0] >= earliest]
        source = "kernel's ring buffer"
    groups = _grouped(found)
    return {
        "messages": groups[:_SHOWN],
        "not_shown": max(0, len(groups) - _SHOWN),
        "units_killed_for_memory": _killed_units(parts),
        "source": source,
        "not_read": _not_read(journal, dmesg, parts),
    }


def _times(text: str) -> tuple[float, float]:
    words = text.split()
    try:
        return min(float(words[0]), 2.0**33), float(words[1])
    except (IndexError, ValueError):
        return datetime.now(UTC).timestamp(), 0.0


def _not_read(journal: list[str], dmesg: list[str], parts: Mapping[str, str]) -> str:
    if "end" not in parts:
        return "the answer broke off"
    if "@@lines" in journal:
        return "" if "@@status 0" in journal else "the journal took too long: only its newer part was read"
    if "@@status 0" in dmesg:
        return ""
    if "@@readable" in journal:
        return "the journal holds no kernel messages at all (a container?), and dmesg is not allowed"
    return "the bot's user may read neither the journal (group systemd-journal or adm) nor dmesg"


# --- lines -----------------------------------------------------------------------------------------------------------

_JOURNAL_LINE = re.compile(r"(\d{9,11}\.\d+) \S+ kernel: (.*)")
_DMESG_LINE = re.compile(r"\[ *(\d+\.\d+)\] (.*)")


def _journal_lines(lines: list[str]) -> Iterator[tuple[float, str]]:
    for line in lines:
        if found := _JOURNAL_LINE.fullmatch(line):
            yield min(float(found[1]), 2.0**33), found[2]


def _dmesg_lines(lines: list[str], booted: float) -> Iterator[tuple[float, str]]:
    for line in lines:
        if found := _DMESG_LINE.fullmatch(line):
            yield max(0.0, min(booted + float(found[1]), 2.0**33)), found[2]


def _grouped(lines: list[tuple[float, str]]) -> list[dict[str, Any]]:
    """Put messages together that differ only in numbers; the worst kind first, then the newest."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for at, text in lines:
        kind = next((kind for kind, pattern in _PATTERNS.items() if pattern.search(text)), "")
        if not kind or "command line: " in text.lower():
            continue
        group = groups.setdefault((kind, _NUMBERS.sub("#", text)), {"kind": kind, "count": 0, "first": at, "last": at})
        group["count"] += 1
        group["first"] = min(group["first"], at)
        if at >= group["last"]:
            group |= {"last": at, "text": plain_line(text, limit=_TEXT)}
    ordered = sorted(groups.values(), key=lambda group: (_RANKS[group["kind"]], -group["last"]))
    return [group | {"first": _iso(group["first"]), "last": _iso(group["last"])} for group in ordered]


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


# --- services --------------------------------------------------------------------------------------------------------


def _killed_units(parts: Mapping[str, str]) -> list[dict[str, Any]]:
    """Services with a process killed for memory: by their control groups' counters, and as systemd ended them."""
    counts: dict[str, int | None] = {}
    for line in parts.get("cgroups", "").splitlines():
        path, _, count = line.partition(":oom_kill ")
        unit = path.split("/")[-2] if path.count("/") > 1 else ""
        if unit and count.isdecimal():
            counts[unit] = min(int(count), 10**9)
    ended = {}
    for block in re.split(r"\n(?=Id=)|\n--\n|\n\s*\n", parts.get("units", "")):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if fields.get("Result") == "oom-kill" and fields.get("Id"):
            ended[fields["Id"]] = _stamp(fields.get("InactiveEnterTimestamp", ""))
            counts.setdefault(fields["Id"], None)
    return [
        {"unit": plain_line(unit, limit=255), "count": counts[unit], "last": ended.get(unit)}
        for unit in sorted(counts)[:_SHOWN]
    ]


def _stamp(text: str) -> str | None:
    found = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text)
    return f"{found[0].replace(' ', 'T')}+00:00" if found else None
