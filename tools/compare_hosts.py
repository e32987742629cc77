"""What differs between servers that should be alike."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from opsbot import Context, Host, Look, Table, duration_text, plain_line, script_look, size_text, tool

_SHOWN = 60
_VALUE_CHARACTERS = 90
_UNITS_MAX = 20
_FILES_MAX = 30
_ABSENT = "absent"
_CLOCK_TOLERANCE_S = 3.0

# $1: how many units follow; then units, then configuration files. Of files, only checksums leave the host.
_SCRIPT = r"""# opsbot: facts to compare
LC_ALL=C; export LC_ALL
bounded() { if command -v timeout >/dev/null 2>&1; then timeout 6 "$@"; else "$@"; fi; }
fact() { printf '%s\t%s\n' "$1" "$2"; }
sum() { sha256sum | cut -c 1-64; }
units=$1; shift
fact now "$(date +%s)"
fact os "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | tr -d '"')"
[ -r /etc/debian_version ] && fact 'Debian release' "$(cat /etc/debian_version)"
fact kernel "$(cat /proc/sys/kernel/osrelease)"
fact architecture "$(uname -m)"
fact CPUs "$(getconf _NPROCESSORS_ONLN 2>/dev/null)"
fact 'memory bytes' "$(awk '/^MemTotal:/ { printf "%.0f", $2 * 1024 }' /proc/meminfo)"
zone=$(cat /etc/timezone 2>/dev/null || readlink /etc/localtime)
fact timezone "${zone##*/zoneinfo/}"
fact 'time offset' "$(date +%z)"
if [ -d /run/systemd/system ]; then
  fact 'clock synchronised' "$(bounded timedatectl show --property=NTPSynchronized --value 2>/dev/null)"
fi
for name in vm/swappiness vm/overcommit_memory vm/max_map_count net/core/somaxconn net/ipv4/ip_forward \
  net/ipv4/tcp_syncookies fs/file-max kernel/pid_max kernel/threads-max; do
  [ -r "/proc/sys/$name" ] && fact "sysctl $name" "$(cat "/proc/sys/$name")"
done
all=
version() { printf '%s\n' "$all" | sed -n "s/^i. *$1:[^ ]* //p" | head -n 1; }
if command -v dpkg-query >/dev/null 2>&1; then
  all=$(bounded dpkg-query -W -f '${db:Status-Abbrev}${Package}:${Architecture} ${Version}\n' | grep '^i' | sort)
  fact 'packages installed' "$(printf '%s\n' "$all" | grep -c .)"
  fact 'packages, all versions' "$(printf '%s\n' "$all" | sum)"
  for name in base-files ca-certificates containerd curl docker-ce docker.io libc6 libssl3 libssl3t64 openssh-server \
    openssl podman sudo systemd tzdata; do
    found=$(version "$name"); [ -n "$found" ] && fact "package $name" "$found"
  done
fi
if [ -d /run/systemd/system ]; then
  bounded systemctl --no-pager --no-legend --plain --full list-units --type=service --all | head -n 500 |
    awk '$2 == "loaded" && ($3 == "failed" || $4 == "running") { print "running\t" $1 "\t" $3 " (" $4 ")" }'
  # By pattern: systemd tells the state of those alone, and works out no other units'.
  bounded systemctl --no-pager --no-legend --plain --full list-unit-files --state=enabled '*.service' |
    awk '{ print "enabled\t" $1 }' | head -n 150
fi
while [ "$units" -gt 0 ]; do
  unit=$1; shift; units=$((units - 1))
  [ -d /run/systemd/system ] || continue
  wanted=LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths
  shown=$(bounded systemctl --no-pager show --property=$wanted -- "$unit")
  get() { printf '%s\n' "$shown" | sed -n "s/^$1=//p"; }
  fact "unit $unit state" "$(get LoadState), $(get ActiveState), $(get UnitFileState)"
  set -f; files="$(get FragmentPath) $(get DropInPaths)"
  for file in $files; do
    if [ -r "$file" ]; then fact "unit $unit file ${file#/usr}" "$(sum < "$file")"
    else fact "unit $unit file ${file#/usr}" unreadable; fi
  done
  path=$(get FragmentPath); set +f
  [ -n "$path" ] && command -v dpkg-query >/dev/null 2>&1 || continue
  owner=$(bounded dpkg-query -S -- "$path" "${path#/usr}" "/usr${path#/usr}" 2>/dev/null | head -n 1)
  [ -n "$owner" ] && fact "package ${owner%%:*}" "$(version "${owner%%:*}")"
done
for file; do
  if [ -f "$file" ] && [ -r "$file" ]; then fact "file $file" "$(bounded head -c 8388608 -- "$file" | sum)"
  elif [ -e "$file" ]; then fact "file $file" unreadable
  else fact "file $file" missing; fi
done
fact end yes
exit 0
"""


def _combine(results: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what differs, with the odd ones out, and count what is the same."""
    if len(results) < 2:
        only = next(iter(results), "none")
        return {"compared": list(results), "differs": [], "note": f"Only {only} answered; a comparison needs two."}
    facts = {name: dict(result["facts"]) for name, result in results.items()}
    keys = dict.fromkeys(key for known in facts.values() for key in known)
    differing, same = [], 0
    for key in keys:
        values = {name: known.get(key, _default(key, results[name])) for name, known in facts.items()}
        known_values = {name: value for name, value in values.items() if value != "unknown"}
        if len(set(known_values.values())) > 1:
            differing.append(_difference(key, known_values))
        elif len(known_values) > 1:
            same += 1
    differing.sort(key=lambda entry: entry["rank"])
    unknown = {name: result["not_read"] for name, result in results.items() if result["not_read"]}
    for entry in differing:
        del entry["rank"]
    return {
        "compared": list(results),
        "same": same,
        "differs": differing[:_SHOWN],
        "not_shown": max(0, len(differing) - _SHOWN),
        **({"not_read": unknown} if unknown else {}),
    }


def _default(key: str, result: Mapping[str, Any]) -> str:
    """Tell "not there" from "not asked": units and files are only asked about where the inventory lists them."""
    if not result["complete"] or key in result["not_read"]:
        return "unknown"
    of_unit = re.match(r"(unit \S+) file ", key)
    if of_unit:  # a drop-in that only some have
        return _ABSENT if f"{of_unit.group(1)} state" in result["facts"] else "unknown"
    return _ABSENT if key.startswith(_SEEN_EVERYWHERE) else "unknown"


_SEEN_EVERYWHERE = ("package ", "service ", "sysctl ", "Debian release")
_RANKS = ("clock", "unit ", "file ", "service ", "os", "kernel", "package ", "packages")


def _difference(key: str, values: Mapping[str, str]) -> dict[str, Any]:
    counted = Counter(values.values())
    (most, number), *rest = counted.most_common()
    # Without a real majority nobody is odd: two against two is only a difference.
    majority = most if number > 1 and (not rest or rest[0][1] < number) else None
    odd = {name: value for name, value in values.items() if value != majority}
    rank = next((place for place, start in enumerate(_RANKS) if key.startswith(start)), len(_RANKS))
    entry: dict[str, Any] = {"what": key, "rank": rank}
    if majority is None:
        return entry | {"values": {name: _shown(value) for name, value in list(values.items())[:20]}}
    shown = {name: _shown(value) for name, value in list(odd.items())[:20]}
    return entry | {"most_have": _shown(majority), "hosts_with_it": number, "odd": shown}


def _shown(value: str) -> str:
    """Spell a value for people: checksums short, long texts cut."""
    if re.fullmatch(r"[0-9a-f]{64}", value):
        return f"sha256 {value[:12]}"
    return value if len(value) <= _VALUE_CHARACTERS else value[: _VALUE_CHARACTERS - 1] + "…"


def _table(results: Mapping[str, Any]) -> Table:
    combined = _combine(results)
    headers = ("what", "most have", "differs on", "has")
    if "note" in combined:
        return Table(headers, (), combined["note"])
    rows: list[tuple[str, ...]] = []
    for entry in combined["differs"]:
        most = f"{entry['most_have']} ({entry['hosts_with_it']})" if "most_have" in entry else "no majority"
        by_value: dict[str, list[str]] = {}
        for name, value in (entry.get("odd") or entry["values"]).items():
            by_value.setdefault(value, []).append(name)
        rows += [(entry["what"], most, ", ".join(names), value) for value, names in by_value.items()]
    rows += [("not read", "", name, "; ".join(missing)) for name, missing in combined.get("not_read", {}).items()]
    hidden = f"; {combined['not_shown']} more differences not shown" if combined["not_shown"] else ""
    title = (
        f"{len(combined['compared'])} servers: {len(combined['differs'])} differences, {combined['same']} facts alike"
    )
    return Table(headers, tuple(rows), title + hidden)


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT, *_arguments(host))


@tool(risk="read", timeout_s=30, table=_table, combine=_combine, deferred=True, looks=_looks)
def compare_hosts(ctx: Context, host: Host) -> dict[str, object]:
    """Compare servers that should be alike: name two or more, or a group. Shows only what differs, the odd ones out.

    Covers system, kernel, packages, services, unit files, listed configuration files, kernel settings, clock and size.
    Files are compared by checksum. Servers under `errors` were not compared.
    """
    asked_at = datetime.now(UTC)
    result = ctx.run(host, "sh", "-c", _SCRIPT, "sh", *_arguments(host), max_bytes=262_144)
    answered_at = datetime.now(UTC)
    return parse_facts(result.check().stdout, asked_at, answered_at)


_SUFFIXES = (".service", ".timer", ".socket")


def _arguments(host: Host) -> tuple[str, ...]:
    """Return how many units are asked for, these, and the files."""
    units = [unit for unit in host.units if _is_unit(unit)][:_UNITS_MAX]
    named = [unit if unit.endswith(_SUFFIXES) else f"{unit}.service" for unit in units]
    return (str(len(named)), *named, *host.config_files[:_FILES_MAX])


def _is_unit(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,250}", name, re.ASCII))


def parse_facts(output: str, asked_at: datetime, answered_at: datetime) -> dict[str, Any]:
    """Read the script's lines `key TAB value`; an empty value is unknown, and so is what is missing."""
    facts: dict[str, str] = {}
    not_read: list[str] = []
    complete = False
    for key, *values in _lines(output):
        value = plain_line(" ".join(values).strip(), limit=300)
        if key == "now":
            facts["clock"] = _clock(value, asked_at, answered_at)
        elif key == "end":
            complete = True
        elif key == "running" and values:
            facts[f"service {plain_line(values[0], limit=255)}"] = plain_line(values[-1], limit=60)
        elif key == "enabled":
            facts[f"service {value} at boot"] = "enabled"
        elif value == "unreadable":
            not_read.append(key)
        elif key == "memory bytes":  # what the firmware keeps differs by some KiB between equal machines
            facts["memory"] = size_text(int(value[:18])) if value.isdecimal() else "unknown"
        elif value:
            facts[key] = value
    if not complete:
        not_read.append("the rest: the server's answer ends early")
    facts = {key: value for key, value in facts.items() if not _PASSING.match(key)}
    return {"facts": facts, "not_read": not_read[:20], "complete": complete}


# Services of single sessions and runs.
_PASSING = re.compile(r"service (user@|user-runtime-dir@|run-|systemd-(hostnamed|timedated|localed)\.)")


def _lines(output: str) -> Iterator[list[str]]:
    for line in output.splitlines()[:2000]:
        words = line.split("\t")
        if len(words) > 1 and words[0]:
            yield [plain_line(words[0], limit=300), *words[1:]]


def _clock(epoch: str, asked_at: datetime, answered_at: datetime) -> str:
    """Say how far the server's clock is from the bot's, beyond what the round trip explains."""
    if not re.fullmatch(r"\d{1,10}", epoch, re.ASCII):
        return "unknown"
    at = int(epoch)
    early, late = asked_at.timestamp() - at - 1, at - answered_at.timestamp()
    off_s = max(early, late)
    if off_s < _CLOCK_TOLERANCE_S:
        return "right"
    return f"{duration_text(5 * round(off_s / 5))} {'behind' if early > late else 'ahead'}"
