"""The exact grammar of `/ops` and `!words`: text to a Command, without any model. Pure."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from opsbot.errors import BadArguments
from opsbot.readable import plain_text
from opsbot.spending import KEPT_FOR, Split

_MAX_LENGTH = 1000
# What is pasted stands below the word as well as behind it.
_ALERT_LENGTH = 8500
# What follows these is a question or a paste, not names.
_FREE_WORDS = ("ask ", "alert ", "alert\n", "runbook ", "incidents ")
_ALERT = re.compile(r"^alert\s+", re.IGNORECASE)
# As the tools that search take it.
_QUESTION_LENGTH = 500
_NUMBER = re.compile(r"[0-9]{1,3}", re.ASCII)
_ASSIGNMENT = re.compile(r"([a-z][a-z0-9_]*)=(\S+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Read:
    """A command answered by one reading tool."""

    tool: str
    hosts: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask for an approval of a writing tool's call, or do a reading tool's at once: `tool` says which."""

    tool: str
    hosts: tuple[str, ...]
    arguments: tuple[tuple[str, str | int], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """The model path."""

    text: str


@dataclass(frozen=True, slots=True)
class ListTools:
    """Show the tools."""


@dataclass(frozen=True, slots=True)
class ListApprovals:
    """Show open and recent approvals."""


@dataclass(frozen=True, slots=True)
class Explain:
    """Show everything recorded about one approval."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take back a request, or end an approval that counts again."""

    approval_id: str


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Leave hosts out of a request."""

    approval_id: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget this thread's conversation."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show the commands."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Hold back what a scope names. `period`: `for …`, `until …` or nothing (see `periods`)."""

    scope: str
    period: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unfreeze:
    """End a freeze, by its id or its scope."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListFreezes:
    """Show what holds actions back."""


@dataclass(frozen=True, slots=True)
class StopAll:
    """Stop every action. A reason is welcome, and never waited for."""

    reason: str


@dataclass(frozen=True, slots=True)
class ResumeAll:
    """Say that actions may go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class ShowUsage:
    """Show what the model took in the last days."""

    by: Split = Split.DAY
    days: int = 7


@dataclass(frozen=True, slots=True)
class TakeAlert:
    """Read this as an alert, and look into it."""

    text: str


@dataclass(frozen=True, slots=True)
class MakeReport:
    """Write a report of this thread's incident."""


Brake: TypeAlias = Freeze | Unfreeze | ListFreezes | StopAll | ResumeAll
Command: TypeAlias = (
    Read
    | Propose
    | Ask
    | ListTools
    | ListApprovals
    | Explain
    | Withdraw
    | LeaveOut
    | Reset
    | Help
    | ShowUsage
    | MakeReport
    | TakeAlert
    | Brake
)


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of the help text."""

    words: str
    does: str


@dataclass(frozen=True, slots=True)
class Form:
    """How the words after a command become a call: `first` names the arguments before the hosts, `last` a number
    that may follow them.
    """

    tool: str
    usage: Usage
    first: tuple[str, ...] = ()
    last: str = ""


_READING = (
    Form("server_status", Usage("status HOST|GROUP|all", "load, memory, disks and failed units")),
    Form("service_status", Usage("services HOST|GROUP", "what runs there, failed first")),
    Form("service_status", Usage("service UNIT HOST|GROUP", "one service in detail"), ("unit",)),
    Form("service_logs", Usage("logs UNIT HOST [LINES]", "its newest log lines"), ("unit",), "lines"),
    Form("service_dependencies", Usage("needs UNIT HOST", "what it needs, and what needs it"), ("unit",)),
    Form("list_failed_units", Usage("failed HOST|GROUP|all", "what failed or keeps falling over, and why")),
    Form("whats_changed", Usage("changes HOST|GROUP [HOURS]", "reboots, starts, packages, files"), last="hours"),
    Form("compare_hosts", Usage("compare HOST|GROUP…", "what differs between these hosts")),
    Form("disk_usage", Usage("disk HOST|GROUP", "file systems, the fullest first")),
    Form("top_processes", Usage("top HOST|GROUP", "what uses the CPU and the memory")),
    Form("network_ports", Usage("ports HOST|GROUP", "who listens, and how many are connected")),
    Form("kernel_messages", Usage("kernel HOST|GROUP [HOURS]", "out of memory, disk errors, crashes"), last="hours"),
    Form("timers_and_cron", Usage("timers HOST|GROUP", "timers and cron jobs, the overdue first")),
    Form("package_updates", Usage("updates HOST|GROUP", "pending updates, and whether a reboot is needed")),
    Form("certificate_expiry", Usage("certs HOST|GROUP|all", "certificates, the next to expire first")),
    Form("http_check", Usage("http HOST|GROUP|all", "the health checks by HTTP")),
    Form("tcp_check", Usage("tcp HOST|GROUP|all", "the health checks by TCP")),
    Form("dns_check", Usage("dns HOST|GROUP", "whether the configured names resolve there")),
    Form("docker_containers", Usage("containers HOST|GROUP", "containers and their state")),
    Form(
        "docker_logs", Usage("container NAME HOST [LINES]", "a container's newest log lines"), ("container",), "lines"
    ),
    Form(
        "host_history",
        Usage("history METRIC HOST|GROUP [HOURS]", "load, cpu, memory, swap, disk, uptime or reachable over time"),
        ("metric",),
        "hours",
    ),
)
_WRITING = (
    Form("restart_service", Usage("restart UNIT HOST… [because REASON]", "ask for a restart"), ("unit",)),
    Form("start_service", Usage("start UNIT HOST… [because REASON]", "ask for a start"), ("unit",)),
    Form("stop_service", Usage("stop UNIT HOST… [because REASON]", "ask for a stop; two people approve"), ("unit",)),
    Form("reload_service", Usage("reload UNIT HOST… [because REASON]", "ask to reload its configuration"), ("unit",)),
    Form("reset_failed", Usage("reset-failed UNIT HOST… [because REASON]", "ask to clear its failed state"), ("unit",)),
    Form(
        "restart_container",
        Usage("restart-container NAME HOST… [because REASON]", "ask to restart a container"),
        ("container",),
    ),
    Form("reboot_host", Usage("reboot HOST… [because REASON]", "ask for a reboot; two people approve")),
)
_OTHERS = (
    Usage("do TOOL [HOST…] [NAME=VALUE…] [because REASON]", "any tool, with its arguments by name"),
    Usage("hosts [GROUP]", "the inventory"),
    Usage("runbook WORDS", "what the team wrote down about it"),
    Usage("incidents WORDS", "past incidents like it"),
    Usage("tools", "what the bot can do"),
    Usage("approvals", "open and recent requests"),
    Usage("explain ID", "everything recorded about a request"),
    Usage("withdraw ID", "take back a request of yours; end an approval for a while"),
    Usage("leave-out ID HOST…", "leave hosts out of a request, before approving it"),
    Usage("freeze SCOPE [for 2h|until 18:00] because REASON", "hold changes back there; whoever may ask may do it"),
    Usage("unfreeze ID|SCOPE because REASON", "end a freeze: who made it, or an approver"),
    Usage("freezes", "what holds changes back now, and by whom"),
    Usage("stop-all [REASON]", "stop every action at once; reads go on"),
    Usage("resume-all [REASON]", "let actions go on: two approvers"),
    Usage("usage [day|person|conversation|turn] [DAYS]", "what the model took: tokens, cost, share from its cache"),
    Usage("report", "in a thread: write its incident report, as a draft to edit and publish"),
    Usage("alert TEXT", "read a pasted alert, and look into it"),
    Usage("ask TEXT", "ask the model"),
    Usage("reset", "forget this thread's conversation"),
    Usage("help", "this list"),
)
USAGES = (*(form.usage for form in (*_READING, *_WRITING)), *_OTHERS)
WORDS = tuple(usage.words.split()[0] for usage in USAGES)


# Commands that are taken in however many messages there are.
URGENT = frozenset({"stop-all", "resume-all", "freeze", "unfreeze", "freezes", "approvals", "withdraw", "leave-out"})


def check_visible(text: str) -> None:
    """Refuse what cannot be seen among the names of a command as it was typed: names are refused, never repaired.

    Questions and reasons are words for people, and are cleaned instead.

    Raises:
        BadArguments: there is something that is not shown.
    """
    names = text.partition(" because ")[0]
    if not names.lstrip().lower().startswith(_FREE_WORDS) and plain_text(names) != names:
        raise BadArguments("That command holds characters that cannot be seen; type its names again.")


def parse(text: str) -> Command:
    """Read a command line.

    Raises:
        BadArguments: not a command; the text says what is expected.
    """
    word, _, rest = _ALERT.sub("alert ", text.strip()).partition(" ")
    limit = _ALERT_LENGTH if word == "alert" else _MAX_LENGTH
    if len(text) > limit:
        raise BadArguments(f"That command is too long ({len(text)} characters; {limit} at most).")
    words = tuple(rest.split())
    parser = _PARSERS.get(word.lower())
    if parser is None:
        near = difflib.get_close_matches(word.lower(), WORDS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise BadArguments(f"{word[:40]!r} is not a command.{hint} `help` lists them." if word else _usage("help"))
    return parser(words, rest.strip())


def _usage_of(word: str) -> Usage:
    return next(usage for usage in USAGES if usage.words.split()[0] == word)


def _usage(word: str) -> str:
    usage = _usage_of(word)
    return f"Usage: `{usage.words}` — {usage.does}."


def _read(form: Form, words: tuple[str, ...]) -> Command:
    arguments: tuple[tuple[str, str | int], ...] = ()
    if form.last and len(words) > len(form.first) + 1 and _NUMBER.fullmatch(words[-1]):
        arguments, words = ((form.last, int(words[-1])),), words[:-1]
    named, hosts = _named(form, words)
    return Read(form.tool, hosts, (*named, *arguments))


def _write(form: Form, rest: str) -> Command:
    words, reason = _because(form.usage, rest)
    named, hosts = _named(form, words)
    return Propose(form.tool, hosts, named, reason)


def _named(form: Form, words: tuple[str, ...]) -> tuple[tuple[tuple[str, str | int], ...], tuple[str, ...]]:
    """Split the words into the arguments before the hosts, and the hosts."""
    count = len(form.first)
    if len(words) <= count:
        raise BadArguments(_usage(form.usage.words.split()[0]))
    return tuple(zip(form.first, words[:count], strict=True)), words[count:]


def _because(usage: Usage, rest: str) -> tuple[tuple[str, ...], str]:
    named, because, reason = f" {rest}".partition(" because ")
    if f" {rest}".endswith(" because") or (because and not reason.strip()):
        raise BadArguments(f"There is no reason after `because`. {_usage(usage.words.split()[0])}")
    return tuple(named.split()), reason.strip()


def _do(_: tuple[str, ...], rest: str) -> Command:
    words, reason = _because(next(usage for usage in _OTHERS if usage.words.startswith("do ")), rest)
    if not words:
        raise BadArguments(_usage("do"))
    found = [_ASSIGNMENT.fullmatch(word) for word in words[1:]]
    arguments = tuple((match.group(1), match.group(2)) for match in found if match)
    hosts = tuple(word for word, match in zip(words[1:], found, strict=True) if not match)
    return Propose(words[0], hosts, arguments, reason)


def _hosts(words: tuple[str, ...], _: str) -> Command:
    if len(words) > 1:
        raise BadArguments(_usage("hosts"))
    return Read("list_hosts", (), (("group", words[0]),) if words else ())


def _about(tool: str, word: str) -> "_Parser":
    """Take everything after the word as a question to a tool."""

    def parse_words(_: tuple[str, ...], rest: str) -> Command:
        if not rest:
            raise BadArguments(_usage(word))
        return Read(tool, (), (("query", rest[:_QUESTION_LENGTH]),))

    return parse_words


def _explain(words: tuple[str, ...], _: str) -> Command:
    if len(words) != 1:
        raise BadArguments(_usage("explain"))
    return Explain(words[0])


def _withdraw(words: tuple[str, ...], _: str) -> Command:
    if len(words) != 1:
        raise BadArguments(_usage("withdraw"))
    return Withdraw(words[0])


def _leave_out(words: tuple[str, ...], _: str) -> Command:
    if len(words) < 2:
        raise BadArguments(_usage("leave-out"))
    return LeaveOut(words[0], words[1:])


def _take_alert(rest: str) -> Command:
    if not rest:
        raise BadArguments(_usage("alert"))
    return TakeAlert(rest)


def _ask(_: tuple[str, ...], rest: str) -> Command:
    if not rest:
        raise BadArguments(_usage("ask"))
    return Ask(rest)


def _alone(word: str, words: tuple[str, ...], command: Command) -> Command:
    if words:
        raise BadArguments(f"`{word}` takes nothing after it. " + _usage(word))
    return command


_Parser: TypeAlias = Callable[[tuple[str, ...], str], Command]


def _reading(form: Form) -> tuple[str, _Parser]:
    return form.usage.words.split()[0], lambda words, _: _read(form, words)


def _writing(form: Form) -> tuple[str, _Parser]:
    return form.usage.words.split()[0], lambda _, rest: _write(form, rest)


def _freeze(_: tuple[str, ...], rest: str) -> Command:
    words, reason = _because(_usage_of("freeze"), rest)
    if not words or not reason:
        raise BadArguments(_usage("freeze"))
    return Freeze(words[0], " ".join(words[1:]), reason)


def _unfreeze(_: tuple[str, ...], rest: str) -> Command:
    words, reason = _because(_usage_of("unfreeze"), rest)
    if len(words) != 1 or not reason:
        raise BadArguments(_usage("unfreeze"))
    return Unfreeze(words[0], reason)


def _said(rest: str) -> str:
    """Return a reason with or without its `because`."""
    return rest.removeprefix("because ").strip()


def _show_usage(words: tuple[str, ...], _: str) -> Command:
    by, rest = (Split(words[0]), words[1:]) if words and words[0] in tuple(Split) else (Split.DAY, words)
    days = int(rest[0]) if len(rest) == 1 and _NUMBER.fullmatch(rest[0]) else 7
    if len(rest) > 1 or (rest and not _NUMBER.fullmatch(rest[0])) or not 1 <= days <= KEPT_FOR.days:
        raise BadArguments(f"{_usage('usage')} At most {KEPT_FOR.days} days are kept.")
    return ShowUsage(by, days)


_PARSERS: dict[str, _Parser] = {
    **dict(_reading(form) for form in _READING),
    **dict(_writing(form) for form in _WRITING),
    "do": _do,
    "freeze": _freeze,
    "unfreeze": _unfreeze,
    "freezes": lambda words, _: _alone("freezes", words, ListFreezes()),
    "stop-all": lambda _, rest: StopAll(_said(rest)),
    "resume-all": lambda _, rest: ResumeAll(_said(rest)),
    "hosts": _hosts,
    "runbook": _about("search_runbooks", "runbook"),
    "incidents": _about("similar_incidents", "incidents"),
    "explain": _explain,
    "withdraw": _withdraw,
    "leave-out": _leave_out,
    "ask": _ask,
    "usage": _show_usage,
    "tools": lambda words, _: _alone("tools", words, ListTools()),
    "approvals": lambda words, _: _alone("approvals", words, ListApprovals()),
    "alert": lambda _, rest: _take_alert(rest),
    "report": lambda words, _: _alone("report", words, MakeReport()),
    "reset": lambda words, _: _alone("reset", words, Reset()),
    "help": lambda words, _: Help(),
}
