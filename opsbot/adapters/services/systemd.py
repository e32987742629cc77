"""Services under systemd: fields of `systemctl show`, `journalctl -o json`, and one fixed command line to restart."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from opsbot.adapters.services.plain import plain_line
from opsbot.adapters.services.sockets import UNKNOWN, describe, of_cgroup
from opsbot.domain import CommandResult, Host, LogLine, UnitFacts, UnitVerb
from opsbot.errors import BadArguments, CommandFailed
from opsbot.looks import NUMBER, TIME, UNIT, Look, script_look
from opsbot.ports import Services, Shell
from opsbot.root_commands import as_root, unit_command

# Fields for machines; times in UTC and C spelling whatever the host's settings are.
_ENVIRONMENT = ("env", "TZ=UTC", "LC_ALL=C", "SYSTEMD_COLORS=0")
_PROPERTIES = (
    "Id,Description,LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,NRestarts,"
    "ActiveEnterTimestamp,MemoryCurrent,TasksCurrent,InvocationID,TriggeredBy,RequiredBy,BoundBy,ConsistsOf"
)
_FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM"
# systemctl prints the largest uint64 where the kernel has no figure (systemd 252, src/basic/format-util.h).
_NO_FIGURE = frozenset({"", "[not set]", "[no data]", "infinity", "n/a", str(2**64 - 1)})
_TIME = re.compile(r"(?:\w{3} )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)? UTC", re.ASCII)
_SINCE = re.compile(r"[A-Za-z0-9+@-][A-Za-z0-9 :.+-]{0,60}", re.ASCII)
_MAY_READ = """
for file in /var/log/journal/*/system.journal /run/log/journal/*/system.journal; do
  [ -r "$file" ] && exit 0
done
exit 1
"""
_MANY_BYTES = 2 * 2**20
_MAX_LINES = 500
_LOADED = "*.service"
_SHOW = (*_ENVIRONMENT, "systemctl", "--no-pager", "show")
# Newest first, so that a cap on bytes cuts off the oldest lines.
_JOURNAL = (
    *_ENVIRONMENT,
    "journalctl",
    "--no-pager",
    "--reverse",
    "--output=json",
    f"--output-fields={_FIELDS}",
)
_SOCKETS = ("ss", "-Htan", "--cgroup")


def looks(host: Host) -> Iterator[Look]:
    """Yield what is sent to look at services."""
    yield (*_SHOW, f"--property={_PROPERTIES}", "--", UNIT)
    yield (*_SHOW, f"--property={_PROPERTIES}", "--", _LOADED, *host.units)
    yield (*_SHOW, "--property=ControlGroup", "--", UNIT)
    yield (*_JOURNAL, NUMBER.within("--lines="), UNIT.within("--unit="))
    yield (*_JOURNAL, NUMBER.within("--lines="), UNIT.within("--unit="), TIME.within("--since="))
    yield _SOCKETS
    yield script_look(_MAY_READ)


class SystemdServices(Services):
    """The systemd of one host."""

    def __init__(self, host: Host, shell: Shell) -> None:
        self._host = host
        self._shell = shell

    def show(self, unit: str, *, timeout_s: float) -> UnitFacts:
        facts = parse_show(self._show((unit,), timeout_s))
        if not facts:
            raise CommandFailed(f"{self._host.name}: systemctl said nothing about {unit}.")
        return _named(facts[0], unit)

    def units(self, *, timeout_s: float) -> tuple[UnitFacts, ...]:
        """A glob matches what is loaded and not inactive; the units that may be touched are asked for by name."""
        listed = parse_show(self._show((_LOADED, *self._host.units), timeout_s))
        return tuple({facts.unit: facts for facts in listed}.values())

    def logs(self, unit: str, *, lines: int, since: str = "", timeout_s: float) -> tuple[LogLine, ...]:
        if since and not _SINCE.fullmatch(since):
            raise BadArguments(f"{since[:60]!r} is not a time journalctl takes.")
        count = f"--lines={max(1, min(lines, _MAX_LINES))}"
        argv = (*_JOURNAL, count, f"--unit={unit}", *((f"--since={since}",) if since else ()))
        result = self._shell.run(self._host, argv, timeout_s=timeout_s, max_bytes=_MANY_BYTES).check()
        if not result.stdout.strip():
            self._check_access(timeout_s)
        return tuple(reversed(parse_journal(result.stdout)))

    def act(self, verb: UnitVerb, unit: str, *, timeout_s: float) -> CommandResult:
        """The same words stand in the host's sudoers rule: any other order of arguments is refused by it."""
        argv = as_root(self._host, unit_command(verb, unit))
        return self._shell.run(self._host, argv, timeout_s=timeout_s)

    def connections(self, unit: UnitFacts, *, timeout_s: float) -> str:
        argv = (*_SHOW, "--property=ControlGroup", "--", unit.unit)
        cgroup = self._shell.run(self._host, argv, timeout_s=timeout_s).stdout.strip().removeprefix("ControlGroup=")
        if not cgroup:
            return "not running, so no connections" if not unit.active else UNKNOWN
        sockets = self._shell.run(self._host, _SOCKETS, timeout_s=timeout_s, max_bytes=_MANY_BYTES)
        found = of_cgroup(sockets.stdout, cgroup) if sockets.exit_status == 0 and not sockets.truncated else None
        return UNKNOWN if found is None else describe(found)

    def _check_access(self, timeout_s: float) -> None:
        """Tell "no lines" from "no right to read": journalctl says nothing, with status 0, for both (systemd 252)."""
        result = self._shell.run(self._host, ("sh", "-c", _MAY_READ), timeout_s=timeout_s)
        if result.exit_status != 0:
            user = self._host.login_user or "the bot's user"
            raise CommandFailed(
                f"{self._host.name}: {user} may not read the journal, so the log is not known; "
                "add that user to the group systemd-journal on the host."
            )

    def _show(self, units: tuple[str, ...], timeout_s: float) -> str:
        argv = (*_SHOW, f"--property={_PROPERTIES}", "--", *units)
        result = self._shell.run(self._host, argv, timeout_s=timeout_s, max_bytes=_MANY_BYTES)
        if "not been booted with systemd" in result.stderr:
            raise CommandFailed(f"{self._host.name} does not run systemd; set its service_manager in the inventory.")
        return result.check().stdout


def parse_show(output: str) -> tuple[UnitFacts, ...]:
    """Read `systemctl show` blocks of `Name=value` lines, one block per unit, an empty line between them."""
    blocks = (dict(_assignments(block)) for block in re.split(r"\n{2,}", output.strip("\n")))
    return tuple(_facts(fields) for fields in blocks if fields.get("Id"))


def parse_journal(output: str) -> tuple[LogLine, ...]:
    """Read `journalctl -o json`: an object per line. A line cut off by the byte cap is left out."""
    entries = []
    for line in output.splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            entries.append(_log_line(entry))
    return tuple(entries)


def _assignments(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value.strip()


def _facts(fields: Mapping[str, str]) -> UnitFacts:
    ran = fields.get("ExecMainCode", "0") != "0"
    return UnitFacts(
        unit=fields["Id"],
        description=plain_line(fields.get("Description", ""), limit=200),
        load_state=fields.get("LoadState", ""),
        active_state=fields.get("ActiveState", ""),
        sub_state=fields.get("SubState", ""),
        result=fields.get("Result", ""),
        main_pid=_figure(fields.get("MainPID", "")) or None,
        exit_status=_figure(fields.get("ExecMainStatus", "")) if ran else None,
        restarts=_figure(fields.get("NRestarts", "")),
        active_since=_time(fields.get("ActiveEnterTimestamp", "")) if fields.get("ActiveState") == "active" else None,
        memory_bytes=_figure(fields.get("MemoryCurrent", "")),
        tasks=_figure(fields.get("TasksCurrent", "")),
        invocation_id=fields.get("InvocationID", ""),
        triggered_by=tuple(fields.get("TriggeredBy", "").split()),
        required_by=_dependants(fields),
    )


def _dependants(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Units that go down or are restarted with this one: they require it, are bound to it or are part of it."""
    names = (name for key in ("RequiredBy", "BoundBy", "ConsistsOf") for name in fields.get(key, "").split())
    return tuple(dict.fromkeys(names))


def _named(facts: UnitFacts, unit: str) -> UnitFacts:
    """Keep the name that was asked for: an alias (redis.service) is shown by systemd under its own (redis-server)."""
    return facts if facts.unit == unit else replace(facts, unit=unit)


def _figure(text: str) -> int | None:
    return int(text) if text not in _NO_FIGURE and text.isdecimal() and text.isascii() else None


def _time(text: str) -> datetime | None:
    found = _TIME.fullmatch(text)
    return datetime.strptime(found.group(1), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC) if found else None


def _log_line(entry: Mapping[str, object]) -> LogLine:
    at, priority = entry.get("__REALTIME_TIMESTAMP"), entry.get("PRIORITY")
    source = entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or ""
    return LogLine(
        at=datetime.fromtimestamp(int(at) / 1e6, UTC) if isinstance(at, str) and at.isdecimal() else None,
        text=plain_line(_message(entry.get("MESSAGE"))),
        source=plain_line(_message(source), limit=64),
        priority=int(priority) if isinstance(priority, str) and priority.isdecimal() else None,
    )


def _message(value: object) -> str:
    """A field is text, a list of byte values (not UTF-8, or with controls), null (over 4096 bytes), or a list of these.

    As systemd's docs/JOURNAL_EXPORT_FORMATS says under "Journal JSON Format" (systemd 252).
    """
    match value:
        case str():
            return value
        case None:
            return "[a line too long to be shown]"
        case [int(), *_]:
            return bytes(byte for byte in value if isinstance(byte, int) and 0 <= byte < 256).decode("utf-8", "replace")
        case [first, *_]:
            return _message(first)
        case _:
            return ""
