"""Ways to a machine as ssh writes them: `[user@]host[:port]`, and jumps over others."""

import re
import shlex
from collections.abc import Sequence

from opsbot.importing.findings import Hop
from opsbot.inventory import is_address

# `ssh://user@host:port`, `user@host:port`, `user@[v6]:port` (ssh(1), destination and -J).
_PLACE = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^@\s\[\]:]+))(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)


def place_of(text: str) -> Hop | None:
    """Read `[user@]host[:port]`; an IPv6 address with a port stands in brackets. None: it is something else."""
    user, _, host = text.rpartition("@")
    if is_address(host):
        return Hop(host, user)
    found = _PLACE.fullmatch(text)
    if found is None or "%" in (found["host"] or ""):
        return None
    port = int(found["port"]) if found["port"] else None
    return Hop(found["v6"] or found["host"], found["user"] or "", port)


def hops_of(text: str) -> tuple[Hop, ...] | None:
    """Read ProxyJump's `first,second`. `none` is no jump at all; None: it cannot be read."""
    if text.strip().lower() == "none":
        return ()
    hops = [place_of(part.strip()) for part in text.split(",")]
    known = tuple(hop for hop in hops if hop is not None)
    return known if len(known) == len(hops) else None


def hops_of_command(command: str) -> tuple[Hop, ...] | None:
    """Read a ProxyCommand that only hands through: `ssh [-q] [-p PORT] [-l USER] -W %h:%p HOST`."""
    if command.strip().lower() == "none":
        return ()
    words = _words(command)
    if not words or words[0].rpartition("/")[2] != "ssh":
        return None
    return _handing_through(words[1:])


def hops_of_options(arguments: str) -> tuple[Hop, ...] | None:
    """Read the jump in options of ssh (`-J HOST`, `-o ProxyJump=HOST`, `-o ProxyCommand="…"`); () if there is none."""
    words = _words(arguments)
    if words is None:
        return None
    for index, word in enumerate(words):
        after = words[index + 1] if index + 1 < len(words) else ""
        if word.startswith("-J"):
            return hops_of(word[2:] or after)
        option = word[2:] or after if word.startswith("-o") else ""
        name, _, value = option.replace(" ", "=", 1).partition("=") if "=" not in option else option.partition("=")
        if name.strip().lower() == "proxyjump":
            return hops_of(value)
        if name.strip().lower() == "proxycommand":
            return hops_of_command(value)
    return ()


def changes_login(arguments: str) -> bool:
    """Tell whether options of ssh say what an inventory has settings for: another port, user, key, name or file."""
    words = _words(arguments) or []
    options = [word[2:] or after for word, after in zip(words, [*words[1:], ""], strict=True) if word.startswith("-o")]
    named = {option.replace("=", " ").split()[0].lower() for option in options if option.replace("=", " ").split()}
    return any(re.match(r"-[pliF]", word) for word in words) or bool(
        named & {"port", "user", "identityfile", "hostname"}
    )


def _handing_through(words: Sequence[str]) -> tuple[Hop, ...] | None:
    user, port, through, places = "", None, False, []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-q", "-A", "-T"):
            continue
        if word in ("-W", "-p", "-l") and rest:
            value = rest.pop(0)
            through = through or (word, value) == ("-W", "%h:%p")
            user = value if word == "-l" else user
            port = int(value) if word == "-p" and value.isdecimal() and len(value) < 6 else port
        elif word.startswith("-"):
            return None
        else:
            places.append(word)
    found = place_of(places[0]) if len(places) == 1 else None
    if found is None or not through:
        return None
    return (Hop(found.host, found.user or user, found.port or port),)


def _words(text: str) -> list[str] | None:
    try:
        return shlex.split(text)
    except ValueError:
        return None
