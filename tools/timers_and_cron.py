"""What runs by itself: timers and cron jobs, those that failed or are late first."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from opsbot import Context, Host, Look, Table, duration_text, plain_line, script_look, tool

_TIMERS_SHOWN = 40
_JOBS_SHOWN = 60
_LATE = timedelta(minutes=10)

# One round trip, no rights needed; what may not be read is named. Comments of crontabs stay on the host.
_SCRIPT = r"""# opsbot: timers and cron
LC_ALL=C; TZ=UTC; export LC_ALL TZ
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout 5 "$@"; else "$@"; fi; }
table() {
  mark "$1 $2"
  if [ -r "$2" ]; then grep -Ev '^[[:blank:]]*(#|$)' "$2" | head -c 8000; else echo '@@unreadable'; fi
}
mark now; date +%s; cat /proc/uptime
if [ -d /run/systemd/system ]; then
  mark timers
  bounded systemctl --no-pager show --property=Id,Unit,ActiveState,SubState,Result,NextElapseUSecRealtime \
    --property=NextElapseUSecMonotonic,LastTriggerUSec,UnitFileState '*.timer'
  echo "@@status $?"
  mark services
  bounded systemctl --no-pager show --property=Unit --value '*.timer' | grep -v '^$' | sort -u | head -n 150 |
    xargs -r -d '\n' timeout 5 systemctl --no-pager show --property=Id,Result,ActiveState,ExecMainStatus --
  mark unit-files
  # By pattern: systemd tells the state of those alone. By type it works out all units' (2.5 s of its CPU, measured).
  bounded systemctl --no-pager --no-legend --plain list-unit-files --state=enabled '*.timer'
fi
mark cron-runs; cat /proc/[0-9]*/comm 2>/dev/null | grep -cxE 'cron|crond|fcron'
for file in /etc/crontab /etc/cron.d/*; do [ -f "$file" ] && table system-crontab "$file"; done
for period in hourly daily weekly monthly; do
  for file in "/etc/cron.$period"/*; do
    [ -f "$file" ] || continue
    if [ -x "$file" ]; then runs=yes; else runs=no; fi
    mark "script $period $runs $file"
  done
done
mark "own-crontab $(id -un)"; bounded crontab -l 2>/dev/null | grep -Ev '^[[:blank:]]*(#|$)' | head -c 8000
for folder in /var/spool/cron/crontabs /var/spool/cron; do
  [ -d "$folder" ] || continue
  if [ -r "$folder" ]; then
    for file in "$folder"/*; do [ -f "$file" ] && table user-crontab "$file"; done
  else mark "unreadable $folder"; fi
done
mark end
exit 0
"""

# Words before the command proper; what they are given as options does not matter, since only names are shown.
_GLUE = frozenset(
    (
        "test",
        "[",
        "[[",
        "cd",
        "true",
        ":",
        "exec",
        "nice",
        "ionice",
        "nohup",
        "env",
        "sudo",
        "time",
        "timeout",
        "flock",
        "chronic",
        "command",
        "if",
        "then",
        "else",
        "fi",
        "do",
        "while",
        "{",
        "}",
        "!",
        "set",
        "export",
        "sleep",
        "umask",
        "chrt",
        "setsid",
    )
)
_OPENERS = ("{", "!", "if", "then", "else", "do", "while", "exec", "nohup", "command", "time", "chronic", "setsid")
_OPERATORS = re.compile(r"[();<>|&]+")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_COMMAND = re.compile(r"[A-Za-z0-9_./+@:-]{1,120}")
# Debian's run-parts and cron skip other names (cron(8): "letters, digits, underscores and hyphens").
_RUN_PARTS_NAME = re.compile(r"[A-Za-z0-9_-]+")
_FIELD = re.compile(r"[A-Za-z0-9*/,~#-]{1,60}")


def _table(results: Mapping[str, Any]) -> Table:
    rows = []
    for name, result in results.items():
        rows += [(_RANKS.get(timer["state"], 3), name, _timer_row(name, timer)) for timer in result["timers"] or ()]
        rows += [(1 if job["problem"] else 4, name, _job_row(name, job)) for job in result["cron"]]
        rows += [(2, name, (name, "not read", "", "", "", what)) for what in result["not_read"]]
    rows.sort(key=lambda row: row[:2])
    left_out = sum(result["timers_not_shown"] + result["cron_not_shown"] for result in results.values())
    headers = ("server", "what", "next or schedule", "last", "runs", "state")
    return Table(headers, tuple(row for _, _, row in rows), f"{left_out} more not shown" if left_out else "")


_RANKS = {"failed": 0, "overdue": 0, "enabled but not started": 1}


def _timer_row(host: str, timer: Mapping[str, Any]) -> tuple[str, ...]:
    following = timer["next_in_s"]
    if following is None:
        shown = "never" if timer["state"] == "over" else ""
    else:
        shown = f"in {duration_text(following)}" if following >= 0 else f"{duration_text(-following)} ago"
    last = "never" if timer["last_ago_s"] is None else f"{duration_text(timer['last_ago_s'])} ago"
    return (host, timer["timer"], shown, last, timer["runs"], _told(timer))


def _told(timer: Mapping[str, Any]) -> str:
    state = str(timer["state"])
    return f"{state}: {timer['last_result']}" if state == "failed" else state


def _job_row(host: str, job: Mapping[str, Any]) -> tuple[str, ...]:
    runs = job["command"] + (f" as {job['user']}" if job["user"] else "")
    return (host, job["source"], job["schedule"], "not recorded", runs, job["problem"] or "listed")


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT)


@tool(risk="read", timeout_s=20, table=_table, deferred=True, looks=_looks, by_hand="systemctl list-timers --all")
def timers_and_cron(ctx: Context, host: Host) -> dict[str, object]:
    """List a server's systemd timers (next and last run, its result) and cron jobs (schedule, command name).

    Failed and overdue ones first. Cron records no last run. Arguments of commands are left out: they can hold secrets.
    """
    result = ctx.run(host, "sh", "-c", _SCRIPT, max_bytes=524_288)
    found = parse_timers_and_cron(result.check().stdout)
    if result.truncated:
        found["not_read"].append("the end of a very long answer")
    return found


def parse_timers_and_cron(output: str) -> dict[str, Any]:
    """Read the script's output; a part that is missing is unknown and named under `not_read`."""
    parts = [_part(piece) for piece in f"\n{output}".split("\n@@opsbot ")[1:]]
    named = {" ".join(words): body for words, body in parts}
    timers, failures = _timers(named)
    jobs, unread = _jobs(parts)
    running = (named.get("cron-runs") or "").strip()
    if jobs and running == "0":
        for job in jobs:
            job["problem"] = job["problem"] or "cron is not running"
    jobs.sort(key=lambda job: not job["problem"])
    return {
        "timers": None if timers is None else timers[:_TIMERS_SHOWN],
        "timers_not_shown": max(0, len(timers or ()) - _TIMERS_SHOWN),
        "cron": jobs[:_JOBS_SHOWN],
        "cron_not_shown": max(0, len(jobs) - _JOBS_SHOWN),
        "cron_runs": running != "0" if running.isdecimal() else None,
        "not_read": [*failures, *unread][:20],
    }


def _part(piece: str) -> tuple[list[str], str]:
    head, _, body = piece.partition("\n")
    return head.split(" "), body


# --- timers ----------------------------------------------------------------------------------------------------------


def _timers(named: Mapping[str, str]) -> tuple[list[dict[str, Any]] | None, list[str]]:
    if "timers" not in named:
        return None, ["timers: systemd does not run there"] if "now" in named else ["timers: no answer"]
    if "@@status 0" not in named["timers"].splitlines():
        return None, ["timers: systemd did not answer"]
    now_words = named.get("now", "").split()
    if len(now_words) < 2 or not now_words[0].isdecimal():
        return None, ["timers: the server did not tell its time"]
    now = datetime.fromtimestamp(min(int(now_words[0]), 2**33), UTC)
    booted = now - timedelta(seconds=_seconds(now_words[1]) or 0)
    results = {block.get("Id", ""): block for block in _blocks(named.get("services", ""))}
    timers = [_timer(block, results, now, booted) for block in _blocks(named["timers"]) if block.get("Id")]
    known = {timer["timer"] for timer in timers if timer["state"] != "inactive"}
    for line in named.get("unit-files", "").splitlines():
        name = plain_line(line.split(" ")[0], limit=255)
        if name.endswith(".timer") and name not in known and "@." not in name:
            timers = [timer for timer in timers if timer["timer"] != name]
            timers.append(_empty(name) | {"state": "enabled but not started"})
    timers.sort(key=lambda timer: (_RANKS.get(timer["state"], 3), timer["next_in_s"] is None, timer["next_in_s"] or 0))
    return timers, []


def _empty(name: str) -> dict[str, Any]:
    return {"timer": name, "runs": "", "state": "", "next_in_s": None, "last_ago_s": None, "last_result": "unknown"}


def _blocks(text: str) -> list[dict[str, str]]:
    """Return the fields of each unit of `systemctl show`."""
    blocks = (block.splitlines() for block in re.split(r"\n\s*\n", text))
    return [dict((name, value) for name, _, value in (line.partition("=") for line in lines)) for lines in blocks]


def _timer(
    block: Mapping[str, str], results: Mapping[str, Mapping[str, str]], now: datetime, booted: datetime
) -> dict[str, Any]:
    service = results.get(block.get("Unit", ""), {})
    following = [_time(block.get("NextElapseUSecRealtime", ""))]
    span = _span(block.get("NextElapseUSecMonotonic", ""))
    following.append(booted + timedelta(seconds=span) if span else None)
    soonest = min((at for at in following if at), default=None)
    last = _time(block.get("LastTriggerUSec", ""))
    result = service.get("Result", "")
    state = _state(block, service, soonest, now)
    return {
        "timer": plain_line(block["Id"], limit=255),
        "runs": plain_line(block.get("Unit", ""), limit=255),
        "state": state,
        "next_in_s": None if soonest is None else int((soonest - now).total_seconds()),
        "last_ago_s": None if last is None else max(0, int((now - last).total_seconds())),
        "last_result": plain_line(result, limit=60) or "unknown",
    }


def _state(block: Mapping[str, str], service: Mapping[str, str], soonest: datetime | None, now: datetime) -> str:
    if block.get("ActiveState") == "failed" or service.get("ActiveState") == "failed":
        return "failed"
    if service.get("Result", "success") not in ("success", ""):
        return "failed"
    if block.get("ActiveState") != "active":
        return "inactive"
    if service.get("ActiveState") in ("active", "activating", "reloading"):
        return "running now"
    if soonest is not None and now - soonest > _LATE:
        return "overdue"
    return "over" if soonest is None else "waiting"


def _time(text: str) -> datetime | None:
    found = re.search(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", text)
    try:
        return datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if found else None
    except ValueError:
        return None


_UNITS_S = {"y": 31557600, "month": 2629800, "w": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3}
_UNITS_S |= {"us": 1e-6}


def _span(text: str) -> float | None:
    """Read a span as systemd writes it, as `1d 15min 1.2s`; None for "infinity" and nothing."""
    words = re.findall(r"([0-9.]{1,20})(y|month|w|d|h|min|ms|us|s)\b", text)
    total = sum((_seconds(number) or 0) * _UNITS_S[unit] for number, unit in words)
    return total if words and total < 3e9 else None


def _seconds(word: str) -> float | None:
    return min(float(word), 3e9) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{0,12})?", word, re.ASCII) else None


# --- cron ------------------------------------------------------------------------------------------------------------


def _jobs(parts: Sequence[tuple[list[str], str]]) -> tuple[list[dict[str, Any]], list[str]]:
    jobs: list[dict[str, Any]] = []
    unread: list[str] = []
    for (kind, *words), body in parts:
        rest = plain_line(" ".join(words), limit=200)
        if "@@unreadable" in body or kind == "unreadable":
            unread.append(f"{rest}: the bot's user may not read it")
        elif kind == "system-crontab":
            jobs += _crontab(rest, body, user=None)
        elif kind in ("own-crontab", "user-crontab"):
            user = rest.rpartition("/")[2]
            jobs += _crontab(f"crontab of {user}", body, user=user)
        elif kind == "script" and len(words) >= 3:
            jobs.append(_script(words[0], words[1] == "yes", " ".join(words[2:])))
    return jobs, unread


def _script(period: str, runs: bool, path: str) -> dict[str, Any]:
    name = plain_line(path.rpartition("/")[2], limit=120)
    problem = "" if runs else "never runs: it is not executable"
    if not _RUN_PARTS_NAME.fullmatch(name):
        problem = "never runs: run-parts skips such a name"
    return _job(f"/etc/cron.{period}", period, "root", name, problem)


def _crontab(source: str, body: str, *, user: str | None) -> list[dict[str, Any]]:
    """Read a crontab; with `user` None its lines name the user after the schedule."""
    name = source.rpartition("/")[2]
    skipped = user is None and source.startswith("/etc/cron.d/") and not _RUN_PARTS_NAME.fullmatch(name)
    jobs = []
    for line in body.splitlines()[:200]:
        text = line.strip()
        if not text or text.startswith("#") or re.match(r"[A-Za-z_][A-Za-z0-9_]*\s*=", text):
            continue
        fields = 1 if text.startswith("@") else 5
        words = text.split(None, fields + (user is None))
        if len(words) <= fields + (user is None) or not all(map(_field, words[:fields])):
            jobs.append(_job(source, "unreadable", user or "", "unreadable", "cron cannot read this line either"))
            continue
        who = user if user is not None else plain_line(words[fields], limit=60)
        problem = "never runs: cron skips a file of such a name" if skipped else ""
        jobs.append(_job(source, " ".join(words[:fields]), who, command_name(words[-1]), problem))
    return jobs


def _field(word: str) -> bool:
    return bool(_FIELD.fullmatch(word.removeprefix("@")))


def _job(source: str, schedule: str, user: str, command: str, problem: str) -> dict[str, Any]:
    return {"source": source, "schedule": schedule, "user": user, "command": command, "problem": problem}


def command_name(line: str) -> str:
    """Return what a crontab's command runs, as a bare name: no arguments, no assignments, nothing quoted."""
    lexer = shlex.shlex(re.split(r"(?<!\\)%", line)[0], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:  # an open quote: nobody can say where arguments begin, so only the first word counts
        tokens = line.split()[:1]
    names: list[str] = []
    begins = True
    for token in tokens:
        if _OPERATORS.fullmatch(token):
            begins = token[0] not in "<>"
        elif begins and not _ASSIGNMENT.match(token):
            names.append(token)
            begins = token in (
                "{",
                "!",
                "if",
                "then",
                "else",
                "do",
                "while",
                "exec",
                "nohup",
                "command",
                "time",
                "chronic",
            )
    shown = [name.rpartition("/")[2] for name in names if _COMMAND.fullmatch(name) or name in _GLUE]
    telling = [name for name in shown if name and name not in _GLUE]
    return (telling or shown or ["unreadable"])[0]
