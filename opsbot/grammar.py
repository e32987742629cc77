"""The exact grammar of `/ops` and `!words`: text to a Command, without any model. Pure."""

import difflib
import re
from collections.abc import Callable
from typing import TypeAlias

from opsbot.command_forms import OTHERS, READING, USAGES, WORDS, WRITING, Form, Usage
from opsbot.commands import (
    Ask,
    Command,
    Explain,
    Freeze,
    Help,
    LeaveOut,
    ListApprovals,
    ListFreezes,
    ListTools,
    MakeReport,
    Propose,
    Read,
    Reset,
    ResumeAll,
    ShowUsage,
    StopAll,
    TakeAlert,
    Unfreeze,
    Withdraw,
)
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
    words, reason = _because(next(usage for usage in OTHERS if usage.words.startswith("do ")), rest)
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
    **dict(_reading(form) for form in READING),
    **dict(_writing(form) for form in WRITING),
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
