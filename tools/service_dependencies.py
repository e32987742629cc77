"""What a service needs and what needs it, broken links first."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opsbot import UNIT, BadArguments, Context, Host, Look, Table, Unit, plain_line, script_look, tool

_DEPTH = 3
_NEEDS_SHOWN = 40
_NEEDED_BY_SHOWN = 20
_NAMES_SHOWN = 20

# $1: the unit. Level by level, first what it needs, then what needs it; systemd is asked once per level. Below a slice
# and below an active sysinit.target or basic.target is what every service has.
_SCRIPT = r"""# opsbot: dependencies
LC_ALL=C; export LC_ALL
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
state=Id,Names,LoadState,ActiveState,SubState,Result,Type,ConditionResult,ConditionTimestampMonotonic,RemainAfterExit
needs=Requires,Requisite,BindsTo,Wants
needed=RequiredBy,RequisiteOf,BoundBy,ConsistsOf
ask() { bounded 4 xargs -0 systemctl --no-pager show --property="$1" --; }
below() {
  awk -v wanted="$1" 'BEGIN { count = split(wanted, list, ","); for (n = 1; n <= count; n++) follow[list[n]] = 1 }
    function plain(name,   pieces, count, n) {
      if (name !~ /^"/) return name
      count = split(substr(name, 2, length(name) - 2), pieces, /\\\\/)
      name = pieces[1]; for (n = 2; n <= count; n++) name = name "\\" pieces[n]
      return name
    }
    function tell(   n, names, total) {
      if (id !~ /\.slice$/ && !(id ~ /^(sysinit|basic)\.target$/ && active == "active")) {
        total = split(links, names, " "); for (n = 1; n <= total; n++) print plain(names[n]) }
      links = ""; id = ""; active = "" }
    { key = $0; sub(/=.*/, "", key); value = substr($0, length(key) + 2) }
    /^$/ { tell() } key == "Id" { id = value } key == "ActiveState" { active = value }
    key in follow { links = links " " value }
    END { tell() }'
}
walk() {
  names=$1; follow=$2; known=$unit
  for level in 1 2 3; do
    names=$(printf '%s\n@@known\n%s\n' "$known" "$names" |
      awk '/^@@known$/ { now = 1; next } !now { seen[$0] = 1; next } NF && !seen[$0]++' | head -n 60)
    [ -n "$names" ] || return 0
    mark "units"
    blocks=$(printf '%s\n' "$names" | tr '\n' '\0' | ask "$state,$follow"); answered=$?
    printf '%s\n' "$blocks"
    [ "$answered" = 0 ] || { mark unanswered; return 0; }
    known=$(printf '%s\n%s\n' "$known" "$names")
    names=$(printf '%s\n' "$blocks" | below "$follow")
  done
}
unit=$1
mark unit
if [ -d /run/systemd/system ]; then
  itself=$(printf '%s\0' "$unit" |
    ask "$state,$needs,$needed,WantedBy,PartOf,Triggers,TriggeredBy,After,Before"); answered=$?
else answered=absent; fi
printf '%s\n@@status %s\n' "$itself" "$answered"
if [ "$answered" = 0 ]; then
  walk "$(printf '%s\n' "$itself" | below "$needs,PartOf,Triggers,TriggeredBy,After")" "$needs"
  walk "$(printf '%s\n' "$itself" | below "$needed,WantedBy")" "$needed"
fi
mark end
exit 0
"""

# systemd.unit(5): the stronger before the weaker, so that a unit named twice counts by the stronger.
_NEEDS = {"BindsTo": "is bound to", "Requires": "requires", "Requisite": "requires running", "Wants": "wants"}
_FIRST = {"BindsTo": "is bound to", "Requires": "requires", "Requisite": "requires running"}
_FIRST |= {"TriggeredBy": "is triggered by", "Wants": "wants", "PartOf": "is part of", "Triggers": "triggers"}
_NEEDED = {
    "BoundBy": "bound to it",
    "RequiredBy": "requires it",
    "RequisiteOf": "requires it",
    "ConsistsOf": "part of it",
}
_WEAK = frozenset({"Wants", "WantedBy", "PartOf", "Triggers"})


@dataclass(frozen=True, slots=True)
class Link:
    """One dependency: `firm` if the whole way to it is."""

    unit: str
    key: str
    words: str
    via: str
    depth: int
    firm: bool


def _table(results: Mapping[str, Any]) -> Table:
    rows: list[tuple[bool, tuple[str, ...]]] = []
    for name, result in results.items():
        for entry in (*result["needs"], *result["needed_by"]):
            via = f" (by {entry['via']})" if entry["depth"] > 1 else ""
            cells = (name, entry["relation"] + via, entry["unit"], entry["state"], entry["problem"])
            rows.append((not entry["problem"], cells))
        rows += [(False, (name, "not read", "", "", what)) for what in result["not_read"]]
    rows.sort(key=lambda row: row[0])
    told = [f"{name}: {result['unit']} is {result['state']}" for name, result in list(results.items())[:10]]
    left_out = sum(result["not_shown"] for result in results.values())
    told += [f"{left_out} more not shown"] if left_out else []
    return Table(("server", "relation", "unit", "state", "problem"), tuple(row for _, row in rows), "; ".join(told))


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT, UNIT)


@tool(
    risk="read",
    timeout_s=25,
    table=_table,
    deferred=True,
    looks=_looks,
    by_hand="systemctl list-dependencies --all {unit}",
)
def service_dependencies(ctx: Context, host: Host, unit: Unit) -> dict[str, object]:
    """Tell what a service needs, what needs it, and what triggers it, each with its state; broken links first.

    `problem` is "" where all is well. `needed_by`: what is hit when the service stops, of what systemd has loaded. Down
    to depth 3; slices, and what an active sysinit.target or basic.target consists of, are left out.

    Args:
        unit: Service name.
    """
    if host.service_manager != "systemd":
        return _answer(unit, {}, [], [], ["dependencies: supervisord keeps none between its programs"])
    if "@." in unit:
        raise BadArguments(f"{unit} is a template: name an instance of it, with words between @ and the dot.")
    result = ctx.run(host, "sh", "-c", _SCRIPT, "sh", unit, max_bytes=1_048_576)
    found = parse_dependencies(result.check().stdout, unit)
    if result.truncated:
        found["not_read"].append("the end of a very long answer")
    return found


def _answer(
    unit: str,
    itself: Mapping[str, str],
    needs: Sequence[dict[str, Any]],
    needed_by: Sequence[dict[str, Any]],
    not_read: list[str],
) -> dict[str, Any]:
    return {
        "unit": unit,
        "state": _state(itself),
        "broken": sum(bool(entry["problem"]) for entry in needs),
        "needs": list(needs[:_NEEDS_SHOWN]),
        "needed_by": list(needed_by[:_NEEDED_BY_SHOWN]),
        "starts_after": _names(itself, "After")[:_NAMES_SHOWN],
        "starts_before": _names(itself, "Before")[:_NAMES_SHOWN],
        "not_shown": max(0, len(needs) - _NEEDS_SHOWN) + max(0, len(needed_by) - _NEEDED_BY_SHOWN),
        "not_read": not_read,
    }


def parse_dependencies(output: str, unit: str) -> dict[str, Any]:
    """Read the script's output; a unit whose state was not told is `unknown`."""
    parts = [piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:]]
    first = next((body for head, _, body in parts if head.strip() == "unit"), "")
    if "@@status 0" not in first.splitlines():
        why = "does not run there" if "@@status absent" in first.splitlines() else "did not answer"
        return _answer(unit, {}, [], [], [f"dependencies: systemd {why}"])
    heads = {head.strip() for head, _, _ in parts}
    not_read = [] if "end" in heads else ["the rest: the server's answer ends early"]
    not_read += ["deeper dependencies: systemd did not answer in time"] if "unanswered" in heads else []
    blocks = _blocks(body for head, _, body in parts if head.strip() in ("unit", "units"))
    itself = next(iter(_blocks([first]).values()), {})
    needs = [_entry(link, blocks) for link in _walk(itself, blocks, _NEEDS, _FIRST)]
    needs += _waits(itself, blocks)
    needed_by = [_entry(link, blocks) for link in _walk(itself, blocks, _NEEDED, _NEEDED | {"WantedBy": "wants it"})]
    needs.sort(key=_rank)
    return _answer(unit, itself, needs, [entry | {"problem": ""} for entry in needed_by], not_read)


def _blocks(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what `systemctl show` said of each unit, under each of its names."""
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        for block in re.split(r"\n\s*\n", text):
            fields = {name: value for name, _, value in (line.partition("=") for line in block.split("\n"))}
            for name in [fields.get("Id", ""), *map(_plain, fields.get("Names", "").split())]:
                if name:
                    found[name] = {**fields, **found.get(name, {})}
    return found


def _names(block: Mapping[str, str], key: str) -> list[str]:
    names = (_plain(name) for name in block.get(key, "").split())
    return [name for name in names if not name.endswith(".slice")]


def _plain(name: str) -> str:
    r"""Undo what systemctl does to a name with a backslash in a list: `a\x2db.service` comes as `"a\\x2db.service"`."""
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].replace("\\\\", "\\")
    return plain_line(name, limit=255)


def _walk(
    start: Mapping[str, str], blocks: Mapping[str, Mapping[str, str]], keys: Mapping[str, str], first: Mapping[str, str]
) -> Iterator[Link]:
    """Follow links breadth first; each unit is met once, by its shortest way."""
    own = start.get("Id", "")
    seen = {own}
    waiting: deque[tuple[Mapping[str, str], int, bool]] = deque([(start, 1, True)])
    while waiting:
        block, depth, firm = waiting.popleft()
        for key, words in (first if depth == 1 else keys).items():
            for name in _names(block, key):
                if name in seen:
                    continue
                seen.add(name)
                link = Link(name, key, words, block.get("Id", ""), depth, firm and key not in _WEAK)
                yield link
                if depth < _DEPTH and key in keys and not _every_service_has(blocks.get(name, {})):
                    waiting.append((blocks.get(name, {}), depth + 1, link.firm))


def _every_service_has(block: Mapping[str, str]) -> bool:
    return block.get("Id") in ("sysinit.target", "basic.target") and block.get("ActiveState") == "active"


def _entry(link: Link, blocks: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    block = blocks.get(link.unit, {})
    return {
        "unit": link.unit,
        "relation": link.words,
        "via": link.via,
        "depth": link.depth,
        "firm": link.firm,
        "state": _state(block),
        "problem": _problem(link, block),
    }


def _state(block: Mapping[str, str]) -> str:
    if not block.get("ActiveState"):
        return "unknown"
    if block.get("LoadState") not in ("loaded", "stub", "merged"):
        return plain_line(block.get("LoadState", ""), limit=40) + (", active" if _runs(block) else "")
    active, sub = block["ActiveState"], block.get("SubState", "")
    return plain_line(active if sub in ("", active) else f"{active} ({sub})", limit=80)


def _runs(block: Mapping[str, str]) -> bool:
    return block.get("ActiveState") in ("active", "reloading")


def _problem(link: Link, block: Mapping[str, str]) -> str:
    """Say why this link does not hold, "" if it does or nobody knows."""
    active, loaded = block.get("ActiveState", ""), block.get("LoadState", "")
    if active == "failed":
        return f"failed: {plain_line(block.get('Result', ''), limit=60)}"
    if not active or _runs(block) or link.key in ("Triggers", "PartOf"):
        return ""
    if loaded == "not-found":
        return "not found" if link.firm else ""  # a wish for what may be installed or not is usual
    if loaded in ("masked", "error", "bad-setting"):
        return loaded
    if active in ("activating", "deactivating"):
        return f"still {'starting' if active == 'activating' else 'stopping'}"
    if _skipped(block):
        return ""
    if link.key == "TriggeredBy":
        return "does not wait: it triggers nothing"
    return "not running" if link.firm and not _done(block) else ""


def _skipped(block: Mapping[str, str]) -> bool:
    """A unit whose conditions do not hold here is inactive on purpose; one that was never tried says "no" as well."""
    return block.get("ConditionResult") == "no" and block.get("ConditionTimestampMonotonic", "0") not in ("", "0")


def _done(block: Mapping[str, str]) -> bool:
    """A job that ended well is inactive."""
    job = block.get("Type") == "oneshot" and block.get("RemainAfterExit") != "yes"
    return job and block.get("Result", "success") == "success"


def _waits(itself: Mapping[str, str], blocks: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Name what the unit is ordered after and what is still on its way: a start waits for it."""
    waited = [name for name in _names(itself, "After") if blocks.get(name, {}).get("ActiveState") == "activating"]
    links = (Link(name, "After", "starts after", itself.get("Id", ""), 1, True) for name in waited)
    return [_entry(link, blocks) for link in links]


def _rank(entry: Mapping[str, Any]) -> tuple[bool, bool, bool, int]:
    """Order causes before what only does not run, since that may be their consequence; the nearest first."""
    problem = entry["problem"]
    return not problem, not entry["firm"], problem.startswith(("not running", "still ")), entry["depth"]
