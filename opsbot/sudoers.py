"""The sudo rules a host needs: exactly the commands the tools send for what the inventory allows, and no others."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from opsbot.domain import Host, HostVerb, ServiceManager, UnitVerb
from opsbot.errors import BadArguments
from opsbot.root_commands import (
    KILL_RULE,
    container_log,
    container_look,
    container_restart,
    reboot_command,
    sudoers_command,
    sudoers_line,
    unit_command,
)
from opsbot.units import canonical_unit

# What useradd of Debian takes. Upper case is an alias or ALL to sudo, `%` a group, `#` a number: none of them here.
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?", re.ASCII)
# What takes a service or a host away.
_GRAVE = (UnitVerb.STOP, HostVerb.REBOOT, HostVerb.KILL)
_NEVER = """\
# Not allowed by these rules, on purpose: any other unit, container or option (sudo compares every word), wildcards,
# enable, disable, mask, edit, daemon-reload, a shell, an editor, docker run or exec, reading files as root.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One command the bot's user may run as root, spelled as sudoers wants it, and what it is for.

    What `looks` is for the account that looks as well, where that is another one.
    """

    purpose: str
    command: str
    looks: bool = False


def rules_for(host: Host, *, engine: str = "docker") -> tuple[Rule, ...]:
    """Return the rules for everything the inventory allows on this host; none where it says `sudo: false`."""
    return (*_unit_rules(host), *_container_rules(host, engine), *_host_rules(host)) if host.sudo else ()


def lines_for(host: Host, *, user: str = "", engine: str = "docker") -> tuple[str, ...]:
    """Return the rules as lines of a sudoers file, without comments.

    Raises:
        BadArguments: there is no user they could be for, or its name means something else to sudo.
    """
    rules = rules_for(host, engine=engine)
    name = _checked_user(host, user) if rules else ""
    return tuple(line for rule in rules for line in _lines(host, name, rule))


def grave_actions(host: Host) -> tuple[str, ...]:
    """Return what the host allows that takes a service or the host away."""
    return tuple(str(verb) for verb in _GRAVE if verb in host.actions) if host.sudo else ()


def file_for(host: Host, *, user: str = "", engine: str = "docker") -> str:
    """Return the whole text of the host's sudoers file: where it goes, and above each rule what it is for.

    Raises:
        BadArguments: as `lines_for`.
    """
    if not host.sudo:
        return (
            f"# {host.name}: the inventory says `sudo: false`, so the bot never calls sudo there and needs no lines.\n"
            "# Its user has to be allowed by other means what it may do: polkit rules, or a manager of its own.\n"
        )
    rules = rules_for(host, engine=engine)
    if not rules:
        return f"# {host.name}: no lines needed. {_why_none(host)}\n"
    name = _checked_user(host, user)
    texts = ("\n".join((f"\n# {rule.purpose}", *_lines(host, name, rule), "")) for rule in rules)
    return _head(host, name) + "".join(texts)


def _lines(host: Host, user: str, rule: Rule) -> Iterator[str]:
    yield sudoers_line(user, rule.command)
    if rule.looks and host.read_user not in ("", user):
        yield sudoers_line(host.read_user, rule.command)


def _unit_rules(host: Host) -> Iterator[Rule]:
    if host.service_manager is not ServiceManager.SYSTEMD:
        return
    for listed in host.units:
        unit = canonical_unit(listed, host.service_manager)
        for verb in UnitVerb:
            if verb in host.actions:
                yield Rule(f"{verb} {unit}: `units` and `actions`.", sudoers_command(unit_command(verb, unit)))


def _container_rules(host: Host, engine: str) -> Iterator[Rule]:
    if UnitVerb.RESTART not in host.actions:
        return
    for name in host.containers:
        look, log = (sudoers_command(make(engine, name)) for make in (container_look, container_log))
        yield Rule(f"Look at container {name}, without its environment.", look, looks=True)
        yield Rule(f"Read the end of its log when it fails: {name}.", log, looks=True)
        yield Rule(f"restart container {name}: `containers`.", sudoers_command(container_restart(engine, name)))


def _host_rules(host: Host) -> Iterator[Rule]:
    if HostVerb.REBOOT in host.actions:
        yield Rule("reboot this host: `actions`.", sudoers_command(reboot_command()))
    if HostVerb.KILL in host.actions:
        purpose = "kill any process, one at a time: `actions`. Needs sudo 1.9.10 or later; without effect before."
        yield Rule(purpose, KILL_RULE)


def _checked_user(host: Host, user: str) -> str:
    name = user or host.user
    if not name:
        raise BadArguments(f"{host.name} has no user in the inventory; name the bot's user there with --user.")
    if not _USER.fullmatch(name) or name == "root":
        raise BadArguments(f"{name[:40]!a} is no name for the bot's user: lower case, digits, _ and -, not root.")
    return name


def _why_none(host: Host) -> str:
    if host.service_manager is not ServiceManager.SYSTEMD and not (set(HostVerb) & set(host.actions)):
        return (
            "supervisorctl is called as `service_command` says; if that begins with sudo, its rule is yours to write."
        )
    return "The inventory allows nothing there that would be done as root (`units`, `containers`, `actions`)."


def _head(host: Host, user: str) -> str:
    grave = grave_actions(host)
    warning = (
        f"# WARNING: {', '.join(grave)} may be done on this host. Whoever holds the bot's key can do it without\n"
        "# asking anybody: approvals are the bot's, not sudo's. Leave it out of `actions` if nobody needs it.\n"
    )
    containers = (
        "# Lines for containers are not needed where this user may speak to the engine itself (which is root too).\n"
    )
    return (
        f"# What opsbot may do as root on {host.name}, by its user {user}: printed by `opsbot sudoers {host.name}`.\n"
        "# After a change of the inventory print it again. Check it first, then install it, owned by root, mode 0440:\n"
        "#   visudo -cf THIS_FILE && install -o root -g root -m 0440 THIS_FILE /etc/sudoers.d/opsbot\n"
        + _NEVER
        + (containers if host.containers else "")
        + (warning if grave else "")
    )
