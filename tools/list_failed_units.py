"""What failed or keeps falling over on a server, since when and why."""

import json
import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opsbot import Context, Host, Look, Table, UnitFacts, duration_text, plain_line, script_look, tool

_SHOWN = 20
_LOG_LINES = 3
_MANY_RESTARTS = 3
_RECENT_S = 3600
_LONG_S = 90

# Three questions to systemd, the second and third only if the first was answered. Log lines last, within six seconds.
_SCRIPT = r"""# opsbot: failed units
LC_ALL=C; TZ=UTC; export LC_ALL TZ
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
mark now; date +%s
mark listed
if [ -d /run/systemd/system ]; then
  listed=$(bounded 5 systemctl --no-pager --no-legend --plain --full list-units --all); answered=$?
else answered=absent; fi
echo "@@status $answered"
if [ "$answered" = 0 ]; then
  failed=$(printf '%s\n' "$listed" | awk '$3 == "failed" || $2 ~ /^(error|bad-setting)$/ { print $1 }')
  other=$(printf '%s\n' "$listed" |
    awk '$3 == "activating" || $3 == "deactivating" { print $1 } $2 == "masked" { masked = masked "\n" $1 }
      END { print masked }')
  again=$(bounded 4 systemctl --no-pager show --property=Id,NRestarts '*.service') || echo '@@restarts unread'
  again=$(printf '%s\n' "$again" | awk -F= 'function tell() { if (n >= 3) print id; n = 0 }
      /^NRestarts=/ { n = $2 } /^Id=/ { id = substr($0, 4) } /^$/ { tell() } END { tell() }')
  units=$(printf '%s\n%s\n%s\n' "$failed" "$again" "$other" | awk 'NF && !seen[$0]++')
  echo "@@more $(printf '%s\n' "$units" | awk 'NR > 60 && NF' | wc -l)"
  units=$(printf '%s\n' "$units" | head -n 60)
  mark units
  if [ -n "$units" ]; then
    printf '%s\n' "$units" | tr '\n' '\0' | bounded 4 xargs -0 systemctl --no-pager show \
      --property=Id,LoadState,ActiveState,SubState,Type,Result,NRestarts,ExecMainCode,ExecMainStatus \
      --property=StateChangeTimestamp,ActiveEnterTimestamp,WantedBy,RequiredBy,LoadError --
    echo "@@shown $?"
  else echo '@@shown 0'; fi
  mark readable
  for file in /var/log/journal/*/system.journal /run/log/journal/*/system.journal; do
    [ -r "$file" ] && echo journal
  done
  until=$(($(date +%s) + 6))
  printf '%s\n%s\n' "$failed" "$again" | awk 'NF && !seen[$0]++' | head -n 20 | while IFS= read -r unit; do
    [ "$(date +%s)" -lt "$until" ] || break
    mark "log $unit"
    bounded 2 journalctl --no-pager --quiet --unit="$unit" -n 15 -o json --output-fields=MESSAGE,_PID </dev/null |
      head -c 20000
  done
fi
mark end
exit 0
"""

_FAILED, _LOADS_NOT, _RESTARTS, _HANGS, _ENDED = "failed", "cannot be loaded", "keeps restarting", "hangs", "ended"
# Not a failure: somebody meant it, or forgot it.
_MASKED = "masked but wanted"
_ORDER = (_FAILED, _LOADS_NOT, _RESTARTS, _HANGS, _ENDED)


def _table(results: Mapping[str, Any]) -> Table:
    rows = [(name, entry) for name, result in results.items() for entry in result["units"]]
    rows.sort(key=lambda row: _ORDER.index(row[1]["problem"]))
    cells = [_row(name, entry) for name, entry in rows]
    cells += [(name, "", "not read", "", what, "", "") for name, r in results.items() for what in r["not_read"]]
    masked = [(name, result["masked_but_wanted"]) for name, result in results.items() if result["masked_but_wanted"]]
    cells += [
        (name, ", ".join(units[:5]) + (", …" if units[5:] else ""), _MASKED, "", "", "", "") for name, units in masked
    ]
    left_out = sum(result["not_shown"] for result in results.values())
    calm = [name for name, result in results.items() if not result["units"] and not result["not_read"]]
    title = [f"Nothing failed on {', '.join(calm[:10])}" + (f" and {len(calm) - 10} more" if len(calm) > 10 else "")]
    title = (title if calm else []) + ([f"{left_out} more units not shown"] if left_out else [])
    return Table(
        ("server", "unit", "problem", "since", "why", "restarts", "last log line"), tuple(cells), "; ".join(title)
    )


def _row(host: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    told = entry["since_s"] is not None and entry["problem"] != _RESTARTS
    since = f"{duration_text(entry['since_s'])} ago" if told else ""
    why = ", ".join(word for word in (entry["result"], entry["exit"], entry["note"]) if word)
    log = entry["log"][-1].partition(" UTC ")[2] if entry["log"] else ""
    restarts = "" if entry["restarts"] is None else str(entry["restarts"])
    return (host, entry["unit"], entry["problem"], since, why, restarts, plain_line(log, limit=160))


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT)


@tool(risk="read", timeout_s=25, table=_table, deferred=True, looks=_looks, by_hand="systemctl --failed")
def list_failed_units(ctx: Context, host: Host) -> dict[str, object]:
    """List a server's failed units of any kind, and those that keep restarting or hang.

    With result, exit status or signal, restarts, and the last log lines. An empty `units` with an empty `not_read`
    means: nothing failed. null: unknown.
    """
    if host.service_manager != "systemd":
        return _supervised(ctx.units(host))
    result = ctx.run(host, "sh", "-c", _SCRIPT, max_bytes=524_288)
    found = parse_failed_units(result.check().stdout)
    if result.truncated:
        found["not_read"].append("the end of a very long answer")
    return found


def _answer(found: Sequence[dict[str, Any]], not_read: list[str], more: int = 0) -> dict[str, Any]:
    entries = [entry for entry in found if entry["problem"] != _MASKED]
    masked = [entry["unit"] for entry in found if entry["problem"] == _MASKED]
    entries.sort(key=_rank)
    return {
        "failed": sum(entry["problem"] == _FAILED for entry in entries),
        "units": entries[:_SHOWN],
        "not_shown": max(0, len(entries) - _SHOWN) + more,
        "masked_but_wanted": masked[:_SHOWN],
        "not_read": not_read,
    }


def _rank(entry: Mapping[str, Any]) -> tuple[int, bool, float]:
    """Order by problem; what is down before what is up again; the latest first."""
    since_s = entry["since_s"]
    return _ORDER.index(entry["problem"]), entry["state"].startswith("active "), 1e12 if since_s is None else since_s


def parse_failed_units(output: str) -> dict[str, Any]:
    """Read the script's output; without systemd's answer nothing is known, which is not "nothing failed"."""
    pieces = (piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:])
    parts = {head.strip(): body for head, _, body in pieces}
    listed = parts.get("listed", "").splitlines()
    if "@@status 0" not in listed:
        why = "systemd does not run there" if "@@status absent" in listed else "systemd did not answer"
        return _answer([], [f"units: {why}" if listed else "units: no answer"])
    not_read = [] if "end" in parts else ["the rest: the server's answer ends early"]
    units = parts.get("units", "").strip("\n")
    if "@@shown 0" not in units.splitlines():
        not_read.append("units: systemd listed them and did not describe them all")
    if "@@restarts unread" in listed:
        not_read.append("restarts: systemd did not count them in time")
    now_word = parts.get("now", "").strip()
    now = (
        datetime.fromtimestamp(min(int(now_word), 2**33), UTC)
        if re.fullmatch(r"\d{1,12}", now_word, re.ASCII)
        else None
    )
    if now is None:
        not_read.append("times: the server did not tell its time")
    more = next((line.removeprefix("@@more ") for line in listed if line.startswith("@@more ")), "0").strip()
    blocks = [_fields(block) for block in re.split(r"\n\s*\n", units)]
    entries = [entry for block in blocks if block.get("Id") and (entry := _entry(block, now))]
    readable = "journal" in parts.get("readable", "")
    if entries and not readable:
        not_read.append("logs: the bot's user may not read the journal")
    for entry in entries:
        entry["log"] = _log(parts.get(f"log {entry['unit']}", "")) if readable else None
    return _answer(entries, not_read, int(more) if more.isdecimal() and len(more) < 9 else 0)


def _fields(block: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.split("\n"))}


def _entry(block: Mapping[str, str], now: datetime | None) -> dict[str, Any] | None:
    """Describe a unit if something is wrong with it."""
    since_s = _ago(block.get("StateChangeTimestamp", ""), now)
    problem, note = _problem(block, since_s, _ago(block.get("ActiveEnterTimestamp", ""), now))
    if not problem:
        return None
    result = block.get("Result", "")
    restarts = block.get("NRestarts", "")
    return {
        "unit": plain_line(block["Id"], limit=255),
        "problem": problem,
        "state": plain_line(f"{block.get('ActiveState', '')} ({block.get('SubState', '')})", limit=80),
        "since_s": since_s,
        "result": "" if result == "success" else plain_line(result, limit=60),
        "exit": _exit(block),
        "restarts": int(restarts) if restarts.isdecimal() and len(restarts) < 12 else None,
        "note": plain_line(note, limit=160),
        "log": None,
    }


def _problem(block: Mapping[str, str], since_s: int | None, started_s: int | None) -> tuple[str, str]:
    """Return what is wrong, "" for nothing, and a word about it."""
    active, loaded, sub = (block.get(name, "") for name in ("ActiveState", "LoadState", "SubState"))
    restarts = block.get("NRestarts", "")
    wanted_by = f"{block.get('RequiredBy', '')} {block.get('WantedBy', '')}".split()
    if active == "failed":
        return _FAILED, ""
    if loaded in ("error", "bad-setting"):
        return _LOADS_NOT, block.get("LoadError", "").partition('"')[2].strip('" ') or loaded
    if "auto-restart" in sub:
        return _RESTARTS, "down now, waits for its next start"
    if restarts.isdecimal() and int(restarts) >= _MANY_RESTARTS and started_s is not None and started_s < _RECENT_S:
        return _RESTARTS, f"up for {duration_text(started_s)}" if active == "active" else ""
    if active in ("activating", "deactivating") and block.get("Type") != "oneshot" and (since_s or 0) > _LONG_S:
        return _HANGS, "does not finish its start" if active == "activating" else "does not stop"
    if loaded == "masked" and wanted_by:
        return _MASKED, ""
    return "", ""


def _exit(block: Mapping[str, str]) -> str:
    """Say how the main process ended: CLD_EXITED is 1, CLD_KILLED 2, CLD_DUMPED 3 (waitid(2))."""
    code, status = block.get("ExecMainCode", ""), block.get("ExecMainStatus", "")
    if not re.fullmatch(r"\d{1,3}", status, re.ASCII) or code not in ("1", "2", "3"):
        return ""
    if code == "1":
        return f"exit status {status}" if status != "0" else ""
    try:
        name = signal.Signals(int(status)).name
    except ValueError:
        name = f"signal {status}"
    return f"killed by {name}" + (", core dumped" if code == "3" else "")


def _ago(text: str, now: datetime | None) -> int | None:
    found = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", text, re.ASCII)
    try:
        at = datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None
    return None if at is None or now is None else max(0, int((now - at).total_seconds()))


def _log(text: str) -> list[str]:
    """Return the unit's own last lines, oldest first; systemd's about it only where it wrote none itself."""
    own: list[str] = []
    about: list[str] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # cut off by the bound
            continue
        if isinstance(entry, dict):
            (about if entry.get("_PID") == "1" else own).append(_told(entry))
    return (own or about)[-_LOG_LINES:]


def _told(entry: Mapping[str, Any]) -> str:
    message = entry.get("MESSAGE")
    if isinstance(message, list):  # journalctl -o json: bytes that are not UTF-8
        codes = [code for code in message if isinstance(code, int) and 0 <= code < 256]
        message = bytes(codes).decode("utf-8", "replace")
    stamp = str(entry.get("__REALTIME_TIMESTAMP", ""))[:-6]
    known = bool(re.fullmatch(r"\d{1,11}", stamp, re.ASCII))
    at = datetime.fromtimestamp(int(stamp), UTC).strftime("%Y-%m-%d %H:%M:%S") if known else "at an unknown time"
    return f"{at} UTC {plain_line(str(message or '(too long to show)'), limit=300)}"


# As opsbot spells supervisord's FATAL, UNKNOWN, BACKOFF and EXITED.
_SUPERVISED = {"failed": _FAILED, "unknown": _FAILED, "auto-restart": _RESTARTS, "exited": _ENDED}


def _supervised(units: Sequence[UnitFacts]) -> dict[str, Any]:
    """Pick what supervisord gave up, tries again and again, or saw ending; it keeps neither exit status nor count."""
    return _answer(
        [
            {
                "unit": facts.unit,
                "problem": _SUPERVISED[facts.sub_state],
                "state": f"{facts.active_state} ({facts.sub_state})",
                "since_s": None,
                "result": facts.result,
                "exit": "",
                "restarts": facts.restarts,
                "note": "" if facts.description == facts.result else facts.description,
                "log": None,
            }
            for facts in units
            if facts.sub_state in _SUPERVISED
        ],
        [],
    )
