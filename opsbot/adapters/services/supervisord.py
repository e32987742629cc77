"""Services under supervisord, through its `supervisorctl` (4.x) and /proc."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from opsbot.adapters.services.plain import plain_line
from opsbot.adapters.services.sockets import UNKNOWN, describe, of_inodes
from opsbot.domain import CommandResult, Host, LogLine, UnitFacts, UnitVerb
from opsbot.errors import BadArguments, CommandFailed
from opsbot.looks import NUMBER, UNIT, Look, script_look
from opsbot.ports import Services, Shell

# supervisord's process states (http://supervisord.org/subprocess.html, version 4.3) in systemd's words.
_STATES = {
    "RUNNING": ("active", "running"),
    "STARTING": ("activating", "start"),
    "BACKOFF": ("activating", "auto-restart"),
    "STOPPING": ("deactivating", "stop"),
    "STOPPED": ("inactive", "dead"),
    "EXITED": ("inactive", "exited"),
    "FATAL": ("failed", "failed"),
    "UNKNOWN": ("unknown", "unknown"),
}
_STATUS = re.compile(rf"(\S+)\s+({'|'.join(_STATES)})\b\s*(.*)")
_PID = re.compile(r"\bpid (\d+), uptime (?:(\d+) days?, )?(\d+):(\d\d):(\d\d)")
_NO_SUCH = re.compile(r"ERROR \((?:no such (?:process|group|process name))\)")
_DOWN = ("no such file", "refused connection", "Server requires authentication", "error: <class")

# Boot id, clock ticks a second, boot time, and the process's own line; `ps` is for systems without /proc.
_CONTROL = ("supervisorctl",)
_STREAMS = ("stdout", "stderr")
_PROCESS = r"""
cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown-boot
getconf CLK_TCK 2>/dev/null || echo 100
grep '^btime ' /proc/stat 2>/dev/null || echo btime 0
getconf PAGESIZE 2>/dev/null || echo 4096
cat "/proc/$1/stat" 2>/dev/null || ps -o lstart= -p "$1"
"""
# Socket inodes of the process and its descendants, then the kernel's TCP tables.
_SOCKETS = r"""
all=$1; next=$1
while [ -n "$next" ]; do
  found=
  for p in $next; do found="$found $(cat /proc/$p/task/*/children 2>/dev/null)"; done
  next=$(echo $found); all="$all $next"
done
for p in $all; do ls -l "/proc/$p/fd" 2>/dev/null || echo unreadable; done
echo @@tcp
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
"""
_MANY_BYTES = 2 * 2**20
_MAX_LOG_BYTES = 262144
_BYTES_PER_LINE = 400


@dataclass(frozen=True, slots=True)
class Process:
    """What /proc says of a running process."""

    invocation_id: str
    started_at: datetime | None
    memory_bytes: int | None
    threads: int | None


# What supervisorctl says last when it did what it was told (supervisorctl.py of supervisor 4.3).
_LAST_WORDS = {UnitVerb.START: "started", UnitVerb.STOP: "stopped", UnitVerb.RESTART: "started"}


def looks(host: Host) -> Iterator[Look]:
    """Yield what is sent to look at programs."""
    control = host.service_command or _CONTROL
    yield (*control, "status")
    yield (*control, "status", UNIT)
    for stream in _STREAMS:
        yield (*control, "tail", NUMBER.within("-"), UNIT, stream)
    yield script_look(_PROCESS, NUMBER)
    yield script_look(_SOCKETS, NUMBER)


class SupervisordServices(Services):
    """The supervisord of one host; `host.service_command` is the supervisorctl to call, with its options."""

    def __init__(self, host: Host, shell: Shell) -> None:
        self._host = host
        self._shell = shell

    def show(self, unit: str, *, timeout_s: float) -> UnitFacts:
        result = self._control("status", _one(unit), timeout_s=timeout_s)
        if _NO_SUCH.search(result.stdout):
            return UnitFacts(unit, load_state="not-found", active_state="inactive", sub_state="dead")
        facts = parse_status(result.stdout, datetime.now(UTC))
        if len(facts) != 1:
            raise CommandFailed(f"{self._host.name}: supervisorctl said nothing about {unit}: {_said(result)}")
        return self._with_process(replace(facts[0], unit=unit), timeout_s)

    def units(self, *, timeout_s: float) -> tuple[UnitFacts, ...]:
        """Every program supervisord knows, and those that may be touched though it does not know them."""
        result = self._control("status", timeout_s=timeout_s)
        facts = parse_status(result.stdout, datetime.now(UTC))
        names = {one.unit for one in facts}
        missing = (UnitFacts(unit, load_state="not-found") for unit in self._host.units if unit not in names)
        return (*facts, *missing)

    def logs(self, unit: str, *, lines: int, since: str = "", timeout_s: float) -> tuple[LogLine, ...]:
        """Standard output's last lines, then standard error's; supervisord keeps no times, so `since` is refused."""
        if since:
            raise BadArguments(f"{self._host.name}: logs under supervisord carry no times; ask for a number of lines.")
        count = max(1, min(lines, 500))
        cap = min(_MAX_LOG_BYTES, count * _BYTES_PER_LINE)
        read = [self._tail(_one(unit), stream, cap, timeout_s) for stream in _STREAMS]
        if read == [None, None]:
            raise CommandFailed(
                f"{self._host.name}: supervisord has no log of {unit}: it never ran, logs elsewhere, or lost its file."
            )
        out, err = (lines or [] for lines in read)
        of_err = min(len(err), max(count // 2, count - len(out)))
        of_out = min(len(out), count - of_err)
        return tuple([*out[len(out) - of_out :], *err[len(err) - of_err :]])

    def act(self, verb: UnitVerb, unit: str, *, timeout_s: float) -> CommandResult:
        """To restart, supervisorctl stops, then starts; its status can be 0 after an error, so its words decide."""
        if verb not in _LAST_WORDS:
            raise BadArguments(
                f"{self._host.name}: supervisord cannot {verb} a program; it knows start, stop, restart."
            )
        result = self._control(str(verb), _one(unit), timeout_s=timeout_s)
        said = rf"^(?:{re.escape(unit)}|\S+:{re.escape(unit)}): {_LAST_WORDS[verb]}$"
        if re.search(said, result.stdout, re.MULTILINE):
            return replace(result, exit_status=0)
        return replace(result, exit_status=result.exit_status or 1)

    def connections(self, unit: UnitFacts, *, timeout_s: float) -> str:
        if unit.main_pid is None:
            return UNKNOWN if unit.active else "not running, so no connections"
        argv = ("sh", "-c", _SOCKETS, "sh", str(unit.main_pid))
        result = self._shell.run(self._host, argv, timeout_s=timeout_s, max_bytes=_MANY_BYTES)
        descriptors, _, tables = result.stdout.partition("@@tcp\n")
        if result.truncated or "unreadable" in descriptors or not tables.strip():
            return UNKNOWN
        return describe(of_inodes(tables, re.findall(r"socket:\[(\d+)\]", descriptors)))

    def _control(self, *words: str, timeout_s: float) -> CommandResult:
        argv = (*(self._host.service_command or _CONTROL), *words)
        result = self._shell.run(self._host, argv, timeout_s=timeout_s, max_bytes=_MAX_LOG_BYTES + 4096)
        said = result.stdout + result.stderr
        # 126 and 127: the command itself is not there. Without an answer supervisorctl says so on its output.
        if result.exit_status in (126, 127) or (result.exit_status and any(words in said for words in _DOWN)):
            raise CommandFailed(f"{self._host.name}: supervisord does not answer: {_said(result)}")
        return result

    def _tail(self, unit: str, stream: str, cap: int, timeout_s: float) -> list[LogLine] | None:
        """Read the end of one stream's log; None if supervisord has none."""
        result = self._control("tail", f"-{cap}", unit, stream, timeout_s=timeout_s)
        text = result.stdout
        if result.exit_status and re.fullmatch(rf"{re.escape(unit)}: ERROR \(.*\)\s*", text):
            return None
        lines = text.splitlines()
        whole = lines[1:] if len(text.encode()) >= cap and len(lines) > 1 else lines
        return [LogLine(None, plain_line(line), stream) for line in whole if line.strip()]

    def _with_process(self, facts: UnitFacts, timeout_s: float) -> UnitFacts:
        if facts.main_pid is None:
            return facts
        argv = ("sh", "-c", _PROCESS, "sh", str(facts.main_pid))
        process = parse_process(self._shell.run(self._host, argv, timeout_s=timeout_s).stdout, facts.main_pid)
        if process is None:  # it ended in between
            return facts
        return replace(
            facts,
            invocation_id=process.invocation_id,
            active_since=(process.started_at or facts.active_since) if facts.active else None,
            memory_bytes=process.memory_bytes,
            tasks=process.threads,
        )


def parse_status(output: str, now: datetime) -> tuple[UnitFacts, ...]:
    """Read the lines of `supervisorctl status`: name, state, and words that hold a running process's pid and uptime."""
    found = (_STATUS.fullmatch(line.strip()) for line in output.splitlines())
    return tuple(_facts(match, now) for match in found if match)


def parse_process(output: str, pid: int) -> Process | None:
    """Read the process script's five answers; None when the process is gone."""
    lines = output.splitlines()
    if len(lines) < 5 or not lines[4].strip():
        return None
    boot_id, hertz, boot_time, page_bytes, stat = (line.strip() for line in lines[:5])
    # proc_pid_stat(5): the name in brackets may hold anything, so count the fields from its closing bracket.
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 22:  # `ps -o lstart=`: only when it started
        return Process(f"{boot_id}:{pid}:{plain_line(stat, limit=40)}", None, None, None)
    ticks, seconds = int(fields[19]), int(boot_time.split()[1])
    started = datetime.fromtimestamp(seconds + ticks / int(hertz), UTC) if seconds else None
    return Process(f"{boot_id}:{pid}:{ticks}", started, int(fields[21]) * int(page_bytes), int(fields[17]))


def _facts(status: "re.Match[str]", now: datetime) -> UnitFacts:
    name, state, words = status.groups()
    active, sub = _STATES[state]
    pid = _PID.search(words)
    failed = state in ("FATAL", "BACKOFF")
    return UnitFacts(
        unit=name,
        description="" if pid else plain_line(words, limit=200),
        load_state="loaded",
        active_state=active,
        sub_state=sub,
        result=plain_line(words, limit=100) if failed else "",
        main_pid=int(pid.group(1)) if pid else None,
        active_since=now - _uptime(pid) if pid and active == "active" else None,
    )


def _uptime(pid: "re.Match[str]") -> timedelta:
    days, hours, minutes, seconds = (int(figure or 0) for figure in pid.groups()[1:])
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _one(unit: str) -> str:
    """Refuse the names that supervisorctl takes for several processes: `all`, and `group:` alone."""
    if unit == "all" or unit.endswith(":"):
        raise BadArguments(f"{unit!r} stands for several processes; name one.")
    return unit


def _said(result: CommandResult) -> str:
    return plain_line(" ".join(_words(result)), limit=200) or "it said nothing"


def _words(result: CommandResult) -> Iterable[str]:
    return (text.strip() for text in (result.stdout, result.stderr) if text.strip())
