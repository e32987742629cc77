"""The exact grammar of `/ops` and `!words`: text to a Command, without any model. Pure."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from opsbot.errors import BadArguments

_MAX_LENGTH = 1000
_LINES = re.compile(r"[0-9]{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Read:
    """A command answered by one reading tool."""

    tool: str
    hosts: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class Restart:
    """Propose a restart."""

    unit: str
    hosts: tuple[str, ...]
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
class Reset:
    """Forget this thread's conversation."""


@dataclass(frozen=True, slots=True)
class Help:
    """Show the commands."""


Command: TypeAlias = Read | Restart | Ask | ListTools | ListApprovals | Explain | Reset | Help


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of the help text."""

    words: str
    does: str


USAGES = (
    Usage("status HOST|GROUP|all", "load, memory, disks and failed units"),
    Usage("services HOST|GROUP", "what runs there, failed first"),
    Usage("service UNIT HOST|GROUP", "one service in detail"),
    Usage("logs UNIT HOST [LINES]", "its newest log lines"),
    Usage("restart UNIT HOST… [because REASON]", "ask for a restart; somebody else approves it"),
    Usage("hosts [GROUP]", "the inventory"),
    Usage("tools", "what the bot can do"),
    Usage("approvals", "open and recent requests"),
    Usage("explain ID", "everything recorded about a request"),
    Usage("ask TEXT", "ask the model"),
    Usage("reset", "forget this thread's conversation"),
    Usage("help", "this list"),
)
WORDS = tuple(usage.words.split()[0] for usage in USAGES)


def parse(text: str) -> Command:
    """Read a command line.

    Raises:
        BadArguments: not a command; the text says what is expected.
    """
    if len(text) > _MAX_LENGTH:
        raise BadArguments(f"That command is too long ({len(text)} characters; {_MAX_LENGTH} at most).")
    word, _, rest = text.strip().partition(" ")
    words = tuple(rest.split())
    parser = _PARSERS.get(word.lower())
    if parser is None:
        near = difflib.get_close_matches(word.lower(), WORDS, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise BadArguments(f"{word[:40]!r} is not a command.{hint} `help` lists them." if word else _usage("help"))
    return parser(words, rest.strip())


def _usage(word: str) -> str:
    usage = next(usage for usage in USAGES if usage.words.split()[0] == word)
    return f"Usage: `{usage.words}` — {usage.does}."


def _status(words: tuple[str, ...], _: str) -> Command:
    if not words:
        raise BadArguments(_usage("status"))
    return Read("server_status", words)


def _services(words: tuple[str, ...], _: str) -> Command:
    if not words:
        raise BadArguments(_usage("services"))
    return Read("service_status", words)


def _service(words: tuple[str, ...], _: str) -> Command:
    if len(words) < 2:
        raise BadArguments(_usage("service"))
    return Read("service_status", words[1:], (("unit", words[0]),))


def _logs(words: tuple[str, ...], _: str) -> Command:
    arguments: tuple[tuple[str, str | int], ...] = ()
    if len(words) > 2 and _LINES.fullmatch(words[-1]):
        arguments, words = (("lines", int(words[-1])),), words[:-1]
    if len(words) < 2:
        raise BadArguments(_usage("logs"))
    return Read("service_logs", words[1:], (("unit", words[0]), *arguments))


def _restart(words: tuple[str, ...], rest: str) -> Command:
    named, because, reason = rest.partition(" because ")
    if rest.endswith(" because") or (because and not reason.strip()):
        raise BadArguments("There is no reason after `because`. " + _usage("restart"))
    words = tuple(named.split())
    if len(words) < 2:
        raise BadArguments(_usage("restart"))
    return Restart(words[0], words[1:], reason.strip())


def _hosts(words: tuple[str, ...], _: str) -> Command:
    if len(words) > 1:
        raise BadArguments(_usage("hosts"))
    return Read("list_hosts", (), (("group", words[0]),) if words else ())


def _explain(words: tuple[str, ...], _: str) -> Command:
    if len(words) != 1:
        raise BadArguments(_usage("explain"))
    return Explain(words[0])


def _ask(_: tuple[str, ...], rest: str) -> Command:
    if not rest:
        raise BadArguments(_usage("ask"))
    return Ask(rest)


def _alone(word: str, words: tuple[str, ...], command: Command) -> Command:
    if words:
        raise BadArguments(f"`{word}` takes nothing after it. " + _usage(word))
    return command


_PARSERS: dict[str, Callable[[tuple[str, ...], str], Command]] = {
    "status": _status,
    "services": _services,
    "service": _service,
    "logs": _logs,
    "restart": _restart,
    "hosts": _hosts,
    "explain": _explain,
    "ask": _ask,
    "tools": lambda words, _: _alone("tools", words, ListTools()),
    "approvals": lambda words, _: _alone("approvals", words, ListApprovals()),
    "reset": lambda words, _: _alone("reset", words, Reset()),
    "help": lambda words, _: Help(),
}
