"""What changed on a server lately: one timeline of reboots, services, packages, files, and who used sudo."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from opsbot import NUMBER, BadArguments, Context, Host, Look, Table, plain_line, script_look, time_text, tool

_SHOWN = 60
_MAX_HOURS = 168
_SKEW_S = 30
# Seconds before and after a boot in which starts and stops belong to it.
_SHUTDOWN_S = 150
_STARTUP_S = 120
# Kinds that come in bursts, with how many of a burst are named.
_BURSTS = {"package": 8, "unit file": 4}
_BURST = timedelta(seconds=60)

# $1: hours; then the configuration files. Times are epoch seconds; dpkg's local times are converted by the host's own
# rules (`date -f`), so that a change to summer time moves nothing. The newest entries come first and survive a cut.
_SCRIPT = r"""# opsbot: what changed
LC_ALL=C; export LC_ALL
hours=$1; shift
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
now=$(date +%s); start=$((now - hours * 3600))
mark now; echo "$now"; cat /proc/uptime
mark boots; TZ=UTC bounded 5 journalctl --no-pager --list-boots 2>&1 | tail -n 30
mark journal
ids='39f53479d3a045ac8e11786248231fbf 9d1aaa27d60140bd96365438aad20286 be02cf6855d2428ba40df7e9d022f03d
7b05ebc668384222baa8881179cfda54 d9b373ed55a64feb8242e02dbe79a49c fe6faa94e7774663a0da52717891d8ef
8d45620c1a4348dbb17410da57c60c66'
set -f; matches=; for id in $ids; do matches="$matches MESSAGE_ID=$id"; done
{ bounded 9 journalctl --no-pager --quiet -r -n 20000 -o json --since "@$start" \
    --output-fields=MESSAGE_ID,UNIT,USER_ID,_PID,_UID $matches; echo "@@status $?"; } 2>/dev/null |
awk '
function value(key,   at, rest) {
  at = index($0, "\"" key "\":\""); if (!at) return ""
  rest = substr($0, at + length(key) + 4); return substr(rest, 1, index(rest, "\"") - 1)
}
/^@@status/ { print; next }
{ id = value("MESSAGE_ID"); what = value("UNIT"); at = substr(value("__REALTIME_TIMESTAMP"), 1, 10)
  if (id == "8d45620c1a4348dbb17410da57c60c66") what = value("USER_ID")
  if (what == "" || (id != "8d45620c1a4348dbb17410da57c60c66" && value("_PID") != "1")) next
  key = id "\t" what; if (!(key in count) && ++kinds > 1500) { lost++; next }
  if (!(key in count)) newest[key] = at
  count[key]++; oldest[key] = at }
END { for (key in count) print count[key] "\t" oldest[key] "\t" newest[key] "\t" key; if (lost) print "@@lost " lost }'
mark sudo
{ bounded 5 journalctl --no-pager --quiet -r -n 2000 -o json --since "@$start" --output-fields=MESSAGE _COMM=sudo
  echo "@@status $?"; } 2>/dev/null | grep -E '^@@status|COMMAND=' | head -c 120000
mark readable
set +f
for file in /var/log/journal/*/system.journal /run/log/journal/*/system.journal; do [ -r "$file" ] && echo journal; done
packages() {
  from=$(date -d "@$((start - 7200))" '+%Y-%m-%d %H:%M:%S' 2>/dev/null)
  { [ -r /var/log/dpkg.log.1 ] && cat /var/log/dpkg.log.1; [ -r /var/log/dpkg.log ] && cat /var/log/dpkg.log; } |
    grep -E '^[0-9-]{10} [0-9:]{8} (install|upgrade|remove|purge) ' |
    awk -v from="$from" '$1 " " $2 >= from' | tail -n 3000
}
mark packages
if [ -e /var/log/dpkg.log ] && ! [ -r /var/log/dpkg.log ]; then echo '@@unreadable'
elif ! [ -e /var/log/dpkg.log ] && ! [ -e /var/log/dpkg.log.1 ]; then echo '@@missing'; fi
packages
mark package-times; packages | cut -c 1-19 | date -f - +%s 2>/dev/null
mark apt
for file in /var/log/apt/history.log.1 /var/log/apt/history.log; do
  [ -r "$file" ] && grep -E '^(Start-Date|Commandline|Requested-By): ' "$file"
done | tail -n 300
mark unit-files
bounded 5 find /etc/systemd -xdev '(' -type f -o -type l ')' -newermt "@$start" -printf '%T@ %p\n' 2>&1 |
  sort -rn | head -n 100
for file; do
  mark "config $file"
  if [ -e "$file" ] || [ -L "$file" ]; then stat -L -c '%Y %Z %s' -- "$file" 2>/dev/null || echo unreadable
  else echo missing; fi
done
mark end
exit 0
"""

_LOGIN = "8d45620c1a4348dbb17410da57c60c66"
# systemd's catalogue (sd-messages.h, systemd 252): what PID 1 says of units.
_UNIT_EVENTS = {
    "39f53479d3a045ac8e11786248231fbf": "started",
    "9d1aaa27d60140bd96365438aad20286": "stopped",
    "be02cf6855d2428ba40df7e9d022f03d": "did not start",
    "7b05ebc668384222baa8881179cfda54": "reloaded",
    "d9b373ed55a64feb8242e02dbe79a49c": "failed",
    "fe6faa94e7774663a0da52717891d8ef": "ran out of memory",
}
# Units that come and go with every log-in or timer, and tell nothing of a change.
_NOISE = re.compile(
    r"(session-.*\.scope|user(-runtime-dir)?@.*|user-\d+\.slice|run-.*|.*\.(device|mount|slice|target))$"
)
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,255}")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened `count` times, from `first` to `at`."""

    at: datetime
    kind: str
    what: str
    by: str = ""
    count: int = 1
    first: datetime | None = None


def _table(results: Mapping[str, Any]) -> Table:
    rows = [(entry["at"], name, entry) for name, result in results.items() for entry in result["timeline"]]
    rows.sort(key=lambda row: row[0], reverse=True)
    cells = [(row[2]["at"], row[1], row[2]["kind"], _told(row[2]), row[2]["by"]) for row in rows]
    for name, result in results.items():
        if not result["timeline"]:
            cells.append(("", name, "nothing", f"no change seen in {result['hours']} h", ""))
        cells += [("", name, "not read", what, "") for what in result["not_read"]]
    left_out = sum(result["not_shown"] for result in results.values())
    title = f"{left_out} older changes not shown" if left_out else ""
    return Table(("when (UTC)", "server", "kind", "what", "by"), tuple(cells), title)


def _told(entry: Mapping[str, Any]) -> str:
    return str(entry["what"]) + (f" ({entry['count']} times since {entry['first']})" if entry["count"] > 1 else "")


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT, NUMBER, *host.config_files)


@tool(risk="read", timeout_s=30, table=_table, deferred=True, looks=_looks)
def whats_changed(ctx: Context, host: Host, hours: int = 24) -> dict[str, object]:
    """Tell what changed on a server: reboots, service starts, stops and failures, packages, files, sudo; newest first.

    Repeated events are one entry with a count. Times are UTC. `not_read` names what could not be seen: nothing is known
    about it. `logins` counts log-ins by user.

    Args:
        hours: How far to look back, 1 to 168.
    """
    if not 1 <= hours <= _MAX_HOURS:
        raise BadArguments(f"hours is {hours}; ask for 1 to {_MAX_HOURS}.")
    asked_at = datetime.now(UTC)
    result = ctx.run(host, "sh", "-c", _SCRIPT, "sh", str(hours), *host.config_files, max_bytes=1_048_576)
    answer = parse_changes(result.check().stdout, hours, asked_at)
    if result.truncated:
        answer["not_read"].append("the end of a very long answer")
    return answer


def parse_changes(output: str, hours: int, asked_at: datetime) -> dict[str, Any]:
    """Read the script's output into one timeline."""
    parts = [part.partition("\n") for part in f"\n{output}".split("\n@@opsbot ")[1:]]
    sections = {head.strip(): body.strip("\n") for head, _, body in parts}
    clock = _clock(sections.get("now", ""))
    missing: list[str] = [] if "end" in sections else ["the rest: the server's answer ends early"]
    if clock is None:
        return _answer([], {}, hours, ["everything: the server did not tell its time"], None)
    now, booted = clock
    events, logins = _journal(sections, missing)
    readable = "journal" in sections.get("readable", "").split()
    events = _with_boots(events, _boots(sections.get("boots", "") if readable else "", booted))
    events += _sudo(sections, missing)
    events += _packages(sections, missing)
    events += _files(sections, missing)
    start = now - timedelta(hours=hours)
    recent = [event for event in events if start <= event.at <= now + timedelta(minutes=5)]
    for kind, names_shown in _BURSTS.items():
        recent = _folded(recent, kind, names_shown)
    recent.sort(key=lambda event: event.at, reverse=True)
    ahead_s = int((now - asked_at).total_seconds())
    return _answer(recent, logins, hours, missing, ahead_s)


def _answer(
    events: Sequence[Event], logins: Mapping[str, int], hours: int, missing: list[str], ahead_s: int | None
) -> dict[str, Any]:
    kinds = [event.kind for event in events]
    if ahead_s is not None and abs(ahead_s) > _SKEW_S:
        missing.append(
            f"times are the server's, whose clock is {abs(ahead_s)} s {'ahead' if ahead_s > 0 else 'behind'}"
        )
    return {
        "hours": hours,
        "timeline": [_entry(event) for event in events[:_SHOWN]],
        "not_shown": max(0, len(events) - _SHOWN),
        "by_kind": {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        "logins": dict(sorted(logins.items(), key=lambda pair: -pair[1])[:10]),
        "not_read": missing[:20],
    }


def _entry(event: Event) -> dict[str, Any]:
    first = time_text(event.first or event.at)
    return {
        "at": time_text(event.at),
        "kind": event.kind,
        "what": event.what,
        "by": event.by,
        "count": event.count,
        "first": first,
    }


def _clock(text: str) -> tuple[datetime, datetime] | None:
    words = text.split()
    now = _epoch(words[0]) if words else None
    up = re.match(r"\d{1,10}", words[1]) if len(words) > 1 else None
    return None if now is None or up is None else (now, now - timedelta(seconds=int(up.group())))


def _epoch(word: str) -> datetime | None:
    found = re.fullmatch(r"(\d{1,10})(\.\d+)?", word.strip(), re.ASCII)
    return datetime.fromtimestamp(int(found.group(1)), UTC) if found else None


# --- the journal -----------------------------------------------------------------------------------------------------


def _journal(sections: Mapping[str, str], missing: list[str]) -> tuple[list[Event], dict[str, int]]:
    body = sections.get("journal", "")
    if "journal" not in sections.get("readable", "").split():
        missing.append(
            "services, reboots before the last, sudo and log-ins: the bot's user may not read the journal "
            "(group systemd-journal), or there is none"
        )
        return [], {}
    if not re.search(r"^@@status [01]$", body, re.MULTILINE):  # 1: nothing matched
        missing.append("older service changes: the journal took too long")
    if "@@lost" in body:
        missing.append("some service changes: there are too many different ones")
    events, logins = [], dict[str, int]()
    for line in body.splitlines():
        words = line.split("\t")
        if len(words) != 5 or not words[0].isdecimal():
            continue
        count, first, at, what = int(words[0][:9]), _epoch(words[1]), _epoch(words[2]), plain_line(words[4], limit=255)
        if words[3] == _LOGIN:
            logins[what] = logins.get(what, 0) + count
        elif words[3] in _UNIT_EVENTS and at and first and not _NOISE.match(what):
            # In JSON a backslash of an escaped unit name is doubled.
            name = what.replace("\\\\", "\\")
            events.append(Event(at, "service", f"{name} {_UNIT_EVENTS[words[3]]}", count=count, first=first))
    return events, logins


def _boots(text: str, booted: datetime) -> list[Event]:
    """Return one event per boot; the present one by the uptime, which needs no rights."""
    starts = {booted}
    for line in text.splitlines():
        if not re.match(r"\s*-?\d+ [0-9a-f]{32} ", line):
            continue
        found = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", line)
        at = _utc(found.group(1)) if found else None
        if at is not None and all(abs(at - known) > timedelta(minutes=3) for known in starts):
            starts.add(at)
    return [Event(at, "reboot", "the server booted") for at in starts]


def _with_boots(events: Sequence[Event], boots: Sequence[Event]) -> list[Event]:
    """Fold what merely started with a boot or stopped before it into the boot, so that it hides nothing else."""
    kept: list[Event] = []
    carried = dict.fromkeys(boots, 0)
    for event in events:
        near = [boot for boot in boots if -_SHUTDOWN_S < (event.at - boot.at).total_seconds() < _STARTUP_S]
        usual = event.what.endswith((" started", " stopped")) and event.count <= len(boots)
        if near and usual:
            carried[near[0]] += 1
        else:
            kept.append(event)
    told = [
        replace(boot, what=f"{boot.what}; {n} usual starts and stops with it") if n else boot
        for boot, n in carried.items()
    ]
    return kept + told


def _folded(events: Sequence[Event], kind: str, shown: int) -> list[Event]:
    """Make one event of many of a kind that came in one go, by the same person."""
    others = [event for event in events if event.kind != kind]
    bursts: list[list[Event]] = []
    for event in sorted((event for event in events if event.kind == kind), key=lambda event: event.at):
        last = bursts[-1][-1] if bursts else None
        if last is not None and event.by == last.by and event.at - last.at <= _BURST:
            bursts[-1].append(event)
        else:
            bursts.append([event])
    for burst in bursts:
        if len(burst) <= shown:
            others += burst
            continue
        names = "; ".join(event.what for event in burst[:shown])
        what = f"{len(burst)} {kind}s changed, of which {names}"
        others.append(replace(burst[-1], what=what, first=burst[0].at))
    return others


def _utc(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


_SUDO = re.compile(
    r"\s*(?P<user>[^\s:]{1,64}) : .*?USER=(?P<target>[^\s;]{1,64}) ;.*?COMMAND=(?P<command>.*)", re.DOTALL
)


def _sudo(sections: Mapping[str, str], missing: list[str]) -> list[Event]:
    """Fold sudo's lines by who did what. Of a command only the name is told, and the verb and unit of systemctl."""
    events: dict[tuple[str, str], Event] = {}
    for at, text in _messages(sections.get("sudo", "")):
        found = _SUDO.match(text)
        if not found:
            continue
        refused = "NOT allowed" in text or "incorrect password" in text or "a password is required" in text
        what = _sudo_command(found["command"]) + (" (refused)" if refused else "")
        key = (plain_line(found["user"], limit=64), f"sudo {what} as {plain_line(found['target'], limit=64)}")
        known = events.get(key)
        if known is None:
            events[key] = Event(at, "sudo", key[1], by=key[0], first=at)
        else:
            events[key] = replace(known, at=max(at, known.at), first=min(at, known.first or at), count=known.count + 1)
    return list(events.values())


def _messages(text: str) -> Iterator[tuple[datetime, str]]:
    for line in text.splitlines():
        try:
            item = json.loads(line)
        except (ValueError, RecursionError):
            continue
        message = item.get("MESSAGE") if isinstance(item, dict) else None
        at = _epoch(str(item.get("__REALTIME_TIMESTAMP", ""))[:10]) if isinstance(item, dict) else None
        if isinstance(message, str) and at is not None:
            yield at, message


def _sudo_command(command: str) -> str:
    program, *words = command.split()[:12] or ["unknown"]
    name = plain_line(program.rpartition("/")[2], limit=60)
    if name != "systemctl":
        return name
    told = [word for word in words if not word.startswith("-") and _UNIT.fullmatch(word)]
    return " ".join([name, *told[:2]])


# --- packages and files ----------------------------------------------------------------------------------------------


def _packages(sections: Mapping[str, str], missing: list[str]) -> list[Event]:
    body = sections.get("packages", "")
    if "@@unreadable" in body:
        missing.append("packages: the bot's user may not read /var/log/dpkg.log")
    if "@@missing" in body:
        missing.append("packages: there is no /var/log/dpkg.log")
    lines = [line for line in body.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line)]
    times = [_epoch(word) for word in sections.get("package-times", "").split()]
    if len(times) != len(lines):
        missing.append("packages: the server cannot convert the times of its dpkg.log")
        return []
    by_whom = _apt(sections)
    events = []
    for line, at in zip(lines, times, strict=True):
        words = line.split()
        if at is not None and len(words) >= 6:
            events.append(Event(at, "package", _package(words), by=_nearest(by_whom, line[:19])))
    return events


def _package(words: Sequence[str]) -> str:
    """Tell one line of dpkg.log: date, time, action, package:architecture, old version, new version."""
    action, name, old, new = (plain_line(word, limit=120) for word in words[2:6])
    past = {"install": "installed", "upgrade": "upgraded", "remove": "removed", "purge": "purged"}.get(action, action)
    versions = {"install": new, "upgrade": f"{old} to {new}"}.get(action, old)
    return f"{name.partition(':')[0]} {past} ({versions})"


def _apt(sections: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return (local start, who by which command) of apt's runs; of the command only program and verb."""
    runs: list[tuple[str, str]] = []
    for line in sections.get("apt", "").splitlines():
        key, _, value = line.partition(": ")
        if key == "Start-Date":
            runs.append((re.sub(r"\s+", " ", value.strip()), "apt"))
        elif runs and key == "Commandline":
            program, *words = value.split() or ["apt"]
            verb = next((word for word in words if re.fullmatch(r"[a-z-]{2,30}", word) and word[0] != "-"), "")
            runs[-1] = (runs[-1][0], plain_line(f"{program.rpartition('/')[2]} {verb}".strip(), limit=80))
        elif runs and key == "Requested-By":
            user = plain_line(value.split(" ")[0], limit=64)
            runs[-1] = (runs[-1][0], f"{user} ({runs[-1][1]})")
    return runs


def _nearest(runs: Sequence[tuple[str, str]], at: str) -> str:
    """Return who began the last run before this moment, if it began within the hour; both times are local."""
    before = [run for run in runs if run[0] <= at]
    if not before:
        return ""
    began, moment = _utc(before[-1][0]), _utc(at)
    return before[-1][1] if began and moment and moment - began < timedelta(hours=1) else ""


def _files(sections: Mapping[str, str], missing: list[str]) -> list[Event]:
    events = []
    for line in sections.get("unit-files", "").splitlines():
        stamp, _, path = line.partition(" ")
        at = _epoch(stamp)
        if at is not None and path.startswith("/"):
            events.append(Event(at, "unit file", f"{plain_line(path, limit=255)} changed"))
        elif "Permission denied" in line:
            missing.append(plain_line(f"unit files: {line}", limit=200))
    for head, body in sections.items():
        if head.startswith("config "):
            events += _config(plain_line(head.removeprefix("config "), limit=255), body, missing)
    return events


def _config(path: str, body: str, missing: list[str]) -> list[Event]:
    words = body.split()
    if body.strip() in ("missing", "unreadable") or len(words) < 2:
        missing.append(f"{path}: {'there is no such file' if body.strip() == 'missing' else 'it cannot be read'}")
        return []
    changed, status = _epoch(words[0]), _epoch(words[1])
    events = [Event(changed, "config file", f"{path} changed")] if changed else []
    if changed and status and status - changed > timedelta(seconds=2):
        # A file moved into place keeps its old time of change; only the inode tells.
        events.append(Event(status, "config file", f"{path} was replaced, or its rights changed"))
    return events
