"""What `opsbot doctor` asks a host in one command, and how the answer is read. Nothing in it changes the host."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from opsbot.domain import Host, HostVerb, ServiceManager, UnitVerb
from opsbot.readable import plain_line
from opsbot.root_commands import (
    KILL_RULE,
    container_log,
    container_look,
    container_restart,
    kill_command,
    reboot_command,
    sudoers_command,
    sudoers_line,
    unit_command,
)
from opsbot.units import canonical_unit

# sudo asks a directory server for its rules where there is one, which may hang.
_EACH_S = 3
_ANY_PROCESS = 1234567
# `sudo -l COMMAND` only tells whether the rules have the command: it runs nothing.
_START = """# opsbot: doctor's look at a host, which changes nothing
LC_ALL=C; export LC_ALL
command -v timeout >/dev/null || timeout() { shift; "$@"; }
until=$(( $(date +%s) + BUDGET ))
echo "@@time $(date +%s)"
echo "@@user $(id -un)"
echo "@@os $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | tr -d '"')"
journal=none
for file in /var/log/journal/*/system.journal /run/log/journal/*/system.journal; do
  [ -e "$file" ] && [ "$journal" = none ] && journal=closed
  [ -r "$file" ] && journal=open
done
echo "@@journal $journal"
engine=docker
{ command -v docker >/dev/null && [ -S /var/run/docker.sock ]; } || ! command -v podman >/dev/null || engine=podman
command -v "$engine" >/dev/null || engine=none
echo "@@engine $engine"
tried() {
  word=$1 number=$2; shift 2
  if [ "$(date +%s)" -ge "$until" ]; then echo "@@$word $number late"; return; fi
  said=$(timeout EACH "$@" 2>&1 </dev/null); status=$?
  printf '@@%s %s %s %s\\n' "$word" "$number" "$status" "$(printf %s "$said" | head -n 1 | cut -c 1-200)"
}
may() { number=$1; shift; tried may "$number" sudo -n -l "$@"; }
"""
_LISTING = """
echo "@@rules"
timeout EACH sudo -n -l 2>/dev/null </dev/null | head -c 60000
echo
"""
_TAG = re.compile(r"(?:\([^)]*\)\s*)?((?:[A-Z_]+:\s*)*)")


@dataclass(frozen=True, slots=True)
class RootCommand:
    """A command the bot may have to run as root: its words, what it is for, and how sudoers spells it."""

    purpose: str
    words: tuple[str, ...]
    spelled: str
    engine: str = ""

    @property
    def container(self) -> bool:
        return bool(self.engine)


@dataclass(slots=True)
class Look:
    """What the host answered; None or absent: it did not say."""

    time: int | None = None
    user: str = ""
    os: str = ""
    journal: str = ""
    engine: str = ""
    may: dict[int, tuple[int, str] | None] = field(default_factory=dict)
    containers: dict[int, tuple[int, str] | None] = field(default_factory=dict)
    rules: str = ""


def root_commands_of(host: Host) -> tuple[RootCommand, ...]:
    """Return one command for each line `opsbot sudoers` prints for the host, for either container engine."""
    return (*_of_units(host), *_of_host(host), *_of_containers(host)) if host.sudo else ()


def line_for(host: Host, command: RootCommand) -> str:
    """Return the sudoers line that allows it."""
    return sudoers_line(host.user or "THE_BOT_USER", command.spelled)


def script_for(host: Host, commands: Sequence[RootCommand], budget_s: float) -> str:
    """Return the script to run by `sh -c`. It stops asking sudo after `budget_s`, and says what it left out."""
    parts = [_START.replace("BUDGET", str(max(1, int(budget_s)))).replace("EACH", str(_EACH_S))]
    if commands:
        parts.append(_LISTING.replace("EACH", str(_EACH_S)))
    parts += [_question(number, each) for number, each in enumerate(commands)]
    parts += [
        f"""[ "$engine" = none ] || tried container {number} "$engine" container inspect --format '{{{{json .Id}}}}' """
        f"-- {shlex.quote(name)}"
        for number, name in enumerate(host.containers)
    ]
    return "\n".join([*parts, "exit 0"])


def _question(number: int, command: RootCommand) -> str:
    only_if = f'[ "$engine" != {command.engine} ] || ' if command.engine else ""
    return f"{only_if}may {number} {shlex.join(command.words)}"


def parse_look(output: str) -> Look:
    """Read what `script_for`'s script printed; what is missing or unreadable stays unknown."""
    look = Look()
    before, _, rest = output.partition("@@rules\n")
    rules, mark, after = rest.partition("\n@@")
    look.rules = rules
    for line in (*before.splitlines(), *f"{mark.strip()}{after}".splitlines()):
        _read_line(line, look)
    return look


def _read_line(line: str, look: Look) -> None:
    word, _, value = line.partition(" ")
    value = plain_line(value.strip(), limit=200)
    match word:
        case "@@time":
            look.time = int(value) if value.isascii() and value.isdecimal() else None
        case "@@user" | "@@os" | "@@journal" | "@@engine":
            setattr(look, word[2:], value)
        case "@@may":
            _read_trial(value, look.may)
        case "@@container":
            _read_trial(value, look.containers)


def _read_trial(value: str, into: dict[int, tuple[int, str] | None]) -> None:
    found = re.fullmatch(r"(\d{1,6}) (?:late|(\d{1,3})(?: (.*))?)", value, re.ASCII)
    if found:
        into[int(found[1])] = (int(found[2]), found[3] or "") if found[2] else None


def needs_password(rules: str, spelled: str) -> bool:
    """Whether the last rule of `sudo -l` for this very command wants a password.

    `sudo -l COMMAND` does not say (sudo 1.9.13 and 1.9.16): it is content once any rule of the user is NOPASSWD.
    """
    if re.search(r"^ .*(?<![\w!])!authenticate\b", rules.partition("may run the following")[0], re.MULTILINE):
        return False
    found = [secret for command, secret in _commands_in(rules) if command in (spelled, "ALL")]
    return bool(found) and found[-1]


def _commands_in(rules: str) -> Iterator[tuple[str, bool]]:
    """Yield each command of the listing as it is spelled there, and whether it wants a password."""
    for line in rules.partition("may run the following")[2].splitlines():
        if not re.match(r"\s+\(", line):
            continue
        secret = True
        for piece in re.split(r"(?<!\\),\s", line.strip()):
            tags = _TAG.match(piece)
            named = tags[1] if tags else ""
            secret = False if "NOPASSWD:" in named else True if "PASSWD:" in named else secret
            yield piece[tags.end() if tags else 0 :].strip(), secret


def _of_units(host: Host) -> Iterator[RootCommand]:
    if host.service_manager is not ServiceManager.SYSTEMD:
        return
    for listed in host.units:
        unit = canonical_unit(listed, host.service_manager)
        for verb in UnitVerb:
            if verb in host.actions:
                yield _command(f"{verb} {unit}", unit_command(verb, unit))


def _of_host(host: Host) -> Iterator[RootCommand]:
    if HostVerb.REBOOT in host.actions:
        yield _command("reboot", reboot_command())
    if HostVerb.KILL in host.actions:
        yield RootCommand("kill a process", kill_command("TERM", _ANY_PROCESS), KILL_RULE)


def _of_containers(host: Host) -> Iterator[RootCommand]:
    if UnitVerb.RESTART not in host.actions:
        return
    for name in host.containers:
        for engine in ("docker", "podman"):
            yield _command(f"look at container {name}", container_look(engine, name), engine)
            yield _command(f"read the log of container {name}", container_log(engine, name), engine)
            yield _command(f"restart container {name}", container_restart(engine, name), engine)


def _command(purpose: str, words: tuple[str, ...], engine: str = "") -> RootCommand:
    return RootCommand(purpose, words, sudoers_command(words), engine)
